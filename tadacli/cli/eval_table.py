"""An evaluation's report as plain text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tadacli.evaluation.report import EvalReport, HeadResult

_SHOWN = 10


def eval_table(report: EvalReport) -> str:
    """The metrics, how many items they are based on, the weakest classes, and why the other items are not scored."""
    lines = [
        f"{report.dataset}, {report.split}: {report.num_scored} of {report.num_items} {report.unit} scored",
        *([_made_with(report.run)] if report.run else []),
        "",
        *(_accuracies(report) if report.heads else _precision(report)),
    ]
    for name, head in report.heads.items():
        lines += _weakest(name, head)
    reasons = list(report.reasons.items())
    lines += [""] if reasons or report.notes else []
    lines += [f"not scored, {count} of {report.num_items}: {reason}" for reason, count in reasons[:_SHOWN]]
    lines += [f"and {len(reasons) - _SHOWN} more reasons, all in --format json"] if len(reasons) > _SHOWN else []
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _made_with(run: Mapping[str, Any]) -> str:
    """The model, and the views or windows that it scored: `tada eval` keeps the one, `tada detect` the other."""
    settings, name = run["settings"], run["spec"].get("name", "without a name")
    looked = [f"{settings['views']} views"] if settings.get("views") else []
    looked += [f"windows of {settings['window']}"] if settings.get("window") else []
    looked += [f"stride {settings['stride']}"] if settings.get("stride") else []
    return ", ".join([f"model {name}", *looked])


def _accuracies(report: EvalReport) -> list[str]:
    width = max(map(len, report.metrics))
    intervals = report.heads[""].intervals if "" in report.heads else {}
    lines = []
    for name, value in report.metrics.items():
        low, high = intervals.get(name, (None, None))
        spread = f"   95 % interval {low:.2f} to {high:.2f}" if low is not None else ""
        lines.append(f"{name:{width}}  {value:6.2f} %{spread}")
    return lines


def _precision(report: EvalReport) -> list[str]:
    heads = next(iter(report.metrics.values()))["tiou"]
    lines = ["mAP at tIoU " + " ".join(f"{tiou:6.2f}" for tiou in heads) + "    mean"]
    for task, measured in report.metrics.items():
        values = " ".join(f"{value:6.4f}" for value in measured["mAP"])
        lines.append(f"{task:11} {values}  {measured['avg_mAP']:.4f}")
    return lines


def _weakest(name: str, head: HeadResult) -> list[str]:
    """The classes with the lowest accuracy, each with what it is most often taken for."""
    counts, right = head.num_items, head.num_right
    classes = sorted(np.flatnonzero(counts).tolist(), key=lambda index: (right[index] / counts[index], index))[:_SHOWN]
    width = max((len(head.labels[index]) for index in classes), default=0)
    what = f"{name} classes" if name else "classes"
    lines = ["", f"weakest {what}" if np.count_nonzero(counts) > _SHOWN else f"{what}"]
    for index in classes:
        row = head.confusion[index].copy()
        row[index] = 0
        taken = f"   most often taken for {head.labels[int(row.argmax())]} ({row.max()})" if row.any() else ""
        share = 100 * right[index] / counts[index]
        lines.append(f"{head.labels[index]:{width}}  {share:6.2f} %  {right[index]} of {counts[index]}{taken}")
    return lines
