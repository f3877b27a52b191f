"""Frozen values that the library returns: facts about a video, predictions, classifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True)
class VideoInfo:
    """What is known about one video.

    `num_frames` counts the frames that a full decode of the chosen stream yields; for a file that was cut
    short (`truncated`), the frames its index promises, and without such an index those that are left, then
    `num_frames_known` is false. `fps` is the average rate; `height` and `width` are those of the frames as
    read, after rotation. `rotation` is the display rotation in degrees, counter-clockwise, as FFmpeg reports
    it. `start_seconds` is the presentation time of the first frame, `duration_seconds` the span from there to
    the end of the last frame. `sample_aspect_ratio` is the shape of a pixel (width over height); frames are
    not stretched by it.
    """

    path: str
    num_frames: int
    fps: Fraction
    duration_seconds: float
    height: int
    width: int
    rotation: int
    codec: str
    pixel_format: str = ""
    sample_aspect_ratio: Fraction = Fraction(1)
    start_seconds: float = 0.0
    truncated: bool = False
    num_frames_known: bool = True


Status = Literal["ok", "short", "error"]


@dataclass(frozen=True)
class Prediction:
    """A class with its score in 0..1; `index` is its place in the head's labels."""

    label: str
    index: int
    score: float


@dataclass(frozen=True)
class FrameTime:
    """A frame by number, with its presentation time in seconds."""

    index: int
    time_seconds: float


@dataclass(frozen=True)
class Classification:
    """What one video was found to show, or why it could not be classified.

    `status` is "ok", "short" (fewer frames than a clip spans, so that some were repeated) or "error" (then
    `error` says why and there are no predictions). `heads` maps head names to their best classes, best
    first; a model with one head uses the name "". `clips` are the frames the model saw, clip by clip.
    `notes` are things to know about the result that are no error.
    """

    path: str
    status: Status
    model: str
    error: str = ""
    heads: Mapping[str, tuple[Prediction, ...]] = field(default_factory=dict)
    clips: tuple[tuple[FrameTime, ...], ...] = ()
    video: VideoInfo | None = None
    notes: tuple[str, ...] = ()
