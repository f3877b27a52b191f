"""Preprocessing; the exact published pixels are in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tadacli.errors import UsageError
from tadacli.transforms import preprocess, resize_frames

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.mark.parametrize(
    ("height", "width", "expected", "reason"),
    [
        (60, 80, [(0, 0), (0, 10), (0, 20)], "landscape: left, centre, right"),
        (80, 60, [(0, 0), (10, 0), (20, 0)], "portrait: top, centre, bottom"),
        (60, 60, [(0, 0), (0, 0), (0, 0)], "square: the whole picture three times"),
        (60, 81, [(0, 0), (0, 10), (0, 21)], "an odd rest: the centre is rounded down"),
    ],
)
def test_crops_lie_along_the_long_side(height: int, width: int, expected, reason: str) -> None:
    row, column = np.mgrid[0:height, 0:width]
    frames = np.stack([row, column, row], axis=-1).astype(np.uint8)[None]
    crops = preprocess(frames, short_side=60, crop_size=60, num_crops=3, **PLAIN)
    corners = [(round(float(crop[0, 0, 0, 0]) * 255), round(float(crop[1, 0, 0, 0]) * 255)) for crop in crops]
    assert corners == expected, reason


def test_frames_of_the_asked_size_are_not_resampled() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
    images = resize_frames(frames, short_side=30)
    assert torch.equal((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1), torch.from_numpy(frames))


def test_frames_one_by_one_give_the_pixels_of_all_at_once() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 90, 131, 3), dtype=np.uint8)
    single = [resize_frames(frame[None], short_side=64)[0] for frame in frames]
    assert torch.equal(torch.stack(single), resize_frames(frames, short_side=64))


@pytest.mark.parametrize("arguments", [{"crop_size": 61, "num_crops": 1}, {"crop_size": 60, "num_crops": 2}])
def test_crops_without_meaning_are_refused(arguments) -> None:
    with pytest.raises(UsageError):
        preprocess(np.zeros((1, 60, 80, 3), np.uint8), short_side=60, **arguments, **PLAIN)


@pytest.mark.parametrize("frames", [np.zeros((1, 9, 9, 3), np.float32), np.zeros((9, 9, 3), np.uint8)])
def test_other_tensors_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        resize_frames(frames, short_side=9)
