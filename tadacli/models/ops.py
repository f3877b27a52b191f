"""Temporally-adaptive convolutions, the routing functions that calibrate them, and per-frame layers.

Tensors are (B, C, T, H, W). Kept in `torch.channels_last_3d` memory order, such a tensor and its
frames (B*T, C, H, W) in `torch.channels_last` order are the same memory, so every per-frame layer
here is a 2-D convolution on a free view. Parameter names and shapes are those of the published
checkpoints, whose convolutions are all 3-D.

TAdaConv (ICLR 2022, section 3) gives frame t the weights `base * alpha_t`. A factor on input channels
of a kernel commutes with the convolution, so scaling the frame's channels and using one shared kernel
computes the same thing without building a kernel for each of the B*T frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CalibrationDim = Literal["cin", "cout"]
Size3 = int | Sequence[int]

QUICK_GELU = 1.702  # its factor, see `quick_gelu`


def fold_time(x: Tensor) -> Tensor:
    """Frames (B*T, C, H, W) of a clip (B, C, T, H, W); a view if the clip is channels-last."""
    return x.transpose(1, 2).flatten(0, 1)


def unfold_time(frames: Tensor, batch_size: int) -> Tensor:
    """Clip (B, C, T, H, W) of frames (B*T, C, H, W); the inverse of `fold_time`, always a view."""
    return frames.view(batch_size, -1, *frames.shape[1:]).transpose(1, 2)


class FrameConv2d(nn.Conv3d):
    """A convolution of temporal extent 1, applied to every frame. Parameters are those of Conv3d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        size, strides, paddings = (1, kernel_size, kernel_size), (1, stride, stride), (0, padding, padding)
        super().__init__(in_channels, out_channels, size, strides, paddings, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T, H', W')."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`forward` with other parameters of the same shapes."""
        stride, padding = self.stride[1:], self.padding[1:]
        frames = F.conv2d(fold_time(x), weight.squeeze(2), bias, stride, padding, groups=self.groups)
        return unfold_time(frames, x.shape[0])


class TemporalConv1d(nn.Conv3d):
    """A convolution over time alone (k x 1 x 1). Parameters are those of Conv3d."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, (kernel_size, 1, 1), padding=(kernel_size // 2, 0, 0), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T, H, W)."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`forward` with other parameters of the same shapes."""
        pixels = x.flatten(3)  # (B, C, T, H*W): time becomes the height of a picture
        out = F.conv2d(pixels, weight.squeeze(4), bias, padding=(self.kernel_size[0] // 2, 0))
        return out.view(*out.shape[:3], *x.shape[3:])


class FrameBatchNorm(nn.BatchNorm3d):
    """Batch norm of (B, C, T, H, W), computed on the frames so that channels-last order is kept."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        return unfold_time(super().forward(fold_time(x)), x.shape[0])

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel (C,) that this norm is in evaluation mode."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() != 4:
            raise ValueError(f"expected frames of 4 dimensions, got {x.dim()}")


def normalised_conv(conv: FrameConv2d | TemporalConv1d, norm: FrameBatchNorm, x: Tensor) -> Tensor:
    """`norm(conv(x))`; in evaluation mode the norm goes into the kernel, saving a pass."""
    if norm.training:
        return norm(conv(x))  # type: ignore[no-any-return]
    scale, shift = norm.scale_and_shift()
    bias = shift if conv.bias is None else shift + conv.bias * scale
    return conv.convolve(x, conv.weight * scale.view(-1, 1, 1, 1, 1), bias)


def aggregate_over_time(x: Tensor, norm: FrameBatchNorm, average_norm: FrameBatchNorm) -> Tensor:
    """`norm(x) + average_norm(average of each frame with its neighbours)`: the aggregation of a TAda2D block.

    (B, C, T, H, W) to the same shape. The average is over three frames, those beyond the ends counting as
    zeros (paper section 3.3). In evaluation mode all of it is one filter of three taps over time.
    """
    if norm.training or average_norm.training:
        return norm(x) + average_norm(sum_of_neighbours(x) / 3)  # type: ignore[no-any-return]
    scale, shift = norm.scale_and_shift()
    average_scale, average_shift = average_norm.scale_and_shift()
    side = (average_scale / 3).view(1, -1, 1, 1, 1)
    out = torch.addcmul((shift + average_shift).view(1, -1, 1, 1, 1), x, scale.view(1, -1, 1, 1, 1) + side)
    out[:, :, 1:].addcmul_(x[:, :, :-1], side)
    out[:, :, :-1].addcmul_(x[:, :, 1:], side)
    return out


def sum_of_neighbours(x: Tensor) -> Tensor:
    """Each frame plus the ones before and after it, those beyond the ends being zeros: (B, C, T, H, W) to the same."""
    total: Tensor = _SumOfNeighbours.apply(x)
    return total


class _SumOfNeighbours(torch.autograd.Function):
    """A symmetric filter: its gradient passes through the same filter. Autograd would copy it for each of the sums."""

    @staticmethod
    def forward(_: object, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.preserve_format)
        total[:, :, 1:] += x[:, :, :-1]
        total[:, :, :-1] += x[:, :, 1:]
        return total

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return sum_of_neighbours(gradient)


def relu(x: Tensor, *, residual: Tensor | None = None) -> Tensor:
    """ReLU of `x`, or of `x + residual`, of the same shape; without autograd written over `x`, which ends its use."""
    if torch.is_grad_enabled():  # clips are views, and for a change in place of a view autograd copies its gradient
        return F.relu(x if residual is None else x + residual)
    return F.relu(x if residual is None else x.add_(residual), inplace=True)


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return x * torch.sigmoid(QUICK_GELU * x)


def quick_gelu_layers(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """Linear, QuickGELU, linear: (..., D) to (..., D')."""
    # QuickGELU(x) = SiLU(1.702 x) / 1.702, and products take such factors for nothing: one pass over the wide tensor.
    wide = torch.addmm(first.bias, x.flatten(0, -2), first.weight.t(), beta=QUICK_GELU, alpha=QUICK_GELU)
    wide = F.silu(wide, inplace=not torch.is_grad_enabled())
    return torch.addmm(second.bias, wide, second.weight.t(), alpha=1 / QUICK_GELU).view(*x.shape[:-1], -1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, ...), at every pixel or frame by itself."""

    def __init__(self, num_channels: int, *, eps: float = 1e-6) -> None:
        super().__init__(num_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape; the channels of the result lie together in memory."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def frame_descriptors(x: Tensor) -> Tensor:
    """Spatial mean of every frame, (B, C, T, H, W) -> (B, C, T)."""
    means = F.adaptive_avg_pool2d(fold_time(x), 1).flatten(1)
    return means.view(x.shape[0], -1, x.shape[1]).transpose(1, 2)


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

    def _conv2d(self, x: Tensor, weight: Tensor) -> Tensor:
        frames = F.conv2d(fold_time(x), weight, None, self.stride[1:], self.padding[1:], self.dilation[1:], self.groups)
        return unfold_time(frames, x.shape[0])

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
        self._check(x, alpha)
        if self.cal_dim == "cin":
            out = self._conv2d(x * alpha, self._kernel())
        else:
            out = self._conv2d(x, self._kernel()) * alpha
        return self._add_bias(out)


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
        return unfold_time(torch.addcmul(bias, out, fold_time(alpha)), x.shape[0])


class TAdaConv3d(_TAdaConv):
    """Temporally-adaptive convolution over space and time (paper section 3.1, 3-D networks).

    `weight` is (1, 1, Cout, Cin/groups, kt, kh, kw). The calibration of an output frame scales the
    whole temporal window that the frame is computed from, not each input frame by its own.
    """

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        """(B, Cin, T, H, W) and calibration (B, C, T, 1, 1) -> (B, Cout, T, H', W')."""
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


def _shift_time(x: Tensor, offset: int) -> Tensor:
    """Clip whose frame t is frame t + offset of `x`, zeros beyond its ends."""
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

    def __init__(
        self,
        c_in: int,
        *,
        ratio: int = 4,
        kernels: Sequence[int] = (3, 3),
        bn_eps: float = 1e-5,
        bn_mmt: float = 0.1,
    ) -> None:
        super().__init__()
        hidden = c_in // ratio
        self.g = nn.Conv3d(c_in, c_in, 1)
        self.a = _routing_conv(c_in, hidden, kernels[0], bias=True)
        self.bn = nn.BatchNorm1d(hidden, eps=bn_eps, momentum=bn_mmt)
        self.b = _routing_conv(hidden, c_in, kernels[1], bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> calibration (B, C, T, 1, 1)."""
        local = frame_descriptors(x)
        context = _conv_over_time(local.mean(dim=2, keepdim=True), self.g)
        hidden = F.relu(self.bn(_conv_over_time(local + context, self.a)))
        return (_conv_over_time(hidden, self.b) + 1)[..., None, None]


class RouteFuncwTransformer(nn.Module):
    """Routing function of TAdaConvNeXtV2 and TAdaFormer: temporal self-attention over the frame descriptors.

    Returns the weight calibration, or with `with_bias_cal` a pair (weight, bias), each (B, C, T, 1, 1). A fresh one
    calibrates by `start`: one, or zero in TAdaFormer, whose branches start at nothing.
    The published attention reads its channels width-major, writes them head-major, and scales by the
    whole hidden width instead of one head's; checkpoints depend on it, so it is kept.
    """

    is_routing = True  # what learning rates of their own go by

    def __init__(
        self,
        c_in: int,
        *,
        ratio: int = 2,
        kernels: Sequence[int] = (3, 3),
        with_bias_cal: bool = False,
        head_dim: int = 64,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        self.start = start
        hidden = c_in // ratio
        if hidden % head_dim:
            raise ValueError(f"{hidden} hidden channels do not divide into heads of {head_dim}")
        self.head_dim, self.num_heads = head_dim, hidden // head_dim
        self.a = _routing_conv(c_in, hidden, kernels[0], bias=True)
        self.norm = ChannelNorm(hidden)
        self.norm_transformer = ChannelNorm(hidden)
        self.qkv_proj = nn.Conv3d(hidden, 3 * hidden, 1)
        self.attn_out = nn.Conv3d(hidden, hidden, 1)
        self.b = _routing_conv(hidden, c_in, kernels[1], bias=False)
        nn.init.zeros_(self.b.weight)
        self.b_bias: nn.Conv3d | None = None
        if with_bias_cal:
            self.b_bias = _routing_conv(hidden, c_in, kernels[1], bias=False)
            nn.init.zeros_(self.b_bias.weight)

    def _attend(self, hidden: Tensor) -> Tensor:
        batch, channels, frames = hidden.shape
        qkv = _conv_over_time(hidden, self.qkv_proj)
        split = qkv.view(batch, 3, self.head_dim, self.num_heads, frames)
        query, key, value = split.permute(1, 0, 3, 4, 2)  # each (B, heads, T, head_dim)
        out = F.scaled_dot_product_attention(query, key, value, scale=channels**-0.5)
        return _conv_over_time(out.transpose(2, 3).reshape(batch, channels, frames), self.attn_out)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, C, T, H, W) -> calibration of the weight, or of (weight, bias)."""
        hidden = _conv_over_time(frame_descriptors(x), self.a)
        hidden = quick_gelu(self.norm(hidden))
        hidden = hidden + self._attend(self.norm_transformer(hidden))
        weight = (_conv_over_time(hidden, self.b) + self.start)[..., None, None]
        if self.b_bias is None:
            return weight
        return weight, (_conv_over_time(hidden, self.b_bias) + self.start)[..., None, None]
