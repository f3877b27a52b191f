"""What thresholds are applied to: all that those need that are allowed, in as many bytes as may be."""

from __future__ import annotations

import numpy as np
import pytest

from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import ThresholdInputs, threshold_inputs

HEADS = {"": ("a", "b", "c", "d")}
SPANS = np.arange(100)[:, None] * 0.5 + np.array([0.0, 1.0])
SCALE = np.zeros(100, dtype=np.int64)
PEAKS = (0.3, 0.9, 0.005, 0.62)
SECONDS = (0.0, 50.5)


def scores() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1).random((100, 4))
    return {"": (random / random.max(axis=0) * PEAKS).astype(np.float32)}


def inputs(max_bytes: int = 10**9, **how):
    settings = SegmentSettings(**how)
    return threshold_inputs(
        SPANS, SCALE, scores(), HEADS, settings=settings, video_seconds=SECONDS, max_bytes=max_bytes
    )


def num_bytes(found: ThresholdInputs) -> int:
    """What the numbers of timelines take."""
    cells = sum(each.edges.nbytes + each.gaps.nbytes for each in found.timelines or ())
    return cells + sum(kept.num_bytes for each in found.classes for kept in each.scores)


def test_classes_that_score_least_are_left_out_where_all_are_too_many() -> None:
    whole = inputs()
    assert [(each.label, each.index) for each in whole.classes] == [("a", 0), ("b", 1), ("d", 3)]
    assert whole.lowest == 0.01
    assert [each.label for each in inputs(num_bytes(whole)).classes] == ["a", "b", "d"]
    two = inputs(num_bytes(whole) - 1)
    assert [each.label for each in two.classes] == ["b", "d"]
    assert two.lowest == 0.31
    assert inputs(num_bytes(two) - 1, threshold=0.7).lowest == 0.63


def test_only_scores_are_kept_that_a_low_threshold_can_see() -> None:
    """Two windows of 100 score more than nothing: they overlap those beside them by half."""
    scores = np.zeros((100, 1), dtype=np.float32)
    scores[[40, 60]] = 0.5
    settings = SegmentSettings()
    how = {"settings": settings, "video_seconds": SECONDS, "max_bytes": 10**9}
    found = threshold_inputs(SPANS, SCALE, {"": scores}, {"": ("a",)}, **how)
    (kept,) = found.classes[0].scores
    assert kept.ranges.tolist() == [[39, 43], [59, 63]]
    assert kept.values.tolist() == [[0, 0.25, 0.25, 0] * 2]
    assert found.lowest_low == 0.005
    how["settings"] = SegmentSettings(low_threshold=0)
    low = threshold_inputs(SPANS, SCALE, {"": scores}, {"": ("a",)}, **how)
    assert low.classes[0].scores[0].ranges.tolist() == [[0, 101]]


@pytest.mark.parametrize("how", [{"threshold": 0.6}, {"threshold": 0.005}, {"threshold": 0.6, "exclusive": True}])
def test_nothing_is_left_where_not_even_the_thresholds_of_the_run_could_be_applied(how) -> None:
    none = inputs(47 if "exclusive" in how else num_bytes(inputs()) // 3, **how)
    assert (none.lowest, none.classes, none.timelines, none.runs) == (None, (), None, ())


@pytest.mark.parametrize("way", ["exclusive", "contrast"])
def test_runs_that_score_least_are_left_out_and_the_others_are_all_there(way: str) -> None:
    everything = inputs(**{way: True})
    some = inputs(10 * 64, threshold=0.9, **{way: True})
    assert len(some.runs) == 10 < len(everything.runs)
    assert some.lowest is not None
    settings = SegmentSettings(threshold=some.lowest, **{way: True})
    found = find_segments(SPANS, SCALE, scores(), HEADS, settings=settings, video_seconds=SECONDS)
    assert {*found} <= {segment for segment, _ in some.runs}


def test_labels_that_are_background_or_not_asked_for_are_not_there() -> None:
    assert [each.label for each in inputs(background=("b",)).classes] == ["a", "d"]
    assert [each.label for each in inputs(labels=("b",)).classes] == ["b"]
