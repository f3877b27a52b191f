"""Networks on a GPU: the answers of the processor, and replayed work that gives what plain work gives, to the bit.

Without a GPU what can be: that a network in its place for one is the network itself.
"""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.models.inference import inference_form
from tadacli.models.replaying import ReplayedNetwork
from tests.models.test_inference import NETWORKS, answers, distance, trained

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


class Doubled(nn.Module):
    """A network with features and a head, whose head alone counts."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.scale = 2.0

    def forward_features(self, x: Tensor) -> Tensor:
        return self.scale * x.mean(dim=(2, 3, 4)).repeat(1, 2)[:, :4]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"verb": self.head(self.forward_features(x))}


@torch.inference_mode()
def test_in_its_place_is_all_that_the_network_has() -> None:
    network = Doubled()
    replayed, x = ReplayedNetwork(network), torch.rand(2, 3, 2, 4, 4)
    for one in (replayed, copy.deepcopy(replayed), pickle.loads(pickle.dumps(replayed)), replayed.to(torch.float32)):
        for _ in range(3):
            assert torch.equal(one(x)["verb"], network(x)["verb"])
            assert torch.equal(one.forward_features(x), network.forward_features(x))
        assert torch.equal(one.head(one.forward_features(x)), network(x)["verb"])
        assert one.scale == 2.0
    assert not hasattr(ReplayedNetwork(nn.Linear(2, 2)), "forward_features")
    assert replayed.double()(x.double())["verb"].dtype == torch.float64


def test_arithmetic_is_as_it_was_afterwards() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    with repeatable_arithmetic():
        assert (cudnn.deterministic, cudnn.allow_tf32) == (True, False)
    assert (cudnn.deterministic, cudnn.allow_tf32) == before


def test_arithmetic_is_kept_until_the_last_thread_is_done() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    first, second = repeatable_arithmetic(), repeatable_arithmetic()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # as two threads leave that came one after the other
    assert (cudnn.deterministic, cudnn.allow_tf32) == (True, False)
    second.__exit__(None, None, None)
    assert (cudnn.deterministic, cudnn.allow_tf32) == before


@needs_gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_gives_the_answers_of_the_processor(name: str) -> None:
    architecture, arguments, shape = NETWORKS[name]
    network, clips = inference_form(trained(architecture, arguments)), torch.randn(shape)
    expected = answers(network, clips)
    there = ReplayedNetwork(copy.deepcopy(network).to("cuda"))
    with repeatable_arithmetic():
        assert distance(answers(there, clips.cuda()).cpu(), expected) < 1e-5


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replayed_work_gives_the_same_bits(dtype: torch.dtype) -> None:
    architecture, arguments, _ = NETWORKS["TAda2D"]
    network = inference_form(trained(architecture, arguments)).to("cuda", dtype)
    replayed = ReplayedNetwork(network)
    with torch.inference_mode(), repeatable_arithmetic():
        for batch in (1, 2, 3, 1, 4, 5, 6, 1):  # with both ways in, more shapes than are recorded
            for _ in range(3):
                clips = torch.randn(batch, 3, 4, 64, 64, device="cuda", dtype=dtype)
                plain = network(clips)
                kept = replayed(clips)
                replayed(torch.zeros_like(clips))  # which may not change what was given out
                assert all(torch.equal(kept[head], plain[head]) for head in plain)
                assert torch.equal(replayed.forward_features(clips), network.forward_features(clips))
