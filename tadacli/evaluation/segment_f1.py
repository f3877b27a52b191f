"""F1 of segments: how many of those that are reported are right, and how many of the true ones are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels
from tadacli.evaluation.taking import taken_segments

# What counts as found where nothing else is asked for: so much of both together is in both.
TIOU = 0.3


# How strongly the slope of the logistic regression is held at 0, which is felt where all scores are equal.
_RIDGE = 0.01


@dataclass(frozen=True)
class SegmentThreshold:
    """The score from which on to report segments, and the F1, a fraction, of those that reach it."""

    threshold: float
    f1: float


def best_threshold(truth: TimedLabels, detections: ScoredSegments, *, tiou: float = TIOU) -> SegmentThreshold:
    """The threshold on scores with the best F1 over all videos and classes; of equal ones the highest.

    Args:
        truth: The true segments.
        detections: The detections, with scores of 0 to 1.
        tiou: What counts as found.

    Returns:
        A threshold that a detection has as its score; 1 and an F1 of 0 where none is right.
    """
    ranked = _ranked(truth, detections, tiou=tiou)
    return SegmentThreshold(1.0, 0.0) if ranked is None else ranked.at_best_of(ranked.is_right.astype(np.float64))


def fit_threshold(truth: TimedLabels, detections: ScoredSegments, *, tiou: float = TIOU) -> SegmentThreshold:
    """The threshold on scores with the best F1 to expect of other videos like these, over all classes.

    What has the best F1 in a few videos follows single segments. So a detection counts here as right with the
    probability that a logistic regression on all the scores gives it, and not by whether it is. The steps are those of
    J. Platt, "Probabilistic Outputs for Support Vector Machines" (1999), with his targets for few examples.

    Args:
        truth: The true segments.
        detections: The detections, with scores of 0 to 1.
        tiou: What counts as found.

    Returns:
        A threshold that a detection has as its score, and the F1 that it has in these videos; 1 and an F1 of 0 where
        none is right.
    """
    ranked = _ranked(truth, detections, tiou=tiou)
    if ranked is None:
        return SegmentThreshold(1.0, 0.0)
    return ranked.at_best_of(_probabilities(ranked.scores, ranked.is_right))


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Detections by falling score (N,), which of them are right, and of how many true segments."""

    scores: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    num_true: int

    def at_best_of(self, rightness: NDArray[np.float64]) -> SegmentThreshold:
        """The threshold that would have the best F1 if so much of each detection (N,) were right."""
        last = np.flatnonzero(np.diff(self.scores, append=-np.inf))  # equal scores pass together
        best = int(last[np.argmax(np.cumsum(rightness)[last] / (last + 1.0 + self.num_true))])
        f1 = 2 * np.count_nonzero(self.is_right[: best + 1]) / (best + 1 + self.num_true)
        return SegmentThreshold(float(self.scores[best]), float(f1))


def _ranked(truth: TimedLabels, detections: ScoredSegments, *, tiou: float) -> _Ranked | None:
    """None where no detection is right."""
    is_right = taken_segments(truth, detections, tiou=tiou) >= 0
    order = np.argsort(-detections.scores, kind="stable")
    return _Ranked(detections.scores[order], is_right[order], len(truth)) if is_right.any() else None


def _probabilities(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How probable it is that each detection (N,) is right, by logistic regression on its score."""
    right, wrong = np.count_nonzero(is_right), np.count_nonzero(~is_right)
    targets = np.where(is_right, (right + 1) / (right + 2), 1 / (wrong + 2))
    spread = scores.std()
    inputs = np.stack([(scores - scores.mean()) / (spread if spread > 0 else 1.0), np.ones(len(scores))], axis=1)
    ridge = np.array([_RIDGE, 0.0])

    def loss(weights: NDArray[np.float64]) -> float:
        logits = inputs @ weights
        return float((np.logaddexp(0, logits) - targets * logits).sum() + (ridge * weights**2).sum() / 2)

    weights = np.array([0.0, np.log(targets.mean() / (1 - targets.mean()))])
    for _ in range(100):
        found = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (found - targets) + ridge * weights
        curvature = (inputs * (found * (1 - found))[:, None]).T @ inputs + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step /= 2
        weights = weights - step
        if np.abs(step).max() <= 1e-9:
            break
    probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-inputs @ weights))
    return probabilities
