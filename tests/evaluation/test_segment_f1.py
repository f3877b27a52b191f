"""The threshold on segments: the best in some videos, and the one to expect the best F1 of elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels
from tadacli.evaluation.segment_f1 import SegmentThreshold, best_threshold, fit_threshold

Videos = tuple[TimedLabels, ScoredSegments]


def videos_of(scores: np.ndarray, is_right: np.ndarray, *, num_missed: int = 0) -> Videos:
    """Detections that are each right or wrong, and true segments of which some are not found."""
    at = 10.0 * np.arange(len(scores) + num_missed)
    is_true = np.append(is_right, np.ones(num_missed, dtype=bool))
    nought = np.zeros(len(at), dtype=np.int64)
    truth = TimedLabels(nought[is_true], nought[is_true], at[is_true], at[is_true] + 5)
    count = len(scores)
    return truth, ScoredSegments(nought[:count], nought[:count], at[:count], at[:count] + 5, scores)


def drawn(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and whether each is right: the more probably the higher it is."""
    scores = random.beta(0.6, 2.5, count)
    return scores, random.random(count) < 1 / (1 + np.exp(4 - 8 * scores))


def f1_at(threshold: float, videos: Videos) -> float:
    truth, found = videos
    reported = found.starts_seconds[found.scores >= threshold]
    return float(2 * np.isin(reported, truth.starts_seconds).sum() / (len(reported) + len(truth)))


def test_a_fitted_threshold_loses_less_on_other_videos_than_the_best_of_a_few() -> None:
    random = np.random.default_rng(0)
    elsewhere = videos_of(*drawn(random, 20_000))
    hindsight = best_threshold(*elsewhere).f1

    def lost(threshold: float) -> float:
        return hindsight - f1_at(threshold, elsewhere)

    assert lost(best_threshold(*elsewhere).threshold) == pytest.approx(0)
    fitted, best = [], []
    for _ in range(200):
        few = videos_of(*drawn(random, 100))
        fitted.append(lost(fit_threshold(*few).threshold))
        best.append(lost(best_threshold(*few).threshold))
    assert np.mean(fitted) < 0.5 * np.mean(best)
    assert np.mean(fitted) < 0.02


def test_its_f1_is_the_one_that_it_has_in_these_videos() -> None:
    few = videos_of(*drawn(np.random.default_rng(1), 80), num_missed=5)
    fitted = fit_threshold(*few)
    assert fitted.threshold in few[1].scores
    assert fitted.f1 == pytest.approx(f1_at(fitted.threshold, few))
    assert fitted.f1 < best_threshold(*few).f1


@pytest.mark.parametrize(("factor", "shift"), [(0.01, 0.0), (0.1, 0.85)])
def test_scores_in_a_narrow_band_report_the_same_segments(factor: float, shift: float) -> None:
    scores, is_right = drawn(np.random.default_rng(2), 120)
    plain = fit_threshold(*videos_of(scores, is_right)).threshold
    narrow = fit_threshold(*videos_of(factor * scores + shift, is_right)).threshold
    assert narrow == pytest.approx(factor * plain + shift)


@pytest.mark.parametrize(
    ("scores", "is_right", "expected"),
    [
        ([0.9, 0.4], [False, False], 1.0),  # none is right: nothing is worth reporting
        ([0.9, 0.4, 0.3], [True, True, True], 0.3),
        ([0.5, 0.5, 0.5, 0.5], [True, False, True, False], 0.5),  # nothing to tell them apart by
        ([0.9] * 50 + [0.1] * 500, [True] * 50 + [False] * 500, 0.9),  # nothing in doubt
        ([0.7], [True], 0.7),
        ([1.0] + [1e-30] * 20_000, [True] + [False] * 20_000, 1.0),  # one far from all others
        ([1.0] + [1e-30] * 20_000, [False] + [True] * 20_000, 1e-30),
    ],
)
def test_the_ends_of_what_can_be_fitted(scores: list[float], is_right: list[bool], expected: float) -> None:
    assert fit_threshold(*videos_of(np.array(scores), np.array(is_right))).threshold == expected


@pytest.mark.parametrize("rule", [best_threshold, fit_threshold])
def test_equal_scores_pass_together(rule: Callable[..., SegmentThreshold]) -> None:
    videos = videos_of(np.array([0.5, 0.5, 0.1, 0.1]), np.array([True, False, False, False]))
    assert rule(*videos) == SegmentThreshold(0.5, 2 / (2 + 1))


def test_no_detections_have_no_threshold() -> None:
    assert fit_threshold(*videos_of(np.empty(0), np.empty(0, dtype=bool), num_missed=3)).f1 == 0
