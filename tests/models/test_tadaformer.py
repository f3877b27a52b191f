"""TAdaFormer: cost and memory, what it takes, how it starts from CLIP, what trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tadacli.errors import SpecError
from tadacli.models.tadaconv import RouteFuncwTransformer
from tadacli.models.tadaformer import (
    AggregatingTAdaConv,
    TAdaBottleneck,
    TAdaFormer,
    TAdaFormerBlock,
    tadaformer_b16,
    tadaformer_l14,
)

SSV2 = {"double_tada": True, "temporal_enhance": True}
WIDTH, PATCH, CROP = 256, 8, 16
NUM_PATCHES = (CROP // PATCH) ** 2


def small(num_classes: Any = 5, *, num_layers: int = 2, **arguments: Any) -> TAdaFormer:
    """A network of the least width, on pictures of four patches."""
    torch.manual_seed(0)
    return TAdaFormer(
        num_classes, width=WIDTH, num_layers=num_layers, patch_size=PATCH, crop_size=CROP, **arguments
    ).eval()


def away_from_its_start(network: nn.Module) -> None:
    """Gives the TAda parts, which start at nothing, something to say."""
    for module in network.modules():
        if isinstance(module, TAdaBottleneck):
            nn.init.normal_(module.tada_proj.weight, std=0.1)
            nn.init.normal_(module.tadaconv.bn_b.weight)


def on_meta(
    builder: Callable[..., TAdaFormer], num_classes: int, num_frames: int, **arguments: bool
) -> tuple[TAdaFormer, Tensor]:
    with torch.device("meta"):
        return builder(num_classes, **arguments).eval(), torch.empty(1, 3, num_frames, 224, 224)


@pytest.mark.parametrize(
    ("num_classes", "arguments", "parameters", "gmacs"),
    [(400, {}, 104.20, 153.60), (174, SSV2, 135.09, 187.03)],
    ids=["k400", "ssv2"],
)
def test_b16_has_the_published_size_and_a_cost_linear_in_frames(num_classes, arguments, parameters, gmacs) -> None:
    costs = []
    for num_frames in (16, 32):
        network, clip = on_meta(tadaformer_b16, num_classes, num_frames, **arguments)
        with FlopCounterMode(display=False) as counter:
            network(clip)
        costs.append(counter.get_total_flops() / 2e9)
    assert round(sum(each.numel() for each in network.parameters()) / 1e6, 2) == parameters
    assert round(costs[0], 2) == gmacs
    # The routing functions attend over time, but to one vector for each frame.
    assert costs[1] == pytest.approx(2 * costs[0], rel=1e-4)


class LargestMemory(TorchDispatchMode):
    """The most bytes that tensors made under it held at one time."""

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.given = {StorageWeakRef(tensor.untyped_storage()).cdata for tensor in given}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self.given:
                    self.alive[reference.cdata] = (reference, storage.nbytes())
        self.alive = {key: each for key, each in self.alive.items() if not each[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self.alive.values()))
        return out


@pytest.mark.parametrize("arguments", [{}, SSV2], ids=["k400", "ssv2"])
def test_64_frames_of_l14_fit_in_24_gigabytes_many_times(arguments: dict[str, bool]) -> None:
    network, clip = on_meta(tadaformer_l14, 400, 64, **arguments)
    weights = sum(each.numel() * each.element_size() for each in network.parameters())
    with torch.inference_mode(), LargestMemory(clip, *network.parameters(), *network.buffers()) as memory:
        network(clip)
    one_view = memory.bytes + clip.numel() * clip.element_size()
    assert memory.bytes > 4 * 32 * 257 * 4096  # the MLP's hidden layer at least, so it did count
    assert weights + 12 * one_view < 24e9


@pytest.mark.parametrize("shape", [(1, 3, 1), (2, 3, 2), (1, 3, 7), (3, 3, 16)], ids=str)
@pytest.mark.parametrize("arguments", [{}, SSV2], ids=["k400", "ssv2"])
def test_any_batch_and_number_of_frames(shape: tuple[int, ...], arguments: dict[str, bool]) -> None:
    network = small(**arguments)
    away_from_its_start(network)
    clips = torch.randn(*shape, CROP, CROP)
    with torch.inference_mode():
        features, logits = network.forward_features(clips), network(clips)
        alone = torch.cat([network.forward_features(clip[None]) for clip in clips])
    assert (tuple(features.shape), tuple(logits.shape)) == ((shape[0], WIDTH), (shape[0], 5))
    torch.testing.assert_close(features, alone)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 3, 0, CROP, CROP), "without frames"),
        ((1, 3, 4, 24, 24), "16 x 16, got 24 x 24"),
        ((1, 3, 4, CROP, 24), "16 x 16, got 16 x 24"),
        ((1, 3, 4, CROP, CROP + 3), "16 x 16, got 16 x 19"),  # of the right number of patches, but not all seen
    ],
)
def test_pictures_it_has_no_positions_for_are_refused(shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        small()(torch.zeros(shape))


@pytest.mark.parametrize("crop_size", [0, 4, 20])
def test_pictures_that_are_not_of_whole_patches_are_refused(crop_size: int) -> None:
    with pytest.raises(SpecError, match="do not divide into patches of 8 x 8"):
        TAdaFormer(5, width=WIDTH, num_layers=1, patch_size=PATCH, crop_size=crop_size)


def test_named_heads() -> None:
    logits = small({"verb": 97, "noun": 300})(torch.zeros(2, 3, 2, CROP, CROP))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {"verb": (2, 97), "noun": (2, 300)}


def test_calibrated_convolution_is_one_with_a_kernel_and_a_bias_for_every_frame() -> None:
    torch.manual_seed(0)
    conv = AggregatingTAdaConv(128).eval()
    for name, parameter in conv.named_parameters():
        nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.2)
    x = torch.randn(2, 128, 4, 3, 3)
    with torch.inference_mode():
        weight_alpha, bias_alpha = (alpha[..., 0, 0] for alpha in conv.rf_func(x))
        convolved = torch.zeros_like(x)
        for clip in range(2):
            for frame in range(4):
                kernel = conv.weight[0, 0] * weight_alpha[clip, :, frame, None, None, None]
                bias = conv.bias[0, 0] * bias_alpha[clip, :, frame]
                convolved[clip, :, frame] = F.conv2d(x[clip, :, frame], kernel, bias, padding=1, groups=128)
        average = F.avg_pool3d(convolved, (3, 1, 1), stride=1, padding=(1, 0, 0))
        expected = torch.zeros_like(x)
        for values, norm in ((convolved, conv.bn_a), (average, conv.bn_b)):
            gain, shift = norm.weight.view(-1, 1, 1, 1), norm.bias.view(-1, 1, 1, 1)
            expected += values / (1 + norm.eps) ** 0.5 * gain + shift  # a fresh norm has seen mean 0, variance 1
        torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-5)


def clip_checkpoint(num_layers: int) -> dict[str, Tensor]:
    """Random weights under the names of OpenAI's checkpoints, in their half precision; some of its text tower."""
    shapes = {
        "positional_embedding": (77, 32),
        "transformer.resblocks.0.ln_1.weight": (32,),
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (1 + NUM_PATCHES, WIDTH),
        "visual.proj": (WIDTH, 32),
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
    }
    for norm in ("visual.ln_pre", "visual.ln_post"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    for number in range(num_layers):
        block = f"visual.transformer.resblocks.{number}"
        for layer, size, inputs in (("attn.out_proj", 1, 1), ("mlp.c_fc", 4, 1), ("mlp.c_proj", 1, 4)):
            shapes |= {
                f"{block}.{layer}.weight": (size * WIDTH, inputs * WIDTH),
                f"{block}.{layer}.bias": (size * WIDTH,),
            }
        shapes |= {f"{block}.attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{block}.attn.in_proj_bias": (3 * WIDTH,)}
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}.{norm}.weight": (WIDTH,), f"{block}.{norm}.bias": (WIDTH,)}
    torch.manual_seed(1)
    return {
        name: (torch.randn(shape) / (shape[-1] ** 0.5 if len(shape) > 1 else 4)).half()
        for name, shape in shapes.items()
    }


def clip_class_token(weights: dict[str, Tensor], picture: Tensor, num_layers: int) -> Tensor:
    """CLIP's image transformer on one picture (3, H, W), one head at a time: its class token before `ln_post`."""
    visual = {name.removeprefix("visual."): value.float() for name, value in weights.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * visual[f"{name}.weight"] + visual[f"{name}.bias"]

    kernel = visual["conv1.weight"].flatten(1)
    tokens = [visual["class_embedding"]]
    for top in range(0, CROP, PATCH):
        for left in range(0, CROP, PATCH):
            tokens.append(kernel @ picture[:, top : top + PATCH, left : left + PATCH].flatten())
    x = norm(torch.stack(tokens) + visual["positional_embedding"], "ln_pre")
    for number in range(num_layers):
        block = f"transformer.resblocks.{number}"
        qkv = norm(x, f"{block}.ln_1") @ visual[f"{block}.attn.in_proj_weight"].T + visual[f"{block}.attn.in_proj_bias"]
        query, key, value = qkv.split(WIDTH, dim=1)
        heads = []
        for start in range(0, WIDTH, 64):
            part = slice(start, start + 64)
            heads.append((query[:, part] @ key[:, part].T / 8).softmax(dim=1) @ value[:, part])
        out = torch.cat(heads, dim=1)
        x = x + out @ visual[f"{block}.attn.out_proj.weight"].T + visual[f"{block}.attn.out_proj.bias"]
        hidden = norm(x, f"{block}.ln_2") @ visual[f"{block}.mlp.c_fc.weight"].T + visual[f"{block}.mlp.c_fc.bias"]
        hidden = hidden / (1 + (-1.702 * hidden).exp())
        x = x + hidden @ visual[f"{block}.mlp.c_proj.weight"].T + visual[f"{block}.mlp.c_proj.bias"]
    return x[0]


def from_clip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Trunk weights of the image tower, its patch embedding as the middle frame of the tubelets'."""
    tower = {name.removeprefix("visual."): value.float() for name, value in weights.items() if "visual." in name}
    tower["conv1.weight"] = F.pad(tower["conv1.weight"].unsqueeze(2), (0, 0, 0, 0, 1, 1))
    names = {name: f"backbone.{name.replace('transformer.resblocks.', 'layers.')}" for name in tower}
    return {names[name]: value for name, value in tower.items() if name != "proj"}


@pytest.mark.parametrize("arguments", [{}, SSV2], ids=["k400", "ssv2"])
def test_it_starts_as_clip_on_the_middle_frame_of_every_tubelet(arguments: dict[str, bool]) -> None:
    weights = clip_checkpoint(num_layers=2)
    network = small(**arguments)
    missing, unexpected = network.load_state_dict(from_clip(weights), strict=False)
    assert unexpected == []
    assert all(".tada." in name or ".tada2." in name or name.startswith("head.") for name in missing)
    clip = torch.randn(1, 3, 5, CROP, CROP)
    with torch.inference_mode():
        features = network.forward_features(clip)
        tokens = [clip_class_token(weights, clip[0, :, frame], num_layers=2) for frame in (0, 2, 4)]
        gain, shift = (weights[f"visual.ln_post.{key}"].float() for key in ("weight", "bias"))
        expected = F.layer_norm(torch.stack(tokens).mean(dim=0), (WIDTH,), gain, shift)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arguments", [{}, SSV2], ids=["k400", "ssv2"])
def test_routing_learns_from_the_second_step_on(arguments: dict[str, bool]) -> None:
    network = small(**arguments).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    clips = torch.randn(2, 3, 4, CROP, CROP)
    routes = [module for module in network.modules() if isinstance(module, RouteFuncwTransformer)]
    routing = [p for route in routes for p in route.parameters() if p.requires_grad]
    for step in (1, 2):
        optimiser.zero_grad()
        network(clips).square().sum().backward()
        moved = [bool(each.grad.abs().sum() > 0) for each in routing]
        assert any(moved) == (step == 2)  # at first what comes after it is zero
        optimiser.step()
    named = dict(network.named_parameters())
    assert [name for name, p in named.items() if p.requires_grad and not p.grad.abs().sum() > 0] == []
    # The class token is all that leaves the last block, and the second TAda part does not see it.
    frozen = {name for name, p in named.items() if not p.requires_grad}
    assert frozen == {name for name in named if name.startswith("backbone.layers.1.tada2.")}


def test_a_dropped_branch_is_dropped_for_the_whole_clip() -> None:
    torch.manual_seed(0)
    block = TAdaFormerBlock(WIDTH, double_tada=False, temporal_enhance=False, drop_path=0.5).train()
    nn.init.xavier_uniform_(block.attn.in_proj_weight)
    nn.init.zeros_(block.tada.tada_proj.weight)
    nn.init.zeros_(block.tada.tada_proj.bias)
    nn.init.uniform_(block.tada.tadaconv.weight)
    nn.init.uniform_(block.tada.tadaconv.bias)
    tokens = torch.randn(24, 3, 1 + NUM_PATCHES, WIDTH)
    changed = (block(tokens, CROP // PATCH) != tokens).flatten(2).any(dim=2)
    assert (changed.all(dim=1) | ~changed.any(dim=1)).all()
    assert 0 < changed.any(dim=1).sum() < 24


def test_drop_path_rises_to_its_rate_and_ends_with_training() -> None:
    network = small(num_layers=3, drop_path=0.4)
    assert [block.drop_attn.rate for block in network.backbone.layers] == pytest.approx([0, 0.2, 0.4])
    clips = torch.randn(1, 3, 2, CROP, CROP)
    with torch.inference_mode():
        torch.testing.assert_close(network(clips), network(clips), rtol=0, atol=0)


def test_all_of_the_tada_parts_learns_at_a_rate_of_its_own() -> None:
    network = small(**SSV2)
    faster = {id(p) for m in network.modules() if getattr(type(m), "is_routing", False) for p in m.parameters()}
    parts = {id(parameter) for name, parameter in network.named_parameters() if "tada" in name}
    assert faster == parts != set()


def test_layers_tell_the_depth_of_every_parameter() -> None:
    with torch.device("meta"):
        network = tadaformer_b16(5)
    layers = network.layers()
    depths = {}
    for name, _ in network.backbone.named_parameters():
        fitting = [prefix for prefix in layers if f"backbone.{name}".startswith(f"{prefix}.")]
        depths[name] = layers.index(max(fitting, key=len))
    for name in ("class_embedding", "positional_embedding", "conv1.weight", "ln_pre.bias"):
        assert depths[name] == 0
    assert {int(name.split(".")[1]): depth for name, depth in depths.items() if name.startswith("layers.")} == {
        number: number + 1 for number in range(12)
    }
    assert depths["ln_post.weight"] == 13 == len(layers) - 1
