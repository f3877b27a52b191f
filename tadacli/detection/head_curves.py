"""What a head says of a video over time, class by class, for drawing.

Of a head that scores steps these are the scores of its steps. Of one that has points it is the best score of any span
that a point puts forward and that holds the moment: a class has segments if it reaches the threshold somewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.actions import class_names
from tadacli.detection.curves import MAX_CURVE_CELLS, ClassCurve
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_decoding import Candidates, ScoredSpans
from tadacli.detection.settings import SegmentSettings
from tadacli.results import Segment
from tadacli.specs import HeadSpec

# Classes with a curve: as many as a page shows if there are no more segments, and the most of a video with many.
_FEWEST, _MOST = 5, 200


def head_curves(
    candidates: Candidates,
    grid: FeatureGrid,
    spec: HeadSpec,
    settings: SegmentSettings,
    *,
    segments: Sequence[Segment],
) -> tuple[ClassCurve, ...]:
    """A curve for each class that has segments, and for those that were close to it; a long video has no more to it.

    Args:
        candidates: What the head puts forward.
        grid: The steps of the video; its values are not looked at.
        spec: The labels and thresholds of the head.
        settings: Which classes are reported, and from which score on.
        segments: What was found. Of the classes that have segments the 200 with the best ones come first, by index; if
            there are fewer than five, the classes with the highest scores follow.

    Returns:
        The curves. Those of spans have the threshold as their level; a segment that is cut from scores of steps says
        how far it stands out, which no line across them could show.
    """
    chosen = _chosen(candidates, spec, settings, segments)
    if candidates.step_scores is not None:
        edges, scores = candidates.step_scores
        return tuple(
            ClassCurve(class_names(number, spec.heads)[0], number, 0, edges, scores[number].astype(np.float64), ())
            for number in chosen
        )
    edges = np.linspace(grid.start_seconds, grid.duration_seconds, MAX_CURVE_CELLS + 1)
    levels = head_thresholds(np.array(chosen, dtype=np.int64), spec, settings).tolist()
    unknown = ~_is_known(edges, grid)
    curves = []
    for number, level in zip(chosen, levels, strict=True):
        values = _best_over_time(candidates.spans, number, edges)
        values[unknown] = np.nan
        curves.append(ClassCurve(class_names(number, spec.heads)[0], number, 0, edges, values, (level,)))
    return tuple(curves)


def head_thresholds(classes: NDArray[np.int64], spec: HeadSpec, settings: SegmentSettings) -> NDArray[np.float32]:
    """The score from which on a segment of each of these classes (N,) is reported.

    The head's own threshold of an action is the geometric mean of those of its verb and its noun.

    Raises:
        UsageError: The settings ask for thresholds of the head's own and it has none.
    """
    if settings.threshold != "auto":
        return np.full(len(classes), settings.threshold, dtype=np.float32)
    own = {name: np.array(levels, dtype=np.float64) for name, levels in spec.require_thresholds().items()}
    by_class = own[""] if "" in own else np.sqrt(np.outer(own["verb"], own["noun"])).ravel()
    levels: NDArray[np.float32] = by_class.astype(np.float32)[classes]
    return levels


def _chosen(
    candidates: Candidates, spec: HeadSpec, settings: SegmentSettings, segments: Sequence[Segment]
) -> list[int]:
    """The classes that get a curve."""
    by_score = sorted(segments, key=lambda segment: -segment.score)
    chosen = sorted(list(dict.fromkeys(segment.index for segment in by_score))[:_MOST])
    if candidates.step_scores is None:
        order = np.argsort(-candidates.spans.scores, kind="stable")
        ranked = dict.fromkeys(candidates.spans.classes[order].tolist())
    else:
        peaks = np.fmax.reduce(candidates.step_scores[1], axis=1)
        ranked = dict.fromkeys(np.argsort(-peaks, kind="stable").tolist())
    for number in ranked:
        if len(chosen) >= _FEWEST:
            break
        if number not in chosen and settings.wants(class_names(number, spec.heads)):
            chosen.append(number)
    return chosen


def _best_over_time(spans: ScoredSpans, number: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,): in each cell between edges (N + 1,) the best score of a span of a class that reaches into it, or 0."""
    found = np.zeros(len(edges) - 1)
    rows = np.flatnonzero(spans.classes == number)
    rows = rows[np.argsort(spans.scores[rows], kind="stable")]
    firsts = np.searchsorted(edges, spans.seconds[rows, 0], side="right") - 1
    ends = np.searchsorted(edges, spans.seconds[rows, 1], side="left")
    for first, end, score in zip(firsts.tolist(), ends.tolist(), spans.scores[rows].tolist(), strict=True):
        found[first:end] = score  # of spans that overlap, the best comes last
    return found


def _is_known(edges: NDArray[np.float64], grid: FeatureGrid) -> NDArray[np.bool_]:
    """(N,): whether a step that reaches into the cell between two edges (N + 1,) is known."""
    steps = grid.steps_of(edges) + 0.5  # step n reaches from n to n + 1
    first = np.clip(np.floor(steps[:-1]), 0, len(grid) - 1).astype(np.int64)
    end = np.clip(np.ceil(steps[1:]), first + 1, len(grid)).astype(np.int64)
    before = np.concatenate([[0], np.cumsum(grid.known)])
    known: NDArray[np.bool_] = before[end] > before[first]
    return known
