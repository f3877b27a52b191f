"""TAda2D: a 2-D ResNet whose 3x3 convolutions are calibrated per frame (TAda! paper, section 3.3).

Also the TSN baseline: the same trunk with plain 3x3 convolutions and no aggregation over time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Self

from torch import Tensor, nn

from tadacli.models.heads import ClipClassifier, NumClasses
from tadacli.models.layers import (
    Folded,
    FrameBatchNorm,
    FrameConv2d,
    Norm,
    TemporalFilter,
    aggregate_over_time,
    fold_norm,
    normalised_conv,
)
from tadacli.models.ops import RouteFuncMLP, TAdaConv2d

EXPANSION = 4


class TAdaBranch(nn.Module):
    """Residual branch of TAda2D: 1x1, calibrated 3x3 (strided), temporal aggregation, 1x1; added to the residual."""

    def __init__(self, in_channels: int, width: int, *, stride: int, ratio: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.a = FrameConv2d(in_channels, width, 1)
        self.a_bn = FrameBatchNorm(width)
        self.b = TAdaConv2d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))
        self.b_rf = RouteFuncMLP(width, ratio=ratio, kernels=kernels)
        self.b_bn: FrameBatchNorm | TemporalFilter = FrameBatchNorm(width)
        self.b_avgpool_bn: Norm = FrameBatchNorm(width)
        nn.init.zeros_(self.b_avgpool_bn.weight)  # temporal aggregation starts as the identity
        self.c = FrameConv2d(width, width * EXPANSION, 1)
        self.c_bn = FrameBatchNorm(width * EXPANSION)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = normalised_conv(self.a, self.a_bn, x, rectified=True)
        x = self.b(x, self.b_rf(x))
        x = aggregate_over_time(x, self.b_bn, self.b_avgpool_bn, rectified=True)
        return normalised_conv(self.c, self.c_bn, x, rectified=True, residual=residual)

    def fused(self) -> Self:
        """The form for inference."""
        fold_norm(self, "a", "a_bn")
        fold_norm(self, "c", "c_bn")
        self.b.spends_input = True
        assert isinstance(self.b_bn, FrameBatchNorm)
        assert isinstance(self.b_avgpool_bn, FrameBatchNorm)
        self.b_bn, self.b_avgpool_bn = TemporalFilter(self.b_bn, self.b_avgpool_bn), Folded()
        return self


class PlainBranch(nn.Module):
    """Residual branch of the TSN baseline: 1x1, 3x3 (strided), 1x1, each frame by itself; added to the residual."""

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.a = FrameConv2d(in_channels, width, 1)
        self.a_bn = FrameBatchNorm(width)
        self.b = FrameConv2d(width, width, 3, stride=stride, padding=1)
        self.b_bn = FrameBatchNorm(width)
        self.c = FrameConv2d(width, width * EXPANSION, 1)
        self.c_bn = FrameBatchNorm(width * EXPANSION)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = normalised_conv(self.a, self.a_bn, x, rectified=True)
        x = normalised_conv(self.b, self.b_bn, x, rectified=True)
        return normalised_conv(self.c, self.c_bn, x, rectified=True, residual=residual)

    def fused(self) -> Self:
        """The form for inference."""
        for conv in "abc":
            fold_norm(self, conv, f"{conv}_bn")
        return self


class Bottleneck(nn.Module):
    """A residual branch beside the identity, or beside a strided 1x1 where the shape changes.

    The branch is called with the block's input and with what its result is added to, and ends with ReLU.
    """

    def __init__(self, branch: nn.Module, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.short_cut: FrameConv2d | None = None
        self.short_cut_bn: FrameBatchNorm | None = None
        if stride != 1 or in_channels != out_channels:
            self.short_cut = FrameConv2d(in_channels, out_channels, 1, stride=stride)
            self.short_cut_bn = FrameBatchNorm(out_channels)
        self.conv_branch = branch

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        if self.short_cut is not None and self.short_cut_bn is not None:
            residual = normalised_conv(self.short_cut, self.short_cut_bn, x)
        return self.conv_branch(x, residual)  # type: ignore[no-any-return]

    def fused(self) -> Self:
        """The form for inference."""
        if self.short_cut is not None:
            fold_norm(self, "short_cut", "short_cut_bn")
        return self


class Stem(nn.Module):
    """7x7 convolution of stride 2. The published trunk has no max-pool; its first stage strides instead."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = FrameConv2d(3, width, 7, stride=2, padding=3)
        self.a_bn = FrameBatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return normalised_conv(self.a, self.a_bn, x, rectified=True)

    def fused(self) -> Self:
        """The form for inference."""
        fold_norm(self, "a", "a_bn")
        return self


class FrameResNet(ClipClassifier):
    """A bottleneck ResNet over video frames with a classification head.

    Any batch, any T >= 1, any H and W (the trunk strides by 32; smaller pictures still give one cell).
    `stage_depths` are the blocks of the four stages, `stem_width` the channels of the stem; stage i has
    bottlenecks of `stem_width * 2**i` channels and four times as many at its output.
    """

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        tada: bool,
        stage_depths: Sequence[int] = (3, 4, 6, 3),
        stem_width: int = 64,
        route_ratio: int = 4,
        route_kernels: Sequence[int] = (3, 3),
        dropout: float = 0.5,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=Stem(stem_width))
        in_channels = stem_width
        for stage, depth in enumerate(stage_depths):
            width = stem_width * 2**stage
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, depth + 1):
                stride = 2 if number == 1 else 1
                branch = (
                    TAdaBranch(in_channels, width, stride=stride, ratio=route_ratio, kernels=route_kernels)
                    if tada
                    else PlainBranch(in_channels, width, stride=stride)
                )
                blocks[f"res_{number}"] = Bottleneck(branch, in_channels, width * EXPANSION, stride=stride)
                in_channels = width * EXPANSION
            layers[f"conv{stage + 2}"] = nn.Sequential(blocks)
        super().__init__(nn.Sequential(layers), in_channels, num_classes, dropout=dropout)
        self._is_tada = tada
        # Weights on meta have no values, and pretending to set them loads torch's compiler, which takes a second.
        for module in self.backbone.modules():
            if isinstance(module, FrameConv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    # The weights the published models were started from (torchvision's ResNet-50, ImageNet-1K, first version).
    IMAGE_WEIGHTS_URL = "https://download.pytorch.org/models/resnet50-19c8e357.pth"
    NOT_OF_IMAGES = ("_rf.", "_avgpool_bn.")  # parts of names that an image network lacks

    def from_image_weights(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Trunk weights of this network from torchvision's ResNet-50, see `from_torchvision`."""
        return from_torchvision(state_dict, tada=self._is_tada)


def tada2d_r50(num_classes: NumClasses, **arguments: object) -> FrameResNet:
    """TAda2D on ResNet-50, as published (27.485 M parameters with 400 classes)."""
    return FrameResNet(num_classes, tada=True, **arguments)  # type: ignore[arg-type]


def tsn_r50(num_classes: NumClasses, **arguments: object) -> FrameResNet:
    """TSN on ResNet-50: TAda2D's trunk without calibration and without temporal aggregation."""
    return FrameResNet(num_classes, tada=False, **arguments)  # type: ignore[arg-type]


_TORCHVISION_LAYERS = {"conv1": "a", "bn1": "a_bn", "conv2": "b", "bn2": "b_bn", "conv3": "c", "bn3": "c_bn"}


def from_torchvision(state_dict: Mapping[str, Tensor], *, tada: bool) -> dict[str, Tensor]:
    """Trunk weights of this family from torchvision's ResNet state dict; its classifier is left out.

    For TSN the result is the whole trunk. For TAda2D (`tada=True`) the routing functions and the second
    batch norm are missing from it: as published, they stay as initialised.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        if name.startswith("fc."):
            continue
        layer, key = name.rsplit(".", 1)
        target = _torchvision_layer(layer)
        if tensor.dim() == 4:
            calibrated = tada and target.endswith("conv_branch.b")
            tensor = tensor[None, None] if calibrated else tensor.unsqueeze(2)
        converted[f"backbone.{target}.{key}"] = tensor
    return converted


def _torchvision_layer(layer: str) -> str:
    if "." not in layer:
        return f"conv1.{_TORCHVISION_LAYERS[layer]}"
    stage, block, rest = layer.split(".", 2)
    prefix = f"conv{int(stage.removeprefix('layer')) + 1}.res_{int(block) + 1}"
    if rest.startswith("downsample"):
        return f"{prefix}.{'short_cut' if rest.endswith('0') else 'short_cut_bn'}"
    return f"{prefix}.conv_branch.{_TORCHVISION_LAYERS[rest]}"
