"""One self-contained HTML page about an evaluation: metrics, confusions, classes, and the items they come from."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from tadacli.evaluation.detection_metrics import DetectionMetrics
from tadacli.evaluation.majority import MajorityClass
from tadacli.evaluation.metrics import Calibration
from tadacli.evaluation.multi_label import LabelPrecision
from tadacli.evaluation.report import (
    EvalReport,
    HeadResult,
    ItemResult,
    Metric,
    NamedPrecision,
    TaskParts,
    flat_metrics,
)
from tadacli.reports.eval_json import ErrorsRow, errors_row
from tadacli.reports.pages import facts, filled_page

# The page sorts and filters what is in it; four digits are what it shows.
_PART_DIGITS = 4

# A name, the number of its true segments, the mean of its precisions, and these by threshold.
PartData = tuple[str, int, float | None, list[float | None]]
# The edges of a bin, its items, their mean confidence and accuracy.
BinData = tuple[float, float, int, float | None, float | None]
Facts = list[tuple[str, str]]


class MetricData(TypedDict):
    """A metric, as a card of the page shows it; `about` says in words what it is of, where its name does not."""

    task: str
    name: str
    value: float | None
    isPercent: bool
    low: float | None
    high: float | None
    about: NotRequired[str]


class TaskData(TypedDict):
    """A task of detection: its precisions by threshold, and its parts."""

    name: str
    tiou: list[float | None]
    mAP: list[float | None]
    average: float | None
    facts: Facts
    classes: list[PartData]
    videos: list[PartData]
    errors: list[ErrorsRow]


class CalibrationData(TypedDict):
    """The calibration of a head."""

    error: float | None
    bins: list[BinData]


class ItemData(TypedDict):
    """One of the worst items; its classes by index."""

    id: str
    path: str
    label: int
    predicted: int
    labelScore: float | None
    predictedScore: float | None
    rank: int
    start: float | None
    end: float | None


class HeadData(TypedDict):
    """A head of a recognition model; `rows` list, for each true class, (column, count) of the cells with items."""

    name: str
    labels: list[str]
    rows: list[list[int]]
    worst: list[ItemData]
    calibration: CalibrationData | None


class PageData(TypedDict):
    """All that the page shows; an item that is not scored names its reason by number, as reasons repeat.

    `classes` are those of a multi-label model, with average precisions as fractions.
    """

    title: str
    unit: str
    num_scored: int
    num_items: int
    metrics: list[MetricData]
    tasks: list[TaskData]
    classes: list[PartData]
    heads: list[HeadData]
    thumbnails: dict[str, str]
    reasons: list[tuple[str, int]]
    unscored: list[tuple[str, str, int]]
    notes: list[str]
    facts: Facts


def encode_eval_page(report: EvalReport, thumbnails: Mapping[str, bytes] | None = None) -> bytes:
    """The page of a report, which asks for nothing from outside; a content security policy holds it to that.

    Args:
        report: The report.
        thumbnails: JPEG files by item id, of the worst items; an item without one is shown without.

    Returns:
        The page in UTF-8; the same arguments give the same bytes.
    """
    title = f"{report.dataset}, {report.split}" if report.split else report.dataset
    return filled_page(
        "eval_page.html",
        title=title,
        styles=["page.css", "eval_page.css"],
        scripts=["page.js", "eval_matrix.js", "eval_page.js"],
        data=_page_data(report, title, thumbnails or {}),
    )


def _page_data(report: EvalReport, title: str, thumbnails: Mapping[str, bytes]) -> PageData:
    reasons = list(report.reasons.items())
    place = {reason: number for number, (reason, _) in enumerate(reasons)}
    shown = {item.id for head in report.heads.values() for item in head.worst}
    return {
        "title": title,
        "unit": report.unit,
        "num_scored": report.num_scored,
        "num_items": report.num_items,
        "metrics": [
            *(_metric(metric) for metric in flat_metrics(report) if not metric.task),
            *(_majority(name, each) for name, each in report.majority.items()),
        ],
        "tasks": [_task(name, value, report.parts.get(name)) for name, value in report.tasks.items()],
        "classes": [
            (
                each.label,
                each.num_items,
                None if each.percent is None else _number(each.percent / 100, _PART_DIGITS),
                [],
            )
            for each in report.classes
        ],
        "heads": [_head(name, head) for name, head in report.heads.items()],
        "thumbnails": {
            item: base64.b64encode(thumbnails[item]).decode() for item in sorted(thumbnails) if item in shown
        },
        "reasons": reasons,
        "unscored": [(item.id, item.path, place[item.reason]) for item in report.unscored],
        "notes": [note.text for note in report.notes],
        "facts": [*facts({"Data set": report.dataset, "Split": report.split}), *facts(report.run or {})],
    }


def _metric(metric: Metric) -> MetricData:
    low, high = metric.interval or (None, None)
    return {
        "task": metric.task,
        "name": metric.name,
        "value": _number(metric.value),
        "isPercent": metric.measure == "percent",
        "low": _number(low),
        "high": _number(high),
    }


def _majority(name: str, found: MajorityClass) -> MetricData:
    """What always answering the most frequent class reaches, as a metric."""
    return {
        "task": name,
        "name": "majority_class",
        "value": _number(found.percent),
        "isPercent": True,
        "low": None,
        "high": None,
        "about": found.text,
    }


def _task(name: str, measured: DetectionMetrics, parts: TaskParts | None) -> TaskData:
    counts = {
        "classes": len(measured.classes),
        "detections": measured.num_detections,
        "scored": measured.num_scored,
    }
    return {
        "name": name,
        "tiou": [_number(value) for value in measured.tiou],
        "mAP": [_number(value) for value in measured.mean_average_precision],
        "average": _number(measured.average),
        "facts": facts(counts),
        "classes": _parts(() if parts is None else parts.classes),
        "videos": _parts(() if parts is None else parts.videos),
        "errors": [] if parts is None else [errors_row(each) for each in parts.errors],
    }


def _parts(listed: Sequence[NamedPrecision]) -> list[PartData]:
    return [
        (
            each.name,
            each.num_truth,
            _number(each.average, _PART_DIGITS),
            [_number(value, _PART_DIGITS) for value in each.fractions],
        )
        for each in listed
    ]


def _label(label: LabelPrecision) -> PartData:
    fraction = None if label.percent is None else label.percent / 100
    return label.label, label.num_items, _number(fraction, _PART_DIGITS), []


def _head(name: str, head: HeadResult) -> HeadData:
    rows: list[list[int]] = [[] for _ in head.labels]
    # Most cells of a large matrix are empty: each row lists (column, count) of the others.
    for true, predicted in np.argwhere(head.confusion).tolist():
        rows[true] += (predicted, int(head.confusion[true, predicted]))
    return {
        "name": name,
        "labels": list(head.labels),
        "rows": rows,
        "worst": [_item(item) for item in head.worst],
        "calibration": None if head.calibration is None else _calibration(head.calibration),
    }


def _calibration(calibration: Calibration) -> CalibrationData:
    return {
        "error": _number(calibration.error),
        "bins": [
            (each.low, each.high, each.num_items, _number(each.mean_confidence), _number(each.accuracy))
            for each in calibration.bins
        ],
    }


def _item(item: ItemResult) -> ItemData:
    return {
        "id": item.id,
        "path": item.path,
        "label": item.label,
        "predicted": item.predicted,
        "labelScore": _number(item.label_score),
        "predictedScore": _number(item.predicted_score),
        "rank": item.rank,
        "start": _number(item.start_seconds),
        "end": _number(item.end_seconds),
    }


def _number(value: float | None, digits: int = 6) -> float | None:
    """The number as JSON can say it: with the digits that a page shows, and null for one that is not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)
