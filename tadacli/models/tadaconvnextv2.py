"""TAdaConvNeXtV2: ConvNeXt whose depthwise convolutions are calibrated per frame, weights and biases both.

Against ConvNeXt: a stem over three frames with temporal stride 2, routing by self-attention over time, a second
layer norm on the average of neighbouring frames (the aggregation of TAda2D), and QuickGELU. State-dict names are the
published ones. Between layers a clip is (B, C, T, H, W) in `torch.channels_last_3d` order, so that its frames for
convolutions and its pixels (B, T, H, W, C) for layer norms and linear layers are free views.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.dropout import DropPath
from tadacli.models.heads import NumClasses
from tadacli.models.layers import quick_gelu_layers, sum_of_neighbours
from tadacli.models.packed import quick_gelu_pointwise
from tadacli.models.tadaconv import DepthwiseTAdaConv2d, RouteFuncwTransformer
from tadacli.models.tadaconvnext import (
    EXPANSION,
    LAYER_SCALE,
    NORM_EPS,
    PATCH,
    ConvNeXtClassifier,
    Trunk,
    initialise,
)


class Block(nn.Module):
    """Residual block: calibrated depthwise 7x7, norm with temporal aggregation, and a wide layer at every pixel."""

    def __init__(self, width: int, *, route_head_dim: int, drop_path: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.dwconv = DepthwiseTAdaConv2d(width, 7)
        self.dwconv_rf = RouteFuncwTransformer(width, head_dim=route_head_dim)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm_avgpool = nn.LayerNorm(width, eps=NORM_EPS)
        nn.init.zeros_(self.norm_avgpool.weight)  # temporal aggregation starts as the identity
        self.pwconv1 = nn.Linear(width, EXPANSION * width)
        self.pwconv2 = nn.Linear(EXPANSION * width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        pixels = aggregated_norms(self.dwconv(x, *self.dwconv_rf(x)), self.norm, self.norm_avgpool)
        branch = self.drop_path(quick_gelu_layers(pixels, self.pwconv1, self.pwconv2))
        return torch.addcmul(x.movedim(1, -1), branch, self.gamma).movedim(-1, 1)

    def fused(self) -> FusedBlock:
        """The block for inference. It shares what it need not change."""
        return FusedBlock(self)


def aggregated_norms(x: Tensor, norm: nn.LayerNorm, average_norm: nn.LayerNorm) -> Tensor:
    """`norm(x) + average_norm(average of each frame with its neighbours)`: (B, C, T, H, W) -> (B, T, H, W, C)."""
    # The norm of a sum of three is that of their average, with an eps of nine times the size: a pass saved.
    total = sum_of_neighbours(x).movedim(1, -1)
    shape, eps = average_norm.normalized_shape, 9 * average_norm.eps
    averaged = F.layer_norm(total, shape, average_norm.weight, average_norm.bias, eps)
    normalised: Tensor = norm(x.movedim(1, -1))
    return normalised.add_(averaged)


class FusedBlock(nn.Module):
    """A `Block` for inference, with the layer scale in the second linear layer: it writes over its input."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.dwconv, self.dwconv_rf = block.dwconv, block.dwconv_rf
        self.norm, self.norm_avgpool = block.norm, block.norm_avgpool
        self.pointwise = quick_gelu_pointwise(block.pwconv1, block.pwconv2, scale=block.gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape; in channels-last order the memory of `x`, which ends its use."""
        branch = aggregated_norms(self.dwconv(x, *self.dwconv_rf(x)), self.norm, self.norm_avgpool)
        return self.pointwise.add_to(x.movedim(1, -1).contiguous(), branch).movedim(-1, 1)


class TAdaConvNeXtV2(ConvNeXtClassifier):
    """A TAdaConvNeXtV2 with a classification head.

    Any batch, any T >= 1 (the stem makes it ceil(T / 2)), any H and W: as published, the stem and the shrinking layers
    leave out rows and columns that do not fill a patch of theirs. A picture too small for them (32 pixels for four
    stages) is filled up with zeros.
    `stage_depths` are the blocks of the stages, `stem_width` the channels of the first, which double from stage to
    stage, `route_head_dim` the width of one head of the routing functions' attention (a divisor of half of
    `stem_width`), `drop_path` the rate of the last block.
    """

    NOT_OF_IMAGES = ("_rf.", "norm_avgpool.")

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        stage_depths: Sequence[int],
        stem_width: int,
        route_head_dim: int,
        drop_path: float = 0.0,
        dropout: float = 0.5,
    ) -> None:
        widths = [stem_width * 2**stage for stage in range(len(stage_depths))]
        num_blocks = sum(stage_depths)
        trunk = Trunk(
            widths,
            stage_depths,
            lambda width, rate: Block(width, route_head_dim=route_head_dim, drop_path=rate),
            # Drop-path grows evenly with depth, from none in the first block.
            rates=(drop_path * number / max(num_blocks - 1, 1) for number in range(num_blocks)),
        )
        # Calibration has its own start, and a bias of zero would leave its calibration nothing to learn from.
        initialise(trunk, nn.init.trunc_normal_, kept=("dwconv_rf", "dwconv.bias"))
        super().__init__(trunk, widths, stage_depths, num_classes, dropout=dropout)
        self.smallest_side = PATCH * 2 ** (len(stage_depths) - 1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> features (B, D), after the last norm."""
        height, width = x.shape[3:]
        if height < self.smallest_side or width < self.smallest_side:
            x = F.pad(x, (0, max(self.smallest_side - width, 0), 0, max(self.smallest_side - height, 0)))
        return super().forward_features(x)


# With 400 classes T has 45.97 M parameters, S 82.25 M and B 145.69 M; on Kinetics-400 they were trained with a
# drop-path of 0.2, 0.4 and 0.6.
tadaconvnextv2_tiny = partial(TAdaConvNeXtV2, stage_depths=(3, 3, 9, 3), stem_width=96, route_head_dim=48)
tadaconvnextv2_small = partial(TAdaConvNeXtV2, stage_depths=(3, 3, 27, 3), stem_width=96, route_head_dim=48)
tadaconvnextv2_base = partial(TAdaConvNeXtV2, stage_depths=(3, 3, 27, 3), stem_width=128, route_head_dim=64)
