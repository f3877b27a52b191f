"""How right the scores of items are that show several classes at a time: average precision by class, and hit@1.

Average precision is not interpolated: the mean over the items that show a class of the precision among all items with
at least their score. That is the area under the steps of the precision-recall curve, the sum of the precision at each
score times what it adds to the recall, as scikit-learn's `average_precision_score` defines it. Equal scores come
together, so that it does not depend on the order of the items. The mAP is the mean over the classes that an item shows.
Scores that say nothing have an average precision of about the share of items that show the class, the `chance`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import TadaError


@dataclass(frozen=True)
class LabelPrecision:
    """Average precision of one class in percent, None where no item shows it; `num_items` items do."""

    index: int
    label: str
    num_items: int
    percent: float | None


@dataclass(frozen=True)
class LabelMetrics:
    """The metrics of a multi-label head in percent.

    `mean_precision` is the mAP over the classes that an item shows, `chance` what scores that say nothing reach.
    `hit1` is the share of items whose best class is one that they show.
    """

    mean_precision: float
    hit1: float
    chance: float
    classes: tuple[LabelPrecision, ...]


def label_metrics(scores: NDArray[np.floating], shown: NDArray[np.bool_], labels: tuple[str, ...]) -> LabelMetrics:
    """The metrics of scores.

    Args:
        scores: (N, C), higher is better; logits and probabilities give the same.
        shown: Which classes each item shows, (N, C).
        labels: The names of the classes.

    Returns:
        The metrics, in percent.

    Raises:
        ValueError: Shapes do not fit, or scores are NaN.
        TadaError: No item shows a class.
    """
    if scores.ndim != 2 or scores.shape != shown.shape or scores.shape[1] != len(labels):
        raise ValueError(f"scores of shape {scores.shape} do not fit classes of shape {shown.shape}")
    if bool(np.isnan(scores).any()):
        raise ValueError("the scores of some items are not numbers")
    counts = shown.sum(axis=0)
    if not counts.any():
        raise TadaError("no item shows a class, so there is no average precision", hint="check the annotations")
    precisions = [
        average_precision(scores[:, index], shown[:, index]) if count else None for index, count in enumerate(counts)
    ]
    there = [value for value in precisions if value is not None]
    best = scores.argmax(axis=1)
    return LabelMetrics(
        mean_precision=100 * math.fsum(there) / len(there),
        hit1=100 * float(shown[np.arange(len(shown)), best].mean()),
        chance=100 * float(counts[counts > 0].mean()) / len(shown),
        classes=tuple(
            LabelPrecision(index, label, int(count), None if value is None else 100 * value)
            for index, (label, count, value) in enumerate(zip(labels, counts, precisions, strict=True))
        ),
    )


def average_precision(scores: NDArray[np.floating], shown: NDArray[np.bool_]) -> float:
    """Average precision of one class, as the top of this module defines it.

    Args:
        scores: (N,), higher is better.
        shown: Which items show the class, (N,); one or more.

    Returns:
        A fraction, 0..1.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(shown[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores come together
    precision, gained = hits[last] / (last + 1), np.diff(hits[last], prepend=0)
    return math.fsum(precision * gained) / int(hits[-1])


def shown_classes(classes: list[tuple[int, ...]], num_classes: int) -> NDArray[np.bool_]:
    """Which classes items show.

    Args:
        classes: The classes of each item by index.
        num_classes: How many there are.

    Returns:
        (N, num_classes).
    """
    shown = np.zeros((len(classes), num_classes), dtype=np.bool_)
    for row, own in zip(shown, classes, strict=True):
        row[list(own)] = True
    return shown


def logits_of_sigmoids(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """The logits whose sigmoids are these probabilities, up to the seven digits that these have.

    Args:
        probabilities: Of any shape.

    Returns:
        Numbers from -16.1 to 16.1.
    """
    least = 1e-7
    values = np.clip(np.asarray(probabilities, dtype=np.float64), least, 1 - least)
    logits: NDArray[np.float64] = np.log(values) - np.log1p(-values)
    return logits
