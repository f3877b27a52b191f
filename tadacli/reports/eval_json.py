"""An evaluation's report as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, NotRequired

import numpy as np
from typing_extensions import TypedDict

from tadacli.evaluation.error_kinds import ErrorCounts
from tadacli.evaluation.majority import MajorityClass
from tadacli.evaluation.metrics import Calibration
from tadacli.evaluation.report import EvalReport, HeadResult, ItemResult, PrecisionRow, RunFacts, TaskParts
from tadacli.formats.rows import SCHEMA_VERSION


class ClassRow(TypedDict):
    """A class of a head, and how many of its items are right."""

    index: int
    label: str
    num_right: int
    num_items: int


class MajorityRow(TypedDict):
    """The most frequent class, and what always answering it reaches."""

    label: str
    num_right: int
    num_items: int
    percent: float


class ConfusionRow(TypedDict):
    """How many items of one class were taken for another, both by index."""

    label: int
    predicted: int
    num_items: int


class HeadRow(TypedDict):
    """One head of a recognition model; the last two as their dataclasses."""

    intervals: dict[str, list[float]]
    per_class: list[ClassRow]
    confusions: list[ConfusionRow]
    calibration: Calibration | None
    worst: tuple[ItemResult, ...]


class ClassPrecisionRow(TypedDict):
    """Average precision of a class at each threshold, as fractions, and their mean."""

    index: int | None
    label: str
    num_truth: int
    AP: list[float]
    avg_AP: float


class VideoPrecisionRow(TypedDict):
    """Mean average precision within a video at each threshold, as fractions, and their mean."""

    id: str
    num_truth: int
    mAP: list[float]
    avg_mAP: float


class ErrorsRow(TypedDict):
    """What kinds of errors detections are, at a threshold on the temporal IoU.

    Of each class the best `multiple` times as many detections count as it has true segments; `kinds` counts them by
    kind, as DETAD names these, and `num_missed` of `num_truth` true segments none of them found.
    """

    tiou: float
    multiple: int
    num_detections: int
    kinds: dict[str, int]
    num_missed: int
    num_truth: int


class TaskRow(TypedDict):
    """One task of detection, part by part; earlier versions wrote no `errors`."""

    per_class: list[ClassPrecisionRow]
    per_video: list[VideoPrecisionRow]
    errors: NotRequired[list[ErrorsRow]]


class LabelRow(TypedDict):
    """A class of a multi-label model: its average precision in percent, null where none of `num_items` shows it."""

    index: int
    label: str
    num_items: int
    percent: float | None


class UnscoredRow(TypedDict):
    """An item that is not scored, and why."""

    id: str
    path: str
    reason: str


class EvalDocument(TypedDict):
    """The whole report, see `eval_json`; earlier versions wrote no `schema_version`."""

    dataset: str
    split: str
    unit: str
    num_scored: int
    num_items: int
    metrics: dict[str, float | PrecisionRow]
    majority: NotRequired[dict[str, MajorityRow]]
    reasons: dict[str, int]
    notes: list[str]
    run: RunFacts | None
    heads: dict[str, HeadRow]
    tasks: NotRequired[dict[str, TaskRow]]
    classes: NotRequired[list[LabelRow]]
    unscored: list[UnscoredRow]
    unmatched: NotRequired[list[str]]
    schema_version: NotRequired[int]


def eval_json(report: EvalReport) -> bytes:
    """The whole report: metrics first, then what they are based on, every item that is not scored, and each head.

    Per-class rows of recognition have `num_right` of `num_items`; `confusions` list the wrong cells of the confusion
    matrix that are not empty, the most frequent first. Of detection, `tasks` have the precision of each class and
    each video; of a multi-label model `classes` have the average precision of each class in percent, and there are
    no heads. `majority` says of each head, and of actions, what always answering the most frequent class of the
    scored items reaches, in percent. `unmatched` is there if the predictions name what the annotations do not have.

    Args:
        report: The report.

    Returns:
        JSON; text that is not UTF-8, as file names may be, is escaped. The same report gives the same bytes.
    """
    content: dict[str, Any] = {
        "dataset": report.dataset,
        "split": report.split,
        "unit": report.unit,
        "num_scored": report.num_scored,
        "num_items": report.num_items,
        "metrics": dict(report.rows),
        **({"majority": {name: _majority(each) for name, each in report.majority.items()}} if report.majority else {}),
        "reasons": report.reasons,
        "notes": [note.text for note in report.notes],
        "run": report.run,
        "heads": {name: _head(head) for name, head in report.heads.items()},
        **({"tasks": {name: _task(parts) for name, parts in report.parts.items()}} if report.parts else {}),
        **({"classes": [asdict(each) for each in report.classes]} if report.classes else {}),
        "unscored": [{"id": item.id, "path": item.path, "reason": item.reason} for item in report.unscored],
        **({"unmatched": list(report.unmatched)} if report.unmatched else {}),
        "schema_version": SCHEMA_VERSION,
    }
    return json.dumps(content, indent=1, default=asdict).encode() + b"\n"


def _head(head: HeadResult) -> HeadRow:
    wrong = head.confusion.copy()
    np.fill_diagonal(wrong, 0)
    cells = sorted((-int(wrong[row, column]), int(row), int(column)) for row, column in np.argwhere(wrong))
    return {
        "intervals": {name: list(interval) for name, interval in head.intervals.items()},
        "per_class": [
            {"index": index, "label": label, "num_right": int(right), "num_items": int(items)}
            for index, (label, right, items) in enumerate(zip(head.labels, head.num_right, head.num_items, strict=True))
        ],
        "confusions": [{"label": row, "predicted": column, "num_items": -count} for count, row, column in cells],
        "calibration": head.calibration,
        "worst": head.worst,
    }


def _majority(found: MajorityClass) -> MajorityRow:
    return {
        "label": found.label,
        "num_right": found.num_right,
        "num_items": found.num_items,
        "percent": found.percent,
    }


def _task(parts: TaskParts) -> TaskRow:
    return {
        "per_class": [
            {
                "index": each.index,
                "label": each.name,
                "num_truth": each.num_truth,
                "AP": list(each.fractions),
                "avg_AP": each.average,
            }
            for each in parts.classes
        ],
        "per_video": [
            {"id": each.name, "num_truth": each.num_truth, "mAP": list(each.fractions), "avg_mAP": each.average}
            for each in parts.videos
        ],
        "errors": [errors_row(each) for each in parts.errors],
    }


def errors_row(counts: ErrorCounts) -> ErrorsRow:
    """The kinds of errors of a task's detections, as files have them."""
    return {
        "tiou": counts.tiou,
        "multiple": counts.multiple,
        "num_detections": counts.num_detections,
        "kinds": {str(kind): number for kind, number in counts.kinds.items()},
        "num_missed": counts.num_missed,
        "num_truth": counts.num_truth,
    }
