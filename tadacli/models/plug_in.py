"""TAdaConv added to a network that exists: its convolutions keep their weights and get a routing function each.

TAdaConv (ICLR 2022, section 3) multiplies the kernel of each frame by a calibration that a routing function reads from
the frame's neighbours. A fresh routing function answers one, so the network computes what it computed before until
it is trained.

A changed convolution stays the same object with the same `weight` and `bias`, under the same names and in the
same shapes; the routing function stands beside them as `routing`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import UninitializedParameter

from tadacli.errors import UsageError
from tadacli.models.layers import fold_time, unfold_time
from tadacli.models.tadaconv import CalibrationDim, RouteFuncMLP, TAdaConv2d, TAdaConv3d

Choose = Callable[[str, nn.Module], bool]
_TADACONV = TAdaConv2d | TAdaConv3d


@dataclass(frozen=True, kw_only=True)
class TAdaConvReport:
    """What `add_tadaconv` did, by qualified names in the network that it was given.

    `changed` are the convolutions that became TAdaConv. `left` are those that were chosen and could not, with the
    reason; `not_chosen` all others.
    """

    changed: tuple[str, ...]
    left: Mapping[str, str]
    not_chosen: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.changed) + len(self.left) + len(self.not_chosen)
        lines = [f"{len(self.changed)} of {total} convolutions became TAdaConv: {', '.join(self.changed)}"]
        lines += [f"{name} could not: {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def add_tadaconv(
    model: nn.Module, *, choose: Choose | None = None, ratio: int = 4, average: bool = True
) -> tuple[nn.Module, TAdaConvReport]:
    """A copy of `model` with TAdaConv in place of chosen convolutions, and the report of what was changed.

    At first the copy computes exactly what `model` does. `model` itself is not modified.

    A network with any 3-D convolution takes clips (B, C, T, H, W) already and comes back as a copy of its own kind.
    A network of 2-D convolutions comes back as a `FrameNetwork` (its `network` is the copy), which takes clips, runs
    their frames as one batch and returns the average over the frames; with `average=False` the output of every
    frame, (B, T, ...).

    Kernels are calibrated along their input channels as in TAda2D; grouped and depthwise ones along their output
    channels as in TAdaConvNeXt, unless they change the number of channels. Biases are not calibrated. New parameters
    are drawn from torch's generator, on the device and in the type of the convolution.

    Args:
        model: Any network with 2-D or 3-D convolutions.
        choose: `choose(name, convolution)` says which convolutions to change; without it, each one whose kernel is
            larger than 1 in height or width, except the network's first.
        ratio: By how much the routing functions narrow the channels (4 in the published TAda2D).
        average: Whether a network of pictures returns the average over the frames of a clip.

    Returns:
        The copy, and which convolutions it has TAdaConv in.

    Raises:
        UsageError: The network has TAdaConv already, or no convolution was chosen or could be changed.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tadacli.models import add_tadaconv
        >>> of_pictures = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> of_clips, report = add_tadaconv(of_pictures)
        >>> report.changed
        ('1',)
        >>> of_clips(torch.zeros(2, 3, 8, 16, 16)).shape  # B, C, T, H, W
        torch.Size([2, 4])
    """
    if ratio < 1:
        raise UsageError(f"the routing ratio is {ratio}", hint="It divides the channels; use 1 or more.")
    report = _decide(model, choose or _default_choice(model), ratio)
    network = copy.deepcopy(model)
    for name in report.changed:
        _calibrate(network.get_submodule(name), ratio)
    if not _takes_clips(model):
        network = FrameNetwork(network, average=average).train(model.training)
    return network, report


class CalibratedConv2d(nn.Conv2d):
    """A 2-D convolution of pictures that are the frames of clips, with a kernel of its own for every frame.

    `clip_shape` is (B, T) of the clips whose frames come as one batch; `FrameNetwork` sets it.
    """

    routing: RouteFuncMLP
    clip_shape: tuple[int, int] | None = None

    def forward(self, input: Tensor) -> Tensor:
        """(B*T, Cin, H, W) -> (B*T, Cout, H', W')."""
        if self.clip_shape is None:
            raise ValueError("a calibrated 2-D convolution runs inside the FrameNetwork that knows the clips")
        batch, frames = self.clip_shape
        if input.dim() != 4 or input.shape[0] != batch * frames:
            raise ValueError(
                f"expected the frames of {batch} clips of {frames} frames, got {tuple(input.shape)}: "
                "the network must keep its batch as it is"
            )
        # The routing function reads nothing but spatial means, and these are cheap to reorder.
        means = input.mean(dim=(2, 3), keepdim=True)
        alpha = fold_time(self.routing(unfold_time(means, batch)))
        if _cal_dim(self) == "cin":
            return super().forward(input * alpha)
        return _scale_but_bias(super().forward(input), alpha, self.bias)


class CalibratedConv3d(nn.Conv3d):
    """A 3-D convolution of clips with a kernel of its own for every output frame.

    The calibration of an output frame is that of the input frame at the centre of its temporal window (of the
    earlier of two, in a kernel of even extent) and scales the whole window.
    """

    routing: RouteFuncMLP

    def forward(self, input: Tensor) -> Tensor:
        """(B, Cin, T, H, W) -> (B, Cout, T', H', W')."""
        if input.dim() != 5:
            raise ValueError(f"expected clips (B, C, T, H, W), got {tuple(input.shape)}")
        alpha = self.routing(input.mean(dim=(3, 4), keepdim=True))
        if _cal_dim(self) == "cin" and self.kernel_size[0] == 1:
            return super().forward(input * alpha)
        if _cal_dim(self) == "cin":
            return self._convolve_windows(input, alpha)
        out = super().forward(input)
        return _scale_but_bias(out, alpha[:, :, self._centres(input.shape[2], input.device)], self.bias)

    def _centres(self, num_frames: int, device: torch.device) -> Tensor:
        """Input frame (T',) at the centre of each output frame's window; the nearest one where that is padding."""
        padding, reach = _padding(self)[0], _reach(self)[0]
        num_outputs = (num_frames + 2 * padding - reach - 1) // self.stride[0] + 1
        middle = self.dilation[0] * ((self.kernel_size[0] - 1) // 2)
        centres = torch.arange(num_outputs, device=device) * self.stride[0] + middle - padding
        return centres.clamp(0, num_frames - 1)

    def _convolve_windows(self, clips: Tensor, alpha: Tensor) -> Tensor:
        """The convolution of the temporal windows, each scaled by its own calibration, as one batch.

        One frame is in several windows, so it cannot carry the calibration; and one convolution over the windows adds
        up in the order of the original, which keeps the first outputs bitwise equal.
        """
        padding, stride, dilation = _padding(self), self.stride, self.dilation
        channels_last = not clips.is_contiguous() and clips.is_contiguous(memory_format=torch.channels_last_3d)
        order = torch.channels_last_3d if channels_last else torch.contiguous_format
        padded = F.pad(clips, (0, 0, 0, 0, padding[0], padding[0]))
        windows = padded.unfold(2, _reach(self)[0] + 1, stride[0])[..., :: dilation[0]]
        alpha = alpha[:, :, self._centres(clips.shape[2], clips.device)]
        scaled = windows.permute(0, 2, 1, 5, 3, 4) * alpha.transpose(1, 2)[..., None]  # (B, T', C, kt, H, W)
        out = F.conv3d(
            scaled.flatten(0, 1).contiguous(memory_format=order),
            self.weight,
            self.bias,
            (1, *stride[1:]),
            (0, *padding[1:]),
            (1, *dilation[1:]),
            self.groups,
        )
        return unfold_time(out.squeeze(2), clips.shape[0]).contiguous(memory_format=order)


class FrameNetwork(nn.Module):
    """A network of pictures that takes clips: their frames are its batch. `network` is that network."""

    def __init__(self, network: nn.Module, *, average: bool) -> None:
        super().__init__()
        self.network = network
        self.average = average

    def forward(self, clips: Tensor) -> Any:
        """(B, C, T, H, W) -> what the network returns for pictures (N, ...), as (B, ...), averaged over the frames.

        With `average=False` the outputs of all frames, (B, T, ...). Tensors in dicts, tuples and lists likewise.
        """
        if clips.dim() != 5:
            raise ValueError(f"expected clips (B, C, T, H, W), got {tuple(clips.shape)}")
        batch, frames = clips.shape[0], clips.shape[2]
        # By module tree, not by a list made once: copies and the replicas of DataParallel have layers of their own.
        for module in self.network.modules():
            if isinstance(module, CalibratedConv2d):
                module.clip_shape = (batch, frames)
        return self._of_clips(self.network(fold_time(clips)), batch, frames)

    def _of_clips(self, output: Any, batch: int, frames: int) -> Any:
        if output is None:
            return None
        if isinstance(output, Mapping):
            return {name: self._of_clips(value, batch, frames) for name, value in output.items()}
        if isinstance(output, tuple | list):
            values = [self._of_clips(value, batch, frames) for value in output]
            return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
        if not isinstance(output, Tensor) or output.dim() == 0 or output.shape[0] != batch * frames:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"the network returned {found}, not one output for each of {batch * frames} frames")
        of_frames = output.view(batch, frames, *output.shape[1:])
        return of_frames.mean(dim=1) if self.average else of_frames


def _scale_but_bias(out: Tensor, alpha: Tensor, bias: Tensor | None) -> Tensor:
    """`out` with all but the bias that it contains scaled; by a calibration of one, not changed in a single bit."""
    if bias is None:
        return out * alpha
    return out * alpha + bias.view(-1, *[1] * (out.dim() - 2)) * (1 - alpha)


def _cal_dim(conv: nn.Conv2d | nn.Conv3d) -> CalibrationDim:
    return "cout" if conv.groups > 1 and conv.in_channels == conv.out_channels else "cin"


def _padding(conv: nn.Conv2d | nn.Conv3d) -> list[int]:
    """Padding at each side of every dimension, of settings that pad both sides alike."""
    if conv.padding == "same":
        return [reach // 2 for reach in _reach(conv)]
    if isinstance(conv.padding, str):
        return [0] * len(conv.kernel_size)
    return list(conv.padding)


def _reach(conv: nn.Conv2d | nn.Conv3d) -> list[int]:
    """Distance from the first to the last tap of the kernel in every dimension."""
    return [step * (size - 1) for step, size in zip(conv.dilation, conv.kernel_size, strict=True)]


def _calibrate(conv: nn.Module, ratio: int) -> None:
    """Make a convolution calibrated, in its place.

    The object stays and changes its class: whatever else refers to it (a list, a hook, an attribute that the network
    reads) still refers to the convolution that runs.
    """
    assert isinstance(conv, nn.Conv2d | nn.Conv3d)
    with torch.device(conv.weight.device):
        routing = RouteFuncMLP(conv.in_channels, ratio=ratio)
    conv.__class__ = CalibratedConv2d if isinstance(conv, nn.Conv2d) else CalibratedConv3d
    conv.routing = routing.to(conv.weight.dtype).train(conv.training)


def _takes_clips(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv3d | nn.ConvTranspose3d) for module in model.modules())


def _default_choice(model: nn.Module) -> Choose:
    stem = next((module for module in model.modules() if isinstance(module, _ConvNd)), None)
    return lambda _, module: module is not stem and _is_spatial(module)


def _is_spatial(conv: nn.Module) -> bool:
    assert isinstance(conv, _ConvNd)
    return len(conv.kernel_size) > 1 and max(conv.kernel_size[-2:]) > 1


def _decide(model: nn.Module, choose: Choose, ratio: int) -> TAdaConvReport:
    modules = dict(model.named_modules(remove_duplicate=False))
    if any(isinstance(module, CalibratedConv2d | CalibratedConv3d | _TADACONV) for module in modules.values()):
        raise UsageError(f"this {type(model).__name__} has TAdaConv already", hint="Choose all its layers in one call.")
    convolutions = {name: module for name, module in modules.items() if isinstance(module, _ConvNd)}
    chosen = {name: module for name, module in convolutions.items() if choose(name, module)}
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    takes_clips = _takes_clips(model)
    obstacles = {name: _obstacle(module, ratio, uses, takes_clips) for name, module in chosen.items()}
    left = {name: obstacle for name, obstacle in obstacles.items() if obstacle is not None}
    if len(left) == len(chosen):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left.items())[:3])
        raise UsageError(
            f"none of the {len(convolutions)} convolutions of this {type(model).__name__} can become TAdaConv",
            hint=reasons or "None was chosen: see `choose`.",
        )
    return TAdaConvReport(
        changed=tuple(name for name in chosen if name not in left),
        left=left,
        not_chosen=tuple(name for name in convolutions if name not in chosen),
    )


def _obstacle(conv: _ConvNd, ratio: int, uses: Mapping[int, int], takes_clips: bool) -> str | None:
    """Why a convolution cannot be changed, or None if it can. `uses` counts the places of parameters by id."""
    kind = type(conv).__name__
    if isinstance(conv, _ConvTransposeNd):
        return "a transposed convolution"
    if not isinstance(conv, nn.Conv2d | nn.Conv3d):
        return "a convolution over one dimension"
    plain = nn.Conv2d if isinstance(conv, nn.Conv2d) else nn.Conv3d
    if isinstance(conv, nn.Conv2d) and takes_clips:
        return "a 2-D convolution among 3-D ones: how it sees time is not known"
    own_forward = type(conv).forward is not plain.forward or type(conv)._conv_forward is not plain._conv_forward
    if "weight" not in conv._parameters:
        return "its weight is computed from other parameters"
    if own_forward or "forward" in vars(conv):
        return f"this {kind} computes in a way of its own"
    if isinstance(conv.weight, UninitializedParameter):
        return "its channels are not known before the first forward pass"
    if uses[id(conv.weight)] > 1:
        return "its weight is used in several places"
    if conv.padding_mode != "zeros":
        return f"its padding mode is {conv.padding_mode!r}"
    if conv.padding == "same" and any(reach % 2 for reach in _reach(conv)):
        return 'padding="same" with an even kernel pads one side more'
    if conv.in_channels < ratio:
        return f"its {conv.in_channels} input channels are fewer than the routing ratio {ratio}"
    return None
