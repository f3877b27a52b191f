"""F1 of segments: how many of those that are reported are right, and how many of the true ones are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels
from tadacli.evaluation.taking import taken_segments

# What counts as found where nothing else is asked for: so much of both together is in both.
TIOU = 0.3


@dataclass(frozen=True)
class BestThreshold:
    """The score from which on to report segments so that F1, a fraction, is the highest."""

    threshold: float
    f1: float


def best_threshold(truth: TimedLabels, detections: ScoredSegments, *, tiou: float = TIOU) -> BestThreshold:
    """The threshold on scores with the best F1 over all videos and classes; of equal ones the highest.

    Args:
        truth: The true segments.
        detections: The detections, with scores of 0 to 1.
        tiou: What counts as found.

    Returns:
        A threshold that a detection has as its score; 1 and an F1 of 0 where none is right.
    """
    is_right = taken_segments(truth, detections, tiou=tiou) >= 0
    order = np.argsort(-detections.scores, kind="stable")
    scores = detections.scores[order]
    hits = np.cumsum(is_right[order])
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # equal scores pass together
    if not len(last) or not hits[-1]:
        return BestThreshold(1.0, 0.0)
    f1 = 2 * hits[last] / (last + 1 + len(truth))
    best = int(np.argmax(f1))
    return BestThreshold(float(scores[last[best]]), float(f1[best]))
