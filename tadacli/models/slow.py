"""SlowOnly: a ResNet over few frames that looks across time in its last two stages, with or without TAdaConv.

Source: the slow pathway of SlowFast (Feichtenhofer et al., 2019) as the TAda! paper uses it (table 3): ResNet-50 with
its max-pool, in which the first 1x1 of every block of the last two stages is a 3x1x1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tadacli.models.heads import NumClasses
from tadacli.models.layers import FrameConv2d, TemporalConv1d
from tadacli.models.ops import TAdaConv2d
from tadacli.models.tada2d import EXPANSION
from tadacli.models.video_resnet import Branch, Routing, Stem, VideoResNet, routing_maker, single_pathway


def branch(in_channels: int, width: int, *, stride: int, temporal_extent: int = 1, routing: Routing = None) -> Branch:
    """Residual branch: 1x1 over `temporal_extent` frames, 3x3 (strided, calibrated if there is routing), 1x1."""
    first: FrameConv2d | TemporalConv1d = (
        FrameConv2d(in_channels, width, 1)
        if temporal_extent == 1
        else TemporalConv1d(in_channels, width, temporal_extent)
    )
    middle: FrameConv2d | TAdaConv2d = (
        FrameConv2d(width, width, 3, stride=stride, padding=1)
        if routing is None
        else TAdaConv2d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))
    )
    return Branch(first, middle, width, routing=routing)


class SlowOnly(VideoResNet):
    """Any batch, any T >= 1, any H and W.

    `stage_depths` are the blocks of the stages, `stem_width` the channels of the stem; stage i has bottlenecks of
    `stem_width * 2**i` channels. With `tada` the 3x3 of every bottleneck is calibrated.
    """

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
        extents = slow_extents(len(stage_depths))
        trunk = single_pathway(
            Stem(stem_width, temporal_extent=1, pooled=True),
            [partial(branch, temporal_extent=extent, routing=routing) for extent in extents],
            stem_width=stem_width,
            stage_depths=stage_depths,
            first_stride=1,
        )
        num_features = stem_width * 2 ** (len(stage_depths) - 1) * EXPANSION
        super().__init__(trunk, num_features, num_classes, dropout=dropout)


def slow_extents(num_stages: int) -> list[int]:
    """Frames that the first convolution of a block sees, by stage: 3 in the last two."""
    return [3 if stage >= num_stages - 2 else 1 for stage in range(num_stages)]


def slowonly_r50(num_classes: NumClasses, **arguments: object) -> SlowOnly:
    """SlowOnly on ResNet-50; 32.45 M parameters with 400 classes, 35.60 M with TAdaConv (`tada=True`, the default)."""
    return SlowOnly(num_classes, **arguments)  # type: ignore[arg-type]
