"""Frozen values that the library returns: facts about a video, predictions, classifications, detections, runs.

And counts in words, as their notes say them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal

from typing_extensions import TypedDict  # Python 3.11's own cannot be read strictly

_OF_ONE = {
    "are": "is",
    "have": "has",
    "do": "does",
    "lie": "lies",
    "look": "looks",
    "last": "lasts",
    "reach": "reaches",
}


class NoteKind(StrEnum):
    """What a note is about; decisions hang on it, never on the words of the note."""

    MODEL = "model"  # holds for every result of the model
    LONG_VIDEO = "long video"
    CUT_SHORT = "cut short"
    READING = "reading"  # how a file was read that could have been read in another way
    UNUSED_ROWS = "unused rows"
    NO_VIDEO = "no video"  # of so many samples no file was found
    NO_LABEL = "no label"
    SHORT = "short"  # of so many items frames are repeated
    REPEATED = "repeated"  # a clip of a video that is not short shows a frame more than once
    ASSUMED_RATE = "assumed rate"  # of a folder of frames that nothing says the frame rate of
    TIME_GAPS = "time gaps"  # spans of a video's time have no frame
    PREDICTIONS = "predictions"  # what of a file of predictions is not used, or not sure
    MEASURE = "measure"  # where metrics are not those that are published
    TIMELINE = "timeline"  # when frames are shown, where the file does not say it plainly
    CUTS = "cuts"  # which of those that are named are none of the video's
    UNSEEN = "unseen"  # time that no snippet looks at
    DAMAGE = "damage"  # what of a file does not decode, and has no place among its frames


@dataclass(frozen=True)
class Note:
    """Something to know about a result that is no error: the text is for people, and goes into files."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class VideoInfo:
    """What is known about one video.

    `num_frames` counts the frames that a full decode of the chosen stream yields; for a file that was cut
    short (`truncated`), the frames its index promises, and without such an index those that are left, then
    `num_frames_known` is false. `fps` is the average rate; `height` and `width` are those of the frames as
    read, after rotation. `rotation` is the display rotation in degrees, counter-clockwise, as FFmpeg reports
    it. `start_seconds` is the presentation time of the first frame, `duration_seconds` the span from there to
    the end of the last frame. `sample_aspect_ratio` is the shape of a pixel (width over height); frames are
    not stretched by it. `notes` say what else to know of the file; its results have them, too.
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
    notes: tuple[Note, ...] = ()


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
    label joins theirs, and its index is verb * num_nouns + noun, as EPIC-KITCHENS numbers actions. `peak_score` is what
    met the threshold, 0..1: the highest that the label scores in the segment, while `score` is a mean; None where no
    threshold was met in this way, and in what earlier versions wrote.
    """

    start_seconds: float
    end_seconds: float
    label: str
    index: int
    score: float
    verb: Prediction | None = None
    noun: Prediction | None = None
    peak_score: float | None = None

    @property
    def action(self) -> str | None:
        """The pair of class numbers "verb,noun" of an action, None for other labels."""
        return None if self.verb is None or self.noun is None else f"{self.verb.index},{self.noun.index}"


@dataclass(frozen=True)
class Gap:
    """A span of the timeline, [start_seconds, end_seconds), of which needed frames cannot be read, or are not there."""

    start_seconds: float
    end_seconds: float
    reason: str


@dataclass(frozen=True)
class Detection:
    """What happens in one video, and when; or why that could not be found out.

    `status` is "ok", "partial" (some windows could not be scored: see `gaps`) or "error" (then `error` says
    why). No segments are a result, too: nothing was found. `num_windows` of `num_windows_planned` windows
    were scored. `num_frames_used` distinct frames were used. `timeline` is where the video starts and ends in seconds
    where it was not opened, as its features were there already; `video` is None then. `cuts` are when shots begin that
    no segment reaches across, in presentation seconds; None where nobody asked for them.
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
    timeline: tuple[float, float] | None = None
    cuts: tuple[float, ...] | None = None


class InputSummary(TypedDict, total=False):
    """How a model's clips are made, as `ModelSpec.to_dict` gives it."""

    sampling: str
    clip_frames: int
    frame_stride: int
    target_fps: float
    short_side: int
    crop_size: int
    mean: list[float]
    std: list[float]
    minus_interval: bool


class FeatureSummary(TypedDict, total=False):
    """What features a network takes in place of clips, as `ProposalSpec.to_dict` gives it."""

    network: str
    num_channels: int
    num_bins: int
    bin_frames: int
    fps: int


class StepSummary(TypedDict, total=False):
    """What features a head takes, as `HeadSpec.to_dict` gives it."""

    num_channels: int
    stride_seconds: float
    model: str
    weights_sha256: str
    crops: int
    snippet_seconds: float


class SpecSummary(TypedDict, total=False):
    """A model's specification as written beside results: `ModelSpec.to_dict`, heads with their number of labels.

    `arguments` and `source` are what the network and its origin need, which differs from one to the next.
    """

    name: str
    architecture: str
    task: str
    dataset: str
    input: InputSummary
    features: FeatureSummary
    steps: StepSummary
    heads: dict[str, int]
    protocol: dict[str, int]
    arguments: dict[str, Any]
    published: dict[str, float]
    source: dict[str, Any]
    note: str
    temperatures: dict[str, float]
    thresholds: dict[str, list[float]]
    segment_thresholds: dict[str, list[float]]
    background: str
    exclusive_labels: bool
    segment_low_share: float


class SegmentSummary(TypedDict, total=False):
    """How segments were made, as `SegmentSettings` says it."""

    threshold: float | Literal["auto"]
    low_threshold: float | None
    smooth_seconds: float
    merge_gap_seconds: float
    min_duration_seconds: float
    nms: str
    nms_iou: float
    topk: int | None
    topk_per_class: int | None
    labels: list[str]
    background: list[str]
    max_pairs: int
    exclusive: bool
    contrast: bool
    ends: str


class RunSettings(TypedDict, total=False):
    """The settings of a run: those that its command has, and what the arithmetic is done with."""

    views: str | None
    topk: int
    min_score: float | Literal["auto"]
    fill_batches: bool
    fps: float
    seed: int
    samples_sha256: str
    window: str
    stride: str
    snippet_seconds: float
    stride_seconds: float
    first_centre_seconds: float
    crops: int
    with_scores: bool
    stored: str
    sampling: str | None
    start_seconds: float | None
    end_seconds: float | None
    batch_size: int
    device: str
    dtype: str
    versions: dict[str, str]
    threads: int
    segments: SegmentSummary
    features: list[str]
    class_scores: str | None
    cuts: str | list[float]


@dataclass(frozen=True)
class Run:
    """What results are a function of, besides the videos, as written beside them; `id` is a hash of it all.

    `spec` has the number of labels in place of the labels.
    """

    tool_version: str
    weights_sha256: str
    spec: SpecSummary
    settings: RunSettings
    id: str


def counted(number: int, unit: str) -> str:
    """So many, in words: "1 video", "2 videos"; the unit is in the plural, which ends in s."""
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def out_of(count: int, total: int, unit: str, what: str) -> str:
    """So many of all, in words: "1 of 1 video is done", "2 of 3 videos are done".

    Args:
        count: How many.
        total: Of how many.
        unit: What they are, in the plural, which ends in s.
        what: What is said of them, in the plural.
    """
    if total == 1:
        many, _, more = what.partition(" ")
        what = f"{_OF_ONE.get(many, many)} {more}".rstrip()
    return f"{count} of {counted(total, unit)} {what}"
