"""TAda2D: a 2-D ResNet whose 3x3 convolutions are calibrated per frame (TAda! paper, section 3.3).

Also the TSN baseline: the same trunk with plain 3x3 convolutions and no aggregation over time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Self

from torch import Tensor, nn

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
from tadacli.models.tadaconv import RouteFuncMLP, TAdaConv2d
from tadacli.models.video_resnet import EXPANSION, BranchMaker, Routing, SinglePathway, frame_branch


class TAdaBranch(nn.Module):
    """Residual branch of TAda2D: 1x1, calibrated 3x3 (strided), temporal aggregation, 1x1; added to the residual."""

    def __init__(self, in_channels: int, width: int, *, stride: int, routing: Callable[[int], RouteFuncMLP]) -> None:
        super().__init__()
        self.a = FrameConv2d(in_channels, width, 1)
        self.a_bn = FrameBatchNorm(width)
        self.b = TAdaConv2d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))
        self.b_rf = routing(width)
        self.b_bn: FrameBatchNorm | TemporalFilter = FrameBatchNorm(width)
        self.b_avgpool_bn: Norm = FrameBatchNorm(width)
        nn.init.zeros_(self.b_avgpool_bn.weight)  # temporal aggregation starts as the identity
        self.c = FrameConv2d(width, width * EXPANSION, 1)
        self.c_bn = FrameBatchNorm(width * EXPANSION)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = normalised_conv(self.a, self.a_bn, x, with_relu=True)
        x = self.b(x, self.b_rf(x))
        x = aggregate_over_time(x, self.b_bn, self.b_avgpool_bn, with_relu=True)
        return normalised_conv(self.c, self.c_bn, x, with_relu=True, residual=residual)

    def folded(self) -> Self:
        """The form for inference."""
        fold_norm(self, "a", "a_bn")
        fold_norm(self, "c", "c_bn")
        self.b.spends_input = True
        assert isinstance(self.b_bn, FrameBatchNorm)
        assert isinstance(self.b_avgpool_bn, FrameBatchNorm)
        self.b_bn, self.b_avgpool_bn = TemporalFilter(self.b_bn, self.b_avgpool_bn), Folded()
        return self


class FrameResNet(SinglePathway):
    """A bottleneck ResNet over video frames with a classification head; see `SinglePathway`.

    With `tada` the 3x3 of every bottleneck is calibrated and its output aggregated over time. The published trunk has
    no max-pool.
    """

    NOT_OF_IMAGES = ("_rf.", "_avgpool_bn.")
    FRESH_CONVS = FrameConv2d  # as published, a TAdaConv has a start of its own

    def branches(self, routing: Routing, num_stages: int) -> list[BranchMaker]:
        """The same in every stage."""
        return [frame_branch if routing is None else partial(TAdaBranch, routing=routing)] * num_stages


# TAda2D on ResNet-50, as published (27.485 M parameters with 400 classes).
tada2d_r50 = FrameResNet
# TSN on ResNet-50: TAda2D's trunk without calibration and without temporal aggregation.
tsn_r50 = partial(FrameResNet, tada=False)
