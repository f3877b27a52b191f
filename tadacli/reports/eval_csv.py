"""An evaluation as one long CSV: a row for each number, class, confusion and item, told apart by `section`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Literal, TypedDict

import numpy as np

from tadacli.evaluation.report import EvalReport, HeadResult, TaskParts, flat_metrics
from tadacli.reports.pages import facts


class EvalCsvRow(TypedDict, total=False):
    """What a row may say; the columns are in this order, and empty where a row lacks them."""

    section: Literal[
        "about",
        "metric",
        "majority",
        "class",
        "confusion",
        "calibration",
        "worst",
        "video",
        "unscored",
        "unmatched",
    ]
    head: str
    task: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    measure: Literal["percent", "fraction", "count"]
    tiou: float | None
    num_items: int
    num_right: int
    label: str
    label_index: int | None
    label_score: float
    predicted: str
    predicted_index: int
    predicted_score: float | None
    rank: int
    start_seconds: float | None
    end_seconds: float | None
    path: str
    reason: str
    text: str


EVAL_CSV_COLUMNS = tuple(EvalCsvRow.__annotations__)


def eval_csv(report: EvalReport) -> bytes:
    """The report as CSV (RFC 4180) in UTF-8, with `EVAL_CSV_COLUMNS`; the same report gives the same bytes.

    Sections, in this order: "about" (`text`: data set, split, unit, notes, what made the scores), "metric" (`value`
    with `low` and `high`, its 95 % interval; `measure` says percent, fraction or count), "majority" (what always
    answering the most frequent class of a `head`, or of actions as `task`, reaches), and for each head "class"
    (accuracy in percent, empty without items), "confusion" (the cells that have items), "calibration" (the error as
    `value`, then a row for each bin from `low` to `high` with the accuracy as `value` and the mean confidence as
    `predicted_score`) and "worst"; of a multi-label model "class" (average precision in percent); for each task of
    detection "class" and "video" (average precision as a fraction: the mean over the thresholds, then the value at
    each `tiou`; `num_items` true segments); then "unscored", with the `reason`, and "unmatched", what the
    annotations do not have. `name` is that of a metric or the id of an item. Numbers have all their digits.

    Args:
        report: The report.

    Returns:
        The file; a byte of a path that is not UTF-8 is written as \\udcXX.
    """
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, EVAL_CSV_COLUMNS, restval="")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({key: _text(value) for key, value in row.items()})
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def _rows(report: EvalReport) -> Iterator[EvalCsvRow]:
    yield from _about(report)
    for metric in flat_metrics(report):
        low, high = metric.interval or (None, None)
        yield {
            "section": "metric",
            "task": metric.task,
            "name": metric.name,
            "value": metric.value,
            "low": low,
            "high": high,
            "measure": metric.measure,
            "tiou": metric.tiou,
        }
    for name, majority in report.majority.items():
        yield {
            "section": "majority",
            "head": name if name in report.heads else "",
            "task": "" if name in report.heads else name,
            "name": "majority_class_accuracy",
            "value": majority.percent,
            "measure": "percent",
            "num_items": majority.num_items,
            "num_right": majority.num_right,
            "label": majority.label,
        }
    for name, head in report.heads.items():
        for each in (*_classes(head), *_confusions(head), *_calibration(head), *_worst(head)):
            yield {**each, "head": name}
    for label in report.classes:
        yield {
            "section": "class",
            "name": "average_precision",
            "label": label.label,
            "label_index": label.index,
            "value": label.percent,
            "measure": "percent",
            "num_items": label.num_items,
        }
    for task, parts in report.parts.items():
        yield from _parts(task, report.tasks[task].tiou, parts)
    for item in report.unscored:
        yield {"section": "unscored", "name": item.id, "path": item.path, "reason": item.reason}
    for name in report.unmatched:
        yield {"section": "unmatched", "name": name}


def _about(report: EvalReport) -> Iterator[EvalCsvRow]:
    about = {"dataset": report.dataset, "split": report.split, "unit": report.unit}
    for name, text in [
        *about.items(),
        *(("note", note.text) for note in report.notes),
        *facts({"run": report.run or {}}),
    ]:
        yield {"section": "about", "name": name, "text": text}
    for name, count in (("num_scored", report.num_scored), ("num_items", report.num_items)):
        yield {"section": "about", "name": name, "value": count, "measure": "count"}


def _classes(head: HeadResult) -> Iterator[EvalCsvRow]:
    for index, (label, items, right) in enumerate(zip(head.labels, head.num_items, head.num_right, strict=True)):
        yield {
            "section": "class",
            "label": label,
            "label_index": index,
            "value": 100.0 * float(right) / float(items) if items else None,
            "measure": "percent",
            "num_items": int(items),
            "num_right": int(right),
        }


def _confusions(head: HeadResult) -> Iterator[EvalCsvRow]:
    for true, predicted in np.argwhere(head.confusion).tolist():
        yield {
            "section": "confusion",
            **_pair(head, true, predicted),
            "num_items": int(head.confusion[true, predicted]),
        }


def _calibration(head: HeadResult) -> Iterator[EvalCsvRow]:
    if head.calibration is None:
        return
    yield {"section": "calibration", "name": "error", "value": head.calibration.error, "measure": "fraction"}
    for each in head.calibration.bins:
        has_items = each.num_items > 0
        yield {
            "section": "calibration",
            "name": "bin",
            "low": each.low,
            "high": each.high,
            "value": each.accuracy if has_items else None,
            "measure": "fraction",
            "num_items": each.num_items,
            "predicted_score": each.mean_confidence if has_items else None,
        }


def _worst(head: HeadResult) -> Iterator[EvalCsvRow]:
    for item in head.worst:
        yield {
            "section": "worst",
            "name": item.id,
            "path": item.path,
            "label_score": item.label_score,
            "predicted_score": item.predicted_score,
            "rank": item.rank,
            "start_seconds": item.start_seconds,
            "end_seconds": item.end_seconds,
            **_pair(head, item.label, item.predicted),
        }


def _parts(task: str, tiou: Sequence[float], parts: TaskParts) -> Iterator[EvalCsvRow]:
    """Each class and each video: its mean over the thresholds, then its value at each."""
    for each in (*parts.classes, *parts.videos):
        about: EvalCsvRow = {"section": "video", "name": each.name}
        if each.index is not None:
            about = {"section": "class", "label": each.name, "label_index": each.index}
        about = {**about, "task": task, "num_items": each.num_truth, "measure": "fraction"}
        yield {**about, "value": each.average}
        for threshold, value in zip(tiou, each.fractions, strict=True):
            yield {**about, "value": value, "tiou": threshold}


def _pair(head: HeadResult, true: int, predicted: int) -> EvalCsvRow:
    return {
        "label": head.labels[true],
        "label_index": true,
        "predicted": head.labels[predicted],
        "predicted_index": predicted,
    }


def _text(value: object) -> str:
    if value is None:
        return ""
    # Through float, as the repr of a NumPy number names its type.
    return repr(float(value)) if isinstance(value, float) else str(value)
