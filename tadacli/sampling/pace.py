"""How fast the frames of a video follow each other: the rate where one looks, and the gaps in its time.

A camera that records on motion, or a stream whose connection dropped, has an average rate that is that of none of its
frames. What looks at a stretch of such a video goes by the frames around: by the usual step from one to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tadacli.video.source import Indices, Seconds, VideoSource

# Times closer than this are the same: times of frames are sums and products of rounded numbers.
SAME_TIME_SECONDS = 1e-6
# Steps of an even rate differ by as much: times are rounded to milliseconds or hundredths, films have 3:2 pulldown.
_EVEN = 0.25
# A frame that is shown longer than so many usual steps may be followed by a gap; else frames are uneven, no more.
_LONG_STEPS = 4


def frame_rate(source: VideoSource, first: int = 0, end: int | None = None) -> float:
    """Frames a second of the frames [first, end) of a video, by default of all.

    It is the average rate of the whole video where the usual step of these frames fits it, and follows from that step
    elsewhere. Too few frames to have a usual step have that of all.

    Args:
        source: The opened video.
        first: Number of the first frame.
        end: Number after the last one.

    Returns:
        Frames a second.
    """
    times, average = source.times_shown, float(source.info.fps)
    step = _usual_step(times[first:end]) or _usual_step(times)
    return average if not step or abs(step * average - 1) <= _EVEN else 1 / step


def _usual_step(times: Seconds) -> float:
    """The median step between frames that appear at these times, the lower one of two; 0 for fewer than three frames.

    It is 0, too, where most frames are never on screen.
    """
    steps = np.diff(times)
    middle = (len(steps) - 1) // 2
    return float(np.partition(steps, middle)[middle]) if len(steps) > 1 else 0.0


class Piece(NamedTuple):
    """A piece of a video's time without a gap, [start_seconds, end_seconds), and its frames, [first, end)."""

    start_seconds: float
    end_seconds: float
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces of a video's time, in order: piece i is [starts[i], ends[i]) in seconds, its frames from firsts[i]."""

    starts: Seconds
    ends: Seconds
    firsts: Indices
    num_frames: int

    def __len__(self) -> int:
        return len(self.starts)

    def around(self, seconds: float) -> Piece:
        """The piece that a time lies in, or else the one before it."""
        place = max(0, int(np.searchsorted(self.starts, seconds + SAME_TIME_SECONDS, side="right")) - 1)
        end = int(self.firsts[place + 1]) if place + 1 < len(self) else self.num_frames
        return Piece(float(self.starts[place]), float(self.ends[place]), int(self.firsts[place]), end)

    def cut(self, start: float, end: float) -> tuple[float, float] | None:
        """What of a span has frames, None for nothing; the span is no longer than the gaps."""
        place = int(np.searchsorted(self.ends, start + SAME_TIME_SECONDS, side="right"))
        if place == len(self) or self.starts[place] >= end - SAME_TIME_SECONDS:
            return None
        return max(start, float(self.starts[place])), min(end, float(self.ends[place]))

    def split(self, times: Seconds, cuts: Sequence[float]) -> Pieces:
        """The pieces, divided where cuts are, which are times of frames among `times`."""
        inside = [
            (cut, place)
            for cut in cuts
            for place in [int(np.searchsorted(self.starts, cut - SAME_TIME_SECONDS)) - 1]
            if place >= 0 and cut < self.ends[place] - SAME_TIME_SECONDS and cut not in self.starts
        ]
        if not inside:
            return self
        new = np.array([cut for cut, _ in inside])
        starts = np.sort(np.append(self.starts, new))
        ends = np.sort(np.append(self.ends, new))
        firsts = np.searchsorted(times, starts - SAME_TIME_SECONDS).astype(np.int64)
        return Pieces(starts, ends, firsts, self.num_frames)

    def gaps(self, start: float, end: float) -> list[tuple[float, float]]:
        """What of a span lies between pieces or after the last one, gap by gap."""
        after = np.append(self.starts[1:], np.inf)
        spans = np.stack([np.maximum(self.ends, start), np.minimum(after, end)], axis=1)
        return [(a, b) for a, b in spans.tolist() if b - a > SAME_TIME_SECONDS]


def pieces_of(source: VideoSource, *, gap_seconds: float) -> Pieces:
    """The pieces of a video's time between gaps that are at least so long.

    A gap begins where the frame before it would have been followed by another one at the usual step. A video whose
    frames follow each other evenly is one piece, however slowly they do.

    Args:
        source: The opened video.
        gap_seconds: In a shorter one the frame before it is taken to be shown for long.

    Returns:
        The pieces, at least one; without gaps it is the whole video.
    """
    times, end = source.times_shown, source.info.start_seconds + source.info.duration_seconds
    usual = _usual_step(times)
    steps = np.diff(times, append=max(end, times[-1]))
    is_last = (steps - usual >= gap_seconds) & (steps > _LONG_STEPS * usual) & (usual > 0)
    firsts = np.append(0, np.flatnonzero(is_last[:-1]) + 1)
    ends = times[is_last] + usual
    return Pieces(times[firsts], ends if is_last[-1] else np.append(ends, end), firsts, len(times))
