"""Frames to normalised clips, as the published test-time preprocessing does.

Pixels are divided by 255, resized bilinearly without antialiasing so that the short side has the asked
length, cropped and normalised, all in float32 on the device the frames are on.

A much smaller frame needs few pixels of a large one, four for each of its own. On a CPU these are gathered and weighted
here, rounded where PyTorch's `F.interpolate` rounds them in one thread. With more threads it rounds elsewhere, by 2e-7
at most; these frames do not depend on the number of threads. The work stays in the calling thread: frames are prepared
beside a network that keeps the cores busy, and threads that wait for each other burn more time than the work takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tadacli.errors import UsageError
from tadacli.specs import InputSpec

# Making a pixel from its four neighbours takes about as long as this many pixels of a frame that is resized as a whole.
_COST_OF_GATHERING = 16
# PyTorch leaves an operation on less than this many values to the calling thread.
_ONE_THREAD = 32768
# (top, left, bottom, right) in pixels, the last two after the last ones.
Box = tuple[int, int, int, int]


def resized_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """(height, width) that frames of this height and width are resized to; the long side is rounded down."""
    if width < height:
        return int(height / width * short_side), short_side
    return short_side, int(width / height * short_side)


def centre_box(height: int, width: int, *, crop_size: int) -> Box:
    """The square in the middle, rounded up and to the left. Raises `UsageError` if it does not fit."""
    (_, top, _), (_, left, _) = _offsets(height, width, crop_size)
    return top, left, top + crop_size, left + crop_size


def picked_pixels(
    whole: tuple[int, int], spec: InputSpec, *, num_crops: int, device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The rows and columns of large frames that the centre crop of the resized ones is made from.

    Args:
        whole: (height, width) of the frames, in pixels.
        spec: How they are resized and cropped.
        num_crops: How many crops there are to be.
        device: Where frames are resized.

    Returns:
        Two of int64 (2 * crop_size,), in the order in which `resize_frames` takes them; None where whole frames are
        taken: for several crops, on an accelerator, and where frames are not much larger.
    """
    size = resized_size(*whole, short_side=spec.short_side)
    if num_crops != 1 or device.type != "cpu" or not _is_gathered(whole, size):
        return None
    top, left, bottom, right = centre_box(*size, crop_size=spec.crop_size)
    return _line_taps(whole[0], size[0], top, bottom)[0], _line_taps(whole[1], size[1], left, right)[0]


def resize_frames(
    frames: np.ndarray | Tensor,
    *,
    short_side: int,
    box: Box | None = None,
    whole: tuple[int, int] | None = None,
) -> Tensor:
    """Frames resized bilinearly without antialiasing, or a box of them.

    Args:
        frames: uint8 (T, H, W, 3), RGB.
        short_side: Length that the shorter side is resized to, in pixels.
        box: The part of the resized frames to give; it has the same values, and costs less than all of them.
        whole: (height, width) of the whole frames, where `frames` are those of their pixels that `picked_pixels` names,
            and `box` is the centre crop.

    Returns:
        float32 in 0..1, (T, 3, H', W') with `short_side` as the shorter of H', W', or the box of that.

    Raises:
        ValueError: The frames are no uint8 (T, H, W, 3), or the box is no part of the resized ones.
    """
    pixels = _checked(frames)
    height, width = whole or pixels.shape[1:3]
    size = resized_size(height, width, short_side=short_side)
    top, left, bottom, right = box = (0, 0, *size) if box is None else box
    if not (0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]):
        raise ValueError(f"{box} is no part of frames of {size[0]}x{size[1]}")
    if whole is not None:
        return _gathered(pixels, whole, size, box, is_picked=True)
    if size == (height, width):
        return _fractions(pixels[:, top:bottom, left:right]).permute(0, 3, 1, 2)
    if pixels.device.type == "cpu" and _is_gathered((height, width), size):
        return _gathered(pixels, (height, width), size, box, is_picked=False)
    values = _fractions(pixels)
    images = F.interpolate(values.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False)
    return images[:, :, top:bottom, left:right]


def crop_frames(
    images: Tensor | Sequence[Tensor], *, crop_size: int, num_crops: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Normalised crops of resized frames.

    Args:
        images: (T, 3, H, W), values in 0..1; or its T frames (3, H, W), of which nothing is copied but the crops.
        crop_size: Side of the square crops, in pixels.
        num_crops: 1 for the centre; 3 along the long side: left, centre, right or top, centre, bottom.
        mean: What is subtracted from each channel.
        std: What each channel is divided by.

    Returns:
        (num_crops, 3, T, crop_size, crop_size), of the type and on the device of `images`.

    Raises:
        UsageError: A crop does not fit, or there are other than 1 or 3 crops.
    """
    height, width = images[0].shape[1:]
    tops, lefts = _offsets(height, width, crop_size)
    if num_crops == 1:
        corners = [(tops[1], lefts[1])]
    elif num_crops == 3:
        corners = [(tops[1], left) for left in lefts] if width > height else [(top, lefts[1]) for top in tops]
    else:
        raise UsageError(f"{num_crops} crops are not defined", hint="use 1 or 3 crops, for example --views 10x3")
    if not isinstance(images, Tensor) and images[0].device.type != "cpu":
        images = torch.stack(list(images))  # few large steps, which an accelerator likes better than many small ones
    parts = [images] if isinstance(images, Tensor) else [image[None] for image in images]
    crops = images[0].new_empty((len(corners), 3, len(images), crop_size, crop_size))
    for crop, (top, left) in zip(crops, corners, strict=True):
        places = crop.transpose(0, 1).split([len(part) for part in parts])
        for part, place in zip(parts, places, strict=True):
            cut = part[:, :, top : top + crop_size, left : left + crop_size]
            _normalise(cut, mean=mean, std=std, out=place)
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
    whole: tuple[int, int] | None = None,
) -> Tensor:
    """Frames as the network sees them: resized, cropped and normalised, as the published test settings have it.

    Args:
        frames: uint8 (T, H, W, 3), RGB.
        short_side: Length that the shorter side is resized to, in pixels (256 for TAda2D).
        crop_size: Side of the square crops, in pixels, at most `short_side` (256 for TAda2D).
        num_crops: 1 for the centre, 3 for crops along the longer side.
        mean: What is subtracted from each channel, of values in 0..1.
        std: What each channel is divided by.
        whole: (height, width) of the whole frames, where `frames` are the pixels of them that `picked_pixels` names.

    Returns:
        float32 (num_crops, 3, T, crop_size, crop_size), on the device of the frames.

    Raises:
        UsageError: The crop is larger than the short side, or there are other than 1 or 3 crops.
        ValueError: The frames are no uint8 (T, H, W, 3).

    Example:
        >>> import numpy as np
        >>> from tadacli.transforms import preprocess
        >>> frames = np.full((8, 120, 160, 3), 255, dtype=np.uint8)
        >>> clip = preprocess(frames, short_side=64, crop_size=64, num_crops=1, mean=(0.45,) * 3, std=(0.225,) * 3)
        >>> tuple(clip.shape), round(float(clip.mean()), 3)
        ((1, 3, 8, 64, 64), 2.444)
    """
    pixels, box = _checked(frames), None
    if num_crops == 1:
        size = resized_size(*(whole or pixels.shape[1:3]), short_side=short_side)
        box = centre_box(*size, crop_size=crop_size)
    images = resize_frames(pixels, short_side=short_side, box=box, whole=whole)
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


def _is_gathered(frame: tuple[int, int], size: tuple[int, int]) -> bool:
    return _COST_OF_GATHERING * size[0] * size[1] < frame[0] * frame[1]


def _gathered(
    pixels: Tensor, frame_size: tuple[int, int], size: tuple[int, int], box: Box, *, is_picked: bool
) -> Tensor:
    """The box of frames resized to `size`, from the four pixels that each of its own lies between.

    `pixels` are whole frames, or those of them that the box is made from.
    """
    height, width = box[2] - box[0], box[3] - box[1]
    places, weights = _taps(frame_size, size, box)
    images = torch.empty((len(pixels), height, width * 3))
    num_rows = max(1, (_ONE_THREAD - 1) // (width * 3))
    for image, frame in zip(images, pixels.numpy(), strict=True):
        taken = frame if is_picked else frame.reshape(-1).take(places)
        values = np.divide(taken, np.float32(255), dtype=np.float32)
        corners = torch.from_numpy(values).view(2, height, 2, width * 3)
        for top in range(0, height, num_rows):
            part = slice(top, top + num_rows)
            torch.mul(corners[0, part, 1], weights[0, 1, part], out=image[part])
            for row, column in ((0, 0), (1, 0), (1, 1)):
                image[part].addcmul_(corners[row, part, column], weights[row, column, part])
    return images.view(len(pixels), height, width, 3).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _taps(frame: tuple[int, int], size: tuple[int, int], box: Box) -> tuple[NDArray[np.int64], Tensor]:
    """Where a box of h x w pixels of frames resized to `size` comes from.

    Returns:
        The places of values in the frame, one row after the other, int64 (2, h, 2, 3w): of the rows before those of the
        box and of those after them, the columns before and after; and the weights of each row and column, float32
        (2, 2, h, 3w), the same for each of three channels.
    """
    rows, row_weights = _line_taps(frame[0], size[0], box[0], box[2])
    columns, column_weights = _line_taps(frame[1], size[1], box[1], box[3])
    weights = row_weights[:, None, :, None] * column_weights[None, :, None, :].repeat(3, axis=-1)
    values = (3 * columns[:, None] + np.arange(3)).reshape(2, -1)
    places = 3 * frame[1] * rows.reshape(2, -1, 1, 1) + values
    return places, torch.from_numpy(weights)


def _line_taps(length: int, resized: int, first: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For the resized pixels [first, end) along one side: pixels before and after them (2n), their weights (2, n)."""
    scale = np.float32(length) / np.float32(resized)
    places = (np.float64(scale) * (np.arange(first, end) + 0.5) - 0.5).clip(min=0).astype(np.float32)
    before = places.astype(np.int64)
    share = places - before.astype(np.float32)
    pixels = np.concatenate([before, before + 1]).clip(max=length - 1)
    return pixels, np.stack([np.float32(1) - share, share])
