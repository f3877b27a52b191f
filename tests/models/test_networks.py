"""Networks: size, cost, the inputs and heads they take, and the weights they start from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.grouped import grouped_form, leave_the_start
from tadacli.errors import SpecError
from tadacli.models import BUILDERS, build
from tadacli.models.heads import NumClasses
from tadacli.models.tadaformer import TAdaFormer
from tadacli.models.video_resnet import from_torchvision
from tadacli.training.loop import recompute_layers


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


# Larger members of a family are its small ones with more of the same, so the sweeps build all of them small.
SMALL: dict[str, dict[str, Any]] = {
    "tada2d": {"stage_depths": (1, 2, 1, 1), "stem_width": 16},
    "tsn": {"stage_depths": (1, 2, 1, 1), "stem_width": 16},
    "r2plus1d_tiny": {},
    "r2plus1d": {"stage_depths": (1, 2, 1, 1), "stem_width": 16},
    "r3d": {"stage_depths": (1, 2, 1, 1), "stem_width": 16},
    "slowonly": {"stage_depths": (1, 2, 1, 1), "stem_width": 16},
    "slowfast": {"stage_depths": (1, 2, 1, 1), "stem_width": 32, "alpha": 1},
    "tadaconvnext": {"dims": (8, 12, 16, 24), "depths": (1, 2, 1, 1)},
    "tadaconvnextv2": {"stage_depths": (1, 2, 1, 1), "stem_width": 16, "route_head_dim": 4},
}


ONLY_LARGER = {"tadaconvnextv2_small", "tadaconvnextv2_base", "tadaformer_l14"}
DIFFERENT = sorted(set(BUILDERS) - ONLY_LARGER)


def small(architecture: str, num_classes: NumClasses) -> tuple[nn.Module, int | None]:
    """A network of the architecture's kind, and the size of its pictures if it takes no other."""
    torch.manual_seed(0)
    if BUILDERS[architecture] == "tadaformer":
        arguments = {"width": 256, "num_layers": 2, "patch_size": 8, "crop_size": 16}
        return TAdaFormer(num_classes, double_tada=True, **arguments), 16
    return build(
        architecture, num_classes=num_classes, **SMALL.get(architecture, SMALL[architecture.split("_")[0]])
    ), None


@pytest.mark.parametrize("architecture", sorted(BUILDERS))
@pytest.mark.parametrize("shape", [(1, 3, 1, 32, 32), (2, 3, 3, 47, 65), (3, 3, 8, 16, 20)])
def test_any_batch_length_and_size(architecture: str, shape: tuple[int, ...]) -> None:
    network, side = small(architecture, 5)
    clips = torch.randn(shape if side is None else (*shape[:3], side, side))
    with torch.inference_mode():
        logits, features = network.eval()(clips), network.forward_features(clips)
    assert logits.shape == (shape[0], 5)
    assert features.shape[0] == shape[0]
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("architecture", sorted(BUILDERS))
def test_named_heads(architecture: str) -> None:
    network, side = small(architecture, {"verb": 97, "noun": 300})
    with torch.inference_mode():
        logits = network.eval()(torch.zeros(2, 3, 2, side or 32, side or 32))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {
        "verb": (2, 97),
        "noun": (2, 300),
    }
    assert list(logits) == ["verb", "noun"]
    heads = [name for name in network.state_dict() if name.startswith("head.")]
    assert heads == ["head.linear1.weight", "head.linear1.bias", "head.linear2.weight", "head.linear2.bias"]


@pytest.mark.parametrize("architecture", DIFFERENT)
def test_training_reaches_every_parameter_in_two_steps(architecture: str) -> None:
    """In two, since what is zero at the start stops the gradient of what lies before it."""
    network, side = small(architecture, 3)
    optimiser = torch.optim.SGD(network.train().parameters(), lr=0.1)
    clips = torch.randn(4, 3, 4, side or 32, side or 32)
    for _ in range(2):
        optimiser.step()
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(clips), torch.tensor([0, 1, 2, 0])).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A bias in front of batch norm gets nothing but rounding. Only the class token leaves the last block of TAdaFormer,
    # and the second TAda part does not see it.
    assert [name for name in without if not name.endswith("bias") and ".layers.1.tada2." not in name] == []


@pytest.mark.parametrize("architecture", DIFFERENT)
def test_layers_hold_every_parameter_of_the_trunk(architecture: str) -> None:
    """The last of them hold the end of the trunk, which learns at the whole rate where rates fall with depth."""
    network, _ = small(architecture, 3)
    layers = network.layers()
    names = [name for name, _ in network.named_parameters()]
    outside = [name for name in names if not any(name.startswith(f"{layer}.") for layer in layers)]
    assert [name for name in outside if not name.startswith("head.")] == []
    assert len(layers) == len(set(layers)) > 1
    trunk = [name for name in names if name.startswith("backbone.")]
    norms = [name for name in trunk if name.split(".")[1] in ("norm", "ln_post")]
    if norms:
        assert all(name.startswith(f"{layers[-1]}.") for name in norms)


@pytest.mark.parametrize("architecture", DIFFERENT)
def test_equals_its_grouped_form(architecture: str) -> None:
    network, side = small(architecture, 10)
    leave_the_start(network.eval())
    clips = torch.randn(2, 3, 5, side or 64, side or 96)
    with torch.inference_mode():
        ours, theirs = network(clips), grouped_form(network)(clips)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize("architecture", DIFFERENT)
def test_gradients_are_the_same_of_recomputed_activations(architecture: str) -> None:
    network, side = small(architecture, 3)
    leave_the_start(network.train())
    clips = torch.randn(2, 3, 4, side or 32, side or 32)
    gradients = []
    for recompute in (False, True):
        again = copy.deepcopy(network)
        if recompute:
            recompute_layers(again)
        torch.manual_seed(1)  # of dropout
        again(clips).square().sum().backward()
        gradients.append([p.grad for p in again.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_tsn_computes_torchvisions_resnet_without_its_max_pool() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.resnet50(weights=None).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    network = build("tsn_r50", num_classes=1000).eval()
    converted = from_torchvision(reference.state_dict())
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
    tsn.load_state_dict(from_torchvision(weights), strict=False)
    missing, unexpected = tada.load_state_dict(tada.from_image_weights(weights), strict=False)
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
