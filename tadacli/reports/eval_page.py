"""One self-contained HTML page about an evaluation: metrics, confusions, classes, and the items they come from."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tadacli.evaluation.detection_metrics import DetectionMetrics
from tadacli.evaluation.report import EvalReport, HeadResult, ItemResult, Metric, flat_metrics
from tadacli.reports.pages import facts, filled_page


def encode_eval_page(report: EvalReport, thumbnails: Mapping[str, bytes] | None = None) -> bytes:
    """The page of a report, UTF-8; the same arguments give the same bytes.

    `thumbnails` are JPEG files by item id, of the worst items; an item without one is shown without. The page asks
    for nothing from outside, and a content security policy holds it to that.
    """
    title = f"{report.dataset}, {report.split}" if report.split else report.dataset
    return filled_page(
        "eval_page.html",
        title=title,
        styles=["page.css", "eval_page.css"],
        scripts=["page.js", "eval_matrix.js", "eval_page.js"],
        data=_page_data(report, title, thumbnails or {}),
    )


def _page_data(report: EvalReport, title: str, thumbnails: Mapping[str, bytes]) -> dict[str, Any]:
    reasons = list(report.reasons.items())
    place = {reason: number for number, (reason, _) in enumerate(reasons)}
    shown = {item.id for head in report.heads.values() for item in head.worst}
    return {
        "title": title,
        "unit": report.unit,
        "num_scored": report.num_scored,
        "num_items": report.num_items,
        "metrics": [_metric(metric) for metric in flat_metrics(report) if not metric.task],
        "tasks": [_task(name, value) for name, value in report.tasks.items()],
        "heads": [_head(name, head) for name, head in report.heads.items()],
        "thumbnails": {
            item: base64.b64encode(thumbnails[item]).decode() for item in sorted(thumbnails) if item in shown
        },
        "reasons": [[reason, count] for reason, count in reasons],
        # Reasons repeat, so an item names its own by number.
        "unscored": [[item.id, item.path, place[item.reason]] for item in report.unscored],
        "notes": [note.text for note in report.notes],
        "facts": facts({"Data set": report.dataset, "Split": report.split, **(report.run or {})}),
    }


def _metric(metric: Metric) -> dict[str, Any]:
    low, high = metric.interval or (None, None)
    return {
        "task": metric.task,
        "name": metric.name,
        "value": _number(metric.value),
        "isPercent": metric.measure == "percent",
        "low": _number(low),
        "high": _number(high),
    }


def _task(name: str, measured: DetectionMetrics) -> dict[str, Any]:
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
    }


def _head(name: str, head: HeadResult) -> dict[str, Any]:
    rows: list[list[int]] = [[] for _ in head.labels]
    # Most cells of a large matrix are empty: each row lists (column, count) of the others.
    for true, predicted in np.argwhere(head.confusion).tolist():
        rows[true] += (predicted, int(head.confusion[true, predicted]))
    calibration = head.calibration
    return {
        "name": name,
        "labels": list(head.labels),
        "rows": rows,
        "worst": [_item(item) for item in head.worst],
        "calibration": None
        if calibration is None
        else {
            "error": _number(calibration.error),
            "bins": [
                [each.low, each.high, each.num_items, _number(each.mean_confidence), _number(each.accuracy)]
                for each in calibration.bins
            ],
        },
    }


def _item(item: ItemResult) -> dict[str, Any]:
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


def _number(value: float | None) -> float | None:
    """The number as JSON can say it: with the digits that a page shows, and null for one that is not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)
