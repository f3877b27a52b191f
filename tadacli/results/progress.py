"""How far a call of the library is, as it says it to its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Progress:
    """How far `classify` or `detect` is, as a `progress` callback gets it.

    The video `path` is number `index`, from 0, of `num_videos`, and `fraction` of it is done, 0 to 1.
    """

    path: str
    index: int
    num_videos: int
    fraction: float

    @property
    def overall(self) -> float:
        """How much of all videos is done, 0 to 1, each counted alike."""
        return (self.index + self.fraction) / self.num_videos


# What the caller of a function is told by; an exception that it raises ends the call.
OnProgress: TypeAlias = Callable[[Progress], object]


class ProgressTeller:
    """Tells a caller how far a call is: at the start of each video, as often as some of it is done, and at its end."""

    def __init__(self, tell: OnProgress | None, num_videos: int) -> None:
        self._tell, self._num_videos = tell, num_videos
        self._index, self._path, self._fraction = -1, "", 0.0

    def start(self, path: str) -> None:
        """The next video is begun."""
        self._index, self._path, self._fraction = self._index + 1, str(path), 0.0
        self._say()

    def reach(self, fraction: float) -> None:
        """So much of the video is done, 0 to 1."""
        fraction = min(1.0, fraction)
        if fraction > self._fraction:
            self._fraction = fraction
            self._say()

    def _say(self) -> None:
        if self._tell is not None:
            self._tell(Progress(self._path, self._index, self._num_videos, self._fraction))
