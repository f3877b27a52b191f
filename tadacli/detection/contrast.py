"""Segments by contrast: stretches in which a score stands out from what is around them.

One threshold finds where a score is high; where two things follow each other closely, or one is seen faintly, no single
level parts them. Here the score of a class is a line through the middles of its windows, and every stretch above one of
many levels is a candidate. Its score is how much higher the line is inside than in the margins around it, half a window
to each side: too short a stretch has margins that are high, too long a one has an inside that is low. Of candidates of
a class that overlap the best stays as it is, and the others are lowered (soft NMS). Where scores fall slowly, in
proportion to how much of a window shows something, the best stretch reaches up to 0.3 windows too far at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.nms import soft_nms
from tadacli.detection.timelines import SAME_INSTANT_SECONDS

# What stretches are above, and how fast the score of one falls with the IoU that a better one has with it. These and
# the margin are those that suited rendered camera moves best.
LEVELS = tuple((np.arange(2, 19) / 20).tolist())
NMS_SIGMA = 0.2
# A score as low as this says nothing.
LEAST_CONTRAST = 0.1

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ContrastRun:
    """A stretch of time, [start_seconds, end_seconds), that stands out by `score`; `peak` is the highest in it."""

    start_seconds: float
    end_seconds: float
    score: float
    peak: float


@dataclass(frozen=True, eq=False)
class ScoreLine:
    """A score over a shot: straight between `values` (N,) at `times` (N,), which are in order, in seconds."""

    times: Numbers
    values: Numbers

    @classmethod
    def through(cls, spans: Numbers, scores: Numbers) -> ScoreLine:
        """The line through the middles of windows (W, 2) with scores (W,), level from the outer ones to their ends."""
        middles = spans.mean(axis=1)
        times, place = np.unique(middles, return_inverse=True)
        values = np.bincount(place.ravel(), weights=scores) / np.bincount(place.ravel())
        start, end = float(spans[:, 0].min()), float(spans[:, 1].max())
        return cls(np.concatenate([[start], times, [end]]), np.concatenate([values[:1], values, values[-1:]]))

    def stretches_above(self, level: float) -> Numbers:
        """Where the line is at least as high as a level, (S, 2) in seconds."""
        is_above = np.concatenate([[False], self.values >= level, [False]])
        changes = np.flatnonzero(is_above[1:] != is_above[:-1])
        return np.array(
            [
                [self._crossing(first - 1, level), self._crossing(last - 1, level)]
                for first, last in changes.reshape(-1, 2).tolist()
            ]
        ).reshape(-1, 2)

    def _crossing(self, place: int, level: float) -> float:
        """Where the line passes a level between a place and the next one; at an end of the line it is that end."""
        if place < 0 or place + 1 == len(self.times):
            return float(self.times[max(place, 0)])
        share = (level - self.values[place]) / (self.values[place + 1] - self.values[place])
        return float(self.times[place] + share * (self.times[place + 1] - self.times[place]))

    def areas_until(self, when: Numbers) -> Numbers:
        """The area below the line from its start until each time, in seconds."""
        steps, heights = np.diff(self.times), (self.values[1:] + self.values[:-1]) / 2
        areas = np.concatenate([[0.0], np.cumsum(steps * heights)])
        place = np.clip(np.searchsorted(self.times, when, side="right") - 1, 0, len(self.times) - 2)
        here = np.interp(when, self.times, self.values)
        return np.asarray(areas[place] + (when - self.times[place]) * (self.values[place] + here) / 2)

    def highest_within(self, start: float, end: float) -> float:
        """The highest value from one time to another."""
        inside = self.values[(self.times >= start - SAME_INSTANT_SECONDS) & (self.times <= end + SAME_INSTANT_SECONDS)]
        return float(inside.max(initial=0.0))


def contrast_runs(spans: Numbers, scores: NDArray[np.floating], *, threshold: float) -> list[ContrastRun]:
    """What stands out of the scores of one class in the windows of a shot.

    Args:
        spans: Starts and ends (W, 2) of windows of one length, in seconds.
        scores: (W,).
        threshold: The score that a run reaches.

    Returns:
        The runs, the best first. Those that overlap are of lowered score.
    """
    if not len(spans) or float(scores.max()) < threshold:
        return []
    line = ScoreLine.through(spans, np.asarray(scores, dtype=np.float64))
    found = np.concatenate([line.stretches_above(level) for level in LEVELS])
    found = np.unique(found[found[:, 1] - found[:, 0] > SAME_INSTANT_SECONDS], axis=0)
    margin = float(np.median(spans[:, 1] - spans[:, 0])) / 2
    contrast = _contrast(line, found, margin)
    found, contrast = found[contrast >= LEAST_CONTRAST], contrast[contrast >= LEAST_CONTRAST]
    duration = float(line.times[-1] - line.times[0])
    order, lowered = soft_nms(found, contrast, duration_seconds=duration, sigma=NMS_SIGMA, iou_thresholds=(0.0, 0.0))
    return [
        ContrastRun(start, end, score, peak)
        for (start, end), score in zip(found[order].tolist(), lowered.tolist(), strict=True)
        if score >= LEAST_CONTRAST and (peak := line.highest_within(start, end)) >= threshold
    ]


def _contrast(line: ScoreLine, spans: Numbers, margin: float) -> Numbers:
    """The mean height of a line inside of spans (S, 2), less that in the margins around each."""
    outer = np.stack(
        [np.maximum(spans[:, 0] - margin, line.times[0]), np.minimum(spans[:, 1] + margin, line.times[-1])], axis=1
    )
    inner_area, outer_area = (np.diff(line.areas_until(each), axis=1)[:, 0] for each in (spans, outer))
    inner, whole = (each[:, 1] - each[:, 0] for each in (spans, outer))
    around = np.where(whole - inner > SAME_INSTANT_SECONDS, outer_area - inner_area, 0.0)
    return np.asarray(inner_area / inner - around / np.maximum(whole - inner, SAME_INSTANT_SECONDS))
