"""How far a call of the library is, as it says it to its caller."""

from __future__ import annotations

from dataclasses import dataclass


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
