"""The metrics of an evaluation, laid flat: one number each, with what it is of and its interval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tadacli.evaluation.report import EvalReport

Measure = Literal["percent", "fraction", "count"]


@dataclass(frozen=True)
class Metric:
    """One number: of a `task` if it belongs to one, at a threshold `tiou` on the temporal IoU in detection.

    `interval` is its 95 % interval, if there is one, in the unit of `value`, which `measure` tells.
    """

    task: str
    name: str
    value: float
    measure: Measure
    tiou: float | None = None
    interval: tuple[float, float] | None = None


def flat_metrics(report: EvalReport) -> list[Metric]:
    """Every number in the report's metrics, in their order; one that is not known (None) is left out."""
    found: list[Metric] = []
    for name, value in report.metrics.items():
        if is_detection(value):
            found += _detection_metrics(name, value)
        elif isinstance(value, Mapping):
            found += [_metric(report, name, inner, number) for inner, number in value.items() if number is not None]
        elif value is not None:
            found.append(_metric(report, "", name, value))
    return found


def is_detection(value: object) -> bool:
    """Whether this value of a report's metrics is that of a task in detection: mAP by tIoU."""
    return isinstance(value, Mapping) and "tiou" in value


def _metric(report: EvalReport, task: str, name: str, value: float) -> Metric:
    measure: Measure = "count" if isinstance(value, int) else "percent"
    return Metric(task, name, value, measure, interval=_interval(report, task, name))


def _interval(report: EvalReport, task: str, name: str) -> tuple[float, float] | None:
    """The interval of the head that the metric is of; it is not known if several heads have one of that name.

    What EPIC-KITCHENS-100 calls all_verb_accuracy_at_5 is the top5 of the head "verb".
    """
    official = re.fullmatch(r"all_(\w+)_accuracy_at_(\d+)", name)
    if official and official[1] in report.heads and not task:
        task, name = official[1], f"top{official[2]}"
    heads = [report.heads[task]] if task in report.heads else list(report.heads.values())
    found = [head.intervals[name] for head in heads if name in head.intervals]
    return found[0] if len(found) == 1 else None


def _detection_metrics(task: str, values: Mapping[str, Any]) -> Iterator[Metric]:
    for tiou, value in zip(values["tiou"], values["mAP"], strict=True):
        yield Metric(task, "mAP", value, "fraction", tiou=tiou)
    for name, value in values.items():
        if name not in ("tiou", "mAP") and value is not None:
            yield Metric(task, name, value, "count" if isinstance(value, int) else "fraction")
