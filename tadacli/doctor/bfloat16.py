"""Does the processor compute in bfloat16 what it does in float32? Some versions of PyTorch do not, for some shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tadacli.doctor.findings import Finding

if TYPE_CHECKING:
    from torch import Tensor

# Sides of the input and strides of 3-D convolutions, also such whose output is one pixel wide.
SHAPES = ((7, 2), (2, 2), (1, 1), (1, 2), (14, 2))
_CHANNELS, _FRAMES = 32, 4
# Eight bits of sums of a thousand products; what is wrong is wrong by far more.
_TOLERANCE = 0.05


def check_bfloat16(convolve: Callable[[Tensor, Tensor, int], Tensor] | None = None) -> Iterator[Finding]:
    """What to know of bfloat16 on this processor: a note where its numbers are wrong, else nothing.

    Args:
        convolve: Of clips (1, C, T, H, W), kernels (C, C, 3, 3, 3) and a stride in space; by default PyTorch's own.
    """
    import torch

    from tadacli.zoo.dtype import has_bfloat16

    if convolve is None and not has_bfloat16(torch.device("cpu")):
        return
    convolve = convolve or _convolved
    generator = torch.Generator().manual_seed(0)
    wrong = []
    for side, stride in SHAPES:
        clips = torch.randn(1, _CHANNELS, _FRAMES, side, side, generator=generator)
        kernels = torch.randn(_CHANNELS, _CHANNELS, 3, 3, 3, generator=generator)
        expected = _convolved(clips, kernels, stride)
        found = convolve(clips.bfloat16(), kernels.bfloat16(), stride).float()
        if not float((found - expected).norm()) <= _TOLERANCE * float(expected.norm()):
            wrong.append(f"{side}x{side} with stride {stride}")
    if wrong:
        yield Finding(
            "devices",
            "bfloat16",
            "note",
            f"torch {torch.__version__} computes wrong values here, in 3-D convolutions of {', '.join(wrong)}",
            "tada classify VIDEO --dtype float32  (the default; --dtype auto compares scores first)",
        )


def _convolved(clips: Tensor, kernels: Tensor, stride: int) -> Tensor:
    import torch

    return torch.nn.functional.conv3d(clips, kernels, stride=(1, stride, stride), padding=1)
