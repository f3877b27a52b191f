"""Frames of a folder or tar of JPEG or PNG files, whose names number them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from tadacli.errors import VideoError
from tadacli.results import Note, NoteKind, VideoInfo
from tadacli.video.frame_archives import ARCHIVE_ERRORS, open_archive
from tadacli.video.frame_names import ASSUMED_FPS, FrameNames, is_published_name, named_rate
from tadacli.video.jpeg import decode_jpeg, open_jpeg
from tadacli.video.png import SIGNATURE, decode_png, open_png
from tadacli.video.source import (
    MAX_PICTURE_BYTES,
    Indices,
    Pixels,
    Unreadable,
    VideoSource,
    shown,
)

_DAMAGED_HINT = "extract the frames again"
_ASSUMED = Note(
    NoteKind.ASSUMED_RATE,
    f"how many frames there are a second is not known, and {ASSUMED_FPS} are assumed: times, and the frames that are "
    "looked at, depend on it; --fps says it",
)


class PictureSource(VideoSource):
    """A folder or tar of pictures numbered from 1 (or 0), shown at an even rate from time 0 on."""

    def __init__(self, path: str, fps: float | Fraction | None) -> None:
        self._path = path
        names: FrameNames
        self._store: _Store
        if os.path.isdir(path):
            self._store = folder = _Folder(path)
            names = folder.names
        else:
            names = FrameNames()
            self._store = open_archive(path, names.number)
        self._series = names.series(shown(path))
        self._first = _check_numbers(path, self._store.numbers)
        known = fps if fps is not None else named_rate(path)
        rate = Fraction(ASSUMED_FPS if known is None else known).limit_denominator(1001)
        if rate <= 0:
            raise VideoError(f"the frame rate of {shown(path)} must be positive, not {fps}")
        num_frames = len(self._store.numbers)
        image = self._first_picture()
        self._set_timeline(
            VideoInfo(
                path=path,
                num_frames=num_frames,
                fps=rate,
                duration_seconds=float(num_frames / rate),
                height=image.height,
                width=image.width,
                rotation=0,
                codec="png" if image.format == "PNG" else "mjpeg",
                notes=() if known is not None else (_ASSUMED,),
            ),
            np.arange(num_frames) * rate.denominator / rate.numerator,
        )
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

    def _first_picture(self) -> Image.Image:
        _, data = next(self._contents(np.array([0])))
        image = data if isinstance(data, str) else open_png(data) if data.startswith(SIGNATURE) else open_jpeg(data)
        if isinstance(image, str):
            raise VideoError(f"{self._name(0)} {image}", hint=_DAMAGED_HINT)
        return image

    def _decoded(self, data: bytes) -> Pixels | str:
        """The frame, or what is wrong with it."""
        pixels = decode_png(data) if data.startswith(SIGNATURE) else decode_jpeg(data)
        if isinstance(pixels, str):
            return pixels
        self._num_decoded += 1
        height, width = pixels.shape[:2]
        if (width, height) != (self.info.width, self.info.height):
            return f"is {width}x{height} pixels, the first frame {self.info.width}x{self.info.height}"
        return pixels

    def _name(self, index: int) -> str:
        return f"{self._series.name(index + self._first)} of {shown(self._path)}"


def _check_numbers(path: str, numbers: Indices) -> int:
    """The first number, 1 or 0; `VideoError` for a gap, which would shift all frames after it."""
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


class _Store(Protocol):
    """Where numbered frames lie; `numbers` ascend."""

    numbers: Indices

    def read(self, wanted: Indices) -> Iterator[tuple[int, bytes | str]]:
        """(position, file content, or why there is none) of the wanted positions in `numbers`, which ascend."""


class _Folder:
    """A folder of frames; where some are named as EPIC-KITCHENS has it, other pictures are none."""

    def __init__(self, path: str) -> None:
        self._path = path
        with os.scandir(path) as entries:
            published_only = any(is_published_name(entry.name) for entry in entries)
        self.names = FrameNames(published_only=published_only)
        with os.scandir(path) as entries:
            numbers = (self.names.number(entry.name) for entry in entries)
            self.numbers = np.sort(np.fromiter((each for each in numbers if each is not None), dtype=np.int64))
        self._series = self.names.series(shown(path))

    def read(self, wanted: Indices) -> Iterator[tuple[int, bytes | str]]:
        for position in wanted:
            try:
                with Path(self._path, self._series.name(int(self.numbers[position]))).open("rb") as file:
                    data = file.read(MAX_PICTURE_BYTES + 1)
            except OSError as error:
                yield int(position), f"cannot be read: {error.strerror}"
            else:
                is_whole = len(data) <= MAX_PICTURE_BYTES
                yield int(position), data if is_whole else f"has more than {MAX_PICTURE_BYTES >> 20} MiB"
