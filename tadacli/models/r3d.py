"""R3D: TAda2D's trunk with 3x3x3 convolutions for its 3x3 ones and a stem of 3x7x7, with or without TAdaConv.

Source: the "R3D" of the TAda! paper (table 3), whose size and cost say what the trunk is: no max-pool, no stride over
time. Calibrated, a 3x3x3 uses one calibration for the three frames that an output frame is computed from.
"""

from __future__ import annotations

from functools import partial

from tadacli.models.layers import FrameConv2d
from tadacli.models.tadaconv import TAdaConv3d
from tadacli.models.video_resnet import (
    Branch,
    BranchMaker,
    Routing,
    SinglePathway,
    SpaceTimeConv3d,
)


class R3D(SinglePathway):
    """R3D; see `SinglePathway`. With `tada` the 3x3x3 of every bottleneck is calibrated."""

    STEM_FRAMES = 3

    def branches(self, routing: Routing, num_stages: int) -> list[BranchMaker]:
        """The same in every stage."""
        return [partial(_branch, routing=routing)] * num_stages


def _branch(in_channels: int, width: int, *, stride: int, routing: Routing) -> Branch:
    """Residual branch: 1x1, 3x3x3 (strided in space, calibrated if there is routing), 1x1."""
    middle: SpaceTimeConv3d | TAdaConv3d = (
        SpaceTimeConv3d(width, width, (3, 3, 3), stride=stride)
        if routing is None
        else TAdaConv3d(width, width, (3, 3, 3), stride=(1, stride, stride), padding=1)
    )
    return Branch(FrameConv2d(in_channels, width, 1), middle, width, routing=routing)


# R3D on ResNet-50: 46.98 M parameters with 400 classes, 50.13 M with TAdaConv (`tada=True`, the default).
r3d_r50 = R3D
