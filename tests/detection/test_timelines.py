"""Curves from window scores, and runs from curves, against evaluation instant by instant."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tadacli.detection.timelines import Timeline, find_runs, score_timeline, smooth

# Quarters of seconds and 64ths of scores: sums are exact, and ties and touching windows are common.
windows = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12), st.integers(0, 64), st.integers(0, 64)))
some_windows = windows.filter(bool)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return np.stack([table[:, 0], table[:, 0] + table[:, 1]], axis=1) / 4, table[:, 2:] / 64


def made(values, *, durations=None) -> Timeline:
    """A timeline of one class; None is a cell that is not covered."""
    durations = durations or [1.0] * len(values)
    scores = np.array([[math.nan if value is None else value] for value in values], dtype=np.float64)
    return Timeline(np.concatenate([[0.0], np.cumsum(durations)]), scores, ~np.isnan(scores[:, 0]))


def spans_of(runs) -> list[tuple[float, float]]:
    return [(run.start_seconds, run.end_seconds) for run in runs]


@settings(max_examples=60, deadline=None)
@given(some_windows)
def test_at_every_instant_the_score_is_the_mean_of_the_windows_there(rows) -> None:
    spans, scores = arrays(rows)
    timeline = score_timeline(spans, scores)
    assert timeline.edges.tolist() == sorted({float(time) for time in spans.ravel()})
    for cell, (start, end) in enumerate(zip(timeline.edges[:-1], timeline.edges[1:], strict=True)):
        for instant in (start, (start + end) / 2):
            there = (spans[:, 0] <= instant) & (instant < spans[:, 1])
            assert timeline.covered[cell] == there.any()
            expected = scores[there].mean(axis=0) if there.any() else [math.nan] * 2
            np.testing.assert_allclose(timeline.scores[cell], expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(rows=some_windows, shift=st.integers(-400, 400))
def test_shifting_the_windows_shifts_the_timeline(rows, shift) -> None:
    spans, scores = arrays(rows)
    here, there = score_timeline(spans, scores), score_timeline(spans + shift, scores)
    np.testing.assert_array_equal(here.edges + shift, there.edges)
    np.testing.assert_array_equal(here.scores, there.scores)


def test_rounding_of_times_leaves_no_slivers_and_no_breaks() -> None:
    starts = 7.3 + np.arange(1000) * 0.1
    spans = np.stack([starts, starts + 0.3], axis=1)
    assert not set(spans[:-3, 1]) <= set(spans[3:, 0])  # the sums do not meet exactly
    timeline = score_timeline(spans, np.ones((1000, 1)))
    assert timeline.covered.all()
    np.testing.assert_allclose(timeline.durations, 0.1, rtol=1e-6)


def test_small_scores_late_in_a_long_video_are_exact() -> None:
    starts = np.arange(3600.0)
    scores = np.where(starts < 1800, 1.0, 1e-13)[:, None]
    timeline = score_timeline(np.stack([starts, starts + 2], axis=1), scores)
    assert (timeline.scores[1802:] == 1e-13).all()


def test_no_windows_make_an_empty_timeline() -> None:
    timeline = smooth(score_timeline(np.zeros((0, 2)), np.zeros((0, 3))), seconds=2)
    assert timeline.edges.size == timeline.covered.size == 0
    assert timeline.scores.shape == (0, 3)
    assert find_runs(timeline, 1, high=0, low=0) == []


@pytest.mark.parametrize(
    ("spans", "num_scores", "message"),
    [
        ([[1.0, 1.0]], 1, "ends where it starts"),
        ([[0.0, 2.0], [2.0, 1.0]], 2, "ends where it starts"),
        ([[0.0, 2.0]], 2, "do not fit 1 windows"),
    ],
)
def test_windows_that_cannot_be_are_refused(spans, num_scores, message) -> None:
    with pytest.raises(ValueError, match=message):
        score_timeline(np.array(spans), np.zeros((num_scores, 1)))


def box_mean(timeline: Timeline, cell: int, seconds: float) -> np.ndarray:
    """The mean over a box around the middle of a cell, going outwards until something is not covered."""
    middle = (timeline.edges[cell] + timeline.edges[cell + 1]) / 2
    total, weight = np.zeros(timeline.scores.shape[1]), 0.0
    first = last = cell
    while first > 0 and timeline.covered[first - 1]:
        first -= 1
    while last + 1 < len(timeline.covered) and timeline.covered[last + 1]:
        last += 1
    for other in range(first, last + 1):
        start, end = timeline.edges[other], timeline.edges[other + 1]
        part = max(min(end, middle + seconds / 2) - max(start, middle - seconds / 2), 0)
        total, weight = total + part * timeline.scores[other], weight + part
    return total / weight


@settings(max_examples=60, deadline=None)
@given(rows=some_windows, seconds=st.sampled_from([0.1, 0.75, 2.0, 100.0]))
def test_smoothing_is_the_mean_over_a_box_within_what_is_covered(rows, seconds) -> None:
    timeline = score_timeline(*arrays(rows))
    smoothed = smooth(timeline, seconds=seconds)
    np.testing.assert_array_equal(smoothed.covered, timeline.covered)
    for cell in range(len(timeline.covered)):
        expected = box_mean(timeline, cell, seconds) if timeline.covered[cell] else np.full(2, math.nan)
        np.testing.assert_allclose(smoothed.scores[cell], expected, rtol=1e-9, atol=1e-15)


def test_smoothing_does_not_look_beyond_a_gap() -> None:
    smoothed = smooth(made([1.0, None, 0.0]), seconds=10)
    np.testing.assert_array_equal(smoothed.scores[:, 0], [1.0, math.nan, 0.0])


@settings(max_examples=60, deadline=None)
@given(windows)
def test_smoothing_over_zero_seconds_changes_nothing(rows) -> None:
    timeline = score_timeline(*arrays(rows))
    np.testing.assert_array_equal(smooth(timeline, seconds=0).scores, timeline.scores)


@settings(max_examples=60, deadline=None)
@given(rows=some_windows, high=st.integers(0, 64), low=st.integers(0, 64))
def test_runs_are_the_longest_stretches_above_low_that_reach_high(rows, high, low) -> None:
    high, low = max(high, low) / 64, min(high, low) / 64
    timeline = score_timeline(*arrays(rows))
    above = [bool(value >= low) for value in timeline.scores[:, 0]]
    expected = []
    for first in range(len(above)):
        for last in range(first + 1, len(above) + 1):
            whole = all(above[first:last]) and timeline.scores[first:last, 0].max() >= high
            longest = not (first and above[first - 1]) and not (last < len(above) and above[last])
            if whole and longest:
                values, lengths = timeline.scores[first:last, 0], timeline.durations[first:last]
                mean = float(np.average(values, weights=lengths))
                expected.append((timeline.edges[first], timeline.edges[last], pytest.approx(mean)))
    runs = find_runs(timeline, 0, high=high, low=low)
    assert [(run.start_seconds, run.end_seconds, run.score) for run in runs] == expected


@settings(max_examples=60, deadline=None)
@given(rows=some_windows, thresholds=st.lists(st.integers(0, 64), min_size=2, max_size=2))
def test_a_higher_threshold_never_adds_time(rows, thresholds) -> None:
    timeline = score_timeline(*arrays(rows))
    loose, strict = (
        [
            cell
            for run in find_runs(timeline, 0, high=t / 64, low=t / 128)
            for pair in run.cells
            for cell in range(*pair)
        ]
        for t in sorted(thresholds)
    )
    assert set(strict) <= set(loose)


# Between two runs that are bridged lies a stretch that is low only: it counts with what is as high as the run's ends.
_LOW_BETWEEN = [(0, 1, 32, 0), (10, 1, 0, 0), (10, 5, 0, 0), (4, 5, 0, 14), (1, 12, 7, 1), (9, 12, 43, 16)]


@settings(max_examples=60, deadline=None)
@given(rows=some_windows, gap=st.integers(0, 20), shortest=st.integers(0, 20))
@example(rows=_LOW_BETWEEN, gap=20, shortest=20)
def test_merged_runs_stand_apart_bridge_no_break_and_are_long_enough(rows, gap, shortest) -> None:
    timeline = score_timeline(*arrays(rows))
    gap_seconds, seconds = gap / 4, shortest / 4
    every = find_runs(timeline, 0, high=0.5, low=0.25)
    merged = find_runs(timeline, 0, high=0.5, low=0.25, merge_gap_seconds=gap_seconds)
    runs = find_runs(timeline, 0, high=0.5, low=0.25, merge_gap_seconds=gap_seconds, min_duration_seconds=seconds)
    assert runs == [run for run in merged if run.end_seconds - run.start_seconds >= seconds]
    values = timeline.scores[:, 0]
    cells = [pair for run in merged for pair in run.cells]
    assert [pair for pair in cells if values[slice(*pair)].max() >= 0.5] == [
        pair for run in every for pair in run.cells
    ]
    assert all(values[slice(*pair)].min() >= 0.25 for pair in cells)
    for run in merged:
        assert values[run.cells[0][0]] >= 0.25
        assert {max(values[slice(*run.cells[end])]) >= 0.5 for end in (0, -1)} == {True}
        assert timeline.covered[run.cells[0][0] : run.cells[-1][1]].all()
        assert run.score >= 0.25
    for before, after in pairwise(merged):
        between = timeline.covered[before.cells[-1][1] : after.cells[0][0]]
        assert after.start_seconds - before.end_seconds > gap_seconds or not between.all()


@pytest.mark.parametrize(
    ("values", "merge", "expected", "reason"),
    [
        ([0.9, 0.1, 0.9], 0.0, [(0, 1), (2, 3)], "two runs"),
        ([0.9, 0.1, 0.9], 1.0, [(0, 3)], "a gap of exactly the length is bridged"),
        ([0.9, 0.1, 0.1, 0.9], 1.5, [(0, 1), (3, 4)], "a longer one is not"),
        ([0.9, None, 0.9], 5.0, [(0, 1), (2, 3)], "what was not seen is never bridged"),
        ([0.9, 0.1, None, 0.1, 0.9], 5.0, [(0, 1), (4, 5)], "nor a gap with an unseen part"),
        ([0.9, 0.1, 0.4, 0.1, 0.9], 1.0, [(0, 1), (4, 5)], "a run that is low only is no stepping stone"),
        ([0.4, 0.9, 0.3], 0.0, [(0, 3)], "low on both sides of high"),
        ([0.4, 0.4], 0.0, [], "low only"),
        ([None, None], 0.0, [], "nothing was seen"),
    ],
)
def test_known_runs(values, merge, expected, reason) -> None:
    runs = find_runs(made(values), 0, high=0.5, low=0.3, merge_gap_seconds=merge)
    assert spans_of(runs) == expected, reason


def test_gaps_and_lengths_count_as_they_were_meant_whatever_their_rounding() -> None:
    timeline = made([0.9, 0.1, 0.1, 0.9, 0.1, 0.9], durations=[0.1] * 6)
    edges = timeline.edges
    assert edges[3] - edges[1] > 0.2
    assert edges[4] - edges[3] < 0.1
    merged = find_runs(timeline, 0, high=0.5, low=0.3, merge_gap_seconds=0.2)
    assert len(merged) == 1
    apart = find_runs(timeline, 0, high=0.5, low=0.3, min_duration_seconds=0.1)
    assert len(apart) == 3


def test_the_score_counts_time_and_leaves_out_bridged_dips() -> None:
    timeline = made([0.9, 0.6, 0.1, 0.8], durations=[1.0, 3.0, 1.0, 2.0])
    (run,) = find_runs(timeline, 0, high=0.5, low=0.3, merge_gap_seconds=1.0)
    assert spans_of([run]) == [(0, 7)]
    assert run.score == pytest.approx((0.9 * 1 + 0.6 * 3 + 0.8 * 2) / 6)
