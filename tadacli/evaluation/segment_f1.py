"""F1 of segments: how many of those that are reported are right, and how many of the true ones are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels

# What counts as found where nothing else is asked for: so much of both together is in both.
TIOU = 0.3


@dataclass(frozen=True)
class BestThreshold:
    """The score from which on to report segments so that F1, a fraction, is the highest."""

    threshold: float
    f1: float


def right_ones(truth: TimedLabels, detections: ScoredSegments, *, tiou: float = TIOU) -> NDArray[np.bool_]:
    """Which detections are right.

    Each, by falling score, takes the true segment of its video and class that it overlaps best of those that are left,
    if their temporal IoU is not below a threshold. Whether one is right does not depend on those with lower scores, so
    it holds for all thresholds on scores at once.

    Args:
        truth: The true segments.
        detections: The detections (N,).
        tiou: The threshold on the IoU.

    Returns:
        (N,).
    """
    left: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(truth.videos.tolist(), truth.classes.tolist(), strict=True)):
        left.setdefault(key, []).append(row)
    is_right = np.zeros(len(detections), dtype=np.bool_)
    for row in np.argsort(-detections.scores, kind="stable").tolist():
        rows = left.get((int(detections.videos[row]), int(detections.classes[row])))
        if not rows:
            continue
        starts, ends = truth.starts_seconds[rows], truth.ends_seconds[rows]
        start, end = detections.starts_seconds[row], detections.ends_seconds[row]
        shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, start), 0.0)
        iou = shared / ((ends - starts) + (end - start) - shared)
        best = int(np.argmax(iou))
        if iou[best] >= tiou:
            is_right[row] = True
            del rows[best]
    return is_right


def best_threshold(truth: TimedLabels, detections: ScoredSegments, *, tiou: float = TIOU) -> BestThreshold:
    """The threshold on scores with the best F1 over all videos and classes; of equal ones the highest.

    Args:
        truth: The true segments.
        detections: The detections, with scores of 0 to 1.
        tiou: What counts as found.

    Returns:
        A threshold that a detection has as its score; 1 and an F1 of 0 where none is right.
    """
    is_right = right_ones(truth, detections, tiou=tiou)
    order = np.argsort(-detections.scores, kind="stable")
    scores = detections.scores[order]
    hits = np.cumsum(is_right[order])
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # equal scores pass together
    if not len(last) or not hits[-1]:
        return BestThreshold(1.0, 0.0)
    f1 = 2 * hits[last] / (last + 1 + len(truth))
    best = int(np.argmax(f1))
    return BestThreshold(float(scores[last[best]]), float(f1[best]))
