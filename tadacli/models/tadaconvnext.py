"""TAdaConvNeXt (v1): ConvNeXt whose depthwise 7x7 convolutions are calibrated per frame (TAda! paper, tables 8 and 10).

The network of the hosted model. Weight and bias of the depthwise convolution are both calibrated, along output
channels, which for a depthwise kernel is a scale and a shift of the output of one kernel shared by all frames.
Tensors are (B, C, T, H, W) in channels-last order throughout, so that layer norm and the pointwise layers work on
free (B, T, H, W, C) views. Settings and parameter names are those of the authors' published configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.errors import CheckpointError, SpecError
from tadacli.models.dropout import DropPath
from tadacli.models.heads import ClipClassifier, NumClasses
from tadacli.models.layers import (
    ChannelNorm,
    FrameBatchNorm,
    TemporalConv1d,
    fold_time,
    frame_descriptors,
    unfold_like,
)
from tadacli.models.packed import PackedLinear, PointwiseLayers, num_pieces
from tadacli.models.tadaconv import DepthwiseTAdaConv2d

Routing = Literal["normal_lngelu", "normal"]

EXPANSION = 4
PATCH = 4  # pixels along each side of what one output of the stem sees, and its stride
NORM_EPS = 1e-6
LAYER_SCALE = 1e-6  # where the scale of a residual branch starts
WEIGHT_STD = 0.02  # of fresh weights, as in ConvNeXt


class PatchConv(nn.Conv3d):
    """A convolution of patches that do not overlap in space. Parameters are those of Conv3d.

    An input smaller than one patch is filled up with zeros, so that the smallest picture still gives one cell.
    """

    def __init__(
        self, in_channels: int, out_channels: int, patch_size: int, *, t_kernel: int = 1, t_stride: int = 1
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            (t_kernel, patch_size, patch_size),
            stride=(t_stride, patch_size, patch_size),
            padding=((t_kernel - 1) // 2, 0, 0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T', H', W')."""
        unpadded = self.kernel_size[0] - 2 * ((self.kernel_size[0] - 1) // 2)
        smallest = (unpadded, *self.kernel_size[1:])
        frames, height, width = (max(least - size, 0) for least, size in zip(smallest, x.shape[2:], strict=True))
        if frames or height or width:
            x = F.pad(x, (0, width, 0, height, 0, frames))
        if self.kernel_size[0] > 1 or self.stride[0] > 1:
            return super().forward(x)
        out = F.conv2d(fold_time(x), self.weight.squeeze(2), self.bias, stride=self.stride[1:])
        return unfold_like(out, x)


class WeightAndBiasRouting(nn.Module):
    """Routing function of TAdaConvNeXt: one calibration for the weight and one for the bias of every frame.

    TAda2D's (see `RouteFuncMLP`) with a second output convolution, and for "normal_lngelu" with layer norm and
    GELU between the convolutions in place of batch norm and ReLU ("normal"). Both outputs start at one.
    """

    is_routing = True

    def __init__(self, num_channels: int, *, routing: Routing, ratio: int, kernels: Sequence[int]) -> None:
        super().__init__()
        hidden = num_channels // ratio
        self.g = TemporalConv1d(num_channels, num_channels, 1, bias=True)
        self.a = TemporalConv1d(num_channels, hidden, kernels[0], bias=True)
        if routing == "normal_lngelu":
            self.ln = ChannelNorm(hidden)
        else:
            self.bn = FrameBatchNorm(hidden)
        self.b = TemporalConv1d(hidden, num_channels, kernels[1])
        self.b_bias = TemporalConv1d(hidden, num_channels, kernels[1])
        self.routing = routing
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b_bias.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) -> calibrations of the weight and of the bias, each (B, C, T, 1, 1)."""
        local = frame_descriptors(x)[..., None, None]
        hidden = self.a(local + self.g(local.mean(dim=2, keepdim=True)))
        hidden = F.gelu(self.ln(hidden)) if self.routing == "normal_lngelu" else F.relu(self.bn(hidden))
        return self.b(hidden) + 1, self.b_bias(hidden) + 1


class Block(nn.Module):
    """ConvNeXt block: calibrated depthwise 7x7, layer norm, two pointwise layers; scaled, beside the identity."""

    def __init__(
        self, num_channels: int, *, routing: Routing, ratio: int, kernels: Sequence[int], drop_path: float
    ) -> None:
        super().__init__()
        self.dwconv = DepthwiseTAdaConv2d(num_channels, 7)
        self.dwconv_rf = WeightAndBiasRouting(num_channels, routing=routing, ratio=ratio, kernels=kernels)
        self.norm = nn.LayerNorm(num_channels, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(num_channels, EXPANSION * num_channels)
        self.pwconv2 = nn.Linear(EXPANSION * num_channels, num_channels)
        self.gamma = nn.Parameter(torch.full((num_channels,), LAYER_SCALE))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        branch = self.dwconv(x, *self.dwconv_rf(x)).movedim(1, -1)
        branch = self.pwconv2(F.gelu(self.pwconv1(self.norm(branch))))
        return torch.addcmul(x.movedim(1, -1), self.drop_path(branch), self.gamma).movedim(-1, 1)

    def fused(self) -> FusedBlock:
        """The block for inference. It shares what it need not change."""
        return FusedBlock(self)


class FusedBlock(nn.Module):
    """A `Block` for inference, with the layer scale in the second linear layer: it writes over its input.

    All but the routing belongs to single frames, so a few of them at a time go through the whole block.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.dwconv, self.dwconv_rf, self.norm = block.dwconv, block.dwconv_rf, block.norm
        first, second = block.pwconv1, block.pwconv2
        self.pointwise = PointwiseLayers(
            PackedLinear(first.weight, first.bias, activation="gelu"),
            PackedLinear(second.weight * block.gamma[:, None], second.bias * block.gamma),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape; in channels-last order the memory of `x`, which ends its use."""
        alphas = self.dwconv_rf(x)
        pixels = x.movedim(1, -1).contiguous()
        frames = pixels.flatten(0, 1).movedim(-1, 0)[None]  # all as one clip (1, C, B*T, H, W)
        of_frames = [fold_time(alpha).transpose(0, 1)[None] for alpha in alphas]
        pieces = min(num_pieces(pixels.shape[:-1].numel(), self.pointwise.width, pixels.device), frames.shape[2])
        for some, *some_alphas in zip(*(each.chunk(pieces, dim=2) for each in (frames, *of_frames)), strict=True):
            branch = self.dwconv(some, *some_alphas).movedim(1, -1)
            self.pointwise.add_to(some.movedim(1, -1), self.norm(branch))
        return pixels.movedim(-1, 1)


class Trunk(nn.Module):
    """Stem and stages of blocks: clips to feature maps. `norm` is for their mean over time and space.

    `make_block` gets a stage's channels and the drop-path rate of the block, of which `rates` has one for each.
    """

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        make_block: Callable[[int, float], nn.Module],
        *,
        rates: Iterable[float],
        stem_t_kernel: int = 3,
        stem_t_stride: int = 2,
    ) -> None:
        super().__init__()
        self.stem_t_kernel = stem_t_kernel
        stem = PatchConv(3, widths[0], PATCH, t_kernel=stem_t_kernel, t_stride=stem_t_stride)
        self.downsample_layers = nn.ModuleList([nn.Sequential(stem, ChannelNorm(widths[0]))])
        for narrow, wide in pairwise(widths):
            self.downsample_layers.append(nn.Sequential(ChannelNorm(narrow), PatchConv(narrow, wide, 2)))
        remaining = iter(rates)
        self.stages = nn.ModuleList(
            nn.Sequential(*(make_block(width, next(remaining)) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, D, T', H', W')."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        return x


class ConvNeXtClassifier(ClipClassifier):
    """A trunk of ConvNeXt's kind with a classification head; it can take over the weights of torchvision's ConvNeXt."""

    backbone: Trunk
    IMAGE_KIND = "imagenet"
    NOT_OF_IMAGES: tuple[str, ...] = ("_rf.",)  # parts of names that an image network lacks

    def __init__(
        self, trunk: Trunk, widths: Sequence[int], depths: Sequence[int], num_classes: NumClasses, *, dropout: float
    ) -> None:
        super().__init__(trunk, widths[-1], num_classes, dropout=dropout)
        self.IMAGE_WEIGHTS = _IMAGE_WEIGHTS.get((tuple(depths), widths[0]), "")

    def from_image_weights(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Trunk weights of this network from torchvision's ConvNeXt, see `from_torchvision`."""
        return from_torchvision(state_dict, stem_t_kernel=self.backbone.stem_t_kernel)

    def layers(self) -> list[str]:
        """Prefixes of the trunk's parameter names in order of depth: stem, blocks and what lies between them, norm."""
        names = []
        for stage, blocks in enumerate(self.backbone.stages):
            names.append(f"backbone.downsample_layers.{stage}")
            names += [f"backbone.stages.{stage}.{block}" for block, _ in enumerate(blocks.children())]
        return [*names, "backbone.norm"]

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> features (B, D), after the last norm."""
        features: Tensor = self.backbone.norm(super().forward_features(x))
        return features


class TAdaConvNeXt(ConvNeXtClassifier):
    """A TAdaConvNeXt with a classification head.

    Any batch, any T >= 1, any H and W (the trunk strides by 32; smaller pictures still give one cell). `dims` and
    `depths` are the channels and the blocks of the stages. The stem's convolution spans `stem_t_kernel` frames and
    steps by `stem_t_stride`: the published 3 and 2 halve the frames. `routing`, `ratio` and `kernels` make the
    routing functions; `drop_path` is the rate of the last block, falling linearly to none at the first.

    Raises `SpecError` for settings that make no network.
    """

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        dims: Sequence[int],
        depths: Sequence[int],
        routing: Routing = "normal_lngelu",
        ratio: int = 4,
        kernels: Sequence[int] = (3, 3),
        stem_t_kernel: int = 3,
        stem_t_stride: int = 2,
        drop_path: float = 0.0,
        dropout: float = 0.5,
    ) -> None:
        if routing not in ("normal_lngelu", "normal"):
            raise SpecError(f"unknown routing {routing!r}", hint='TAdaConvNeXt has "normal_lngelu" and "normal"')
        if not dims or len(dims) != len(depths):
            raise SpecError(f"{len(dims)} widths do not fit {len(depths)} depths", hint="give one of each for a stage")
        trunk = Trunk(
            dims,
            depths,
            lambda width, rate: Block(width, routing=routing, ratio=ratio, kernels=kernels, drop_path=rate),
            # From nothing at the first block to the whole rate at the last.
            rates=torch.linspace(0, drop_path, sum(depths), device="cpu").tolist(),
            stem_t_kernel=stem_t_kernel,
            stem_t_stride=stem_t_stride,
        )
        super().__init__(trunk, dims, depths, num_classes, dropout=dropout)
        # The last convolutions of the routing functions stay at zero.
        initialise(trunk, nn.init.normal_, kept=("dwconv_rf.b",))


def initialise(trunk: Trunk, draw: Callable[..., object], *, kept: Sequence[str]) -> None:
    """ConvNeXt's start: weights by `draw`, biases of zero; norms, and what has one of `kept` in its name, stay."""
    for name, parameter in trunk.named_parameters():
        # Weights on meta have no values, and pretending to set them loads torch's compiler, which takes a second.
        if parameter.is_meta or any(part in name for part in kept):
            continue
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() > 1:
            draw(parameter, std=WEIGHT_STD)


# TAdaConvNeXt-T, as published (38.66 M parameters with 400 classes).
tadaconvnext_tiny = partial(TAdaConvNeXt, dims=(96, 192, 384, 768), depths=(3, 3, 9, 3))


_TORCHVISION_BLOCK = {"block.0": "dwconv", "block.2": "norm", "block.3": "pwconv1", "block.5": "pwconv2"}


# torchvision's ConvNeXt by depths and width of the stem, trained on ImageNet-1K: their names in `zoo.image_weights`.
_IMAGE_WEIGHTS: dict[tuple[tuple[int, ...], int], str] = {
    ((3, 3, 9, 3), 96): "convnext_tiny.imagenet",
    ((3, 3, 27, 3), 96): "convnext_small.imagenet",
    ((3, 3, 27, 3), 128): "convnext_base.imagenet",
}


def from_torchvision(state_dict: Mapping[str, Tensor], *, stem_t_kernel: int = 3) -> dict[str, Tensor]:
    """Trunk weights of this family from torchvision's ConvNeXt state dict; its classifier is left out.

    As published, the stem's kernel goes into the middle of `stem_t_kernel` frames with zeros around it (of an even
    number, into the later of the two in the middle), depthwise kernels become base weights, and the routing
    functions, missing from the result, stay as initialised.

    Raises `CheckpointError` for a key that is not torchvision's.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        if name.startswith("classifier.2."):
            continue
        target = f"backbone.{_torchvision_name(name)}"
        if target == "backbone.downsample_layers.0.0.weight":
            inflated = tensor.new_zeros(*tensor.shape[:2], stem_t_kernel, *tensor.shape[2:])
            inflated[:, :, stem_t_kernel // 2] = tensor
            converted[target] = inflated
        elif ".dwconv." in target:
            converted[target] = tensor[None, None]
        elif tensor.dim() == 4:
            converted[target] = tensor.unsqueeze(2)
        else:
            converted[target] = tensor.flatten() if target.endswith("gamma") else tensor
    return converted


def _torchvision_name(name: str) -> str:
    match name.split("."):
        case ["classifier", "0", key]:
            return f"norm.{key}"
        case ["features", ("0" | "2" | "4" | "6") as part, ("0" | "1") as layer, ("weight" | "bias") as key]:
            return f"downsample_layers.{int(part) // 2}.{layer}.{key}"
        case ["features", part, block, "layer_scale"]:
            return f"stages.{int(part) // 2}.{block}.gamma"
        case ["features", part, block, "block", layer, key] if f"block.{layer}" in _TORCHVISION_BLOCK:
            return f"stages.{int(part) // 2}.{block}.{_TORCHVISION_BLOCK[f'block.{layer}']}.{key}"
    raise CheckpointError(f"{name} is not a key of torchvision's ConvNeXt", hint="give the state dict of convnext_tiny")
