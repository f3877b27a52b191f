"""What thresholds are applied to: all that those need that are allowed, in as many bytes as may be."""

from __future__ import annotations

import numpy as np
import pytest

from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import threshold_inputs

HEADS = {"": ("a", "b", "c", "d")}
SPANS = np.arange(100)[:, None] * 0.5 + np.array([0.0, 1.0])
SCALE = np.zeros(100, dtype=np.int64)
PEAKS = (0.3, 0.9, 0.005, 0.62)
SECONDS = (0.0, 50.5)
BYTES_OF_CLASS = 101 * 8  # windows overlap by half


def scores() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1).random((100, 4))
    return {"": (random / random.max(axis=0) * PEAKS).astype(np.float32)}


def inputs(max_bytes: int = 10**9, **how):
    settings = SegmentSettings(**how)
    return threshold_inputs(
        SPANS, SCALE, scores(), HEADS, settings=settings, video_seconds=SECONDS, max_bytes=max_bytes
    )


def test_classes_that_score_least_are_left_out_where_all_are_too_many() -> None:
    assert [(each.label, each.index) for each in inputs().classes] == [("a", 0), ("b", 1), ("d", 3)]
    assert inputs().lowest == 0.01
    two = inputs(2 * BYTES_OF_CLASS)
    assert [each.label for each in two.classes] == ["b", "d"]
    assert two.lowest == 0.31
    assert [timeline.scores.shape for timeline in two.timelines or ()] == [(101, 2)]
    assert inputs(2 * BYTES_OF_CLASS - 1, threshold=0.7).lowest == 0.63


@pytest.mark.parametrize("how", [{"threshold": 0.6}, {"threshold": 0.005}, {"threshold": 0.6, "exclusive": True}])
def test_nothing_is_left_where_not_even_the_thresholds_of_the_run_could_be_applied(how) -> None:
    none = inputs(BYTES_OF_CLASS if how["threshold"] == 0.6 else 3 * BYTES_OF_CLASS, **how)
    if "exclusive" in how:
        assert none.lowest is not None  # so few are the runs
        none = inputs(47, **how)
    assert (none.lowest, none.classes, none.timelines, none.runs) == (None, (), None, ())


@pytest.mark.parametrize("way", ["exclusive", "contrast"])
def test_runs_that_score_least_are_left_out_and_the_others_are_all_there(way: str) -> None:
    everything = inputs(**{way: True})
    some = inputs(10 * 48, threshold=0.9, **{way: True})
    assert len(some.runs) == 10 < len(everything.runs)
    assert some.lowest is not None
    settings = SegmentSettings(threshold=some.lowest, **{way: True})
    found = find_segments(SPANS, SCALE, scores(), HEADS, settings=settings, video_seconds=SECONDS)
    assert {*found} <= {segment for segment, _ in some.runs}


def test_labels_that_are_background_or_not_asked_for_are_not_there() -> None:
    assert [each.label for each in inputs(background=("b",)).classes] == ["a", "d"]
    assert [each.label for each in inputs(labels=("b",)).classes] == ["b"]
