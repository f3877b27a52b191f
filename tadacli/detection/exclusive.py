"""One label at a time: the most likely sequence of labels over a video, for labels that exclude each other.

Thresholds ask each label by itself whether it holds (`segments`). Where exactly one holds at any time, as of the moves
of a camera, labels compete: the sequence is the one whose windows' probabilities have the highest product, in which
each change of label costs something, found by dynamic programming (Viterbi). A window stands for its middle. One that
lies half in one label and half in the next gives both the same score, so a change is where the curves of both cross.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.timelines import SAME_INSTANT_SECONDS

# What a change of label costs, in nats. Over rendered camera moves 0.2 to 0.7 give the same segments within 1 %.
SWITCHING_COST = 0.5
# Scores below this count as this: no window forbids a label.
_LEAST_SCORE = 1e-4

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledRun:
    """A stretch of time with one label, [start_seconds, end_seconds).

    `score` is the mean, `peak` the highest of the label's scores in the windows whose middles lie in it.
    """

    start_seconds: float
    end_seconds: float
    index: int
    score: float
    peak: float


def best_path(scores: NDArray[np.floating], *, weight: float = 1.0, switching_cost: float) -> NDArray[np.int64]:
    """The most likely label of each window, where changes cost something.

    Args:
        scores: Probabilities (W, C) of windows in order.
        weight: What a window counts, 1 where windows do not overlap.
        switching_cost: What a change from one window to the next costs, in nats.

    Returns:
        The labels (W,). Of two equally likely sequences the one that changes later.
    """
    evidence = weight * np.log(np.maximum(np.asarray(scores, dtype=np.float64), _LEAST_SCORE))
    if not len(evidence):
        return np.zeros(0, dtype=np.int64)
    stays = np.arange(evidence.shape[1])
    came_from = np.tile(stays, (len(evidence), 1))
    total = evidence[0].copy()
    for number in range(1, len(evidence)):
        best = int(total.argmax())
        changed = total[best] - switching_cost
        came_from[number] = np.where(total >= changed, stays, best)
        total = np.maximum(total, changed) + evidence[number]
    path = np.empty(len(evidence), dtype=np.int64)
    path[-1] = total.argmax()
    for number in range(len(evidence) - 1, 0, -1):
        path[number - 1] = came_from[number, path[number]]
    return path


def exclusive_runs(
    spans: Numbers, scores: NDArray[np.floating], *, switching_cost: float = SWITCHING_COST
) -> list[LabelledRun]:
    """The sequence of labels that the windows of a video show, without time between two of them.

    Time that no window covers has no label, and what comes after it does not depend on what was before.

    Args:
        spans: Starts and ends (W, 2) of windows of one length, in seconds.
        scores: Probabilities (W, C).
        switching_cost: See `best_path`.

    Returns:
        The runs in order of time.
    """
    order = np.argsort(spans.mean(axis=1), kind="stable")
    spans, scores = spans[order], np.asarray(scores, dtype=np.float64)[order]
    breaks = np.flatnonzero(spans[1:, 0] > spans[:-1, 1] + SAME_INSTANT_SECONDS) + 1
    bounds = [0, *breaks.tolist(), len(spans)]
    return [
        run
        for first, last in itertools.pairwise(bounds)
        if last > first
        for run in _runs(spans[first:last], scores[first:last], switching_cost)
    ]


def _runs(spans: Numbers, scores: Numbers, switching_cost: float) -> Iterator[LabelledRun]:
    """The runs of windows that leave no time between them."""
    middles = spans.mean(axis=1)
    length = float(np.median(spans[:, 1] - spans[:, 0]))
    step = float(np.median(np.diff(middles))) if len(middles) > 1 else length
    path = best_path(scores, weight=min(1.0, step / length), switching_cost=switching_cost)
    changes = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    start = float(spans[0, 0])
    for first, last in itertools.pairwise(changes):
        label = int(path[first])
        if last == len(path):
            end = float(spans[:, 1].max())
        else:
            earlier = scores[:, label] - scores[:, path[last]]
            end = max(start, _crossing(middles, earlier, last, within_seconds=length / 2))
        if end > start:
            here = scores[first:last, label]
            yield LabelledRun(start, end, label, float(here.mean()), float(here.max()))
        start = end


def _crossing(middles: Numbers, lead: Numbers, change: int, *, within_seconds: float) -> float:
    """When the lead of the earlier of two labels is over: where it falls to zero nearest to a change of the path."""
    between = (middles[change - 1] + middles[change]) / 2
    falls = np.flatnonzero((lead[:-1] > 0) & (lead[1:] <= 0))
    falls = falls[np.abs((middles[falls] + middles[falls + 1]) / 2 - between) <= within_seconds]
    if not len(falls):
        return float(between)
    before = falls[np.argmin(np.abs(falls + 1 - change))]
    share = lead[before] / (lead[before] - lead[before + 1])
    return float(middles[before] + share * (middles[before + 1] - middles[before]))
