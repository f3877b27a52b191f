"""One pass over a video that decodes each frame once and gives it to all excerpts and pictures that it is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from tadacli.video.source import Frame, Unreadable, VideoSource

# Each that encodes takes memory for some frames; what overlaps further waits for another pass.
MOST_AT_ONCE = 4


class Taker(Protocol):
    """What takes the frames [first, end) of a video, one after the other.

    It `is_light` if it takes hardly any memory meanwhile. After a frame that cannot be had, or an error of its own, it
    is over (`is_over`), and is given no more.
    """

    first: int
    end: int
    is_light: bool
    is_over: bool

    def take(self, frame: Frame) -> None:
        """The next frame; with the last one it is done."""
        ...

    def miss(self, frame: Unreadable) -> None:
        """The next frame cannot be had."""
        ...

    def abandon(self) -> None:
        """No more frames come; nothing is left of what was begun."""
        ...


def give_frames(source: VideoSource, takers: Sequence[Taker]) -> Iterator[int]:
    """Give frames to those that take them.

    Args:
        source: The opened video.
        takers: Those that take frames, in any order.

    Yields:
        For each frame to how many it was given. Where many overlap, there are several passes.

    Raises:
        VideoError: The video cannot be read; those that are not done are abandoned, as they are for any other error.
    """
    for some in _passes(takers):
        wanted = np.unique(np.concatenate([np.arange(each.first, each.end) for each in some]))
        waiting = sorted(some, key=lambda each: each.first, reverse=True)
        active: list[Taker] = []
        try:
            for frame in source.iter_frames(wanted, skip_unreadable=True):
                while waiting and waiting[-1].first <= frame.index:
                    active.append(waiting.pop())
                for taker in active:
                    if isinstance(frame, Unreadable):
                        taker.miss(frame)
                    else:
                        taker.take(frame)
                num_taken = len(active)
                active = [each for each in active if not each.is_over and each.end > frame.index + 1]
                yield num_taken
        finally:
            for taker in active:
                taker.abandon()


def _passes(takers: Sequence[Taker]) -> list[list[Taker]]:
    """Those that go together: of them no more than `MOST_AT_ONCE` are at work at any frame."""
    light = [each for each in takers if each.is_light]
    passes: list[list[Taker]] = []
    ends: list[list[int]] = []  # of each pass, where those at work end
    for taker in sorted((each for each in takers if not each.is_light), key=lambda each: (each.first, each.end)):
        ends = [[end for end in busy if end > taker.first] for busy in ends]
        number = next((place for place, busy in enumerate(ends) if len(busy) < MOST_AT_ONCE), len(passes))
        if number == len(passes):
            passes.append([])
            ends.append([])
        passes[number].append(taker)
        ends[number].append(taker.end)
    if light:
        passes[:1] = [[*(passes[0] if passes else []), *light]]
    return passes
