"""SlowFast: a wide pathway over few frames and a narrow one over all of them, with or without TAdaConv.

Source: SlowFast (Feichtenhofer et al., 2019) on ResNet-50 as the TAda! paper uses it (table 3): with its max-pool, and
in the slow pathway a 3x1x1 for the first 1x1 of every block of the last two stages. The fast pathway has an
eighth of the slow one's channels and is added to it, by a convolution over time that strides to the slow one's frames,
after the stem and after every stage but the last. "8x8" is alpha 4 with lateral kernels of 7 frames, "4x16" alpha 8
with 5, each of 32 frames.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import starmap
from typing import Self

import torch
from torch import Tensor, nn

from tadacli.errors import SpecError
from tadacli.models.heads import NumClasses
from tadacli.models.layers import FrameBatchNorm, TemporalConv1d, fold_norm, normalised_conv
from tadacli.models.video_resnet import (
    EXPANSION,
    BranchMaker,
    Routing,
    SinglePathway,
    Stem,
    VideoResNet,
    bottlenecks,
    frame_branch,
    numbered,
    routing_maker,
)

BETA = 8  # channels of the slow pathway for one of the fast pathway
LATERAL = 2  # channels that the slow pathway gets for one of the fast pathway

Pathways = tuple[Tensor, Tensor]  # slow (B, C, T / alpha, H, W), fast (B, C / 8, T, H, W)


class SlowOnly(SinglePathway):
    """The slow pathway alone; see `SinglePathway`. With `tada` the 3x3 of every bottleneck is calibrated."""

    HAS_MAX_POOL = True

    def branches(self, routing: Routing, num_stages: int) -> list[BranchMaker]:
        """Those of frames, the first convolution of which sees several in the last stages."""
        return [partial(frame_branch, temporal_extent=each, routing=routing) for each in slow_extents(num_stages)]


def slow_extents(num_stages: int) -> list[int]:
    """Frames that the first convolution of a block sees, by stage: 3 in the last two."""
    return [3 if stage >= num_stages - 2 else 1 for stage in range(num_stages)]


class StridedTemporalConv1d(TemporalConv1d):
    """A convolution over time that keeps every `stride`-th frame of its output."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.stride = (stride, 1, 1)


class Pair(nn.Module):
    """A layer of the slow pathway beside one of the fast pathway."""

    def __init__(self, slow: nn.Module, fast: nn.Module) -> None:
        super().__init__()
        self.slow, self.fast = slow, fast

    def forward(self, x: Pathways) -> Pathways:
        """Each pathway through its layer."""
        return self.slow(x[0]), self.fast(x[1])


class Lateral(nn.Module):
    """Gives the slow pathway, as further channels, what the fast one sees around each of its frames."""

    def __init__(self, fast_channels: int, *, kernel_size: int, alpha: int) -> None:
        super().__init__()
        self.conv = StridedTemporalConv1d(fast_channels, LATERAL * fast_channels, kernel_size, stride=alpha)
        self.bn = FrameBatchNorm(LATERAL * fast_channels)

    def forward(self, x: Pathways) -> Pathways:
        """The slow pathway with `2 * fast_channels` more channels, and the fast one as it was."""
        slow, fast = x
        return torch.cat((slow, normalised_conv(self.conv, self.bn, fast, with_relu=True)), dim=1), fast

    def folded(self) -> Self:
        """The form for inference."""
        fold_norm(self, "conv", "bn")
        return self


class SlowFast(VideoResNet):
    """Any batch, any H and W; T is that of the fast pathway (32 as published) and a multiple of `alpha`.

    The input is one clip: the slow pathway takes its frames 0, alpha, 2 * alpha, ... here. The features of both
    pathways follow each other, (B, 2048 + 256) for ResNet-50.

    `stage_depths` are the blocks of the stages, `stem_width` the channels of the slow stem; stage i of the slow pathway
    has bottlenecks of `stem_width * 2**i` channels. `lateral_kernel` are the frames that a lateral convolution sees.
    With `tada` the 3x3 of every bottleneck of both pathways is calibrated.

    Raises `SpecError` for settings that make no network.
    """

    NOT_OF_IMAGES = ("_rf.", ".fast.", ".lateral")  # the fast pathway has no image network to start from

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        tada: bool = True,
        alpha: int = 4,
        lateral_kernel: int = 7,
        stage_depths: Sequence[int] = (3, 4, 6, 3),
        stem_width: int = 64,
        route_ratio: int = 4,
        route_kernels: Sequence[int] = (3, 3),
        dropout: float = 0.5,
    ) -> None:
        if alpha < 1 or lateral_kernel < 1 or lateral_kernel % 2 == 0:
            raise SpecError(
                f"SlowFast cannot have alpha {alpha} with a lateral kernel of {lateral_kernel} frames",
                hint="alpha is 1 or more, the kernel odd; published are 4 with 7 and 8 with 5",
            )
        smallest = BETA * (route_ratio if tada else 1)
        if stem_width % BETA or stem_width < smallest:
            raise SpecError(
                f"SlowFast cannot have a stem of {stem_width} channels",
                hint=f"its width is a multiple of {BETA}, and {smallest} or more with these settings",
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=Pair(
                Stem(stem_width, temporal_extent=1, pooled=True),
                Stem(stem_width // BETA, temporal_extent=5, pooled=True),
            )
        )
        make_branch = partial(frame_branch, routing=routing_maker(tada=tada, ratio=route_ratio, kernels=route_kernels))
        slow_channels, fast_channels = stem_width, stem_width // BETA
        for stage, (depth, extent) in enumerate(zip(stage_depths, slow_extents(len(stage_depths)), strict=True)):
            layers[f"lateral{stage + 1}"] = Lateral(fast_channels, kernel_size=lateral_kernel, alpha=alpha)
            slow_channels += LATERAL * fast_channels
            width, stride = stem_width * 2**stage, 1 if stage == 0 else 2
            slow_branch = partial(make_branch, temporal_extent=extent)
            fast_branch = partial(make_branch, temporal_extent=3)
            pairs = zip(
                bottlenecks(slow_branch, slow_channels, width, depth=depth, stride=stride),
                bottlenecks(fast_branch, fast_channels, width // BETA, depth=depth, stride=stride),
                strict=True,
            )
            layers[f"conv{stage + 2}"] = numbered(list(starmap(Pair, pairs)))
            slow_channels, fast_channels = width * EXPANSION, width * EXPANSION // BETA
        super().__init__(nn.Sequential(layers), slow_channels + fast_channels, num_classes, dropout=dropout)
        self.alpha = alpha

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> features (B, D), those of the slow pathway first.

        Raises `SpecError` if T is not a multiple of `alpha`.
        """
        if x.shape[2] == 0 or x.shape[2] % self.alpha:
            raise SpecError(
                f"a clip of {x.shape[2]} frames does not fit this SlowFast, whose slow pathway takes one of "
                f"every {self.alpha}",
                hint=f"give clips of {self.alpha}, {2 * self.alpha}, {3 * self.alpha}, ... frames",
            )
        # In this order of memory the frames of a clip are a free view (see `ops`).
        fast = x.contiguous(memory_format=torch.channels_last_3d)
        slow = x[:, :, :: self.alpha].contiguous(memory_format=torch.channels_last_3d)
        pathways: Pathways = self.backbone((slow, fast))
        return torch.cat([pathway.mean(dim=(2, 3, 4)) for pathway in pathways], dim=1)

    def _image_layer(self, name: str) -> str:
        """The slow pathway is the image network; the fast one has none and starts at random."""
        depth = 3 if ".res_" in name else 2
        parts = name.split(".")
        return ".".join([*parts[:depth], "slow", *parts[depth:]])


# SlowOnly on ResNet-50: 32.45 M parameters with 400 classes, 35.60 M with TAdaConv (`tada=True`, the default).
slowonly_r50 = SlowOnly
# SlowFast on ResNet-50, by default "8x8": 34.57 M parameters with 400 classes, 37.77 M with TAdaConv (`tada=True`, the
# default). "4x16" (34.48 M and 37.68 M) is `alpha=8, lateral_kernel=5`.
slowfast_r50 = SlowFast
