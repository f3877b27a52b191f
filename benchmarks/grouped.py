"""The grouped-convolution form of TAdaConv: the literal definition that ours is checked and timed against.

One kernel is built for each of the B*T frames, and all of them run as one convolution with B*T groups. The
rest of the network is in the layout of the published code: 3-D convolutions, batch norm and pooling on
tensors in (B, C, T, H, W) memory order. What is no matter of TAdaConv, such as attention, is ours in both.
"""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models import layers, tada2d, tadaconv, tadaconvnext, tadaconvnextv2, tadaformer, video_resnet
from tadacli.models import r2plus1d_tiny as r2plus1d
from tadacli.models.heads import ClipClassifier
from tadacli.models.tadaconv import TAdaConv2d, TAdaConv3d

Network = TypeVar("Network", bound=nn.Module)


def grouped_tadaconv2d(conv: TAdaConv2d, x: Tensor, alpha: Tensor, bias_alpha: Tensor | None = None) -> Tensor:
    """What `conv(x, alpha)` means: frame t convolved with its own kernel `weight * alpha_t`.

    With `bias_alpha` it has its own bias `bias * bias_alpha_t`, too.
    """
    batch, _, frames, height, width = x.shape
    factor = _of_frames(alpha)
    weight = conv.weight[0]  # (1, Cout, Cin/groups, kh, kw)
    if conv.cal_dim == "cout":
        kernels = weight * factor[:, :, None, None, None]
    else:
        assert conv.groups == 1
        kernels = weight * factor[:, None, :, None, None]
    bias = None
    if conv.bias is not None:
        bias = conv.bias[0].repeat(batch * frames, 1) if bias_alpha is None else conv.bias[0] * _of_frames(bias_alpha)
        bias = bias.flatten()
    stacked = x.transpose(1, 2).reshape(1, -1, height, width)
    groups = conv.groups * batch * frames
    out = F.conv2d(stacked, kernels.flatten(0, 1), bias, conv.stride[1:], conv.padding[1:], conv.dilation[1:], groups)
    return out.view(batch, frames, conv.out_channels, *out.shape[2:]).transpose(1, 2)


def _of_frames(alpha: Tensor) -> Tensor:
    """(B, C, T, 1, 1) -> (B*T, C)."""
    return alpha[..., 0, 0].transpose(1, 2).flatten(0, 1)


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


class _TAdaConv2d(TAdaConv2d):
    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        return grouped_tadaconv2d(self, x, alpha)


class _TAdaConv3d(TAdaConv3d):
    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """`grouped_tadaconv3d`, with the windows of all output frames as the groups of one convolution."""
        batch, _, frames, height, width = x.shape
        reach = self.kernel_size[0] // 2
        windows = F.pad(x, (0, 0, 0, 0, reach, reach)).unfold(2, self.kernel_size[0], 1)  # (B, C, T, H, W, kt)
        stacked = windows.permute(0, 2, 1, 5, 3, 4).reshape(1, -1, self.kernel_size[0], height, width)
        channels = (slice(None), None) if self.cal_dim == "cout" else (None, slice(None))
        kernels = self.weight[0] * _of_frames(alpha)[:, *channels, None, None, None]
        padding, groups = (0, *self.padding[1:]), self.groups * batch * frames
        out = F.conv3d(stacked, kernels.flatten(0, 1), None, self.stride, padding, self.dilation, groups)
        out = out.view(batch, frames, self.out_channels, *out.shape[3:]).transpose(1, 2)
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1, 1)


class _DepthwiseTAdaConv2d(tadaconv.DepthwiseTAdaConv2d):
    def forward(self, x: Tensor, alpha: Tensor, bias_alpha: Tensor | None = None) -> Tensor:
        return grouped_tadaconv2d(self, x, alpha, bias_alpha)


# Convolutions and norms keep what else the blocks ask of them: other parameters, and those of the norm.


class _FrameConv2d(layers.FrameConv2d):
    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, *, with_relu: bool = False) -> Tensor:  # type: ignore[override]
        return _convolved(self, x, weight, bias, with_relu=with_relu)


class _TemporalConv1d(layers.TemporalConv1d):
    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, *, with_relu: bool = False) -> Tensor:  # type: ignore[override]
        return _convolved(self, x, weight, bias, with_relu=with_relu)


def _convolved(conv: nn.Conv3d, x: Tensor, weight: Tensor, bias: Tensor | None, *, with_relu: bool) -> Tensor:
    out = conv._conv_forward(x, weight, bias)
    return F.relu(out, inplace=True) if with_relu else out


class _FrameBatchNorm(layers.FrameBatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, nn.BatchNorm3d.forward(self, x))

    def with_relu(self, x: Tensor, *, residual: Tensor | None = None) -> Tensor:
        out = self(x)
        return F.relu(out if residual is None else out + residual)

    def _check_input_dim(self, x: Tensor) -> None:
        assert x.dim() == 5


class _ChannelNorm(layers.ChannelNorm):
    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        normalised = centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + self.eps)
        shape = (-1, *[1] * (x.dim() - 2))
        return self.weight.view(shape) * normalised + self.bias.view(shape)


class _Routing(tadaconv.RouteFuncMLP):
    def forward(self, x: Tensor) -> Tensor:
        local = _means(x)
        hidden = self.a(local + self.g(F.adaptive_avg_pool3d(x, 1)))
        hidden = F.relu(self.bn(hidden.flatten(2))).view_as(hidden)
        return cast(Tensor, self.b(hidden) + 1)


class _AttentionRouting(tadaconv.RouteFuncwTransformer):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(_means(x))


class _WeightAndBiasRouting(tadaconvnext.WeightAndBiasRouting):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(_means(x))


def _means(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool3d(x, (x.shape[2], 1, 1))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool3d(x, (3, 1, 1), stride=1, padding=(1, 0, 0))


class _TAdaBranch(tada2d.TAdaBranch):
    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = F.relu(self.a_bn(self.a(x)), inplace=True)
        x = self.b(x, self.b_rf(x))
        x = F.relu(self.b_bn(x) + self.b_avgpool_bn(_average(x)), inplace=True)
        return F.relu(residual + self.c_bn(self.c(x)), inplace=True)


class _Bottleneck(video_resnet.Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        residual = x
        if self.short_cut is not None and self.short_cut_bn is not None:
            residual = self.short_cut_bn(self.short_cut(x))
        return cast(Tensor, self.conv_branch(x, residual))


class _Stem(video_resnet.Stem):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a_bn(self.a(x)), inplace=True)
        return F.max_pool3d(x, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)) if self.pooled else x


class _R2Plus1DStem(r2plus1d.Stem):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.spatial_bn(self.spatial(x)), inplace=True)
        return F.relu(self.temporal_bn(self.temporal(x)), inplace=True)


class _R2Plus1DBlock(r2plus1d.Block):
    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.short_cut is None else self.short_cut(x)
        x = F.relu(self.spatial_bn(self.spatial(x, self.spatial_rf(x))), inplace=True)
        return F.relu(residual + self.temporal_bn(self.temporal(x)), inplace=True)


class _PatchConv(tadaconvnext.PatchConv):
    def forward(self, x: Tensor) -> Tensor:
        return nn.Conv3d.forward(self, x)


class _ConvNeXtBlock(tadaconvnext.Block):
    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm(self.dwconv(x, *self.dwconv_rf(x)).permute(0, 2, 3, 4, 1))
        branch = self.drop_path(self.gamma * self.pwconv2(F.gelu(self.pwconv1(branch))))
        return cast(Tensor, x + branch.permute(0, 4, 1, 2, 3))


class _ConvNeXtV2Block(tadaconvnextv2.Block):
    def forward(self, x: Tensor) -> Tensor:
        branch = self.dwconv(x, *self.dwconv_rf(x))
        average = _average(branch)
        branch = self.norm(branch.permute(0, 2, 3, 4, 1)) + self.norm_avgpool(average.permute(0, 2, 3, 4, 1))
        branch = self.drop_path(self.gamma * self.pwconv2(layers.quick_gelu(self.pwconv1(branch))))
        return cast(Tensor, x + branch.permute(0, 4, 1, 2, 3))


class _AggregatingTAdaConv(tadaformer.AggregatingTAdaConv):
    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        x = grouped_tadaconv2d(self, x, *self.rf_func(x)).contiguous()
        return cast(Tensor, self.bn_a(x) + self.bn_b(_average(x)))


class _FeedForward(tadaformer.FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.c_proj(layers.quick_gelu(self.c_fc(x))))


class _FrameResNet(tada2d.FrameResNet):
    def forward_features(self, x: Tensor) -> Tensor:
        return _pooled(self, x)


class _TinyR2Plus1D(r2plus1d.TinyR2Plus1D):
    def forward_features(self, x: Tensor) -> Tensor:
        return _pooled(self, x)


class _TAdaConvNeXt(tadaconvnext.TAdaConvNeXt):
    def forward_features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.backbone.norm(_pooled(self, x)))


class _TAdaConvNeXtV2(tadaconvnextv2.TAdaConvNeXtV2):
    def forward_features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.backbone.norm(_pooled(self, x)))


def _pooled(network: ClipClassifier, x: Tensor) -> Tensor:
    return cast(Tensor, network.backbone(x).mean(dim=(2, 3, 4)))


# Each of them stands for the class that it is made from.
_PUBLISHED: dict[type, type] = {
    published.__bases__[0]: published
    for published in (
        _TAdaConv2d,
        _TAdaConv3d,
        _DepthwiseTAdaConv2d,
        _FrameConv2d,
        _TemporalConv1d,
        _FrameBatchNorm,
        _ChannelNorm,
        _Routing,
        _AttentionRouting,
        _WeightAndBiasRouting,
        _TAdaBranch,
        _Bottleneck,
        _Stem,
        _R2Plus1DStem,
        _R2Plus1DBlock,
        _PatchConv,
        _ConvNeXtBlock,
        _ConvNeXtV2Block,
        _AggregatingTAdaConv,
        _FeedForward,
        _FrameResNet,
        _TinyR2Plus1D,
        _TAdaConvNeXt,
        _TAdaConvNeXtV2,
    )
}


def grouped_form(network: Network) -> Network:
    """A copy of a network with the same weights that computes in the published form."""
    published = copy.deepcopy(network)
    for module in published.modules():
        module.__class__ = _PUBLISHED.get(type(module), type(module))
    return published


def has_tadaconv(network: nn.Module) -> bool:
    """Whether there is anything in a network that the published form computes in another way."""
    return any(isinstance(module, TAdaConv2d | TAdaConv3d) for module in network.modules())


def leave_the_start(network: nn.Module) -> None:
    """Gives what starts at nothing, such as routing, second norms and residual branches, something to compute."""
    routing = {id(p) for each in network.modules() if getattr(each, "is_routing", False) for p in each.parameters()}
    for name, parameter in network.named_parameters():
        if name.endswith("gamma") or not bool(parameter.any()):
            # Calibrations multiply from block to block: larger ones would take a deep network out of float32.
            nn.init.normal_(parameter, std=5e-4 if id(parameter) in routing else 0.02)
