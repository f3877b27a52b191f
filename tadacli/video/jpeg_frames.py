"""Frames of a folder or tar of JPEG files, named as EPIC-KITCHENS names its `rgb_frames`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from tadacli.errors import VideoError
from tadacli.results import VideoInfo
from tadacli.video.frame_archives import ARCHIVE_ERRORS, open_archive
from tadacli.video.jpeg import decode_jpeg, open_jpeg
from tadacli.video.source import (
    MAX_PICTURE_BYTES,
    NOT_A_VIDEO_HINT,
    Indices,
    Pixels,
    Unreadable,
    VideoPath,
    VideoSource,
    shown,
)

_FRAME_NAME = re.compile(r"frame_(\d{10})\.jpg")
_DAMAGED_HINT = "extract the frames again"


def is_frames_folder(path: VideoPath) -> bool:
    """Whether a folder holds frames named frame_0000000001.jpg; looks no further than the first of them."""
    try:
        with os.scandir(os.fsdecode(path)) as entries:
            return any(_FRAME_NAME.fullmatch(entry.name) for entry in entries)
    except (OSError, ValueError):
        return False


def _number_of(name: str) -> int | None:
    """The number of the frame that a file is, by its name."""
    found = _FRAME_NAME.fullmatch(name)
    return int(found[1]) if found else None


class JpegSource(VideoSource):
    """A folder or tar of frames numbered from 1 (or 0), shown at an even rate from time 0 on."""

    def __init__(self, path: str, fps: float | Fraction | None) -> None:
        self._path = path
        self._store = _Folder(path) if os.path.isdir(path) else open_archive(path, _number_of)
        self._first = _check_numbers(path, self._store.numbers)
        rate = _rate_of(path) if fps is None else Fraction(fps).limit_denominator(1001)
        if rate <= 0:
            raise VideoError(f"the frame rate of {shown(path)} must be positive, not {fps}")
        num_frames = len(self._store.numbers)
        width, height = self._first_size()
        info = VideoInfo(path, num_frames, rate, float(num_frames / rate), height, width, rotation=0, codec="mjpeg")
        self._set_timeline(info, np.arange(num_frames) * rate.denominator / rate.numerator)
        self._num_decoded = 0

    @property
    def num_decoded(self) -> int:
        return self._num_decoded

    def reopened(self) -> VideoSource:
        return self

    def _decode(self, wanted: Indices, *, skip: bool) -> Iterator[tuple[int, Pixels | str]]:
        del skip  # each frame is a file of its own: one that cannot be had says nothing about the others
        for index, data in self._contents(wanted):
            yield index, data if isinstance(data, str) else self._decoded(data)

    def _error(self, frame: Unreadable) -> VideoError:
        return VideoError(f"{self._name(frame.index)} {frame.reason}", hint=_DAMAGED_HINT)

    def _contents(self, wanted: Indices) -> Iterator[tuple[int, bytes | str]]:
        """(index, file content, or why there is none) of the wanted frames, ascending."""
        done = 0
        try:
            for index, data in self._store.read(wanted):
                yield index, data
                done += 1
            reason = "cannot be read: the archive has changed"
        except ARCHIVE_ERRORS as error:
            reason = f"cannot be read: {error}"
        for index in map(int, wanted[done:]):
            yield index, reason

    def _first_size(self) -> tuple[int, int]:
        _, data = next(self._contents(np.array([0])))
        image = data if isinstance(data, str) else open_jpeg(data)
        if isinstance(image, str):
            raise VideoError(f"{self._name(0)} {image}", hint=_DAMAGED_HINT)
        return image.size

    def _decoded(self, data: bytes) -> Pixels | str:
        """The frame, or what is wrong with it."""
        pixels = decode_jpeg(data)
        if isinstance(pixels, str):
            return pixels
        self._num_decoded += 1
        height, width = pixels.shape[:2]
        if (width, height) != (self.info.width, self.info.height):
            return f"is {width}x{height} pixels, the first frame {self.info.width}x{self.info.height}"
        return pixels

    def _name(self, index: int) -> str:
        return f"frame_{index + self._first:010d}.jpg of {shown(self._path)}"


def _check_numbers(path: str, numbers: Indices) -> int:
    """The first number, 1 or 0; `VideoError` for a gap, which would shift all frames after it."""
    if len(numbers) == 0:
        raise VideoError(f"{shown(path)} holds no frame_0000000001.jpg files", hint=NOT_A_VIDEO_HINT)
    first = min(int(numbers[0]), 1)
    steps = np.diff(numbers, prepend=first - 1)
    if np.any(steps == 0):
        raise VideoError(f"{shown(path)} holds frame {numbers[np.argmin(steps)]} twice")
    gaps = np.flatnonzero(steps > 1)
    if len(gaps):
        ranges = [(int(numbers[g] - steps[g] + 1), int(numbers[g] - 1)) for g in gaps]
        names = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges[:5])
        more = "" if len(ranges) <= 5 else f" and {len(ranges) - 5} more gaps"
        raise VideoError(f"{shown(path)} lacks frames {names}{more}", hint=_DAMAGED_HINT)
    return first


def _rate_of(path: str) -> Fraction:
    """The rate of EPIC-KITCHENS frames by video id: 60 for P01_11, 50 for P01_101, else 30."""
    found = re.match(r"P\d{2}_(\d{2,3})(?!\d)", Path(path).resolve().name)
    return Fraction({2: 60, 3: 50}[len(found[1])] if found else 30)


class _Store(Protocol):
    """Where numbered frames lie; `numbers` ascend."""

    numbers: Indices

    def read(self, wanted: Indices) -> Iterator[tuple[int, bytes | str]]:
        """(position, file content, or why there is none) of the wanted positions in `numbers`, which ascend."""


class _Folder:
    def __init__(self, path: str) -> None:
        self._path = path
        with os.scandir(path) as entries:
            found = (_FRAME_NAME.fullmatch(entry.name) for entry in entries)
            self.numbers = np.sort(np.fromiter((int(m[1]) for m in found if m), dtype=np.int64))

    def read(self, wanted: Indices) -> Iterator[tuple[int, bytes | str]]:
        for position in wanted:
            try:
                with Path(self._path, f"frame_{self.numbers[position]:010d}.jpg").open("rb") as file:
                    data = file.read(MAX_PICTURE_BYTES + 1)
            except OSError as error:
                yield int(position), f"cannot be read: {error.strerror}"
            else:
                is_whole = len(data) <= MAX_PICTURE_BYTES
                yield int(position), data if is_whole else f"has more than {MAX_PICTURE_BYTES >> 20} MiB"
