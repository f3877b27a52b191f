"""A video as editors count it: at a rate of SMPTE, from its start timecode on, its segments in whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

from tadacli.errors import UsageError
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.timecode import TimecodeRate, frame_of, timecode, timecode_rate
from tadacli.results.notes import counted

_RATE_OF_NOTHING = 25.0  # of a video without segments of which the rate is not known


@dataclass(frozen=True)
class Cut:
    """A segment as a cut of its video: its first frame and the first one after it, counted from the video's first."""

    segment: LabelledSegment
    start: int
    end: int

    @property
    def num_frames(self) -> int:
        """How many frames it has, at least one."""
        return self.end - self.start


@dataclass(frozen=True)
class EditedVideo:
    """A video at the rate of an editor.

    `first_frame` is the number of the video's first frame in timecode, from that of 00:00:00:00 on. `cuts` are in
    order of time.
    """

    video: LabelledVideo
    rate: TimecodeRate
    first_frame: int
    num_frames: int
    cuts: tuple[Cut, ...]

    def timecode(self, frame: int) -> str:
        """The timecode of a frame, counted from the video's first."""
        return timecode(self.first_frame + frame, self.rate)

    def seconds(self, num_frames: int) -> Fraction:
        """How long so many frames last."""
        return num_frames / self.rate.fps


def edited(video: LabelledVideo) -> EditedVideo:
    """A video at the rate of an editor.

    Args:
        video: The video; its rate is one that SMPTE timecode is defined for.

    Returns:
        The video, with a cut for each segment.

    Raises:
        UsageError: The rate is not known, or none of SMPTE's, or no frame has the start timecode at it.
    """
    if video.segments and not video.fps:
        video.frame(0.0)  # says what is missing
    rate = timecode_rate(video.fps or _RATE_OF_NOTHING, like=video.start_timecode)
    first_frame = frame_of(video.start_timecode, rate) if video.start_timecode else 0
    found = sorted(cuts(video), key=lambda cut: (cut.segment.start_seconds, cut.segment.end_seconds))
    num_frames = max([_length(as_counted(video)) or 1, *(cut.end for cut in found)])
    return EditedVideo(video, rate, first_frame, num_frames, tuple(found))


def cuts(video: LabelledVideo) -> list[Cut]:
    """The segments of a video in whole frames.

    Args:
        video: The video.

    Returns:
        A cut of one frame or more for each segment, in their order, within the video as far as its length is known.

    Raises:
        UsageError: The rate is not known.
    """
    counted = as_counted(video)
    length = _length(counted)
    found = []
    for segment in video.segments:
        start, end = counted.frame(segment.start_seconds), counted.frame(segment.end_seconds)
        if length:
            start, end = min(start, length - 1), min(end, length)
        found.append(Cut(segment, start, max(end, start + 1)))
    return found


def as_counted(video: LabelledVideo) -> LabelledVideo:
    """The video as its frames are counted in timecode.

    Args:
        video: Any video.

    Returns:
        The video itself, or, where its rate varies, one whose frames are counted on the clock at the rate of SMPTE that
        is near, as editors conform it.
    """
    if not video.variable_rate or not video.fps:
        return video
    fps = video.fps
    with suppress(UsageError):
        fps = float(timecode_rate(video.fps).fps)
    return replace(video, fps=fps, frame_times=())


def on_the_clock(videos: Sequence[LabelledVideo]) -> str:
    """What to say of videos whose frames are counted by time, though they do not come evenly; nothing if none is so."""
    uneven = [video for video in videos if video.variable_rate and not video.frame_times and video.segments]
    if not uneven:
        return ""
    which = f"{uneven[0].path} has" if len(uneven) == 1 else f"{counted(len(uneven), 'videos')} have"
    rate = f" at {uneven[0].fps:.6g} a second" if len(uneven) == 1 else ""
    return f"{which} a variable frame rate: frames are counted on the clock{rate}, as if it were made constant"


def _length(counted: LabelledVideo) -> int | None:
    """How many frames a video has as they are counted; None where that is not known."""
    if counted.fps and counted.duration_seconds is not None:
        return counted.frame(counted.duration_seconds)
    return counted.num_frames
