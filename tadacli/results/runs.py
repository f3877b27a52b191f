"""What results are a function of, as written beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import TypedDict  # Python 3.11's own cannot be read strictly


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
    within_shots: bool


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
    multi_label: bool


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


class SuggestedSummary(TypedDict):
    """How spans to label were chosen: how many were wanted, how long, and beside how many labels that were there.

    `span_seconds` is null where segments of results were chosen among.
    """

    budget: int
    span_seconds: float | None
    num_labelled: int


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
    runtime: dict[str, str]
    threads: int
    segments: SegmentSummary
    features: list[str]
    class_scores: str | None
    cuts: str | list[float]
    adaptive_stride: int
    suggested: SuggestedSummary


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
