"""Layers of networks whose tensors are clips: per-frame and over-time convolutions, norms, activations.

Tensors are (B, C, T, H, W). Kept in `torch.channels_last_3d` memory order, such a tensor and its
frames (B*T, C, H, W) in `torch.channels_last` order are the same memory, so every per-frame layer
here is a 2-D convolution on a free view. Parameter names and shapes are those of the published
checkpoints, whose convolutions are all 3-D.

In evaluation a batch norm goes into the convolution before it, and where oneDNN is there (PyTorch on most CPUs), or
cuDNN, the bias, the residual and ReLU into the same pass: what is left besides the products is waiting for memory.

Traced for export (`is_exported`) all of them say the same in portable operations: nothing of one processor, nothing
written over, no size but the batch's that is not a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.fewer_passes import frame_means, relu_over

QUICK_GELU = 1.702  # its factor, see `quick_gelu`
# Of fewer channels, the gradient of a strided 1x1 convolution writes past its memory on processors with AVX2 but no
# AVX-512 (oneDNN's issue 6035): it crashes, hangs or is wrong. So the pixels that it uses are picked out first.
NUM_SAFE_CHANNELS = 8


def fold_time(x: Tensor) -> Tensor:
    """Frames (B*T, C, H, W) of a clip (B, C, T, H, W); a view if the clip is channels-last."""
    if is_exported():
        return x.transpose(1, 2).reshape(-1, x.shape[1], *x.shape[3:])
    return x.transpose(1, 2).flatten(0, 1)


def unfold_time(frames: Tensor, batch_size: int) -> Tensor:
    """Clip (B, C, T, H, W) of frames (B*T, C, H, W); the inverse of `fold_time`, always a view."""
    return frames.view(batch_size, -1, *frames.shape[1:]).transpose(1, 2)


def unfold_like(frames: Tensor, x: Tensor) -> Tensor:
    """`unfold_time` of what became of the frames of a clip `x`, as many as it has."""
    return frames.view(-1, x.shape[2], *frames.shape[1:]).transpose(1, 2)


def is_exported() -> bool:
    """Whether the network is being traced for another runtime, by torch.export."""
    return torch.compiler.is_exporting()


def time_as_height(x: Tensor) -> Tensor:
    """Clip (B, C, T, H, W) as pictures (B, C, T, H*W) whose height is time; a view if the clip is channels-last."""
    # `flatten` gives a batch of one a stride by which convolutions take it for another order of memory.
    pixels = x.permute(0, 2, 3, 4, 1)
    return pixels.reshape(*pixels.shape[:2], -1, pixels.shape[4]).permute(0, 3, 1, 2)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    with_relu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """2-D convolution of pictures (N, C, H, W), followed by ReLU if `with_relu`.

    `residual`, of the shape of the result, is added before the ReLU; without autograd it may be written over.
    """
    if is_exported():
        out = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        return relu(out, residual=residual) if with_relu else out
    if x.shape[1] < NUM_SAFE_CHANNELS and weight.shape[2:].numel() == 1 and max(stride) > 1 and not any(padding):
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    plain: ConvArguments = weight, bias, stride, padding, dilation, groups
    if with_relu and x.is_cuda and not torch.is_grad_enabled():
        at_once = _cudnn_conv2d(x, plain, residual)
        if at_once is not None:
            return at_once
    if not (with_relu and _in_one_pass(x) and (residual is None or _is_channels_last(x, residual))):
        out = F.conv2d(x, *plain)
        return relu(out, residual=residual) if with_relu else out
    how = weight, bias, list(padding), list(stride), list(dilation), groups
    done: Tensor = (
        torch.ops.mkldnn._convolution_pointwise(x, *how, "relu", [], None)
        if residual is None
        else torch.ops.mkldnn._convolution_pointwise_.binary(residual, x, *how, "add", 1.0, "relu", [], None)
    )
    return done


# Weight, bias, stride, padding, dilation and groups of a convolution.
ConvArguments: TypeAlias = tuple[Tensor, Tensor | None, Sequence[int], Sequence[int], Sequence[int], int]


def _cudnn_conv2d(x: Tensor, plain: ConvArguments, residual: Tensor | None) -> Tensor | None:
    """ReLU of a convolution, or of it plus `residual`, in one pass of cuDNN; None where there is none for these."""
    weight, bias, *how = plain
    try:
        if residual is None:
            return torch.cudnn_convolution_relu(x, weight, bias, *how)  # type: ignore[arg-type]
        return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, *how)  # type: ignore[arg-type]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # no algorithm for this type or shape, or no cuDNN
        return None


def _in_one_pass(x: Tensor) -> bool:
    """Whether oneDNN does what follows a convolution of `x` together with it."""
    return x.device.type == "cpu" and x.dtype in onednn_dtypes() and not torch.is_grad_enabled()


def _is_channels_last(*pictures: Tensor) -> bool:
    """Whether these are so, and cannot be taken for the other order: then there is no sum in one pass."""
    return all(p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p in pictures)


@cache
def onednn_dtypes() -> tuple[torch.dtype, ...]:
    """What oneDNN is fast with on this processor: float32, mostly bfloat16.

    Nothing where PyTorch was built without it, or has other names for what is called here.
    """
    operations = ("_convolution_pointwise", "_convolution_pointwise_", "_is_mkldnn_bf16_supported")
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in operations):  # type: ignore[no-untyped-call]
        return ()
    return (torch.float32, torch.bfloat16) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else (torch.float32,)


class PlainConv(nn.Conv3d):
    """A convolution of clips without a calibration, into which the norm after it can go."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T', H', W')."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        with_relu: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        """`forward` with other parameters of the same shapes; see `conv2d` for what may follow."""
        out = F.conv3d(x, weight, bias, self.stride, self.padding)
        return relu(out, residual=residual) if with_relu else out


class _PictureConv(PlainConv):
    """A convolution with an extent of one along time or along space, computed on pictures. Parameters are Conv3d's.

    `flat_axis` is the axis of one in the kernel, `spanned` are the directions of a picture.
    """

    flat_axis: int
    spanned: slice

    def pictures(self, x: Tensor) -> Tensor:
        """The pictures (N, C, H', W') of a clip (B, C, T, H, W)."""
        raise NotImplementedError

    def clip(self, pictures: Tensor, x: Tensor) -> Tensor:
        """The clip of what became of the pictures of a clip `x`."""
        raise NotImplementedError

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        with_relu: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        """As `PlainConv`."""
        if is_exported() and self.groups == 1:  # no turning of memory between layers, and half the operations
            return super().convolve(x, weight, bias, with_relu=with_relu, residual=residual)
        out = conv2d(
            self.pictures(x),
            weight.squeeze(self.flat_axis),
            bias,
            stride=self.stride[self.spanned],
            padding=cast(tuple[int, ...], self.padding)[self.spanned],
            groups=self.groups,
            with_relu=with_relu,
            residual=None if residual is None else self.pictures(residual),
        )
        return self.clip(out, x)


class FrameConv2d(_PictureConv):
    """A convolution of temporal extent 1, applied to every frame."""

    flat_axis, spanned = 2, slice(1, 3)

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

    def pictures(self, x: Tensor) -> Tensor:
        """The frames of a clip."""
        return fold_time(x)

    def clip(self, pictures: Tensor, x: Tensor) -> Tensor:
        """The clip of these frames."""
        return unfold_like(pictures, x)


class TemporalConv1d(_PictureConv):
    """A convolution over time alone (k x 1 x 1)."""

    flat_axis, spanned = 4, slice(0, 2)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, (kernel_size, 1, 1), padding=(kernel_size // 2, 0, 0), bias=bias)

    def pictures(self, x: Tensor) -> Tensor:
        """See `time_as_height`."""
        return time_as_height(x)

    def clip(self, pictures: Tensor, x: Tensor) -> Tensor:
        """Pictures whose height is time as a clip."""
        return pictures.view(-1, *pictures.shape[1:3], *x.shape[3:])


class FrameBatchNorm(nn.BatchNorm3d):
    """Batch norm of (B, C, T, H, W), computed on the frames so that channels-last order is kept."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        return unfold_like(super().forward(fold_time(x)), x)

    def with_relu(self, x: Tensor, *, residual: Tensor | None = None) -> Tensor:
        """ReLU of `forward`, or of it plus `residual`, of the same shape."""
        if is_exported():
            return relu(self(x), residual=residual)
        frames = super().forward(fold_time(x))
        return unfold_like(relu_over(frames, None if residual is None else fold_time(residual)), x)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel (C,) that this norm is in evaluation mode."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() != 4:
            raise ValueError(f"expected frames of 4 dimensions, got {x.dim()}")


class Folded(nn.Module):
    """In the place of a norm that has gone into the layer before it; see `inference`."""


Norm = FrameBatchNorm | Folded


def normalised_conv(
    conv: PlainConv, norm: Norm, x: Tensor, *, with_relu: bool = False, residual: Tensor | None = None
) -> Tensor:
    """`norm(conv(x))`, or if `with_relu` the ReLU of it, or of it plus `residual`.

    In evaluation mode the norm goes into the kernel, saving a pass. Where it is there already, that is in the form
    for inference, the result may be written over the residual.
    """
    if isinstance(norm, Folded):
        return conv.convolve(x, conv.weight, conv.bias, with_relu=with_relu, residual=residual)
    if norm.training:
        return norm.with_relu(conv(x), residual=residual) if with_relu else norm.forward(conv(x))
    scale, shift = norm.scale_and_shift()
    bias = shift if conv.bias is None else shift + conv.bias * scale
    fuses_relu = with_relu and residual is None
    out = conv.convolve(x, conv.weight * scale.view(-1, 1, 1, 1, 1), bias, with_relu=fuses_relu)
    return relu(out, residual=residual) if with_relu and not fuses_relu else out


def fold_norm(block: nn.Module, conv: str, norm: str) -> None:
    """Puts a norm of `block` for good into the convolution before it, a plain one or a TAdaConv, both by name."""
    layer, folded = block.get_submodule(conv), block.get_submodule(norm)
    assert isinstance(folded, FrameBatchNorm)
    scale_outputs(layer, *folded.double().scale_and_shift())
    setattr(block, norm, Folded())


def scale_outputs(conv: nn.Module, scale: Tensor, shift: Tensor) -> None:
    """Makes a convolution put out `scale * output + shift`, (Cout,) each; afterwards it has a bias."""
    weight, bias = cast(Tensor, conv.weight), cast(Tensor | None, conv.bias)
    axis = 0 if weight.dim() == 5 else 2  # the weights of a TAdaConv have two dimensions of one before the others
    shape = [1] * weight.dim()
    shape[axis] = -1
    if bias is not None:
        shift = shift + bias.double().flatten() * scale
    conv.weight = nn.Parameter((weight.double() * scale.view(shape)).to(weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.view([1] * axis + [-1]).to(weight.dtype), requires_grad=False)


class TemporalFilter(nn.Module):
    """The aggregation of a TAda2D block in evaluation: three taps over time for each channel, and a bias."""

    def __init__(self, norm: FrameBatchNorm, average_norm: FrameBatchNorm) -> None:
        super().__init__()
        dtype = norm.weight.dtype
        taps, bias = _taps(norm.double(), average_norm.double())
        self.taps = nn.Parameter(taps.to(dtype), requires_grad=False)
        self.bias = nn.Parameter(bias.to(dtype), requires_grad=False)

    def forward(self, x: Tensor, *, with_relu: bool) -> Tensor:
        """(B, C, T, H, W) -> the same shape; followed by ReLU if `with_relu`."""
        return _filter_over_time(x, self.taps, self.bias, with_relu=with_relu)


def _taps(norm: FrameBatchNorm, average_norm: FrameBatchNorm) -> tuple[Tensor, Tensor]:
    """Taps (C, 1, 3, 1) and bias (C,) that the two norms are together, the average being over three frames."""
    scale, shift = norm.scale_and_shift()
    average_scale, average_shift = average_norm.scale_and_shift()
    side = average_scale / 3
    return torch.stack((side, scale + side, side), dim=1)[:, None, :, None], shift + average_shift


def _filter_over_time(x: Tensor, taps: Tensor, bias: Tensor, *, with_relu: bool) -> Tensor:
    """A filter over time for each channel, followed by ReLU if `with_relu`."""
    if is_exported():
        out = F.conv3d(x, taps[..., None], bias, padding=(1, 0, 0), groups=len(taps))
        return relu(out) if with_relu else out
    if _in_one_pass(x):
        pixels = time_as_height(x)
        return conv2d(pixels, taps, bias, padding=(1, 0), groups=len(taps), with_relu=with_relu).view(x.shape)
    side, centre = taps[:, 0, 0].view(1, -1, 1, 1, 1), taps[:, 0, 1].view(1, -1, 1, 1, 1)
    out = torch.addcmul(bias.view(1, -1, 1, 1, 1), x, centre)
    out[:, :, 1:].addcmul_(x[:, :, :-1], side)
    out[:, :, :-1].addcmul_(x[:, :, 1:], side)
    return relu(out) if with_relu else out


def aggregate_over_time(
    x: Tensor, norm: FrameBatchNorm | TemporalFilter, average_norm: Norm, *, with_relu: bool = False
) -> Tensor:
    """`norm(x) + average_norm(average of each frame with its neighbours)`: the aggregation of a TAda2D block.

    (B, C, T, H, W) to the same shape; followed by ReLU if `with_relu`. The average is over three frames, those beyond
    the ends counting as zeros (paper section 3.3). In evaluation mode all of it is one filter of three taps over time.
    """
    if isinstance(norm, TemporalFilter):
        return norm(x, with_relu=with_relu)  # type: ignore[no-any-return]
    assert isinstance(average_norm, FrameBatchNorm)
    if norm.training or average_norm.training:
        average: Tensor = average_norm(sum_of_neighbours(x) / 3)
        return norm.with_relu(x, residual=average) if with_relu else norm(x) + average
    return _filter_over_time(x, *_taps(norm, average_norm), with_relu=with_relu)


def sum_of_neighbours(x: Tensor) -> Tensor:
    """Each frame plus the ones before and after it, those beyond the ends being zeros: (B, C, T, H, W) to the same."""
    if is_exported():
        if x.shape[2] < 3:  # which the pooling's own padding does not make longer
            return 3 * F.avg_pool3d(F.pad(x, (0, 0, 0, 0, 1, 1)), (3, 1, 1), stride=1)
        return 3 * F.avg_pool3d(x, (3, 1, 1), stride=1, padding=(1, 0, 0))
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
    # Clips are views, and for a change in place of a view autograd copies its gradient.
    if torch.is_grad_enabled() or is_exported():
        return F.relu(x if residual is None else x + residual)
    return F.relu(x if residual is None else x.add_(residual), inplace=True)


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return x * torch.sigmoid(QUICK_GELU * x)


def quick_gelu_layers(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """Linear, QuickGELU, linear: (..., D) to (..., D')."""
    if is_exported():
        return F.linear(quick_gelu(F.linear(x, first.weight, first.bias)), second.weight, second.bias)
    # QuickGELU(x) = SiLU(1.702 x) / 1.702, and products take such factors for nothing: one pass over the wide tensor.
    wide = torch.addmm(first.bias, x.flatten(0, -2), first.weight.t(), beta=QUICK_GELU, alpha=QUICK_GELU)
    wide = F.silu(wide, inplace=not torch.is_grad_enabled())
    return torch.addmm(second.bias, wide, second.weight.t(), alpha=1 / QUICK_GELU).view(*x.shape[:-1], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Attention of queries to keys, softmax of their products times `scale`: (..., N, D) each, to the same shape."""
    if is_exported():
        return (query * scale @ key.mT).softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value, scale=scale)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, ...), at every pixel or frame by itself."""

    def __init__(self, num_channels: int, *, eps: float = 1e-6) -> None:
        super().__init__(num_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape; the channels of the result lie together in memory."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def frame_descriptors(x: Tensor) -> Tensor:
    """Spatial mean of every frame, (B, C, T, H, W) -> (B, C, T)."""
    if is_exported():
        return x.mean(dim=(3, 4))
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        # PyTorch's own sums of these numbers are many times slower; in a product they are kept in single precision.
        pixels = x.permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)
        means = torch.bmm(pixels.new_ones(len(pixels), 1, pixels.shape[1]), pixels) / pixels.shape[1]
        return means.view(x.shape[0], x.shape[2], -1).transpose(1, 2)
    means = frame_means(fold_time(x)).flatten(1)
    return means.view(x.shape[0], -1, x.shape[1]).transpose(1, 2)
