"""What every source of frames offers, and the few things their readers share."""

from __future__ import annotations

import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from tadacli.errors import VideoError
from tadacli.results import VideoInfo

if TYPE_CHECKING:
    from tadacli.video.decode_plan import PacketRun

Indices = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
# Presentation or decoding times in units of a stream's time base.
Timestamps = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
VideoPath = str | os.PathLike[str]

# Larger frames are refused: decoded, one of these takes 200 MB. Those of 8K videos have half as many pixels.
MAX_PIXELS = 1 << 26
# A larger file of one picture is refused.
MAX_PICTURE_BYTES = 1 << 27

_HALF_A_FRAME = 0.5 + 1e-6  # times are sums, off in their last digits

DAMAGED_HINT = "the file is damaged or was cut short: fetch it again, or re-encode what is left of it"
NOT_A_VIDEO_HINT = "name a video file, or a folder or tar of frame_0000000001.jpg files"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame: its number, when and how long it is shown, and its `pixels`, uint8 (H, W, 3), RGB.

    `duration_seconds` reaches to the presentation time of the next frame, that of the last frame to the end of the
    video; it is 0 for a frame that is never on screen because the one before it has a later time.
    """

    index: int
    time_seconds: float
    duration_seconds: float
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Picked:
    """The pixels that are wanted of each frame: those of `columns` in each of `rows`, int64, in any order."""

    rows: Indices
    columns: Indices
    _places: dict[tuple[int, bool], Indices] = field(default_factory=dict, init=False, repr=False)

    def of(self, pixels: Pixels) -> Pixels:
        """Those of a whole frame (H, W, 3), uint8 (rows, columns, 3)."""
        return pixels[self.rows[:, None], self.columns]

    def places(self, line: int, *, is_colour: bool) -> Indices:
        """Where they are in a plane of a YUV frame, whose lines are that long, int64 (rows, columns).

        In a plane of colour, which has half as many rows and columns; in one of brightness, each column comes twice.
        """
        found = self._places.get((line, is_colour))
        if found is None:
            rows, columns = (self.rows >> 1, self.columns >> 1) if is_colour else (self.rows, self.columns.repeat(2))
            found = self._places[line, is_colour] = rows[:, None] * line + columns
        return found


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A frame that cannot be had, and why, for example "is damaged"; its time is that which the file promises."""

    index: int
    time_seconds: float
    reason: str


class VideoSource(ABC):
    """One opened video, whose frames can be read any number of times.

    Attributes:
        info: What is known about the video.
        times: Presentation time of each frame in seconds, float64 (num_frames,); read-only.
        times_shown: When each frame appears on screen, in seconds, float64 (num_frames,), ascending: its presentation
            time, or that of an earlier frame if that is later.
    """

    info: VideoInfo
    times: Seconds
    times_shown: Seconds

    def _set_timeline(self, info: VideoInfo, times: Seconds) -> None:
        times.setflags(write=False)
        in_order = bool(np.all(times[1:] >= times[:-1]))
        self.times = times
        self.times_shown = times if in_order else np.maximum.accumulate(times)
        self.info = replace(info, variable_rate=_is_uneven(self.times_shown, float(info.fps)))

    @property
    @abstractmethod
    def num_decoded(self) -> int:
        """How many frames have been decoded for `iter_frames` since the video was opened.

        Besides those that were asked for, these are the frames that had to be passed over on the way to
        them. A frame that is decoded again (to make sure that it cannot be had, or to say how many can)
        counts again; opening the video does not count. Where an iteration is left early, frames may stay
        in the decoder uncounted.
        """

    @property
    def restarts(self) -> Indices:
        """The frames before which nothing need be decoded, ascending; none where that is not known."""
        return np.empty(0, dtype=np.int64)

    @property
    def num_pieces(self) -> int:
        """How many pieces are shown one after the other, as the times in the file begin anew."""
        return 1

    def packets_alone(self, first: int, end: int) -> PacketRun | None:  # noqa: ARG002 - files know
        """The packets that decode to the frames [first, end) and to no other, for who copies them.

        None where there are no such packets, or nothing proves that there are.
        """
        return None

    @abstractmethod
    def reopened(self) -> VideoSource:
        """The same video for another thread; what opening it found out is not found out again."""

    def iter_frames(
        self, indices: Iterable[int], *, skip_unreadable: bool = False, picked: Picked | None = None
    ) -> Iterator[Frame | Unreadable]:
        """The frame of each distinct index, ascending; none of them is kept.

        Args:
            indices: Frame numbers from 0 on, in any order.
            skip_unreadable: Give an `Unreadable` for a frame that cannot be had, and go on.
            picked: The pixels that are wanted of each frame: its `pixels` are then uint8 (rows, columns, 3), the very
                ones of the whole frame, of which a few cost less. By default all of them.

        Returns:
            An iterator over a `Frame` for each, or an `Unreadable`.

        Raises:
            VideoError: At once for an index that the video does not have, and while iterating for a frame that cannot
                be had. With `skip_unreadable` only a file whose packets prove to be other frames than they said
                before the first frame was given raises it; trying again mends that.
        """
        wanted, info = np.unique(as_indices(indices)), self.info
        outside = wanted[(wanted < 0) | (wanted >= info.num_frames)]
        if len(outside):
            raise VideoError(
                f"{shown(info.path)} has no frame {outside[0]}: its {info.num_frames} frames "
                f"are numbered 0 to {info.num_frames - 1}"
            )
        return self._iter_wanted(wanted, picked, skip=skip_unreadable)

    def require_frames(self, indices: Iterable[int], *, picked: Picked | None = None) -> Iterator[Frame]:
        """The frame of each distinct index, ascending. Raises `VideoError` as `iter_frames` does, for any frame."""
        return cast("Iterator[Frame]", self.iter_frames(indices, picked=picked))

    def _iter_wanted(self, wanted: Indices, picked: Picked | None, *, skip: bool) -> Iterator[Frame | Unreadable]:
        decoded = self._decode(wanted, skip=skip) if picked is None else self._pick(wanted, picked, skip=skip)
        for index, found in decoded:
            time = float(self.times[index])
            if not isinstance(found, str):
                yield Frame(index, time, self._seconds_on_screen(index), found)
            elif skip:
                yield Unreadable(index, time, found)
            else:
                raise self._error(Unreadable(index, time, found))

    def _seconds_on_screen(self, index: int) -> float:
        shown, info = self.times_shown, self.info
        end = shown[index + 1] if index + 1 < len(shown) else info.start_seconds + info.duration_seconds
        return max(0.0, float(end - shown[index]))

    @abstractmethod
    def _decode(self, wanted: Indices, *, skip: bool) -> Iterator[tuple[int, Pixels | str]]:
        """(index, pixels, or what is wrong with the frame) of all wanted frames, which ascend.

        Without `skip`, where the first that cannot be had is an error anyway, `VideoError` may be raised instead.
        """

    def _pick(self, wanted: Indices, picked: Picked, *, skip: bool) -> Iterator[tuple[int, Pixels | str]]:
        """As `_decode`, with these of the pixels alone."""
        for index, found in self._decode(wanted, skip=skip):
            yield index, found if isinstance(found, str) else picked.of(found)

    @abstractmethod
    def _error(self, frame: Unreadable) -> VideoError:
        """The error for a frame that cannot be had."""


def _is_uneven(times: Seconds, fps: float) -> bool:
    """Whether a frame is further than half a frame from where an even rate would show it."""
    late = (times - times[0]) * fps - np.arange(len(times))
    return bool(np.any(np.abs(late) > _HALF_A_FRAME))


def too_large(width: int, height: int) -> str:
    """What is wrong with a frame of this size in pixels; empty if nothing is."""
    if width * height <= MAX_PIXELS:
        return ""
    return f"is {width}x{height} pixels: no more than {MAX_PIXELS / 1e6:.0f} million are read"


def as_indices(indices: Iterable[int]) -> Indices:
    """Frame numbers as an array. Raises `TypeError` for what is no whole number."""
    return np.fromiter((operator.index(i) for i in indices), dtype=np.int64)


def shown(path: str) -> str:
    """A path as it can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "replace")
