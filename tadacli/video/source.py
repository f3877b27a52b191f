"""What every source of frames offers, and the few things their readers share."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from tadacli.errors import VideoError
from tadacli.results import VideoInfo

Times = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
VideoPath = str | os.PathLike[str]

DAMAGED_HINT = "the file is damaged or was cut short: fetch it again, or re-encode what is left of it"
NOT_A_VIDEO_HINT = "name a video file, or a folder or tar of frame_0000000001.jpg files"


class VideoSource(Protocol):
    """One opened video, whose frames can be read any number of times."""

    @property
    def info(self) -> VideoInfo:
        """What is known about the video."""

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Presentation time of each frame in seconds, float64 (num_frames,); read-only."""

    @property
    def num_decoded(self) -> int:
        """How many frames have been decoded for `iter_frames` since the video was opened.

        Besides those that were asked for, these are the frames that had to be passed over on the way to
        them. A frame that is decoded again (to make sure that it cannot be had, or to say how many can)
        counts again; opening the video does not count. Where an iteration is left early, frames may stay
        in the decoder uncounted.
        """

    @property
    def restarts(self) -> Times:
        """The frames before which nothing need be decoded, ascending; none where that is not known."""

    def reopened(self) -> VideoSource:
        """The same video for another thread; what opening it found out is not found out again."""

    def time_of(self, index: int) -> float:
        """Presentation time of one frame in seconds."""

    @overload
    def iter_frames(
        self, indices: Iterable[int], *, skip_unreadable: Literal[False] = False
    ) -> Iterator[tuple[int, float, Pixels]]: ...

    @overload
    def iter_frames(
        self, indices: Iterable[int], *, skip_unreadable: bool
    ) -> Iterator[tuple[int, float, Pixels | None]]: ...

    def iter_frames(
        self, indices: Iterable[int], *, skip_unreadable: bool = False
    ) -> Iterator[tuple[int, float, Pixels | None]]:
        """(index, time in seconds, frame) of each distinct index, ascending; frame: uint8 (H, W, 3), RGB.

        None of the frames is kept. Raises `VideoError` at once for an index that the video does not have,
        and while iterating when a frame that was asked for cannot be had; with `skip_unreadable`, None
        stands for such a frame, and `reason_of` tells why. Then only a file whose packets prove to be other
        frames than they said before the first frame was given raises `VideoError`; trying again mends that.
        """

    def reason_of(self, index: int) -> str:
        """What was wrong with a frame that came as None, such as "is damaged"; empty for any other frame."""


def as_numbers(indices: Iterable[int]) -> Times:
    return np.fromiter((operator.index(i) for i in indices), dtype=np.int64)


def wanted_indices(indices: Iterable[int], info: VideoInfo) -> Times:
    """The distinct indices, ascending, all of them inside the video."""
    wanted = np.unique(as_numbers(indices))
    outside = wanted[(wanted < 0) | (wanted >= info.num_frames)]
    if len(outside):
        raise VideoError(
            f"{shown(info.path)} has no frame {outside[0]}: its {info.num_frames} frames "
            f"are numbered 0 to {info.num_frames - 1}"
        )
    return wanted


def shown(path: str) -> str:
    """A path as it can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "replace")
