"""Segments of videos as files of their own, as `clip` returns them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

ExcerptStatus: TypeAlias = Literal["ok", "error"]
How: TypeAlias = Literal["copied", "encoded"]


@dataclass(frozen=True)
class Excerpt:
    """What became of one segment: the files that were written of it, or why there are none.

    Attributes:
        video: The video, as it was named.
        label: The label of the segment; None of a video without segments, as it could not be searched.
        start_seconds: Where the segment starts, as the results say it.
        end_seconds: Where it ends.
        score: Its score, 0 to 1, where it has one.
        status: "ok", or "error" (then `error` says why).
        error: Why there is no file.
        file: The video of the segment, where one was asked for.
        how: "copied" where its pictures are those of the video bit by bit, or "encoded" again.
        image: The picture of the frame at its middle, where one was asked for.
        shown_from: The presentation time of its first frame in the video, in seconds; this is 0 in the file.
        shown_until: The presentation time at which its last frame ends.
        num_frames: How many frames it has.
        notes: What else to know of it.
    """

    video: str
    label: str | None
    start_seconds: float | None
    end_seconds: float | None
    score: float | None = None
    status: ExcerptStatus = "ok"
    error: str = ""
    file: Path | None = None
    how: How | None = None
    image: Path | None = None
    shown_from: float | None = None
    shown_until: float | None = None
    num_frames: int | None = None
    notes: tuple[str, ...] = ()
