"""Decoded frames as RGB: all of one, or the few pixels that a much smaller picture is made from."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from tadacli.video.source import Indices, Picked, Pixels

# Four pixels of a frame share one of colour; of pixels that are taken one by one, each has its own.
_PICKED = {"yuv420p": "yuv422p", "yuvj420p": "yuvj422p"}
_COST_OF_PICKING = 6  # a pixel that is picked costs as much as so many of a frame that is converted as a whole


def rgb_of(frame: VideoFrame) -> Pixels:
    """uint8 (H, W, 3) of a frame as it is stored.

    Raises `ValueError`, or what PyAV raises, where it has no RGB form.
    """
    # One thread gives the same pixels as the default number, for a sixth of the time.
    return frame.to_ndarray(format="rgb24", threads=1).astype(np.uint8, copy=False)


def picked_rgb(frame: VideoFrame, picked: Picked) -> Pixels:
    """These pixels of what `rgb_of` gives, which are converted alone where that costs less.

    Args:
        frame: The frame.
        picked: Which pixels.

    Returns:
        uint8 (rows, columns, 3).

    Raises:
        ValueError: It has no RGB form, as `rgb_of` has it.
    """
    name, num_picked = frame.format.name, len(picked.rows) * len(picked.columns)
    is_worth_it = name in _PICKED and _COST_OF_PICKING * num_picked <= frame.height * frame.width
    # FFmpeg converts an odd number of rows in another way, and fields each by itself.
    is_even = frame.height % 2 == 0 and len(picked.rows) % 2 == 0
    if is_worth_it and is_even and not frame.interlaced_frame and _picking_agrees(name):
        return _rgb_alone(frame, picked)
    return picked.of(rgb_of(frame))


def _rgb_alone(frame: VideoFrame, picked: Picked) -> Pixels:
    """The same, of a frame that is made of these pixels, each twice, since two share a pixel of colour."""
    alone = VideoFrame(2 * len(picked.columns), len(picked.rows), _PICKED[frame.format.name])
    for number, (source, target) in enumerate(zip(frame.planes, alone.planes, strict=True)):
        values = _values(source)
        places = picked.places(values.shape[1], is_colour=number > 0)
        _values(target)[:, : target.width] = values.reshape(-1).take(places)
    alone.colorspace, alone.color_range = frame.colorspace, frame.color_range
    return rgb_of(alone).reshape(-1).take(_once(len(picked.rows), len(picked.columns)))


@lru_cache(maxsize=8)
def _once(num_rows: int, num_columns: int) -> Indices:
    """Where the values of every other pixel are in a frame that is twice as wide, int64 (rows, columns, 3)."""
    return np.arange(6 * num_rows * num_columns).reshape(num_rows, num_columns, 6)[..., :3].copy()


def _values(plane: VideoPlane) -> Pixels:
    """The bytes of a plane, which can be written to, uint8 (height, bytes of a line)."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)


@cache
def _picking_agrees(name: str) -> bool:
    """Whether pixels that are converted alone are those of whole frames, to the bit, by the FFmpeg that is here."""
    random = np.random.default_rng(0)
    frame = VideoFrame(64, 32, name)
    for plane in frame.planes:
        values = _values(plane)
        values[:] = random.integers(0, 256, values.shape)
    picked = Picked(np.array([0, 1, 5, 6, 17, 30]), np.array([0, 1, 2, 7, 8, 31, 50, 63]))
    return bool(np.array_equal(_rgb_alone(frame, picked), picked.of(rgb_of(frame))))
