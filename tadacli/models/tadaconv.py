"""Temporally-adaptive convolutions and the routing functions that calibrate them.

Tensors are (B, C, T, H, W), best in channels-last order (see `layers`). Parameter names and shapes are those of the
published checkpoints.

TAdaConv (ICLR 2022, section 3) gives frame t the weights `base * alpha_t`. A factor on input channels
of a kernel commutes with the convolution, so scaling the frame's channels and using one shared kernel
computes the same thing without building a kernel for each of the B*T frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.layers import (
    ChannelNorm,
    Folded,
    Norm,
    attend,
    conv2d,
    fold_time,
    frame_descriptors,
    is_exported,
    quick_gelu,
    relu,
    scale_outputs,
    unfold_like,
)

CalibrationDim = Literal["cin", "cout"]
Size3 = int | Sequence[int]


def _triple(size: Size3) -> tuple[int, int, int]:
    values = (size,) * 3 if isinstance(size, int) else tuple(size)
    if len(values) != 3:
        raise ValueError(f"expected one number or (time, height, width), got {size!r}")
    return values[0], values[1], values[2]


class _TAdaConv(nn.Module):
    """What TAdaConv2d and TAdaConv3d share: settings, the base weight and the optional bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        *,
        stride: Size3 = 1,
        padding: Size3 = 0,
        dilation: Size3 = 1,
        groups: int = 1,
        bias: bool = False,
        cal_dim: CalibrationDim = "cin",
    ) -> None:
        super().__init__()
        if cal_dim not in ("cin", "cout"):
            raise ValueError(f'cal_dim is "cin" or "cout", got {cal_dim!r}')
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{in_channels} and {out_channels} channels do not divide into {groups} groups")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _triple(kernel_size), _triple(stride)
        self.padding, self.dilation = _triple(padding), _triple(dilation)
        self.groups, self.cal_dim = groups, cal_dim
        self.spends_input = False  # whether its input may be written over, for inference
        if self.stride[0] != 1 or self.dilation[0] != 1:
            raise ValueError("temporal stride and dilation of a TAdaConv are 1")
        extent = self.kernel_size[0]
        if extent % 2 == 0 or self.padding[0] != extent // 2:
            raise ValueError(
                f"a TAdaConv has an odd temporal extent and pads half of it: extent {extent}, padding {self.padding[0]}"
            )
        shape = (out_channels, in_channels // groups, *self._kernel_shape())
        self.weight = nn.Parameter(torch.empty(1, 1, *shape))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if bias:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            self.bias = nn.Parameter(torch.empty(1, 1, out_channels).uniform_(-bound, bound))
        else:
            self.register_parameter("bias", None)

    def _kernel_shape(self) -> tuple[int, ...]:
        return self.kernel_size

    def _kernel(self) -> Tensor:
        return self.weight.flatten(0, 2)  # of indices the gradient would be copied into zeros, twice

    def _check(self, x: Tensor, alpha: Tensor) -> None:
        channels = self.in_channels if self.cal_dim == "cin" else self.out_channels
        expected = (x.shape[0], channels, x.shape[2], 1, 1)
        if alpha.shape != expected:
            raise ValueError(f"calibration has shape {tuple(alpha.shape)}, expected {expected}")

    def _conv2d(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, with_relu: bool = False) -> Tensor:
        if is_exported() and self.groups == 1:  # no turning of memory between layers, and half the operations
            sizes = (1, *self.stride[1:]), (0, *self.padding[1:]), (1, *self.dilation[1:])
            out = F.conv3d(x, weight.unsqueeze(2), bias, *sizes)
            return relu(out) if with_relu else out
        frames = conv2d(
            fold_time(x),
            weight,
            bias,
            stride=self.stride[1:],
            padding=self.padding[1:],
            dilation=self.dilation[1:],
            groups=self.groups,
            with_relu=with_relu,
        )
        return unfold_like(frames, x)

    def _scaled(self, x: Tensor, alpha: Tensor) -> Tensor:
        return x.mul_(alpha) if self.spends_input and not is_exported() else x * alpha

    def _add_bias(self, out: Tensor) -> Tensor:
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1, 1)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, groups={self.groups}, cal_dim={self.cal_dim!r}"
        )


class TAdaConv2d(_TAdaConv):
    """Temporally-adaptive convolution of temporal extent 1 (paper section 3.1).

    `weight` is (1, 1, Cout, Cin/groups, kh, kw), `bias` (1, 1, Cout) and not calibrated. Sizes are one
    number or (time, height, width), of which the temporal ones are 1 (kernel, stride) and 0 (padding).
    """

    def _kernel_shape(self) -> tuple[int, ...]:
        if self.kernel_size[0] != 1:
            raise ValueError(f"TAdaConv2d has temporal extent 1, got a kernel of {self.kernel_size}")
        return self.kernel_size[1:]

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """(B, Cin, T, H, W) and calibration (B, C, T, 1, 1) -> (B, Cout, T, H', W').

        C of the calibration is Cin for `cal_dim="cin"`, Cout for `"cout"`.
        """
        return self.convolve(x, alpha)

    def convolve(self, x: Tensor, alpha: Tensor, *, with_relu: bool = False) -> Tensor:
        """`forward`, followed by ReLU if `with_relu`."""
        self._check(x, alpha)
        if self.cal_dim == "cin":
            bias = None if self.bias is None else self.bias.flatten()
            return self._conv2d(self._scaled(x, alpha), self._kernel(), bias, with_relu=with_relu)
        out = self._add_bias(self._conv2d(x, self._kernel()) * alpha)
        return relu(out) if with_relu else out


class DepthwiseTAdaConv2d(TAdaConv2d):
    """A depthwise `TAdaConv2d` along output channels, of stride 1, whose bias has a calibration of its own.

    Frame t has the weights `weight * alpha_t` and the biases `bias * bias_alpha_t`. Both act on the output of one
    convolution with shared weights, in one pass over it.
    """

    def __init__(self, num_channels: int, kernel_size: int) -> None:
        size, padding = (1, kernel_size, kernel_size), (0, kernel_size // 2, kernel_size // 2)
        super().__init__(
            num_channels, num_channels, size, padding=padding, groups=num_channels, bias=True, cal_dim="cout"
        )

    def forward(self, x: Tensor, alpha: Tensor, bias_alpha: Tensor | None = None) -> Tensor:
        """(B, C, T, H, W) and calibrations (B, C, T, 1, 1) -> the same shape as `x`.

        Without `bias_alpha` the bias stays as it is.
        """
        if bias_alpha is None:
            return super().forward(x, alpha)
        self._check(x, alpha)
        self._check(x, bias_alpha)
        out = fold_time(self._conv2d(x, self._kernel()))
        # As frames, so that the small factors do not decide the memory order of the result.
        bias = fold_time(bias_alpha) * self.bias.view(1, -1, 1, 1)
        return unfold_like(torch.addcmul(bias, out, fold_time(alpha)), x)


class TAdaConv3d(_TAdaConv):
    """Temporally-adaptive convolution over space and time (paper section 3.1, 3-D networks).

    `weight` is (1, 1, Cout, Cin/groups, kt, kh, kw). The calibration of an output frame scales the
    whole temporal window that the frame is computed from, not each input frame by its own.
    """

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """(B, Cin, T, H, W) and calibration (B, C, T, 1, 1) -> (B, Cout, T, H', W')."""
        return self.convolve(x, alpha)

    def convolve(self, x: Tensor, alpha: Tensor, *, with_relu: bool = False) -> Tensor:
        """`forward`, followed by ReLU if `with_relu`."""
        out = self._convolve(x, alpha)
        return relu(out) if with_relu else out

    def _convolve(self, x: Tensor, alpha: Tensor) -> Tensor:
        self._check(x, alpha)
        weight = self._kernel()
        if self.cal_dim == "cout":
            out = F.conv3d(x, weight, None, self.stride, self.padding, self.dilation, self.groups) * alpha
            return self._add_bias(out)
        # An offset beyond the clip sees padding only, so a short clip leaves it out.
        reach = min(self.kernel_size[0] // 2, x.shape[2] - 1)
        centre = self.kernel_size[0] // 2
        out = self._conv2d(x * alpha, weight[:, :, centre])
        for offset in [d for d in range(-reach, reach + 1) if d != 0]:
            out = out + self._conv2d(_shift_time(x, offset) * alpha, weight[:, :, centre + offset])
        return self._add_bias(out)


def calibrated_conv(conv: TAdaConv2d | TAdaConv3d, norm: Norm, x: Tensor, alpha: Tensor) -> Tensor:
    """ReLU of `norm(conv(x, alpha))`."""
    if isinstance(norm, Folded):
        return conv.convolve(x, alpha, with_relu=True)
    return norm.with_relu(conv(x, alpha))


def _shift_time(x: Tensor, offset: int) -> Tensor:
    """Clip whose frame t is frame t + offset of `x`, zeros beyond its ends."""
    if is_exported():
        kept = x[:, :, offset:] if offset > 0 else x[:, :, :offset]
        return F.pad(kept, (0, 0, 0, 0, max(-offset, 0), max(offset, 0)))
    shifted = torch.zeros_like(x)
    if offset > 0:
        shifted[:, :, :-offset] = x[:, :, offset:]
    else:
        shifted[:, :, -offset:] = x[:, :, :offset]
    return shifted


def _conv_over_time(descriptors: Tensor, conv: nn.Conv3d) -> Tensor:
    """(B, C, T) through a k x 1 x 1 convolution, as the 1-D convolution it is."""
    weight = conv.weight.flatten(2)
    return F.conv1d(descriptors, weight, conv.bias, padding=weight.shape[2] // 2)


def _routing_conv(in_channels: int, out_channels: int, kernel_size: int, *, bias: bool) -> nn.Conv3d:
    padding = (kernel_size // 2, 0, 0)
    return nn.Conv3d(in_channels, out_channels, (kernel_size, 1, 1), padding=padding, bias=bias)


class RouteFuncMLP(nn.Module):
    """Routing function of TAda2D: calibration of every frame from local and global context (section 3.2).

    Each frame's spatial mean, plus a linear map of the clip's mean, goes through two convolutions over
    time with batch norm and ReLU between; the result is added to one. The last convolution starts
    at zero, so a fresh routing function calibrates by exactly one.
    """

    is_routing = True  # what learning rates of their own go by

    def __init__(self, c_in: int, *, ratio: int = 4, kernels: Sequence[int] = (3, 3)) -> None:
        super().__init__()
        hidden = c_in // ratio
        self.g = nn.Conv3d(c_in, c_in, 1)
        self.a = _routing_conv(c_in, hidden, kernels[0], bias=True)
        self.bn: nn.Module = nn.BatchNorm1d(hidden)
        self.b = _routing_conv(hidden, c_in, kernels[1], bias=False)
        nn.init.zeros_(self.b.weight)

    def folded(self) -> Self:
        """The form for inference: the norm is in the convolution before it."""
        assert isinstance(self.bn, nn.BatchNorm1d)
        assert self.bn.running_mean is not None
        assert self.bn.running_var is not None
        scale = self.bn.weight.double() * torch.rsqrt(self.bn.running_var.double() + self.bn.eps)
        shift = self.bn.bias.double() - self.bn.running_mean.double() * scale
        scale_outputs(self.a, scale, shift)
        self.bn = nn.Identity()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> calibration (B, C, T, 1, 1)."""
        local = frame_descriptors(x)
        context = _conv_over_time(local.mean(dim=2, keepdim=True), self.g)
        hidden = F.relu(self.bn(_conv_over_time(local + context, self.a)))
        return (_conv_over_time(hidden, self.b) + 1)[..., None, None]


class RouteFuncwTransformer(nn.Module):
    """Routing function of TAdaConvNeXtV2 and TAdaFormer: temporal self-attention over the frame descriptors.

    Returns the calibrations of the weight and of the bias. A fresh one calibrates by `start`: one, or zero in
    TAdaFormer, whose branches start at nothing.
    The published attention reads its channels width-major, writes them head-major, and scales by the
    whole hidden width instead of one head's; checkpoints depend on it, so it is kept.
    """

    is_routing = True  # what learning rates of their own go by

    def __init__(self, c_in: int, *, head_dim: int, start: float = 1.0) -> None:
        super().__init__()
        self.start = start
        hidden = c_in // 2
        if hidden % head_dim:
            raise ValueError(f"{hidden} hidden channels do not divide into heads of {head_dim}")
        self.head_dim, self.num_heads = head_dim, hidden // head_dim
        self.a = _routing_conv(c_in, hidden, 3, bias=True)
        self.norm = ChannelNorm(hidden)
        self.norm_transformer = ChannelNorm(hidden)
        self.qkv_proj = nn.Conv3d(hidden, 3 * hidden, 1)
        self.attn_out = nn.Conv3d(hidden, hidden, 1)
        self.b = _routing_conv(hidden, c_in, 3, bias=False)
        self.b_bias = _routing_conv(hidden, c_in, 3, bias=False)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b_bias.weight)

    def _attend(self, hidden: Tensor) -> Tensor:
        channels, frames = hidden.shape[1:]
        qkv = _conv_over_time(hidden, self.qkv_proj)
        split = qkv.view(-1, 3, self.head_dim, self.num_heads, frames)
        query, key, value = split.permute(1, 0, 3, 4, 2)  # each (B, heads, T, head_dim)
        out = attend(query, key, value, scale=channels**-0.5)
        return _conv_over_time(out.transpose(2, 3).reshape(-1, channels, frames), self.attn_out)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) -> calibrations of the weight and of the bias, each (B, C, T, 1, 1)."""
        hidden = _conv_over_time(frame_descriptors(x), self.a)
        hidden = quick_gelu(self.norm(hidden))
        hidden = hidden + self._attend(self.norm_transformer(hidden))
        weight, bias = (_conv_over_time(hidden, conv) + self.start for conv in (self.b, self.b_bias))
        return weight[..., None, None], bias[..., None, None]
