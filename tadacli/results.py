"""Frozen values that the library returns: facts about a video, predictions, classifications, detections, runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal


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
DetectionStatus = Literal["ok", "partial", "error"]


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


class NoteKind(StrEnum):
    """What a note is about; decisions hang on it, never on the words of the note."""

    MODEL = "model"  # holds for every result of the model
    LONG_VIDEO = "long video"
    CUT_SHORT = "cut short"


@dataclass(frozen=True)
class Note:
    """Something to know about a result that is no error: the text is for people, and goes into files."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        return self.text


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
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Window:
    """A scored span of the timeline, [start_seconds, end_seconds) in presentation time.

    `scale` counts the window lengths that were asked for, from 0. `clips` are the frames the model saw,
    clip by clip, by number; `used` is the span from the first of them to where the last one stops being shown.
    """

    start_seconds: float
    end_seconds: float
    scale: int
    clips: tuple[tuple[int, ...], ...]
    used: tuple[float, float]


@dataclass(frozen=True)
class Segment:
    """A span with a label, [start_seconds, end_seconds) in presentation time, and its score in 0..1.

    `index` is the label's place in the head's labels. A segment of an action has a `verb` and a `noun`; its
    label joins theirs, and its index is verb * num_nouns + noun, as EPIC-KITCHENS numbers actions.
    """

    start_seconds: float
    end_seconds: float
    label: str
    index: int
    score: float
    verb: Prediction | None = None
    noun: Prediction | None = None

    @property
    def action(self) -> str | None:
        """The pair of class numbers "verb,noun" of an action, None for other labels."""
        return None if self.verb is None or self.noun is None else f"{self.verb.index},{self.noun.index}"


@dataclass(frozen=True)
class Gap:
    """A span of the timeline, [start_seconds, end_seconds), of which frames that were needed cannot be read."""

    start_seconds: float
    end_seconds: float
    reason: str


@dataclass(frozen=True)
class Detection:
    """What happens in one video, and when; or why that could not be found out.

    `status` is "ok", "partial" (some windows could not be scored: see `gaps`) or "error" (then `error` says
    why). No segments are a result, too: nothing was found. `num_windows` of `num_windows_planned` windows
    were scored. `num_frames_used` distinct frames were looked at.
    """

    path: str
    status: DetectionStatus
    model: str
    error: str = ""
    segments: tuple[Segment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    num_windows: int = 0
    num_windows_planned: int = 0
    num_frames_used: int = 0
    video: VideoInfo | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Run:
    """What results are a function of, besides the videos, as written beside them; `id` is a hash of it all.

    `spec` has the number of labels in place of the labels.
    """

    tool_version: str
    weights_sha256: str
    spec: dict[str, Any]
    settings: dict[str, Any]
    id: str
