"""TAdaConvNeXt: size, cost, its convolution against the definition, and the weights it starts from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from tadacli.errors import CheckpointError, SpecError
from tadacli.models.dropout import DropPath
from tadacli.models.tadaconvnext import (
    Block,
    TAdaConvNeXt,
    WeightAndBiasRouting,
    from_torchvision,
    tadaconvnext_tiny,
)
from tadacli.zoo.checkpoints import load_weights, read_checkpoint

TOLERANCE = 1e-5  # relative, by norm


def close(actual: Tensor, expected: Tensor) -> bool:
    return actual.shape == expected.shape and bool((actual - expected).norm() <= TOLERANCE * expected.norm())


def small(num_classes=5, **arguments) -> TAdaConvNeXt:
    """The family's network at a size for tests, with branches that count: a fresh one scales them by 1e-6."""
    torch.manual_seed(0)
    network = tadaconvnext_tiny(num_classes, dims=(8, 12, 16, 24), depths=(1, 2, 1, 1), **arguments).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
        elif "norm" not in name and ".ln." not in name and "dwconv_rf.b" not in name:
            nn.init.normal_(parameter, std=0.3)
    return network


def open_routing(network: TAdaConvNeXt) -> TAdaConvNeXt:
    for name, parameter in network.named_parameters():
        if "dwconv_rf.b" in name:  # away from the identity they start as
            nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize(
    ("frames", "stem_t_kernel", "parameters", "gmacs"),
    [(16, 3, 38.662, 46.91), (32, 3, 38.662, 93.82), (16, 2, 38.657, 46.76), (32, 2, 38.657, 93.52)],
)
def test_tadaconvnext_has_the_published_size_and_cost(frames, stem_t_kernel, parameters, gmacs) -> None:
    with torch.device("meta"):
        network = tadaconvnext_tiny(400, stem_t_kernel=stem_t_kernel).eval()
        clip = torch.empty(1, 3, frames, 256, 256)
    with FlopCounterMode(display=False) as counter:
        network(clip)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 3) == parameters
    assert round(counter.get_total_flops() / 2e9, 2) == gmacs
    routing = [p.numel() for m in network.modules() if getattr(m, "is_routing", False) for p in m.parameters()]
    assert round(sum(routing) / 1e6, 3) == 10.525


def test_building_on_meta_leaves_the_compiler_alone() -> None:
    program = (
        "import sys, torch\n"
        "from tadacli.models.tadaconvnext import tadaconvnext_tiny\n"
        "with torch.device('meta'):\n"
        "    tadaconvnext_tiny(400, drop_path=0.4)\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("shape", "stem_t_kernel"),
    [
        ((1, 3, 1, 1, 1), 2),
        ((1, 3, 1, 33, 31), 3),
        ((2, 3, 3, 47, 65), 3),
        ((3, 3, 8, 16, 20), 2),
        ((2, 3, 5, 64, 3), 1),
    ],
)
def test_any_batch_length_and_size(shape, stem_t_kernel) -> None:
    network = open_routing(small(stem_t_kernel=stem_t_kernel))
    clip = torch.randn(shape)
    with torch.inference_mode():
        features, logits = network.forward_features(clip), network(clip)
        alone = torch.cat([network(one) for one in clip.split(1)])
    assert features.shape == (shape[0], 24)
    assert logits.shape == (shape[0], 5)
    assert bool(logits.isfinite().all())
    assert close(logits, alone)


def test_named_heads() -> None:
    network = small({"verb": 97, "noun": 300})
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, 2, 32, 32))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {"verb": (2, 97), "noun": (2, 300)}
    heads = [name for name in network.state_dict() if name.startswith("head.")]
    assert heads == ["head.linear1.weight", "head.linear1.bias", "head.linear2.weight", "head.linear2.bias"]


def test_weights_load_from_a_file_laid_out_as_the_hosted_one(tmp_path: Path) -> None:
    trained, network = open_routing(small()), small()
    torch.save({"model_state": trained.state_dict()}, tmp_path / "pytorch_model.pt")
    load_weights(network, read_checkpoint(tmp_path / "pytorch_model.pt"))
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(clip), trained(clip))


def test_memory_stays_channels_last() -> None:
    """What makes the layer norms and the pointwise layers free of copies."""
    network = open_routing(small())
    orders: list[bool] = []
    for module in network.backbone.modules():
        if isinstance(module, Block):
            order = torch.channels_last_3d
        elif type(module) is nn.LayerNorm or isinstance(module, nn.Linear):
            order = torch.contiguous_format
        else:
            continue
        module.register_forward_pre_hook(
            lambda _, inputs, order=order: orders.append(inputs[0].is_contiguous(memory_format=order))
        )
    network(torch.randn(2, 3, 6, 64, 64))
    assert orders == [True] * (5 * 4 + 1)


@pytest.mark.parametrize("routing", ["normal_lngelu", "normal"])
def test_routing_starts_as_the_identity_and_learns_from_the_second_step_on(routing) -> None:
    network = small(routing=routing).train()
    routings = [module for module in network.modules() if isinstance(module, WeightAndBiasRouting)]
    x = torch.randn(2, 8, 3, 4, 4)
    for alpha in routings[0](x):
        assert torch.equal(alpha, torch.ones(2, 8, 3, 1, 1))

    clip, labels = torch.randn(4, 3, 6, 32, 32), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    F.cross_entropy(network(clip), labels).backward()
    for module in routings:
        assert bool(module.b.weight.grad.any())
        assert bool(module.b_bias.weight.grad.any())
    optimizer.step()
    optimizer.zero_grad()
    F.cross_entropy(network(clip), labels).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []
    with torch.inference_mode():
        assert not torch.equal(routings[0](x)[0], torch.ones(2, 8, 3, 1, 1))


def test_frames_are_calibrated_in_the_context_of_the_clip() -> None:
    """With open routing the last frames change what the first frames become; at the start they do not."""
    fresh = small(stem_t_kernel=1, stem_t_stride=1)
    clip = torch.randn(1, 3, 9, 32, 32)
    other = torch.cat([clip[:, :, :8], torch.randn(1, 3, 1, 32, 32)], dim=2)
    with torch.inference_mode():
        assert close(fresh.backbone(clip)[:, :, :8], fresh.backbone(other)[:, :, :8])
        trained = open_routing(fresh)
        difference = trained.backbone(clip)[:, :, 0] - trained.backbone(other)[:, :, 0]
    assert difference.norm() > 1e-3 * trained.backbone(clip)[:, :, 0].norm()


def test_drop_path_rises_with_depth_and_is_gone_in_evaluation() -> None:
    dropping, plain = small(drop_path=0.4), small()
    rates = [module.rate for module in dropping.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    clip = torch.randn(8, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(dropping(clip), plain(clip))
        dropping.train(), plain.train()
        changed = (dropping.forward_features(clip) != plain.forward_features(clip)).any(dim=1)
    assert bool(changed.any())


def test_layers_hold_every_trunk_parameter_once_in_order_of_depth() -> None:
    network = small()
    layers = network.layers()
    assert layers == [
        "backbone.downsample_layers.0",
        "backbone.stages.0.0",
        "backbone.downsample_layers.1",
        "backbone.stages.1.0",
        "backbone.stages.1.1",
        "backbone.downsample_layers.2",
        "backbone.stages.2.0",
        "backbone.downsample_layers.3",
        "backbone.stages.3.0",
        "backbone.norm",
    ]
    for name, _ in network.named_parameters():
        assert sum(name.startswith(f"{layer}.") for layer in layers) == (0 if name.startswith("head.") else 1)


@pytest.mark.parametrize(("stem_t_kernel", "stem_t_stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_imagenet_weights_give_torchvisions_features_of_the_middle_frames(stem_t_kernel, stem_t_stride) -> None:
    """A fresh network sees the frames that the stem is centred on, each by itself, whatever the stem's extent."""
    torch.manual_seed(0)
    stages = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 16, 2), CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)]
    reference = ConvNeXt(stages, num_classes=10).eval()
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    network = small(stem_t_kernel=stem_t_kernel, stem_t_stride=stem_t_stride)
    converted = from_torchvision(reference.state_dict(), stem_t_kernel=stem_t_kernel)
    missing, unexpected = network.load_state_dict(converted, strict=False)
    assert unexpected == []
    assert all(".dwconv_rf." in name or name.startswith("head.") for name in missing)

    frames = torch.randn(5, 3, 65, 47)
    with torch.inference_mode():
        pooled = reference.avgpool(reference.features(frames[::stem_t_stride])).mean(dim=0, keepdim=True)
        assert close(network.forward_features(frames.transpose(0, 1)[None]), reference.classifier[:2](pooled))
        still = frames[:1].transpose(0, 1).repeat(1, 4, 1, 1)[None]
        expected = reference.classifier[:2](reference.avgpool(reference.features(frames[:1])))
        assert close(network.forward_features(still), expected)


def test_all_of_torchvisions_tiny_fits() -> None:
    with torch.device("meta"):
        converted = from_torchvision(torchvision.models.convnext_tiny(weights=None).state_dict())
        expected = tadaconvnext_tiny(400).state_dict()
    assert {name: tensor.shape for name, tensor in converted.items()} == {
        name: tensor.shape
        for name, tensor in expected.items()
        if ".dwconv_rf." not in name and not name.startswith("head.")
    }


@pytest.mark.parametrize("key", ["conv1.weight", "features.1.0.block.4.weight", "features.0.2.weight", "fc.bias"])
def test_other_weights_are_not_taken_for_torchvisions(key: str) -> None:
    with pytest.raises(CheckpointError, match=key):
        from_torchvision({key: torch.zeros(3)})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"routing": "attention"}, "unknown routing 'attention'"),
        ({"depths": (3, 3, 9)}, "4 widths do not fit 3 depths"),
        ({"dims": (), "depths": ()}, "0 widths"),
    ],
)
def test_settings_that_make_no_network_are_named(arguments, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        tadaconvnext_tiny(4, **arguments)
