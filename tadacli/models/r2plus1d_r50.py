"""R(2+1)D on ResNet-50: TAda2D's trunk with a convolution over time after every 3x3, with or without TAdaConv.

Source: the "R(2+1)D" of the TAda! paper (table 3), whose size and cost say what the trunk is: no max-pool, the 3x1x1 as
wide as the 3x3 before it and with a batch norm of its own. TAdaConv goes into the 3x3 alone ("2d") or into both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, Self, Unpack, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.errors import SpecError
from tadacli.models.heads import NumClasses
from tadacli.models.layers import FrameBatchNorm, FrameConv2d, TemporalConv1d, normalised_conv
from tadacli.models.tadaconv import TAdaConv3d
from tadacli.models.video_resnet import (
    EXPANSION,
    BranchMaker,
    PathwaySettings,
    Routing,
    SinglePathway,
    any_conv,
    fold_norm_of_any,
    frame_conv,
)

TAdaConvs = Literal["2d", "2d+1d"]


class Branch(nn.Module):
    """Residual branch: 1x1, 3x3 (strided), 3x1x1 over time, 1x1; the middle ones calibrated if they have routing."""

    def __init__(
        self, in_channels: int, width: int, *, stride: int, routing: Routing, temporal_routing: Routing
    ) -> None:
        super().__init__()
        self.a = FrameConv2d(in_channels, width, 1)
        self.a_bn = FrameBatchNorm(width)
        self.b = frame_conv(width, stride=stride, routing=routing)
        self.b_rf = None if routing is None else routing(width)
        self.b_bn = FrameBatchNorm(width)
        self.t: TemporalConv1d | TAdaConv3d = (
            TemporalConv1d(width, width, 3)
            if temporal_routing is None
            else TAdaConv3d(width, width, (3, 1, 1), padding=(1, 0, 0))
        )
        self.t_rf = None if temporal_routing is None else temporal_routing(width)
        self.t_bn = FrameBatchNorm(width)
        self.c = FrameConv2d(width, width * EXPANSION, 1)
        self.c_bn = FrameBatchNorm(width * EXPANSION)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(B, C, T, H, W) and what the branch is added to -> (B, 4 * width, T, H', W')."""
        x = normalised_conv(self.a, self.a_bn, x, with_relu=True)
        x = any_conv(self.b, self.b_bn, x, self.b_rf)
        x = any_conv(self.t, self.t_bn, x, self.t_rf)
        return normalised_conv(self.c, self.c_bn, x, with_relu=True, residual=residual)

    def folded(self) -> Self:
        """The form for inference."""
        for conv in "abtc":
            fold_norm_of_any(self, conv, f"{conv}_bn")
        return self


class R2Plus1D(SinglePathway):
    """R(2+1)D; see `SinglePathway`. With `tada` the convolutions that `tada_convs` names are calibrated in every
    bottleneck: the 3x3 ("2d"), or the 3x3 and the 3x1x1, each with a routing function of its own ("2d+1d").

    Raises `SpecError` for other `tada_convs`.
    """

    def __init__(
        self, num_classes: NumClasses, *, tada_convs: TAdaConvs = "2d", **settings: Unpack[PathwaySettings]
    ) -> None:
        if tada_convs not in get_args(TAdaConvs):
            raise SpecError(f"tada_convs is {tada_convs!r}", hint='R(2+1)D takes "2d" or "2d+1d"')
        self.tada_convs = tada_convs
        super().__init__(num_classes, **settings)

    def branches(self, routing: Routing, num_stages: int) -> list[BranchMaker]:
        """The same in every stage."""
        temporal_routing = routing if self.tada_convs == "2d+1d" else None
        return [partial(Branch, routing=routing, temporal_routing=temporal_routing)] * num_stages

    def from_image_weights(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Trunk weights from torchvision's ResNet-50, see `VideoResNet`; each 3x1x1 starts as the identity.

        Its batch norm starts as the identity, too: with the mean and deviation that its input has if what leaves the
        batch norm before it is normally distributed. So each frame has the features of the image network exactly in
        evaluation, and nearly in training, where a fresh norm would undo what the one before it was trained to do.
        """
        converted = super().from_image_weights(state_dict)
        for name, module in self.named_modules():
            if isinstance(module, Branch):
                identity = torch.eye(module.t_bn.num_features)[:, :, None, None, None]
                converted[f"{name}.t.weight"] = F.pad(identity, (0, 0, 0, 0, 1, 1)).view(module.t.weight.shape)
                mean, variance = _after_relu(converted[f"{name}.b_bn.weight"], converted[f"{name}.b_bn.bias"])
                converted[f"{name}.t_bn.running_mean"] = converted[f"{name}.t_bn.bias"] = mean
                converted[f"{name}.t_bn.running_var"] = variance
                converted[f"{name}.t_bn.weight"] = (variance + module.t_bn.eps).sqrt()
        return converted


def _after_relu(deviation: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of ReLU(x) for a normally distributed x, by channel."""
    centre, spread = mean.double(), deviation.double().abs().clamp(min=1e-12)
    ratio = centre / spread
    above, density = torch.special.ndtr(ratio), torch.exp(-(ratio**2) / 2) / (2 * torch.pi) ** 0.5
    first = centre * above + spread * density
    second = (centre**2 + spread**2) * above + centre * spread * density
    return first.to(mean.dtype), (second - first**2).clamp(min=0).to(mean.dtype)


# R(2+1)D on ResNet-50: 28.11 M parameters with 400 classes, 3.15 M more with TAdaConv, or 6.30 M with "2d+1d".
# `tada=True` and `tada_convs="2d"` are the defaults.
r2plus1d_r50 = R2Plus1D
