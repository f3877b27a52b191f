"""R3D: TAda2D's trunk with 3x3x3 convolutions for its 3x3 ones and a stem of 3x7x7, with or without TAdaConv.

Source: the "R3D" of the TAda! paper (table 3), whose size and cost say what the trunk is: no max-pool, no stride over
time. Calibrated, a 3x3x3 uses one calibration for the three frames that an output frame is computed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tadacli.models.heads import NumClasses
from tadacli.models.layers import FrameConv2d
from tadacli.models.ops import TAdaConv3d
from tadacli.models.video_resnet import (
    Branch,
    Routing,
    SinglePathway,
    SpaceTimeConv3d,
    Stem,
    routing_maker,
)


def branch(in_channels: int, width: int, *, stride: int, routing: Routing) -> Branch:
    """Residual branch: 1x1, 3x3x3 (strided in space, calibrated if there is routing), 1x1."""
    middle: SpaceTimeConv3d | TAdaConv3d = (
        SpaceTimeConv3d(width, width, (3, 3, 3), stride=stride)
        if routing is None
        else TAdaConv3d(width, width, (3, 3, 3), stride=(1, stride, stride), padding=1)
    )
    return Branch(FrameConv2d(in_channels, width, 1), middle, width, routing=routing)


class R3D(SinglePathway):
    """R3D; see `SinglePathway`. With `tada` the 3x3x3 of every bottleneck is calibrated."""

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        tada: bool = True,
        stage_depths: Sequence[int] = (3, 4, 6, 3),
        stem_width: int = 64,
        route_ratio: int = 4,
        route_kernels: Sequence[int] = (3, 3),
        dropout: float = 0.5,
    ) -> None:
        routing = routing_maker(tada=tada, ratio=route_ratio, kernels=route_kernels)
        super().__init__(
            num_classes,
            Stem(stem_width, temporal_extent=3, pooled=False),
            [partial(branch, routing=routing)] * len(stage_depths),
            stem_width=stem_width,
            stage_depths=stage_depths,
            first_stride=2,
            dropout=dropout,
        )


# R3D on ResNet-50: 46.98 M parameters with 400 classes, 50.13 M with TAdaConv (`tada=True`, the default).
r3d_r50 = R3D
