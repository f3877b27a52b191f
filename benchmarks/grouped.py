"""The grouped-convolution form of TAdaConv: the literal definition that ours is checked and timed against.

One kernel is built for each of the B*T frames, and all of them run as one convolution with B*T groups. The
rest of the network is in the layout of the published code: 3-D convolutions, batch norm and pooling on
tensors in (B, C, T, H, W) memory order.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.ops import FrameBatchNorm, FrameConv2d, RouteFuncMLP, TAdaConv2d, TAdaConv3d
from tadacli.models.tada2d import Bottleneck, FrameResNet, Stem, TAdaBranch


def grouped_tadaconv2d(conv: TAdaConv2d, x: Tensor, alpha: Tensor) -> Tensor:
    """What `conv(x, alpha)` means: frame t convolved with its own kernel `weight * alpha_t`."""
    batch, _, frames, height, width = x.shape
    factor = alpha[..., 0, 0].transpose(1, 2).reshape(batch * frames, -1)
    weight = conv.weight[0]  # (1, Cout, Cin/groups, kh, kw)
    if conv.cal_dim == "cout":
        kernels = weight * factor[:, :, None, None, None]
    else:
        assert conv.groups == 1
        kernels = weight * factor[:, None, :, None, None]
    stacked = x.transpose(1, 2).reshape(1, -1, height, width)
    out = F.conv2d(
        stacked,
        kernels.flatten(0, 1),
        None,
        conv.stride[1:],
        conv.padding[1:],
        conv.dilation[1:],
        conv.groups * batch * frames,
    )
    out = out.view(batch, frames, conv.out_channels, *out.shape[2:]).transpose(1, 2)
    return out if conv.bias is None else out + conv.bias.view(1, -1, 1, 1, 1)


def grouped_tadaconv3d(conv: TAdaConv3d, x: Tensor, alpha: Tensor) -> Tensor:
    """What `conv(x, alpha)` means: every output frame computed alone, with its own whole kernel."""
    extent = conv.kernel_size[0]
    padded = F.pad(x, (0, 0, 0, 0, extent // 2, extent // 2))
    stride = (1, *conv.stride[1:])
    rows = []
    for clip, factors in zip(padded, alpha[..., 0, 0], strict=True):
        frames = []
        for frame, factor in enumerate(factors.unbind(1)):
            scale = factor[:, None] if conv.cal_dim == "cout" else factor[None, :]
            kernel = conv.weight[0, 0] * scale[:, :, None, None, None]
            window = clip[None, :, frame : frame + extent]
            frames.append(F.conv3d(window, kernel, None, stride, (0, *conv.padding[1:]), 1, conv.groups))
        rows.append(torch.cat(frames, dim=2))
    out = torch.cat(rows)
    return out if conv.bias is None else out + conv.bias.view(1, -1, 1, 1, 1)


class _GroupedTAdaConv2d(TAdaConv2d):
    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        return grouped_tadaconv2d(self, x, alpha)


class _PublishedBranch(TAdaBranch):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a_bn(self.a(x)), inplace=True)
        x = self.b(x, self.b_rf(x))
        pooled = F.avg_pool3d(x, (3, 1, 1), stride=1, padding=(1, 0, 0))
        x = F.relu(self.b_bn(x) + self.b_avgpool_bn(pooled), inplace=True)
        return cast(Tensor, self.c_bn(self.c(x)))


class _PublishedBottleneck(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        residual = x
        if self.short_cut is not None and self.short_cut_bn is not None:
            residual = self.short_cut_bn(self.short_cut(x))
        return F.relu(residual + self.conv_branch(x), inplace=True)


class _PublishedStem(Stem):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.a_bn(self.a(x)), inplace=True)


class _PublishedRouting(RouteFuncMLP):
    def forward(self, x: Tensor) -> Tensor:
        local = F.adaptive_avg_pool3d(x, (x.shape[2], 1, 1))
        hidden = self.a(local + self.g(F.adaptive_avg_pool3d(x, 1)))
        hidden = F.relu(self.bn(hidden.flatten(2))).view_as(hidden)
        return cast(Tensor, self.b(hidden) + 1)


class _PublishedNetwork(FrameResNet):
    def forward_features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.backbone(x).mean(dim=(2, 3, 4)))


_PUBLISHED: dict[type[nn.Module], type[nn.Module]] = {
    FrameConv2d: nn.Conv3d,
    FrameBatchNorm: nn.BatchNorm3d,
    TAdaConv2d: _GroupedTAdaConv2d,
    RouteFuncMLP: _PublishedRouting,
    TAdaBranch: _PublishedBranch,
    Bottleneck: _PublishedBottleneck,
    Stem: _PublishedStem,
    FrameResNet: _PublishedNetwork,
}


def grouped_form(network: FrameResNet) -> FrameResNet:
    """A copy of a TAda2D with the same weights that computes in the published form."""
    published = copy.deepcopy(network)
    for module in published.modules():
        module.__class__ = _PUBLISHED.get(type(module), type(module))
    return published
