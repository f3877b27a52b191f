"""Forms for inference of TAdaConvNeXt, TAdaConvNeXtV2 and TAdaFormer: the same logits, and nobody's memory harmed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.grouped import leave_the_start
from tadacli.models import packed
from tadacli.models.inference import inference_form
from tadacli.models.packed import PackedLinear
from tadacli.models.tadaconvnext import TAdaConvNeXt
from tadacli.models.tadaconvnextv2 import TAdaConvNeXtV2
from tadacli.models.tadaformer import TAdaFormer

TOLERANCE = 1e-5  # of float32, relative, by norm
BFLOAT16_TOLERANCE = 0.05

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "v1": lambda: TAdaConvNeXt(5, dims=(8, 12, 16, 24), depths=(1, 2, 1, 1)),
    "v1 with batch norm": lambda: TAdaConvNeXt(5, dims=(8, 16), depths=(1, 2), routing="normal"),
    "v2": lambda: TAdaConvNeXtV2(5, stage_depths=(1, 2, 1), stem_width=16, route_head_dim=8),
    "tadaformer": lambda: TAdaFormer(5, width=256, num_layers=2, patch_size=8, crop_size=24),
    "tadaformer of ssv2": lambda: TAdaFormer(
        5, width=256, num_layers=2, patch_size=8, crop_size=24, double_tada=True, temporal_enhance=True
    ),
}


def trained(name: str) -> nn.Module:
    """A small network in evaluation, all of whose parts have something to say."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    leave_the_start(network)
    for part, parameter in network.named_parameters():
        if part.endswith("gamma"):
            nn.init.normal_(parameter)  # branches as strong as what they are added to
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


def clips(name: str) -> list[Tensor]:
    small, large = ((24, 24), (24, 24)) if "former" in name else ((33, 31), (65, 47))
    return [torch.randn(1, 3, 1, *small), torch.randn(2, 3, 5, *large), torch.randn(3, 3, 2, *small)]


def distance(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def linear_layers(network: nn.Module) -> list[PackedLinear]:
    return [module for module in network.modules() if isinstance(module, PackedLinear)]


@pytest.fixture(params=["packed", "packing fails", "in small pieces"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How linear layers are computed: by oneDNN, where it is there; as everywhere else; a few rows at a time."""

    def broken(*_: object) -> Tensor:
        raise RuntimeError("not on this machine")

    if request.param == "packing fails":
        monkeypatch.setattr(PackedLinear, "_packed_product", broken)
    if request.param == "in small pieces":
        monkeypatch.setattr(packed, "PIECE", 4000)
    return str(request.param)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_stay_and_memory_of_others_too(name: str, way: str) -> None:
    network = trained(name)
    exact = copy.deepcopy(network).double()
    before = copy.deepcopy(network.state_dict())
    with torch.inference_mode():
        fused = inference_form(network)
        assert linear_layers(fused)
        for layer in linear_layers(fused):
            assert layer.weight.is_mkldnn == (way != "packing fails" and torch.backends.mkldnn.is_available())
        for clip in clips(name):
            untouched = clip.clone()
            logits = fused(clip)
            assert distance(logits, exact(clip.double())) < TOLERANCE
            assert distance(logits, network(clip)) < TOLERANCE
            assert torch.equal(fused(clip), logits)
            assert torch.equal(clip, untouched)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], values) for key, values in before.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_as_near_as_without_fusing(name: str) -> None:
    network, clip = trained(name), clips(name)[1]
    with torch.inference_mode():
        fused = inference_form(network).to(torch.bfloat16)
        expected = network(clip)
        plain = distance(copy.deepcopy(network).to(torch.bfloat16)(clip.bfloat16()), expected)
        logits = fused(clip.bfloat16())
    assert logits.dtype == torch.bfloat16
    assert distance(logits, expected) < max(1.5 * plain, 0.01)
    assert plain < BFLOAT16_TOLERANCE


@pytest.mark.parametrize("activation", ["none", "gelu", "swish"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_packed_linear_is_the_layer_in_any_type_and_order_of_memory(activation: str, bias: bool) -> None:
    layer = nn.Linear(7, 5, bias=bias).requires_grad_(requires_grad=False)
    then = {"none": nn.Identity(), "gelu": nn.GELU(), "swish": nn.SiLU()}[activation]
    packed = PackedLinear(layer.weight, layer.bias, activation=activation)
    x = torch.randn(2, 7, 3, 4).movedim(1, -1)
    for copied in (packed, copy.deepcopy(packed)):
        assert distance(copied(x), then(layer(x))) < TOLERANCE
    assert distance(packed.double()(x.double()), then(layer.double()(x.double()))) < 1e-14
    # The numbers went through float64 and back without loss.
    assert distance(packed.float()(x), then(layer.float()(x))) < TOLERANCE


def test_named_heads_and_other_forms_of_calls_stay() -> None:
    torch.manual_seed(0)
    network = TAdaConvNeXt({"verb": 3, "noun": 4}, dims=(8, 16), depths=(1, 1)).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.inference_mode():
        fused = inference_form(network)
        logits = fused(clip)
        assert {name: tuple(values.shape) for name, values in logits.items()} == {"verb": (2, 3), "noun": (2, 4)}
        assert distance(fused.forward_features(clip), network.forward_features(clip)) < TOLERANCE
