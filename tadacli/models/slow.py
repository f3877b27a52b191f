"""SlowOnly: a ResNet over few frames that looks across time in its last two stages, with or without TAdaConv.

Source: the slow pathway of SlowFast (Feichtenhofer et al., 2019) as the TAda! paper uses it (table 3): ResNet-50 with
its max-pool, in which the first 1x1 of every block of the last two stages is a 3x1x1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from tadacli.models.heads import NumClasses
from tadacli.models.ops import FrameBatchNorm, FrameConv2d, TAdaConv2d, TemporalConv1d, relu
from tadacli.models.tada2d import EXPANSION
from tadacli.models.video_resnet import Routing, Stem, VideoResNet, conv_and_norm, routing_maker, single_pathway


class Branch(nn.Module):
    """Residual branch: 1x1 over `temporal_extent` frames, 3x3 (strided, calibrated if there is routing), 1x1."""

    def __init__(
        self, in_channels: int, width: int, *, stride: int, temporal_extent: int = 1, routing: Routing = None
    ) -> None:
        super().__init__()
        self.a: FrameConv2d | TemporalConv1d = (
            FrameConv2d(in_channels, width, 1)
            if temporal_extent == 1
            else TemporalConv1d(in_channels, width, temporal_extent)
        )
        self.a_bn = FrameBatchNorm(width)
        self.b: FrameConv2d | TAdaConv2d = (
            FrameConv2d(width, width, 3, stride=stride, padding=1)
            if routing is None
            else TAdaConv2d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))
        )
        self.b_rf = None if routing is None else routing(width)
        self.b_bn = FrameBatchNorm(width)
        self.c = FrameConv2d(width, width * EXPANSION, 1)
        self.c_bn = FrameBatchNorm(width * EXPANSION)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, 4 * width, T, H', W')."""
        x = relu(conv_and_norm(self.a, self.a_bn, x))
        x = relu(conv_and_norm(self.b, self.b_bn, x, self.b_rf))
        return conv_and_norm(self.c, self.c_bn, x)


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
            [partial(Branch, temporal_extent=extent, routing=routing) for extent in extents],
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
