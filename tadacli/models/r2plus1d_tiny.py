"""A small R(2+1)D network with TAdaConv in its spatial convolutions.

R(2+1)D is one of the networks the TAda! paper plugs the operator into (its table 3, "2d convs"): every
3x3x3 convolution is split into a spatial 1x3x3, here calibrated, and a temporal 3x1x1. The temporal
convolutions tell the direction of motion, which TAda2D's symmetric averaging can hardly do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

from torch import Tensor, nn

from tadacli.models.heads import ClipClassifier, NumClasses
from tadacli.models.layers import FrameBatchNorm, FrameConv2d, Norm, TemporalConv1d, fold_norm, normalised_conv
from tadacli.models.tadaconv import RouteFuncMLP, TAdaConv2d, calibrated_conv


class Stem(nn.Module):
    """Plain 3x3 convolution of stride 2, then a temporal convolution; both with batch norm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = FrameConv2d(3, width, 3, stride=2, padding=1)
        self.spatial_bn = FrameBatchNorm(width)
        self.temporal = TemporalConv1d(width, width, 3)
        self.temporal_bn = FrameBatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = normalised_conv(self.spatial, self.spatial_bn, x, with_relu=True)
        return normalised_conv(self.temporal, self.temporal_bn, x, with_relu=True)

    def folded(self) -> Self:
        """The form for inference."""
        fold_norm(self, "spatial", "spatial_bn")
        fold_norm(self, "temporal", "temporal_bn")
        return self


class ShortCut(nn.Sequential):
    """A convolution with batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self
        return normalised_conv(cast(FrameConv2d, conv), cast(Norm, norm), x)

    def folded(self) -> Self:
        """The form for inference."""
        fold_norm(self, "0", "1")
        return self


class Block(nn.Module):
    """Residual block: calibrated 3x3 (strided) and 3x1x1 over time, beside the identity or a 1x1."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, ratio: int) -> None:
        super().__init__()
        self.spatial = TAdaConv2d(in_channels, out_channels, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))
        self.spatial_rf = RouteFuncMLP(in_channels, ratio=ratio)
        self.spatial_bn = FrameBatchNorm(out_channels)
        self.temporal = TemporalConv1d(out_channels, out_channels, 3)
        self.temporal_bn = FrameBatchNorm(out_channels)
        self.short_cut: ShortCut | None = None
        if stride != 1 or in_channels != out_channels:
            self.short_cut = ShortCut(
                FrameConv2d(in_channels, out_channels, 1, stride=stride), FrameBatchNorm(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.short_cut is None else self.short_cut(x)
        x = calibrated_conv(self.spatial, self.spatial_bn, x, self.spatial_rf(x))
        return normalised_conv(self.temporal, self.temporal_bn, x, with_relu=True, residual=residual)

    def folded(self) -> Self:
        """The form for inference."""
        fold_norm(self, "spatial", "spatial_bn")
        fold_norm(self, "temporal", "temporal_bn")
        self.spatial.spends_input = self.short_cut is not None  # else it is the residual, too
        return self


class TinyR2Plus1D(ClipClassifier):
    """One block a stage, the first stage at half the input's resolution, each further one at half of that.

    Any batch, T >= 1 and H, W >= 2. `widths` are the channels of the stages, the first also the stem's.
    """

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        widths: Sequence[int] = (32, 64, 128, 192),
        route_ratio: int = 4,
        dropout: float = 0.2,
    ) -> None:
        blocks: list[nn.Module] = [Stem(widths[0])]
        in_channels = widths[0]
        for stage, width in enumerate(widths):
            blocks.append(Block(in_channels, width, stride=1 if stage == 0 else 2, ratio=route_ratio))
            in_channels = width
        super().__init__(nn.Sequential(*blocks), in_channels, num_classes, dropout=dropout)
        # Weights on meta have no values, and pretending to set them loads torch's compiler, which takes a second.
        for module in self.modules():
            if isinstance(module, (FrameConv2d, TemporalConv1d)) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


# About 0.6 M parameters: the network of the built-in model.
r2plus1d_tiny = TinyR2Plus1D
