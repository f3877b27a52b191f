"""Which frames of a video an excerpt has, and from when to when it lasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tadacli.errors import VideoError
from tadacli.excerpts.wanted import WantedSegment
from tadacli.sampling.pace import frame_rate
from tadacli.sampling.plan import frames_on_screen, frames_within
from tadacli.video.source import VideoSource


@dataclass(frozen=True)
class Extent:
    """The frames [first, end) of a video, shown from `start_seconds` to `end_seconds` of its presentation time.

    `middle` is the frame on screen at the middle of the segment itself. `holds_frames`: they begin in the segment, as
    in most; otherwise it lies between two frames, and the one on screen is shown all the while.
    """

    first: int
    end: int
    start_seconds: float
    end_seconds: float
    middle: int
    holds_frames: bool
    notes: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return self.end - self.first


def extent_of(source: VideoSource, segment: WantedSegment, *, pad_seconds: float, from_first_frame: bool) -> Extent:
    """The frames that are shown from the start of a segment on and before its end.

    Args:
        source: The opened video.
        segment: The segment.
        pad_seconds: So much more at either side, as far as the video goes.
        from_first_frame: Whether the times of the segment count from the first frame.

    Returns:
        The extent. It ends when its last frame does, or before where that is shown long beyond the segment.

    Raises:
        VideoError: Nothing of the segment lies in the video, or it ends before it starts.
    """
    info, shown = source.info, source.times_shown
    opens, closes = info.start_seconds, info.start_seconds + info.duration_seconds
    shift = opens if from_first_frame else 0.0
    start = opens if segment.start_seconds is None else segment.start_seconds + shift
    end = closes if segment.end_seconds is None else segment.end_seconds + shift
    if end < start:
        raise VideoError("the segment ends before it starts")
    if start >= closes or end < opens:
        raise VideoError(f"the segment lies outside of the video, which lasts from {opens:.2f} s to {closes:.2f} s")
    step = 1 / frame_rate(source)
    notes = []
    if end > closes + step:
        notes.append(f"the segment ends at {end:.2f} s, and the video at {closes:.2f} s")
    middle = int(frames_on_screen(shown, np.array((max(start, opens) + min(end, closes)) / 2)))
    start, end = max(opens, start - pad_seconds), min(closes, end + pad_seconds)
    first, after_last = frames_within(shown, start, end)
    holds_frames = first < after_last
    if holds_frames:
        start = float(shown[first])
    else:
        first = int(frames_on_screen(shown, np.array(start)))
        after_last = first + 1
        notes.append("no frame begins in it: it shows the one that is on screen then")
    next_shown = float(shown[after_last]) if after_last < len(shown) else closes
    last_shown = max(start, float(shown[after_last - 1]))
    return Extent(
        first=first,
        end=after_last,
        start_seconds=start,
        end_seconds=min(next_shown, max(end, last_shown + step)),
        middle=middle,
        holds_frames=holds_frames,
        notes=tuple(notes),
    )
