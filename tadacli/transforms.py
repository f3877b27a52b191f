"""Frames to normalised clips, exactly as the published test-time preprocessing does.

Pixels are divided by 255, resized bilinearly without antialiasing so that the short side has the asked
length, cropped and normalised, all in float32 on the device the frames are on.

A much smaller picture needs few of a frame's pixels: four for each of its own. Where that pays they are gathered
and weighted here, rounded wherever `F.interpolate` rounds, so that no bit differs. On a CPU all arithmetic but
that of `F.interpolate` stays in the calling thread: frames are prepared beside a network that keeps the cores busy,
and threads that wait for each other there burn more time than the work takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tadacli.errors import UsageError

# (top, left, bottom, right) in pixels, behind the last ones.
Box = tuple[int, int, int, int]
# Weighted sums of four pixels: by rows, then of the two rows; or all four at once.
Rounding = Literal["rows", "once"]
# PyTorch leaves an operation on less than this many values to the calling thread.
_ONE_THREAD = 32768


def resized_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """(height, width) that frames of this height and width are resized to; the long side is rounded down."""
    if width < height:
        return int(height / width * short_side), short_side
    return short_side, int(width / height * short_side)


def centre_box(height: int, width: int, *, crop_size: int) -> Box:
    """The square in the middle, rounded up and to the left. Raises `UsageError` if it does not fit."""
    (_, top, _), (_, left, _) = _offsets(height, width, crop_size)
    return top, left, top + crop_size, left + crop_size


def resize_frames(
    frames: np.ndarray | Tensor,
    *,
    short_side: int,
    box: Box | None = None,
    exact: bool = True,
) -> Tensor:
    """uint8 (T, H, W, 3) to float32 in 0..1, (T, 3, H', W') with `short_side` as the shorter of H', W'.

    With a `box` only that part of the resized frames, with the same values, at less cost than all of it. Without
    `exact`, values on a CPU may be one grey level (1 / 255) off the rounded exact ones, which is faster where
    frames shrink little or much of them is kept.
    """
    pixels = _checked(frames)
    height, width = pixels.shape[1:3]
    size = resized_size(height, width, short_side=short_side)
    top, left, bottom, right = box = (0, 0, *size) if box is None else box
    if not (0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]):
        raise ValueError(f"{box} is no part of frames of {size[0]}x{size[1]}")
    if size == (height, width):
        return _fractions(pixels[:, top:bottom, left:right]).permute(0, 3, 1, 2)
    on_cpu = pixels.device.type == "cpu"
    if on_cpu and _gathering_pays((height, width), size, box, exact=exact):
        rounding = _rounding(size, torch.get_num_threads())
        if rounding is not None:
            return _gathered(pixels, size, box, rounding)
    if on_cpu and not exact:
        levels = F.interpolate(pixels.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
        return _fractions(levels[:, :, top:bottom, left:right])
    values = _fractions(pixels)
    images = F.interpolate(values.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
    return images[:, :, top:bottom, left:right]


def crop_frames(
    images: Tensor, *, crop_size: int, num_crops: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Resized (T, 3, H, W) to normalised crops (num_crops, 3, T, crop_size, crop_size).

    One crop is the centre; three go along the long side: left, centre, right or top, centre, bottom.
    """
    height, width = images.shape[2:]
    tops, lefts = _offsets(height, width, crop_size)
    if num_crops == 1:
        corners = [(tops[1], lefts[1])]
    elif num_crops == 3:
        corners = [(tops[1], left) for left in lefts] if width > height else [(top, lefts[1]) for top in tops]
    else:
        raise UsageError(f"{num_crops} crops are not defined", hint="use 1 or 3 crops, for example --views 10x3")
    crops = images.new_empty((len(corners), 3, len(images), crop_size, crop_size))
    for crop, (top, left) in zip(crops, corners, strict=True):
        part = images[:, :, top : top + crop_size, left : left + crop_size]
        _normalise(part, mean=mean, std=std, out=crop.transpose(0, 1))
    return crops


def _normalise(images: Tensor, *, mean: Sequence[float], std: Sequence[float], out: Tensor) -> None:
    """(T, 3, H, W) minus the mean, divided by the deviation, into `out`."""
    if images.device.type == "cpu" and images.dtype == torch.float32:
        # Channel by channel: pixels whose channels lie side by side would be worked through in steps of three.
        for values, normalised, shift, scale in zip(images.unbind(1), out.unbind(1), mean, std, strict=True):
            place = normalised.numpy()
            np.subtract(values.numpy(), np.float32(shift), out=place)
            np.divide(place, np.float32(scale), out=place)
        return
    shifts = torch.tensor(mean, dtype=images.dtype, device=images.device).view(3, 1, 1)
    scales = torch.tensor(std, dtype=images.dtype, device=images.device).view(3, 1, 1)
    torch.sub(images, shifts, out=out)
    out.div_(scales)


def _offsets(height: int, width: int, crop_size: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First, centre (rounded down) and last position of a crop along the height and the width."""
    if min(height, width) < crop_size:
        raise UsageError(f"a crop of {crop_size} does not fit into frames of {height}x{width}")
    tops, lefts = ((0, (size - crop_size) // 2, size - crop_size) for size in (height, width))
    return tops, lefts


def preprocess(
    frames: np.ndarray | Tensor,
    *,
    short_side: int,
    crop_size: int,
    num_crops: int,
    mean: Sequence[float],
    std: Sequence[float],
    exact: bool = True,
) -> Tensor:
    """uint8 frames (T, H, W, 3) to float32 crops (num_crops, 3, T, crop_size, crop_size).

    For `exact`, see `resize_frames`. Source: the published test settings (short side 256, crop 256, 1 or 3 crops
    for TAda2D). Raises `UsageError` for a crop larger than the short side or a number of crops other than 1 and 3.
    """
    pixels, box = _checked(frames), None
    if num_crops == 1:
        size = resized_size(pixels.shape[1], pixels.shape[2], short_side=short_side)
        box = centre_box(*size, crop_size=crop_size)
    images = resize_frames(pixels, short_side=short_side, box=box, exact=exact)
    return crop_frames(images, crop_size=crop_size, num_crops=num_crops, mean=mean, std=std)


def _checked(frames: np.ndarray | Tensor) -> Tensor:
    pixels = torch.as_tensor(frames)
    if pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[-1] != 3:
        raise ValueError(f"expected uint8 (T, H, W, 3), got {pixels.dtype} {tuple(pixels.shape)}")
    return pixels


def _fractions(levels: Tensor) -> Tensor:
    """uint8 divided by 255, as float32 in the same layout."""
    if levels.device.type != "cpu":
        return levels.to(torch.float32).div_(255)
    return torch.from_numpy(np.divide(levels.numpy(), np.float32(255), dtype=np.float32))


# --- few pixels of large frames -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Taps:
    """What a box of h x w resized pixels is made from: 2h rows and 2w columns of the frame, near ones and next ones.

    Their weights are `row_weights` (2, h, 1) and, for each channel, `column_weights` (2, 3w).
    """

    rows: Tensor
    columns: Tensor
    row_weights: Tensor
    column_weights: Tensor


def _gathering_pays(frame: tuple[int, int], size: tuple[int, int], box: Box, *, exact: bool) -> bool:
    """Whether gathering takes less time than the other way, by costs of a pixel that were measured on one machine."""
    gathered = 40_000 + 12 * (box[2] - box[0]) * (box[3] - box[1])
    read, written = (0.5, 4.0) if exact else (0.15, 2.0)
    return gathered < read * frame[0] * frame[1] + written * size[0] * size[1]


def _gathered(pixels: Tensor, size: tuple[int, int], box: Box, rounding: Rounding) -> Tensor:
    """The box of the resized frames, float32 (T, 3, h, w) with its channels last, by the pixels it needs alone."""
    height, width = pixels.shape[1:3]
    taps = _taps((height, width), size, box, rounding)
    box_height, box_width = box[2] - box[0], box[3] - box[1]
    first, end = int(taps.columns[0]), int(taps.columns[-1]) + 1
    images = pixels.new_empty((len(pixels), box_height, box_width * 3), dtype=torch.float32)
    for image, frame in zip(images, pixels, strict=True):
        rows = torch.from_numpy(frame.numpy()[taps.rows.numpy(), first:end])
        corners = _fractions(rows.index_select(1, taps.columns - first)).view(2, box_height, 2, box_width * 3)
        _WEIGH[rounding](corners, taps, image)
    return images.view(len(pixels), box_height, box_width, 3).permute(0, 3, 1, 2)


def _weigh_by_rows(corners: Tensor, taps: _Taps, image: Tensor) -> None:
    """Weighted sums (h, 3w) of corners (2, h, 2, 3w): first along each row, then of the two rows."""
    height, width = image.shape
    num_rows = max(1, (_ONE_THREAD - 1) // (2 * width)) if torch.get_num_threads() > 1 else height
    for first in range(0, height, num_rows):
        part = slice(first, first + num_rows)
        near_column, far_column = corners[:, part].unbind(2)
        near_weight, far_weight = taps.row_weights[:, part]
        lines = (far_column * taps.column_weights[1]).addcmul_(near_column, taps.column_weights[0])
        torch.mul(lines[1], far_weight, out=image[part]).addcmul_(lines[0], near_weight)


def _weigh_at_once(corners: Tensor, taps: _Taps, image: Tensor) -> None:
    """Weighted sums (h, 3w) of corners (2, h, 2, 3w), each of which has a weight of its own."""
    torch.mul(corners[0, :, 1], taps.row_weights[0] * taps.column_weights[1], out=image)
    for row, column in ((0, 0), (1, 0), (1, 1)):
        image.addcmul_(corners[row, :, column], taps.row_weights[row] * taps.column_weights[column])


_WEIGH: dict[Rounding, Callable[[Tensor, _Taps, Tensor], None]] = {"rows": _weigh_by_rows, "once": _weigh_at_once}


@lru_cache(maxsize=16)
def _taps(frame: tuple[int, int], size: tuple[int, int], box: Box, rounding: Rounding) -> _Taps:
    rows, row_weights = _line_taps(frame[0], size[0], box[0], box[2], rounding)
    columns, column_weights = _line_taps(frame[1], size[1], box[1], box[3], rounding)
    return _Taps(
        torch.from_numpy(rows.ravel()),
        torch.from_numpy(columns.ravel()),
        torch.from_numpy(row_weights[:, :, None]),
        torch.from_numpy(column_weights.repeat(3, axis=1)),
    )


def _line_taps(
    length: int, resized: int, first: int, end: int, rounding: Rounding
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For the resized pixels [first, end) along one side: near and next pixel (2, n), and their weights (2, n)."""
    scale, half = np.float32(length) / np.float32(resized), np.float32(0.5)
    centres = np.arange(first, end, dtype=np.float32) + half
    places = scale * centres - half
    if rounding == "once":  # only the difference is rounded, as by a fused multiply-add
        places = (np.float64(scale) * centres - 0.5).astype(np.float32)
    places = places.clip(min=0)
    near = places.astype(np.int64).clip(max=length - 1)
    share = (places - near.astype(np.float32)).clip(0, 1)
    return np.stack([near, (near + 1).clip(max=length - 1)]), np.stack([np.float32(1) - share, share])


@lru_cache(maxsize=256)
def _rounding(size: tuple[int, int], num_threads: int) -> Rounding | None:
    """Where `F.interpolate` rounds when it makes pictures of this size, None if it is nothing we know.

    PyTorch has several ways to compute the same sums. Which one it takes hangs on the size of the result and on
    whether it has `num_threads` or one; the roundings of each, on the processor and the build. So it is asked.
    """
    del num_threads  # those of now, for which the answer is remembered
    # No weight is 0 with these sides, and the values are too many for two ways to give the same ones by chance.
    shape = (1 + 500 // (size[0] * size[1]), 3 * size[0] + 1, 3 * size[1] + 1, 3)
    levels = np.arange(math.prod(shape)) * 7919 % 251
    pixels = torch.from_numpy(levels.astype(np.uint8)).view(shape)
    expected = F.interpolate(_fractions(pixels).permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
    for rounding in _WEIGH:
        if torch.equal(_gathered(pixels, size, (0, 0, *size), rounding), expected):
            return rounding
    return None
