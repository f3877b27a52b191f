"""The forms of networks for inference against the networks as trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from benchmarks.grouped import leave_the_start
from tadacli.models import BUILDERS, build, layers
from tadacli.models.inference import fuse, inference_form

SMALL = {"stage_depths": (1, 2, 1, 1), "stem_width": 16}
NETWORKS: Mapping[str, tuple[str, dict[str, object], tuple[int, int, int, int, int]]] = {
    "TAda2D": ("tada2d_r50", SMALL, (2, 3, 5, 64, 50)),
    "TAda2D, one clip": ("tada2d_r50", SMALL, (1, 3, 8, 64, 64)),
    "TAda2D, one frame that ends as one cell": ("tada2d_r50", SMALL, (1, 3, 1, 32, 32)),
    "TSN": ("tsn_r50", SMALL, (2, 3, 3, 48, 64)),
    "R(2+1)D tiny": ("r2plus1d_tiny", {}, (2, 3, 5, 33, 64)),
    "R(2+1)D tiny, one clip of a frame": ("r2plus1d_tiny", {}, (1, 3, 1, 32, 32)),
    "R(2+1)D": ("r2plus1d_r50", {**SMALL, "tada_convs": "2d+1d"}, (1, 3, 4, 64, 64)),
    "R(2+1)D, plain": ("r2plus1d_r50", {**SMALL, "tada": False}, (2, 3, 4, 64, 64)),
    "R3D": ("r3d_r50", SMALL, (1, 3, 4, 64, 64)),
    "R3D, plain": ("r3d_r50", {**SMALL, "tada": False}, (1, 3, 4, 64, 64)),
    "SlowOnly": ("slowonly_r50", SMALL, (1, 3, 1, 64, 64)),
    "SlowFast": ("slowfast_r50", {**SMALL, "stem_width": 64, "alpha": 2}, (2, 3, 4, 40, 40)),
}


def trained(architecture: str, arguments: Mapping[str, object]) -> nn.Module:
    """A network whose every part does something, its norms included."""
    torch.manual_seed(0)
    network = build(architecture, num_classes={"verb": 5, "noun": 7}, **arguments)
    leave_the_start(network)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm3d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(std=0.3)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
    return network.eval()


@torch.no_grad()
def answers(network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    logits = network(clips)
    assert list(logits) == ["verb", "noun"]
    return torch.cat(list(logits.values()), dim=1).float()


def distance(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", NETWORKS)
def test_gives_the_logits_of_the_network_as_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, arguments, shape = NETWORKS[name]
    network = trained(architecture, arguments)
    before = copy.deepcopy(network.state_dict())
    clips = torch.randn(shape)
    given = clips.clone()
    expected = answers(network, clips)
    fast = inference_form(network)
    found = answers(fast, clips)
    assert distance(found, expected) < 1e-5
    assert torch.equal(answers(fast, clips), found), "the second call gives other bits"
    assert torch.equal(clips, given), "the input was written over"
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not [norm for norm in fast.modules() if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm3d)]
    assert not [parameter for parameter in fast.parameters() if parameter.requires_grad]
    with torch.enable_grad():  # for whoever calls it so; nothing is done in place then
        assert distance(torch.cat(list(fast(clips).values()), dim=1), expected) < 1e-5
    halved = copy.deepcopy(fast).to(torch.bfloat16)
    assert distance(answers(halved, clips.to(torch.bfloat16)), expected) < 0.03
    monkeypatch.setattr(layers, "onednn_dtypes", lambda: ())  # another processor
    assert distance(answers(fast, clips), expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["TAda2D", "TSN", "R(2+1)D tiny", "R3D", "SlowFast"])
def test_a_clip_gets_the_same_bits_wherever_it_stands_in_a_batch(name: str, dtype: torch.dtype) -> None:
    """So scores stay those of the video where several videos share a batch."""
    architecture, arguments, shape = NETWORKS[name]
    network = inference_form(trained(architecture, arguments)).to(dtype)
    clips, others = torch.randn(2, 5, *shape[1:]).to(dtype)
    expected = answers(network, clips)
    for places in (1, 2, 4):
        assert torch.equal(answers(network, clips.roll(places, 0)).roll(-places, 0), expected)
    others[3] = clips[1]
    assert torch.equal(answers(network, others)[3], expected[1]), "its neighbours change it"


def test_networks_with_batch_norms_are_all_tested() -> None:
    def has_norms(name: str) -> bool:
        with torch.device("meta"):
            modules = list(build(name, num_classes=2).modules())
        return any(isinstance(module, layers.FrameBatchNorm) for module in modules)

    resnets = {name for name in BUILDERS if has_norms(name) and not name.startswith(("tadaconvnext", "tadaformer"))}
    assert resnets == {architecture for architecture, _, _ in NETWORKS.values()}


def test_bfloat16_is_nearer_than_norms_rounded_by_themselves() -> None:
    network = trained("tada2d_r50", SMALL)
    clips = torch.randn(2, 3, 4, 64, 64)
    expected, halved = answers(network, clips), clips.to(torch.bfloat16)
    folded = distance(answers(inference_form(network).to(torch.bfloat16), halved), expected)
    assert folded < 0.8 * distance(answers(network.to(torch.bfloat16), halved), expected)


@pytest.mark.parametrize("name", ["TAda2D", "R(2+1)D tiny", "R3D"])
def test_channels_that_hardly_vary_are_no_larger_for_it(name: str) -> None:
    """Of a channel that was constant in training, what keeps the norm from dividing by zero decides."""
    architecture, arguments, shape = NETWORKS[name]
    network = trained(architecture, arguments)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm3d):
            assert norm.running_var is not None
            norm.running_var[::3] = 1e-6
            nn.init.uniform_(norm.weight[::3], 0.001, 0.003)
    clips = torch.randn(shape)
    expected = answers(network, clips)
    assert distance(answers(inference_form(network), clips), expected) < 1e-5


def test_a_network_in_training_has_none() -> None:
    with pytest.raises(ValueError, match="evaluation"):
        fuse(build("tsn_r50", num_classes=2, **SMALL))
