"""Decoded frames of samples in memory, shared by the processes that make clips, and never more than was allowed.

What is kept stays: every sample is drawn equally often, so there is nothing to gain by putting another in its place.
A clip starts at a random frame, so a sample's frames are kept all or not at all.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from typing import Any

import numpy as np

from tadacli.datasets.samples import Sample
from tadacli.errors import UsageError
from tadacli.video.source import Pixels, Seconds

# Of each place: its state, what its frames are of, where they begin, how long the facts before them are, and the shape.
_PLACE = np.dtype(
    [("state", "u1"), ("identity", "S16"), ("offset", "i8"), ("facts", "i8"), ("shape", "i8", (3,))], align=True
)
_EMPTY, _COMING, _THERE, _REFUSED = range(4)
_TOTALS = np.dtype([("used", "i8"), ("kept", "i8")])


@dataclass(frozen=True, eq=False)
class Span:
    """What is known of the frames of a sample, numbers `first` to `end` - 1 of its video.

    `rate` is in frames a second, `times` are when the frames appear, in seconds, (end - first,), and `start_seconds`
    is when the video begins, on the same clock.
    """

    first: int
    end: int
    rate: float
    times: Seconds
    start_seconds: float


@dataclass(frozen=True)
class CacheUse:
    """How many samples have their frames in memory, and how many of the bytes that were allowed are taken."""

    num_samples: int
    used_bytes: int
    num_bytes: int


def identity_of(sample: Sample) -> bytes | None:
    """16 bytes that stand for the frames of a sample: its file as it is now, and which frames of it.

    A file that was changed is another one. None where there is no file.
    """
    try:
        status = os.stat(sample.path or "")
    except (OSError, ValueError):
        return None
    file = os.fspath(sample.path or ""), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    words = repr((file, sample.fps, sample.start_seconds, sample.end_seconds))
    return hashlib.blake2b(words.encode("utf-8", "surrogateescape"), digest_size=15).digest() + b"\1"


class FrameCache:
    """Decoded frames, uint8, by the place of their sample; for this process and those that get it as they are spawned.

    The memory is taken as it is filled, and given back by `close`. Where the system has none that processes can share
    without a name, it is a file without a name in the folder for temporary files.

    Args:
        num_bytes: No more than so many are used.
        num_places: How many samples there are.

    Raises:
        UsageError: The system is Windows, where processes read files otherwise.
    """

    def __init__(self, num_bytes: int, num_places: int) -> None:
        if not hasattr(os, "preadv"):
            raise UsageError("this system cannot keep frames for several processes", hint="leave --cache-frames out")
        self._num_bytes, self._num_places = num_bytes, num_places
        self._lock = SpawnContext().Lock()
        self._file = _shared_memory()
        self._first = _TOTALS.itemsize + num_places * _PLACE.itemsize
        if self._first <= num_bytes:
            os.ftruncate(self._file, num_bytes)  # what was not written takes no memory
            self.write(bytes(self._first), 0)  # what the places take is there from now on
            self._set_totals(self._first, 0)

    @property
    def use(self) -> CacheUse:
        """What it holds by now."""
        with self._lock:
            used, kept = self._totals() if self._has_room else (0, 0)
        return CacheUse(kept, used, self._num_bytes)

    def find(self, place: int, identity: bytes) -> KeptFrames | None:
        """The frames at a place, if they are there and of this identity."""
        if not self._has_room:
            return None
        with self._lock:
            found = self._place(place)
        if found["state"] != _THERE or found["identity"] != identity:
            return None
        return KeptFrames(self._file, int(found["offset"]), int(found["facts"]), tuple(map(int, found["shape"])))

    def wants(self, place: int, num_bytes: int) -> bool:
        """Whether frames of so many bytes, which this place does not have yet, would still fit."""
        if not self._has_room:
            return False
        with self._lock:
            used, _ = self._totals()
            is_open = self._place(place)["state"] == _EMPTY
        return is_open and used + num_bytes <= self._num_bytes

    def reserve(self, place: int, identity: bytes, span: Span, *, height: int, width: int) -> NewFrames | None:
        """Room for the frames of a sample, of height and width in pixels; None where there is none, or they come."""
        facts = pickle.dumps(span)
        shape = span.end - span.first, height, width
        size = len(facts) + span_bytes(*shape)
        if not self._has_room:
            return None
        with self._lock:
            used, kept = self._totals()
            if self._place(place)["state"] != _EMPTY or used + size > self._num_bytes:
                return None
            self._set_totals(used + size, kept)
            self._set_place(place, _COMING, identity, used, len(facts), shape)
        return NewFrames(self, place, identity, used, facts, shape)

    def settle(self, new: NewFrames, *, is_whole: bool) -> None:
        """The frames that room was made for are all there, or they cannot be had and are not asked for again."""
        with self._lock:
            used, kept = self._totals()
            state = _THERE if is_whole else _REFUSED
            self._set_place(new.place, state, new.identity, new.offset, len(new.facts), new.shape)
            # What comes after it stays where it is; at the end the room is free again.
            is_last = new.offset + new.num_bytes == used
            self._set_totals(new.offset if is_last and not is_whole else used, kept + is_whole)

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Puts bytes at their place. Raises `OSError` where the system has no memory for them."""
        left = memoryview(data).cast("B")
        while left:
            done = os.pwrite(self._file, left, offset)
            left, offset = left[done:], offset + done

    def close(self) -> None:
        """Gives the memory back; nothing may be read or written any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> FrameCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import DupFd  # Windows has none

        return {**self.__dict__, "_file": DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _file=state["_file"].detach())

    # --- what the first bytes hold, for who has the lock ----------------------------------------------------

    @property
    def _has_room(self) -> bool:
        return self._first <= self._num_bytes

    def _totals(self) -> tuple[int, int]:
        found = np.frombuffer(os.pread(self._file, _TOTALS.itemsize, 0), _TOTALS)[0]
        return int(found["used"]), int(found["kept"])

    def _set_totals(self, used: int, kept: int) -> None:
        self.write(np.array((used, kept), _TOTALS).tobytes(), 0)

    def _place(self, place: int) -> Any:
        return np.frombuffer(os.pread(self._file, _PLACE.itemsize, self._offset_of(place)), _PLACE)[0]

    def _set_place(
        self, place: int, state: int, identity: bytes, offset: int, facts: int, shape: Sequence[int]
    ) -> None:
        self.write(np.array((state, identity, offset, facts, shape), _PLACE).tobytes(), self._offset_of(place))

    def _offset_of(self, place: int) -> int:
        if not 0 <= place < self._num_places:
            raise IndexError(place)
        return _TOTALS.itemsize + place * _PLACE.itemsize


def span_bytes(num_frames: int, height: int, width: int) -> int:
    """The bytes of so many frames of this size in pixels."""
    return num_frames * height * width * 3


class KeptFrames:
    """Frames that are there: `span` is what is known of them."""

    def __init__(self, file: int, offset: int, num_facts: int, shape: Sequence[int]) -> None:
        self._file, self._offset, self._shape = file, offset + num_facts, shape
        # This process and those that it started wrote it.
        self.span: Span = pickle.loads(_read(file, bytearray(num_facts), offset))

    def read(self, indices: Sequence[int]) -> Pixels:
        """uint8 (N, H, W, 3): the frames with these numbers, counted from the first of the sample."""
        num_frames, height, width = self._shape
        pixels = np.empty((len(indices), height, width, 3), dtype=np.uint8)
        size = span_bytes(1, height, width)
        for row, index in zip(pixels, indices, strict=True):
            if not 0 <= index < num_frames:
                raise IndexError(index)
            _read(self._file, row, self._offset + index * size)
        return pixels


class NewFrames:
    """Room for frames, which come in order; as a context it settles what has become of them."""

    def __init__(
        self, cache: FrameCache, place: int, identity: bytes, offset: int, facts: bytes, shape: tuple[int, int, int]
    ) -> None:
        self._cache, self._done = cache, 0
        self.place, self.identity, self.offset, self.facts, self.shape = place, identity, offset, facts, shape

    @property
    def num_bytes(self) -> int:
        """How many bytes they take, facts and all."""
        return len(self.facts) + span_bytes(*self.shape)

    def add(self, pixels: Pixels) -> bool:
        """The next frame, uint8 (H, W, 3). False where it has another size, or the system has no memory for it."""
        if pixels.shape != (*self.shape[1:], 3) or self._done == self.shape[0]:
            return False
        size = span_bytes(1, *self.shape[1:])
        try:
            self._cache.write(np.ascontiguousarray(pixels).data, self.offset + len(self.facts) + self._done * size)
        except OSError:
            return False
        self._done += 1
        return True

    def __enter__(self) -> NewFrames:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_whole = kind is None and self._done == self.shape[0]
        if is_whole:
            try:
                self._cache.write(self.facts, self.offset)
            except OSError:
                is_whole = False
        self._cache.settle(self, is_whole=is_whole)


def _read(file: int, target: Any, offset: int) -> Any:
    """Fills a buffer with what the file has from there on; returns it."""
    left = memoryview(target).cast("B")
    while left:
        done = os.preadv(file, [left], offset)
        if not done:
            raise OSError("the memory of kept frames ends too early")
        left, offset = left[done:], offset + done
    return target


def _shared_memory() -> int:
    """A file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tada-frames", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(prefix="tada-frames-") as file:
        return os.dup(file.fileno())
