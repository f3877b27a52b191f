"""An evaluation's report as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from tadacli.evaluation.report import EvalReport, HeadResult


def eval_json(report: EvalReport) -> bytes:
    """The whole report: metrics first, then what they are based on, every item that is not scored, and each head.

    Per-class rows have `num_right` of `num_items`; `confusions` list the wrong cells of the confusion matrix that are
    not empty, the most frequent first. Text that is not UTF-8, as file names may be, is escaped.
    """
    content = {
        "dataset": report.dataset,
        "split": report.split,
        "unit": report.unit,
        "num_scored": report.num_scored,
        "num_items": report.num_items,
        "metrics": report.rows,
        "reasons": report.reasons,
        "notes": [note.text for note in report.notes],
        "run": None if report.run is None else dict(report.run),
        "heads": {name: _head(head) for name, head in report.heads.items()},
        "unscored": [{"id": item.id, "path": item.path, "reason": item.reason} for item in report.unscored],
        **({"unmatched": list(report.unmatched)} if report.unmatched else {}),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _head(head: HeadResult) -> dict[str, Any]:
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
        "calibration": None if head.calibration is None else asdict(head.calibration),
        "worst": [asdict(item) for item in head.worst],
    }
