"""What an evaluation found: metrics, and the classes and items they come from."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from tadacli.datasets.samples import Sample
from tadacli.evaluation.detection_metrics import DetectionMetrics, ScoredSegments, TimedLabels
from tadacli.evaluation.error_kinds import ErrorCounts, JudgedDetections
from tadacli.evaluation.majority import MajorityClass
from tadacli.evaluation.metrics import Calibration, Outcomes
from tadacli.evaluation.multi_label import LabelPrecision
from tadacli.results import Note, Run, RunSettings, SpecSummary


class UnscoredKind(StrEnum):
    """Why an item has no scores, for decisions; a person reads the reason."""

    FAILED = "failed"  # it was to be scored, and could not be
    NO_PREDICTION = "no prediction"
    NO_LABEL = "no label"  # there is nothing to compare scores with


@dataclass(frozen=True)
class UnscoredItem:
    """An item of the data set that has no scores, and why; `path` is empty if no file was found."""

    id: str
    path: str
    reason: str
    kind: UnscoredKind = UnscoredKind.FAILED


@dataclass(frozen=True)
class ItemResult:
    """A scored item: its true and predicted class by index, and the scores of both (0 to 1).

    `path` is its file, as far as it is known; the times are those of the span within it, in seconds, None where it
    is the whole video. `fps` is the stated rate of a folder of frames, None where the file says when frames are shown.
    `rank` is the number of classes that stand before the true one.
    """

    id: str
    path: str
    label: int
    predicted: int
    label_score: float
    predicted_score: float
    rank: int
    start_seconds: float | None = None
    end_seconds: float | None = None
    fps: float | None = None


@dataclass(frozen=True, eq=False)
class ScoredItems:
    """The N scored items of a head: the samples, what became of them, and the scores (N,) of their true classes."""

    samples: Sequence[Sample]
    outcomes: Outcomes
    label_scores: NDArray[Any]

    def __getitem__(self, row: int) -> ItemResult:
        sample, outcomes = self.samples[row], self.outcomes
        return ItemResult(
            id=sample.id,
            path=os.fspath(sample.path or ""),
            label=int(outcomes.labels[row]),
            predicted=int(outcomes.predicted[row]),
            label_score=float(self.label_scores[row]),
            predicted_score=float(outcomes.confidences[row]),
            rank=int(outcomes.ranks[row]),
            start_seconds=sample.start_seconds,
            end_seconds=sample.end_seconds,
            fps=sample.fps,
        )

    def by_score(self) -> NDArray[np.int64]:
        """The rows by rising score of the true class, equal ones by id, (N,)."""
        rows = sorted(range(len(self.samples)), key=lambda row: (float(self.label_scores[row]), self.samples[row].id))
        return np.array(rows, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class HeadResult:
    """One head of a recognition model on a data set, of C classes.

    `intervals` are the bootstrap 95 % intervals of metrics in percent, by the metric's name. `confusion` counts items
    by true class (row) and predicted class (column), (C, C) int64; so per-class accuracy follows from it. `worst` are
    the items whose true class got the lowest scores, lowest first; `items` are all of them, None where they are not
    known. `calibration` is None where scores are no probabilities.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    worst: tuple[ItemResult, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calibration: Calibration | None = None
    items: ScoredItems | None = None

    @property
    def num_items(self) -> NDArray[np.int64]:
        """Scored items of each class, (C,)."""
        counts: NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts

    @property
    def num_right(self) -> NDArray[np.int64]:
        """Items of each class whose best class is the true one, (C,)."""
        return np.diagonal(self.confusion)


@dataclass(frozen=True)
class Accuracies:
    """The metrics of recognition in percent, 0..100, by their official names where there are any."""

    percent: Mapping[str, float]


@dataclass(frozen=True)
class NamedPrecision:
    """Average precision of one class, or mean average precision within one video, as fractions by threshold.

    `name` is the class or the id of the video, `num_truth` counts its true segments, `index` is the class's number,
    None for a video.
    """

    name: str
    num_truth: int
    fractions: tuple[float, ...]
    index: int | None = None

    @property
    def average(self) -> float:
        """Mean over the thresholds."""
        return float(np.mean(self.fractions))


@dataclass(frozen=True)
class TimedVideo:
    """A video with timed segments: its file, empty if none was found, and its length in seconds if that is known."""

    path: str = ""
    duration_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class ComparedSegments:
    """True segments and detections of one task; the codes of videos are places in `videos`, which are ids."""

    videos: tuple[str, ...]
    truth: TimedLabels
    detections: ScoredSegments
    judged: JudgedDetections


@dataclass(frozen=True)
class TaskParts:
    """One task of detection part by part: the classes of the ground truth by index, the videos by id.

    `errors` say of what kinds the detections are, see `error_kinds`; `segments` are these and the true ones.
    """

    classes: tuple[NamedPrecision, ...]
    videos: tuple[NamedPrecision, ...]
    errors: tuple[ErrorCounts, ...] = ()
    segments: ComparedSegments | None = None


@dataclass(frozen=True)
class Precisions:
    """The metrics of detection: mean average precision as fractions, 0..1, of each task by its name, and its parts."""

    tasks: Mapping[str, DetectionMetrics]
    parts: Mapping[str, TaskParts] = field(default_factory=dict)


class PrecisionRow(TypedDict):
    """The metrics of one task of detection, as files have them."""

    tiou: list[float]
    mAP: list[float]
    avg_mAP: float
    num_classes: int
    num_detections: int
    num_scored: int


class RunFacts(TypedDict):
    """What made the scores, as files have it; detections come without the `id`, since they may be of several runs."""

    tool_version: str
    weights_sha256: str
    spec: SpecSummary
    settings: RunSettings
    id: NotRequired[str]


def run_facts(run: Run) -> RunFacts:
    """The facts of a run.

    Args:
        run: The run.

    Returns:
        All that it holds.
    """
    return {
        "tool_version": run.tool_version,
        "weights_sha256": run.weights_sha256,
        "spec": run.spec,
        "settings": run.settings,
        "id": run.id,
    }


@dataclass(frozen=True, eq=False)
class EvalReport:
    """What predictions reach on a data set.

    `metrics` are those of recognition or of detection; None if the annotations name no classes. `num_scored` of
    `num_items` items have scores, the others stand in `unscored`; of these `num_failed` could not be scored by the
    model. An item is a video, or in EPIC-KITCHENS-100 recognition an action; `unit` is its plural. `heads` are
    there for recognition, and with them `majority`, the most frequent class of each head among the scored items; of a
    multi-label model there are `classes` instead, each with its average precision, and the class that most items show.
    `run` says what made the scores, as far as the predictions tell. `notes` say what else to know. `unmatched` are
    names in the predictions that the annotations do not have. `videos` are those of detection by id.
    """

    dataset: str
    split: str
    unit: str
    num_scored: int
    num_items: int
    metrics: Accuracies | Precisions | None
    heads: Mapping[str, HeadResult] = field(default_factory=dict)
    unscored: tuple[UnscoredItem, ...] = ()
    run: RunFacts | None = None
    notes: tuple[Note, ...] = ()
    num_failed: int = 0
    unmatched: tuple[str, ...] = ()
    majority: Mapping[str, MajorityClass] = field(default_factory=dict)
    classes: tuple[LabelPrecision, ...] = ()
    videos: Mapping[str, TimedVideo] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether this is about the whole data set: every item has scores; for metrics, every item with a class.

        In detection a video without an entry counts as one in which nothing was found, and files of some forms cannot
        say so of a video; but where half of the videos or more have none, the predictions are not of this data set.
        """
        if self.metrics is None:
            return self.num_scored == self.num_items
        kinds = Counter(item.kind for item in self.unscored)
        num_missing = kinds[UnscoredKind.NO_PREDICTION]
        if self.num_failed or kinds[UnscoredKind.FAILED] or not self.num_scored:
            return False
        return 2 * num_missing < self.num_items if isinstance(self.metrics, Precisions) else not num_missing

    @property
    def percent(self) -> Mapping[str, float]:
        """The accuracies in percent by name; empty for detection."""
        return self.metrics.percent if isinstance(self.metrics, Accuracies) else {}

    @property
    def tasks(self) -> Mapping[str, DetectionMetrics]:
        """The mean average precision of each task, as fractions; empty for recognition."""
        return self.metrics.tasks if isinstance(self.metrics, Precisions) else {}

    @property
    def parts(self) -> Mapping[str, TaskParts]:
        """Each task by class and by video; empty for recognition."""
        return self.metrics.parts if isinstance(self.metrics, Precisions) else {}

    @property
    def rows(self) -> Mapping[str, float | PrecisionRow]:
        """The metrics as files have them: percent by name, or a row for each task."""
        return self.percent or {task: precision_row(measured) for task, measured in self.tasks.items()}

    @property
    def reasons(self) -> dict[str, int]:
        """How many items are not scored for which reason, the most frequent first."""
        counts = Counter(item.reason for item in self.unscored)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def precision_row(measured: DetectionMetrics) -> PrecisionRow:
    """The metrics of one task, as files have them.

    Args:
        measured: The metrics.

    Returns:
        Mean average precision as fractions, and what it is based on.
    """
    return {
        "tiou": list(measured.tiou),
        "mAP": list(measured.mean_average_precision),
        "avg_mAP": measured.average,
        "num_classes": len(measured.classes),
        "num_detections": measured.num_detections,
        "num_scored": measured.num_scored,
    }


# --- one number each ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """One number: of a `task` if it belongs to one, at a threshold `tiou` on the temporal IoU in detection.

    `interval` is its 95 % interval, if there is one, in the unit of `value`, which `measure` tells.
    """

    task: str
    name: str
    value: float
    measure: Literal["percent", "fraction", "count"]
    tiou: float | None = None
    interval: tuple[float, float] | None = None


def flat_metrics(report: EvalReport) -> list[Metric]:
    """Every number in the report's metrics.

    Args:
        report: The report.

    Returns:
        The numbers, in their order; those of detection by task and threshold.
    """
    found = [
        Metric("", name, value, "percent", interval=_interval(report, name)) for name, value in report.percent.items()
    ]
    return found + [metric for task, measured in report.tasks.items() for metric in _flat_task(task, measured)]


def _interval(report: EvalReport, name: str) -> tuple[float, float] | None:
    """The interval of the head that the metric is of; it is not known if several heads have one of that name.

    What EPIC-KITCHENS-100 calls all_verb_accuracy_at_5 is the top5 of the head "verb".
    """
    heads = list(report.heads.values())
    official = re.fullmatch(r"all_(\w+)_accuracy_at_(\d+)", name)
    if official and official[1] in report.heads:
        heads, name = [report.heads[official[1]]], f"top{official[2]}"
    found = [head.intervals[name] for head in heads if name in head.intervals]
    return found[0] if len(found) == 1 else None


def _flat_task(task: str, measured: DetectionMetrics) -> Iterator[Metric]:
    row = precision_row(measured)
    for tiou, value in zip(row["tiou"], row["mAP"], strict=True):
        yield Metric(task, "mAP", value, "fraction", tiou=tiou)
    yield Metric(task, "avg_mAP", row["avg_mAP"], "fraction")
    yield Metric(task, "num_classes", row["num_classes"], "count")
    yield Metric(task, "num_detections", row["num_detections"], "count")
    yield Metric(task, "num_scored", row["num_scored"], "count")
