"""Scores of overlapping windows as curves over time, and the stretches where a curve is high."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Times this close are the same instant: far above the rounding of sums of strides, far below a frame.
SAME_INSTANT_SECONDS = 1e-6


@dataclass(frozen=True, eq=False)
class Timeline:
    """Scores that are constant in each of N cells; cell i is [edges[i], edges[i + 1]), in seconds.

    `edges` is (N + 1,), or empty when there are no cells, `scores` (N, C) float64. `covered` (N,) says which
    cells a window covers; the others have no score: theirs are NaN.
    """

    edges: NDArray[np.float64]
    scores: NDArray[np.float64]
    covered: NDArray[np.bool_]

    @property
    def durations(self) -> NDArray[np.float64]:
        """Lengths of the cells in seconds, (N,)."""
        return np.diff(self.edges)

    def mean(self, cells: tuple[tuple[int, int], ...], column: int) -> float:
        """Mean score of one class over ranges [first, last) of cells, weighted by duration."""
        chosen = np.concatenate([np.arange(first, last) for first, last in cells])
        durations = self.durations[chosen]
        # fsum rounds once, so the result does not depend on how a machine orders the sum.
        return math.fsum(durations * self.scores[chosen, column]) / math.fsum(durations)


@dataclass(frozen=True)
class ScoreRun:
    """A stretch of time in which one class scores high, [start_seconds, end_seconds).

    `cells` are the ranges [first, last) of cells that score high; several where dips between them were
    bridged. `score` is their mean, weighted by duration; the dips do not count.
    """

    start_seconds: float
    end_seconds: float
    score: float
    cells: tuple[tuple[int, int], ...]


def score_timeline(spans: NDArray[np.float64], scores: NDArray[np.floating]) -> Timeline:
    """The mean score, at every instant, of the windows that cover it.

    The cells lie between neighbouring starts and ends of windows; of times within a microsecond the first stands for
    all. The work grows with the number of windows times how many others each overlaps.

    Args:
        spans: Starts and ends (W, 2) of the windows, in seconds.
        scores: (W, C).

    Raises:
        ValueError: For a window that is empty, and scores of other windows.
    """
    spans = np.asarray(spans, dtype=np.float64).reshape(-1, 2)
    scores = np.asarray(scores)
    if len(scores) != len(spans) or scores.ndim != 2:
        raise ValueError(f"scores of shape {scores.shape} do not fit {len(spans)} windows")
    edges, cells = _cells(spans)
    if not bool((cells[:, 0] < cells[:, 1]).all()):
        raise ValueError("a window ends where it starts, or before")
    num_cells = max(len(edges) - 1, 0)
    totals = np.zeros((num_cells, scores.shape[1]))
    counts = np.zeros(num_cells)
    # Adding up the few windows of each cell is exact where differences of running sums would not be.
    for (first, last), values in zip(cells.tolist(), scores, strict=True):
        totals[first:last] += values
        counts[first:last] += 1
    covered = counts > 0
    totals[covered] /= counts[covered, None]
    totals[~covered] = np.nan
    return Timeline(edges, totals, covered)


def smooth(timeline: Timeline, *, seconds: float) -> Timeline:
    """The timeline with each cell's score replaced by the mean over `seconds` around the cell's middle.

    The mean is weighted by duration and stays within the unbroken stretch of covered cells around the cell:
    what is not covered gets no score and nothing is averaged across it. Zero seconds change nothing.
    """
    if seconds <= SAME_INSTANT_SECONDS or not timeline.covered.any():
        return timeline
    edges, covered = timeline.edges, timeline.covered
    here = np.arange(len(covered))
    middles = (edges[:-1] + edges[1:]) / 2
    left, right = middles - seconds / 2, middles + seconds / 2
    stretch = np.cumsum(~covered)  # the same number for the covered cells between two breaks
    first = np.maximum(np.searchsorted(edges, left, side="right") - 1, 0)
    last = np.minimum(np.searchsorted(edges, right, side="left"), len(covered))
    totals = np.zeros_like(timeline.scores)
    weights = np.zeros(len(covered))
    for offset in range(int((first - here).min()), int((last - here).max())):
        other = here + offset
        cells = here[(other >= first) & (other < last) & covered]
        cells = cells[covered[cells + offset] & (stretch[cells + offset] == stretch[cells])]
        others = cells + offset
        weight = np.minimum(right[cells], edges[others + 1]) - np.maximum(left[cells], edges[others])
        totals[cells] += weight[:, None] * timeline.scores[others]
        weights[cells] += weight
    totals[covered] /= weights[covered, None]
    totals[~covered] = np.nan
    return Timeline(edges, totals, covered)


def find_runs(
    timeline: Timeline,
    column: int,
    *,
    high: float,
    low: float,
    merge_gap_seconds: float = 0.0,
    min_duration_seconds: float = 0.0,
) -> list[ScoreRun]:
    """Where a class scores at least `low` throughout and at least `high` somewhere, in order of time.

    Args:
        timeline: The scores.
        column: Which class.
        high: The score that a run reaches.
        low: The score that it holds.
        merge_gap_seconds: Runs with at most this between them become one, unless a part of it is not covered.
        min_duration_seconds: Shorter runs are dropped then.
    """
    values, edges = timeline.scores[:, column], timeline.edges
    if not (values >= high).any():
        return []  # as of most classes
    above = np.concatenate([[False], values >= low, [False]])  # NaN is not above anything
    changes = np.flatnonzero(above[1:] != above[:-1])
    groups: list[list[tuple[int, int]]] = []
    for first, last in zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True):
        if values[first:last].max() < high:
            continue
        previous = groups[-1][-1][1] if groups else first
        gap = edges[first] - edges[previous] - SAME_INSTANT_SECONDS
        if groups and gap <= merge_gap_seconds and timeline.covered[previous:first].all():
            groups[-1].append((first, last))
        else:
            groups.append([(first, last)])
    runs = []
    for group in groups:
        start, end = float(edges[group[0][0]]), float(edges[group[-1][1]])
        if end - start >= min_duration_seconds - SAME_INSTANT_SECONDS:
            cells = tuple(group)
            runs.append(ScoreRun(start, end, timeline.mean(cells, column), cells))
    return runs


def _cells(spans: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Edges of the cells, and the range [first, last) of cells that each window covers, (W, 2)."""
    times, place = np.unique(spans, return_inverse=True)
    if not times.size:
        return times, np.zeros((0, 2), dtype=np.int64)
    new = np.concatenate([[True], np.diff(times) > SAME_INSTANT_SECONDS])
    return times[new], (np.cumsum(new) - 1)[place.reshape(spans.shape)]
