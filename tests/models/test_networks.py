"""Networks: size, cost, the inputs and heads they take, and the weights they start from."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.grouped import grouped_form
from tadacli.errors import SpecError
from tadacli.models import BUILDERS, build
from tadacli.models.tada2d import from_torchvision


@pytest.mark.parametrize(
    ("num_classes", "frames", "parameters", "gmacs"),
    [(400, 8, 27.485, 43.13), (174, 8, 27.022, 43.13), (174, 16, 27.022, 86.25)],
)
def test_tada2d_has_the_published_size_and_cost(num_classes, frames, parameters, gmacs) -> None:
    with torch.device("meta"):
        network = build("tada2d_r50", num_classes=num_classes).eval()
        clip = torch.empty(1, 3, frames, 256, 256)
    with FlopCounterMode(display=False) as counter:
        network(clip)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 3) == parameters
    assert round(counter.get_total_flops() / 2e9, 2) == gmacs


def test_routing_functions_have_the_published_size() -> None:
    with torch.device("meta"):
        network = build("tada2d_r50", num_classes=400)
    routing = sum(p.numel() for name, p in network.named_parameters() if "b_rf" in name)
    assert round(routing / 1e6, 3) == 3.150


def test_tada2d_equals_its_grouped_form() -> None:
    torch.manual_seed(0)
    network = build("tada2d_r50", num_classes=10, stage_depths=(1, 2, 1, 1), stem_width=16).eval()
    for name, parameter in network.named_parameters():
        if "b_rf.b" in name or "b_avgpool_bn" in name:  # away from the identity they start as
            nn.init.normal_(parameter, std=0.1)
    clip = torch.randn(2, 3, 5, 48, 40)
    with torch.inference_mode():
        ours, theirs = network(clip), grouped_form(network)(clip)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("architecture", sorted(BUILDERS))
@pytest.mark.parametrize("shape", [(1, 3, 1, 32, 32), (2, 3, 3, 47, 65), (3, 3, 8, 16, 20)])
def test_any_batch_length_and_size(architecture: str, shape: tuple[int, ...]) -> None:
    network = build(architecture, num_classes=5).eval()
    with torch.inference_mode():
        logits, features = network(torch.randn(shape)), network.forward_features(torch.randn(shape))
    assert logits.shape == (shape[0], 5)
    assert features.shape[0] == shape[0]
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("architecture", sorted(BUILDERS))
def test_named_heads(architecture: str) -> None:
    network = build(architecture, num_classes={"verb": 97, "noun": 300}).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, 2, 32, 32))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        "verb": (2, 97),
        "noun": (2, 300),
    }
    assert list(logits) == ["verb", "noun"]
    heads = [name for name in network.state_dict() if name.startswith("head.")]
    assert heads == ["head.linear1.weight", "head.linear1.bias", "head.linear2.weight", "head.linear2.bias"]


@pytest.mark.parametrize("architecture", sorted(BUILDERS))
def test_one_training_step_reaches_every_parameter(architecture: str) -> None:
    torch.manual_seed(0)
    network = build(architecture, num_classes=3).train()
    for name, parameter in network.named_parameters():
        if "_rf.b" in name:  # at zero it stops the gradient of what lies before it
            nn.init.normal_(parameter, std=0.1)
    network(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias in front of batch norm gets nothing but rounding.
    assert [name for name in without if not name.endswith("bias")] == []


def test_tsn_computes_torchvisions_resnet_without_its_max_pool() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.resnet50(weights=None).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    network = build("tsn_r50", num_classes=1000).eval()
    converted = from_torchvision(reference.state_dict(), tada=False)
    missing, unexpected = network.load_state_dict(converted, strict=False)
    assert (sorted(missing), unexpected) == (["head.out.bias", "head.out.weight"], [])

    reference.maxpool = nn.Identity()
    reference.layer1[0].conv2.stride = (2, 2)
    reference.layer1[0].downsample[0].stride = (2, 2)
    reference.fc = nn.Identity()
    frames = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        expected = reference(frames).mean(dim=0, keepdim=True)
        features = network.forward_features(frames.transpose(0, 1)[None])
    assert (features - expected).norm() <= 1e-5 * expected.norm()


def test_tada2d_starts_as_tsn_of_the_same_imagenet_weights() -> None:
    torch.manual_seed(0)
    weights = torchvision.models.resnet50(weights=None).state_dict()
    tsn, tada = build("tsn_r50", num_classes=4).eval(), build("tada2d_r50", num_classes=4).eval()
    tsn.load_state_dict(from_torchvision(weights, tada=False), strict=False)
    missing, unexpected = tada.load_state_dict(from_torchvision(weights, tada=True), strict=False)
    assert unexpected == []
    assert all("b_rf." in name or "b_avgpool_bn." in name or name.startswith("head.") for name in missing)
    clip = torch.randn(1, 3, 4, 64, 64)
    with torch.inference_mode():
        expected, features = tsn.forward_features(clip), tada.forward_features(clip)
    assert (features - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: build("tada3d", num_classes=4), "unknown architecture"),
        (lambda: build("tada2d_r50", num_classes=0), "at least one class"),
        (lambda: build("tada2d_r50", num_classes={}), "at least one class"),
        (lambda: build("tada2d_r50", num_classes=4, depth=9), "does not take these arguments"),
    ],
)
def test_what_cannot_be_built_is_named(call, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        call()
