"""Frames that are in memory as videos: arrays and tensors, checked once, then read like any other video."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from tadacli.errors import UsageError, VideoError
from tadacli.results import Note, NoteKind, VideoInfo
from tadacli.strict_tables import in_one_line
from tadacli.video.frame_names import ASSUMED_FPS, checked_rate
from tadacli.video.inputs import FrameArray
from tadacli.video.source import Indices, Pixels, Seconds, Unreadable, VideoSource, shown, too_large
from tadacli.zoo.addresses import address

if TYPE_CHECKING:
    from torch import Tensor

# What the library takes for a video: a path, a URL, or frames uint8 (T, H, W, 3), RGB.
VideoLike: TypeAlias = Union[str, os.PathLike[str], npt.NDArray[np.uint8], "Tensor"]
Times: TypeAlias = Sequence[float] | npt.NDArray[np.floating]

_WHAT_HINT = "give a path, a URL or an array of frames"
_SHAPE_HINT = (
    "give uint8 (T, H, W, 3), RGB: np.stack(frames) makes one array of frames, .permute(0, 2, 3, 1) turns (T, 3, H, W)"
)
_ASSUMED = Note(
    NoteKind.ASSUMED_RATE,
    f"how many frames there are a second is not known, and {ASSUMED_FPS} are assumed: times, and the frames that are "
    "looked at, depend on it; fps says it",
)


def named_videos(
    videos: VideoLike | Iterable[VideoLike], *, fps: float | None, times: Times | None, needs_rate: bool
) -> list[str]:
    """The videos of a call by the names that their results have.

    Args:
        videos: One or several: paths and URLs, and arrays or tensors of frames. The frames are not copied.
        fps: Frames a second of arrays; None where `times` say more, or nobody knows.
        times: The presentation time of each frame of a single array, in seconds, ascending.
        needs_rate: Whether arrays must come with one of the two; else a usual rate is assumed, with a note.

    Returns:
        Paths and URLs as they are called, and a `FrameArray` called "frames" for a single array, "frames[2]" for the
        third of several videos.

    Raises:
        UsageError: An array is not of frames, or its times are none; the message says which.
    """
    is_single = isinstance(videos, (str, os.PathLike)) or _is_array(videos)
    given: list[VideoLike] = [videos] if is_single else _listed(videos)  # type: ignore[list-item]
    if fps is not None and times is not None:
        raise UsageError("fps and times both say when frames are shown", hint="give one of them")
    if fps is not None:
        checked_rate(fps)
    if times is not None and (len(given) != 1 or not _is_array(given[0])):
        raise UsageError("times are those of the frames of one array", hint="give fps, or one array at a time")
    named = []
    for number, video in enumerate(given):
        if not _is_array(video):
            named.append(_path(video, number))
            continue
        name = "frames" if is_single else f"frames[{number}]"
        if needs_rate and fps is None and times is None:
            raise UsageError(f"nothing says when {name} are shown", hint="give fps=, or times= in seconds")
        named.append(_frame_array(name, _pixels(video, name), fps=fps, times=times))
    return named


class ArraySource(VideoSource):
    """Frames of an array, each copied when it is read."""

    def __init__(self, frames: FrameArray) -> None:
        self._pixels, self._num_decoded = frames.pixels, 0
        num_frames, height, width, _ = frames.pixels.shape
        times = frames.times
        start = float(times[0])
        self._set_timeline(
            VideoInfo(
                path=str(frames),
                num_frames=num_frames,
                fps=frames.fps,
                duration_seconds=frames.end_seconds - start,
                height=height,
                width=width,
                rotation=0,
                codec="",
                pixel_format="rgb24",
                start_seconds=start,
                notes=frames.notes,
            ),
            times,
        )

    @property
    def num_decoded(self) -> int:
        return self._num_decoded

    def reopened(self) -> VideoSource:
        return self

    def _decode(self, wanted: Indices, *, skip: bool) -> Iterator[tuple[int, Pixels | str]]:
        del skip  # every frame can be had
        for index in map(int, wanted):
            self._num_decoded += 1
            yield index, np.array(self._pixels[index], order="C")

    def _error(self, frame: Unreadable) -> VideoError:
        return VideoError(f"frame {frame.index} of {shown(self.info.path)} {frame.reason}")


def _is_array(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return True
    from torch import Tensor  # with what scores the frames, which reading a file does not need

    return isinstance(value, Tensor)


def _listed(videos: object) -> list[VideoLike]:
    if not isinstance(videos, Iterable):
        raise UsageError(
            f"what is given is no video, but {type(videos).__name__}",
            hint="give a path, a URL, an array of frames, or a list",
        )
    return list(videos)


def _path(video: object, number: int) -> str:
    if not isinstance(video, (str, os.PathLike)):
        raise UsageError(
            f"video {number} of the list is no video, but {type(video).__name__}",
            hint="give a path, a URL or an array of frames",
        )
    name = address(video)
    if not isinstance(name, str):
        raise UsageError(f"video {number} of the list is a path of bytes", hint="give it as text: os.fsdecode(path)")
    return name


def _pixels(video: object, name: str) -> Pixels:
    """The frames of an array or tensor as they are in the memory of the CPU."""
    if not isinstance(video, np.ndarray):
        from torch import Tensor

        assert isinstance(video, Tensor)
        kind, video = str(video.dtype).removeprefix("torch."), video.detach().cpu()
        if kind != "uint8":
            raise _not_bytes(name, kind)
        video = video.numpy()
    if video.dtype != np.uint8:
        raise _not_bytes(name, in_one_line(str(video.dtype)))
    if video.ndim != 4 or video.shape[3] != 3 or 0 in video.shape:
        raise UsageError(f"{name} has the shape {video.shape}, which is not that of frames", hint=_SHAPE_HINT)
    if problem := too_large(video.shape[2], video.shape[1]):
        raise UsageError(f"each frame of {name} {problem}")
    return video


def _not_bytes(name: str, kind: str) -> UsageError:
    return UsageError(
        f"{name} is of {kind}, and frames are of uint8, 0 to 255",
        hint="of fractions from 0 to 1: (frames * 255).round() as uint8",
    )


def _frame_array(name: str, pixels: Pixels, *, fps: float | None, times: Times | None) -> FrameArray:
    if times is not None:
        seconds = _seconds(times, len(pixels))
        rate = Fraction((len(seconds) - 1) / float(seconds[-1] - seconds[0])).limit_denominator(1001)
        # Nothing says how long the last frame is shown: as long as the others on average.
        end = float(seconds[-1]) + float(seconds[-1] - seconds[0]) / (len(seconds) - 1)
        return FrameArray.of(name, pixels, seconds, end, rate)
    rate = Fraction(ASSUMED_FPS if fps is None else fps).limit_denominator(1001)
    seconds = np.arange(len(pixels)) * rate.denominator / rate.numerator
    notes = () if fps is not None else (_ASSUMED,)
    return FrameArray.of(name, pixels, seconds, float(len(pixels) / rate), rate, notes)


def _seconds(times: Times, num_frames: int) -> Seconds:
    """Times as they are told, found to be those of so many frames."""
    try:
        seconds = np.array(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"times are no numbers: {in_one_line(str(error))}", hint="give seconds") from error
    if seconds.shape != (num_frames,):
        raise UsageError(f"{seconds.shape} times do not fit {num_frames} frames", hint="give a time for each frame")
    if not bool(np.isfinite(seconds).all()):
        raise UsageError(f"the time of frame {int(np.argmin(np.isfinite(seconds)))} is no number", hint="give seconds")
    if bool((np.diff(seconds) < 0).any()):
        number = int(np.argmax(np.diff(seconds) < 0)) + 1
        raise UsageError(f"frame {number} is shown before the one before it", hint="give frames in order of time")
    if num_frames < 2 or seconds[-1] <= seconds[0]:
        raise UsageError("times that are all the same say no rate", hint="give fps")
    checked_rate((num_frames - 1) / float(seconds[-1] - seconds[0]))
    return seconds
