"""Frames to normalised clips, exactly as the published test-time preprocessing does.

Pixels are divided by 255, resized bilinearly without antialiasing so that the short side has the asked
length, cropped and normalised, all in float32 on the device the frames are on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tadacli.errors import UsageError


def resize_frames(frames: np.ndarray | Tensor, *, short_side: int, buffer: Tensor | None = None) -> Tensor:
    """uint8 (T, H, W, 3) to float32 in 0..1, (T, 3, H', W') with `short_side` as the shorter of H', W'.

    `buffer`, float32 of the frames' shape and on their device, is worked in if given: large blocks that are taken
    and given back for every frame tear memory to pieces.
    """
    pixels = torch.as_tensor(frames)
    if pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[-1] != 3:
        raise ValueError(f"expected uint8 (T, H, W, 3), got {pixels.dtype} {tuple(pixels.shape)}")
    height, width = pixels.shape[1:3]
    if width < height:
        size = (int(height / width * short_side), short_side)
    else:
        size = (short_side, int(width / height * short_side))
    values = pixels.to(torch.float32) if buffer is None else buffer.copy_(pixels)
    images = values.div_(255).permute(0, 3, 1, 2)
    if size == (height, width):
        return images if buffer is None else images.clone()
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def crop_frames(
    images: Tensor, *, crop_size: int, num_crops: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Resized (T, 3, H, W) to normalised crops (num_crops, 3, T, crop_size, crop_size).

    One crop is the centre; three go along the long side: left, centre, right or top, centre, bottom.
    """
    height, width = images.shape[2:]
    if min(height, width) < crop_size:
        raise UsageError(f"a crop of {crop_size} does not fit into frames of {height}x{width}")
    tops, lefts = _offsets(height, crop_size), _offsets(width, crop_size)
    if num_crops == 1:
        corners = [(tops[1], lefts[1])]
    elif num_crops == 3:
        corners = [(tops[1], left) for left in lefts] if width > height else [(top, lefts[1]) for top in tops]
    else:
        raise UsageError(f"{num_crops} crops are not defined", hint="use 1 or 3 crops, for example --views 10x3")
    scale = torch.tensor(std, dtype=images.dtype, device=images.device).view(3, 1, 1)
    shift = torch.tensor(mean, dtype=images.dtype, device=images.device).view(3, 1, 1)
    crops = [images[:, :, y : y + crop_size, x : x + crop_size] for y, x in corners]
    return torch.stack([((crop - shift) / scale).transpose(0, 1) for crop in crops])


def _offsets(size: int, crop_size: int) -> tuple[int, int, int]:
    """First, centre (rounded down) and last position of a crop along one side."""
    return 0, (size - crop_size) // 2, size - crop_size


def preprocess(
    frames: np.ndarray | Tensor,
    *,
    short_side: int,
    crop_size: int,
    num_crops: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """uint8 frames (T, H, W, 3) to float32 crops (num_crops, 3, T, crop_size, crop_size).

    Source: the published test settings (short side 256, crop 256, 1 or 3 crops for TAda2D).
    Raises `UsageError` for a crop larger than the short side or a number of crops other than 1 and 3.
    """
    images = resize_frames(frames, short_side=short_side)
    return crop_frames(images, crop_size=crop_size, num_crops=num_crops, mean=mean, std=std)
