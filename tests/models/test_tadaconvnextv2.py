"""TAdaConvNeXtV2: its literal definition, size and cost, what it takes, how it starts, and what training reaches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tadacli.models import tadaconvnextv2
from tadacli.models.dropout import DropPath
from tadacli.models.tadaconv import DepthwiseTAdaConv2d
from tadacli.models.tadaconvnextv2 import Block, TAdaConvNeXtV2, tadaconvnextv2_tiny
from tadacli.zoo.manifest import cards

TOLERANCE = 1e-5  # relative, by norm
NAMES = ["tadaconvnextv2_tiny", "tadaconvnextv2_small", "tadaconvnextv2_base"]


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual - expected).norm() <= TOLERANCE * expected.norm())


def small_network(num_classes=5, *, away_from_identity: bool = True, **arguments) -> TAdaConvNeXtV2:
    """Three narrow stages; each routing function has two heads or more, which one head would not tell apart."""
    torch.manual_seed(0)
    sizes = {"stage_depths": (1, 2, 1), "stem_width": 16, "route_head_dim": 4}
    network = tadaconvnextv2_tiny(num_classes, **{**sizes, **arguments})
    if away_from_identity:
        for name, parameter in network.named_parameters():
            if "dwconv_rf.b" in name or "norm" in name or "gamma" in name:
                nn.init.normal_(parameter, std=0.3)
            elif name.endswith("dwconv.bias"):
                nn.init.normal_(parameter, std=0.1)
    return network.eval()


def on_meta(architecture: str, num_classes: int = 400) -> TAdaConvNeXtV2:
    with torch.device("meta"):
        return getattr(tadaconvnextv2, architecture)(num_classes).eval()


def one_kernel_per_frame(conv: DepthwiseTAdaConv2d, x: Tensor, alpha: Tensor, bias_alpha: Tensor) -> Tensor:
    """Every frame of every clip alone, with its own weights and biases."""
    clips = []
    for clip, factors, bias_factors in zip(x, alpha[..., 0, 0], bias_alpha[..., 0, 0], strict=True):
        frames = []
        for time in range(x.shape[2]):
            weight = conv.weight[0, 0] * factors[:, time, None, None, None]
            bias = conv.bias[0, 0] * bias_factors[:, time]
            frames.append(F.conv2d(clip[None, :, time], weight, bias, padding=conv.padding[1:], groups=conv.groups))
        clips.append(torch.stack(frames, dim=2))
    return torch.cat(clips)


def literal_block(block: Block, x: Tensor) -> Tensor:
    """The block step by step, as the publication describes it."""
    y = one_kernel_per_frame(block.dwconv, x, *block.dwconv_rf(x))
    average = F.avg_pool3d(y, (3, 1, 1), stride=1, padding=(1, 0, 0))
    y = block.norm(y.permute(0, 2, 3, 4, 1)) + block.norm_avgpool(average.permute(0, 2, 3, 4, 1))
    y = block.pwconv1(y)
    y = block.gamma * block.pwconv2(y * torch.sigmoid(1.702 * y))
    return x + y.permute(0, 4, 1, 2, 3)


def literal_features(network: TAdaConvNeXtV2, x: Tensor) -> Tensor:
    trunk = network.backbone
    for number, (shrink, blocks) in enumerate(zip(trunk.downsample_layers, trunk.stages, strict=True)):
        if number == 0:
            x = F.conv3d(x, shrink[0].weight, shrink[0].bias, stride=(2, 4, 4), padding=(1, 0, 0))
            x = shrink[1](x)
        else:
            x = F.conv3d(shrink[0](x), shrink[1].weight, shrink[1].bias, stride=(1, 2, 2))
        for block in blocks:
            x = literal_block(block, x)
    return trunk.norm(x.mean(dim=(2, 3, 4)))


# Small weights bring the variance that the norms see down to the size of their eps.
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_network_equals_its_literal_definition(scale: float) -> None:
    network = small_network()
    with torch.no_grad():
        for block in (module for module in network.modules() if isinstance(module, Block)):
            block.dwconv.weight *= scale
            block.dwconv.bias *= scale
    clips = torch.randn(2, 3, 9, 39, 50)
    with torch.inference_mode():
        assert close(network.forward_features(clips), literal_features(network, clips))


def test_gradients_equal_those_of_the_literal_definition() -> None:
    network = small_network(stage_depths=(1, 1))
    clips = torch.randn(2, 3, 6, 24, 17)
    parameters = dict(network.backbone.named_parameters())
    weights = torch.randn(2, 32)
    ours = torch.autograd.grad((network.forward_features(clips) * weights).sum(), parameters.values())
    literal = torch.autograd.grad((literal_features(network, clips) * weights).sum(), parameters.values())
    scale = max(float(gradient.abs().max()) for gradient in literal)
    for name, actual, expected in zip(parameters, ours, literal, strict=True):
        # A few biases are taken away again by a later norm and have rounding for a gradient.
        assert (actual - expected).norm() <= 1e-4 * expected.norm() + 1e-6 * scale, name


@pytest.mark.parametrize(
    ("architecture", "parameters", "routing", "gmacs"),
    [
        ("tadaconvnextv2_tiny", 45.97, 17.8, 46.99),
        ("tadaconvnextv2_small", 82.25, 32.5, 91.29),
        ("tadaconvnextv2_base", 145.69, 57.7, 161.30),
    ],
)
def test_published_size_and_cost(architecture: str, parameters: float, routing: float, gmacs: float) -> None:
    network = on_meta(architecture)
    assert round(sum(each.numel() for each in network.parameters()) / 1e6, 2) == parameters
    calibrating = sum(each.numel() for name, each in network.named_parameters() if "dwconv_rf" in name)
    assert round(calibrating / 1e6, 1) == routing
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 16, 256, 256, device="meta"))
    assert round(counter.get_total_flops() / 2e9, 2) == gmacs


@pytest.mark.parametrize("name", [name for name, card in cards().items() if card.architecture in NAMES])
def test_entries_of_the_manifest_have_the_stated_size(name: str) -> None:
    card = cards()[name]
    assert card.arguments == {}  # else they belong into the call
    network = on_meta(card.architecture, card.num_classes)
    assert sum(each.numel() for each in network.parameters()) == card.num_parameters


@pytest.mark.parametrize(
    "shape",
    [(1, 3, 1, 32, 32), (2, 3, 2, 33, 65), (3, 3, 7, 16, 20), (1, 3, 3, 1, 40)],
    ids=["one frame", "odd sides", "too small for the last stage", "one row"],
)
def test_any_batch_length_and_size(shape: tuple[int, ...]) -> None:
    network = small_network(stage_depths=(1, 1, 1, 1))
    with torch.inference_mode():
        features, logits = network.forward_features(torch.randn(shape)), network(torch.randn(shape))
    assert features.shape == (shape[0], 128)
    assert logits.shape == (shape[0], 5)
    assert bool(logits.isfinite().all())


def test_clips_of_a_batch_do_not_mix() -> None:
    network = small_network()
    clips = torch.randn(3, 3, 5, 32, 32)
    with torch.inference_mode():
        together, alone = network(clips), torch.cat([network(clip[None]) for clip in clips])
    assert close(together, alone)


def test_named_heads() -> None:
    network = small_network({"verb": 97, "noun": 300})
    with torch.inference_mode():
        logits = network(torch.zeros(2, 3, 2, 32, 32))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {"verb": (2, 97), "noun": (2, 300)}


def test_every_layer_keeps_channels_last_order() -> None:
    network = small_network()
    orders = []
    for module in network.backbone.modules():
        if isinstance(module, Block | DepthwiseTAdaConv2d | nn.Sequential):
            module.register_forward_hook(
                lambda module, _, out: orders.append(
                    (type(module).__name__, out.is_contiguous(memory_format=torch.channels_last_3d))
                )
            )
    with torch.inference_mode():
        network(torch.randn(2, 3, 6, 64, 64))
    assert len(orders) == 14
    assert [order for order in orders if not order[1]] == []


def test_a_new_block_is_that_of_convnext_frame_by_frame() -> None:
    torch.manual_seed(0)
    block = Block(16, route_head_dim=4, drop_path=0.0).eval()
    nn.init.ones_(block.gamma)
    x = torch.randn(2, 16, 5, 9, 7)
    with torch.inference_mode():
        for calibration in block.dwconv_rf(x):
            assert torch.equal(calibration, torch.ones_like(calibration))
        for time in range(5):
            frame = x[:, :, time]
            y = F.conv2d(frame, block.dwconv.weight[0, 0], block.dwconv.bias[0, 0], padding=3, groups=16)
            y = block.pwconv1(block.norm(y.movedim(1, -1)))
            expected = frame + block.pwconv2(y * torch.sigmoid(1.702 * y)).movedim(-1, 1)
            assert close(block(x)[:, :, time], expected)


def test_training_reaches_all_of_the_routing_after_one_step() -> None:
    network = small_network(away_from_identity=False).train()
    clips, labels = torch.randn(4, 3, 8, 32, 32), torch.tensor([0, 1, 2, 3])
    routing = {name: each for name, each in network.named_parameters() if "dwconv_rf" in name}

    def without_gradient() -> set[str]:
        network.zero_grad()
        F.cross_entropy(network(clips), labels).backward()
        return {name for name, each in routing.items() if not bool(each.grad.count_nonzero())}

    # At the start the last layers are zero and stop what lies before them, but learn themselves.
    assert without_gradient() == {name for name in routing if ".b." not in name and ".b_bias." not in name}
    torch.optim.AdamW(network.parameters(), lr=1e-3).step()
    assert without_gradient() == set()


def test_drop_path_grows_evenly_and_leaves_out_whole_samples() -> None:
    network = small_network(stage_depths=(2, 2, 1), drop_path=0.4)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])

    block = Block(16, route_head_dim=4, drop_path=0.5).train()
    nn.init.ones_(block.gamma)
    torch.manual_seed(1)
    x = torch.randn(16, 16, 2, 3, 3)
    branch = block(x) - x
    whole = block.eval()(x) - x
    kept = branch.flatten(1).abs().sum(dim=1) > 0
    assert 0 < int(kept.sum()) < 16
    assert torch.allclose(branch[kept], 2 * whole[kept], atol=1e-5)


def test_layers_are_modules_in_order_that_hold_the_trunk() -> None:
    network = on_meta("tadaconvnextv2_small")  # with blocks 2 and 20, of which one name begins with the other
    layers = network.layers()
    owners = {}
    for name, _ in network.named_parameters():
        owners[name] = [number for number, layer in enumerate(layers) if name.startswith(f"{layer}.")]
    outside = {name for name, found in owners.items() if len(found) != 1}
    assert outside == {"head.out.weight", "head.out.bias"}
    assert layers[-1] == "backbone.norm"
    assert {number for found in owners.values() for number in found} == set(range(len(layers)))

    order: list[str] = []
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(lambda *_, layer=layer: order.append(layer))
    network(torch.empty(1, 3, 2, 32, 32, device="meta"))
    assert order == layers


def test_drop_path_of_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        small_network(drop_path=1.0)


def test_the_stem_halves_the_frames() -> None:
    network = small_network()
    for frames in range(1, 9):
        with torch.inference_mode():
            assert network.backbone.downsample_layers[0](torch.randn(1, 3, frames, 8, 8)).shape[2] == math.ceil(
                frames / 2
            )
