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

    `cells` are the ranges [first, last) of cells that score as high as its ends do; several where dips between them
    were bridged. `score` is their mean, weighted by duration, `peak` the highest of them; the dips do not count.
    """

    start_seconds: float
    end_seconds: float
    score: float
    peak: float
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
    at_half_height: bool = False,
    merge_gap_seconds: float = 0.0,
    min_duration_seconds: float = 0.0,
) -> list[ScoreRun]:
    """Where a class scores at least `low` throughout and at least `high` somewhere, in order of time.

    By default a run ends at the edges of cells, which are starts and ends of windows: up to half a window outside of
    what the windows show. `at_half_height` it ends where the score falls through half of the run's own height, on the
    straight line between the middles of the cells before and after: a window that lies half in what it shows scores
    half as high, however long windows are. A run at an end of the timeline, or at a gap in it, ends there.

    Args:
        timeline: The scores.
        column: Which class.
        high: The score that a run reaches.
        low: The score that it holds.
        at_half_height: Where a run ends. `low` then says what belongs to one run.
        merge_gap_seconds: Runs with at most this between them become one, unless a part of it is not covered.
        min_duration_seconds: Shorter runs are dropped then.

    Returns:
        The runs; no two share time.
    """
    values, edges = timeline.scores[:, column], timeline.edges
    if not (values >= high).any():
        return []  # as of most classes
    groups: list[tuple[int, int]] = []
    for first, last in _stretches(values >= low):  # NaN is not above anything
        if values[first:last].max() < high:
            continue
        gap = edges[first] - edges[groups[-1][1]] - SAME_INSTANT_SECONDS if groups else math.inf
        if gap <= merge_gap_seconds and timeline.covered[groups[-1][1] : first].all():
            groups[-1] = groups[-1][0], last
        else:
            groups.append((first, last))
    runs = []
    for first, last in groups:
        peak = float(values[first:last].max())
        level = max(low, peak / 2) if at_half_height else low
        cells = tuple((first + start, first + end) for start, end in _stretches(values[first:last] >= level))
        start, end = float(edges[cells[0][0]]), float(edges[cells[-1][1]])
        if at_half_height:
            start = _crossing(timeline, column, cells[0][0], -1, level)
            end = _crossing(timeline, column, cells[-1][1] - 1, 1, level)
        if end - start >= min_duration_seconds - SAME_INSTANT_SECONDS:
            runs.append(ScoreRun(start, end, timeline.mean(cells, column), peak, cells))
    return runs


def _stretches(holds: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The ranges [first, last) in which something holds."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    return [(first, last) for first, last in changes.reshape(-1, 2).tolist()]


def _crossing(timeline: Timeline, column: int, cell: int, step: int, level: float) -> float:
    """When a score falls through a level between the middle of a cell and that of the next one in a direction."""
    edges, values, other = timeline.edges, timeline.scores[:, column], cell + step
    if not 0 <= other < len(values) or not timeline.covered[other]:
        return float(edges[max(cell, cell + step)])
    here, there = ((edges[each] + edges[each + 1]) / 2 for each in (cell, other))
    share = (values[cell] - level) / (values[cell] - values[other])
    return float(here + share * (there - here))


def _cells(spans: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Edges of the cells, and the range [first, last) of cells that each window covers, (W, 2)."""
    times, place = np.unique(spans, return_inverse=True)
    if not times.size:
        return times, np.zeros((0, 2), dtype=np.int64)
    new = np.concatenate([[True], np.diff(times) > SAME_INSTANT_SECONDS])
    return times[new], (np.cumsum(new) - 1)[place.reshape(spans.shape)]
