"""One label at a time: what a person sees of `tada detect --exclusive`, without video or model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tadacli.detection.exclusive import best_path, exclusive_runs
from tadacli.detection.segments import class_curves, find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import UsageError

LABELS = {"": ("rest", "walk", "run")}


def windows_of(changes: list[tuple[float, int]], *, end: float, length: float = 1.0, stride: float = 0.25):
    """Windows over a video, (W, 2), whose scores (W, 3) are the shares of each label in them.

    `changes` are (when a label begins, the label).
    """
    starts = np.arange(0, end - length + 1e-9, stride)
    spans = np.stack([starts, starts + length], axis=1)
    scores = np.zeros((len(spans), 3))
    for (first, label), (last, _) in itertools.pairwise([*changes, (end, 0)]):
        scores[:, label] += (np.minimum(spans[:, 1], last) - np.maximum(spans[:, 0], first)).clip(0) / length
    return spans, scores


def found(spans, scores, *, scale=None, heads=LABELS, video_seconds=(0.0, 20.0), **settings):
    scale = np.zeros(len(spans), dtype=int) if scale is None else scale
    by_head = scores if isinstance(scores, dict) else {"": np.asarray(scores, dtype=np.float32)}
    chosen = SegmentSettings(exclusive=True, **settings)
    segments = find_segments(spans, scale, by_head, heads, settings=chosen, video_seconds=video_seconds)
    return [(each.start_seconds, each.end_seconds, each.label) for each in segments]


@examples(deadline=None)
@given(
    scores=st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=5),
    weight=st.sampled_from([0.25, 1.0]),
    cost=st.floats(0, 3),
)
def test_no_sequence_of_labels_is_more_likely(scores, weight, cost) -> None:
    def likelihood(path) -> float:
        evidence = sum(weight * np.log(row[label]) for row, label in zip(scores, path, strict=True))
        return float(evidence) - cost * sum(a != b for a, b in itertools.pairwise(path))

    path = best_path(np.array(scores), weight=weight, switching_cost=cost).tolist()
    best = max(likelihood(each) for each in itertools.product(range(3), repeat=len(scores)))
    assert likelihood(path) == pytest.approx(best, abs=1e-9)


@examples(deadline=None)
@given(change=st.floats(2, 8), other=st.floats(10, 17))
def test_labels_change_when_they_do_wherever_windows_begin(change: float, other: float) -> None:
    runs = exclusive_runs(*windows_of([(0, 1), (change, 2), (other, 0)], end=20))
    assert [run.index for run in runs] == [1, 2, 0]
    ends = [run.end_seconds for run in runs]
    assert ends == pytest.approx([change, other, 20], abs=0.02)
    assert [run.start_seconds for run in runs] == [0.0, *ends[:-1]]


@examples(deadline=None)
@given(scores=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=30))
def test_runs_fill_the_time_without_overlap(scores) -> None:
    starts = np.arange(len(scores)) * 0.25
    runs = exclusive_runs(np.stack([starts, starts + 1], axis=1), np.array(scores))
    assert runs[0].start_seconds == 0
    assert runs[-1].end_seconds == starts[-1] + 1
    for one, following in itertools.pairwise(runs):
        assert one.end_seconds == following.start_seconds
    for run in runs:
        assert run.start_seconds < run.end_seconds
        assert run.score <= run.peak + 1e-12


def test_a_flicker_is_no_change() -> None:
    spans, scores = windows_of([(0, 1)], end=20)
    scores[30] = [0.2, 0.3, 0.5]
    assert found(spans, scores) == [(0.0, 20.0, "walk")]


def test_time_that_no_window_covers_has_no_label() -> None:
    spans, scores = windows_of([(0, 1), (12, 2)], end=20)
    whole = (spans[:, 1] <= 5) | (spans[:, 0] >= 9)
    assert found(spans[whole], scores[whole]) == [(0.0, 5.0, "walk"), (9.0, 12.0, "walk"), (12.0, 20.0, "run")]


def test_what_is_not_wanted_competes_and_is_not_reported() -> None:
    spans, scores = windows_of([(0, 0), (5, 1), (11, 2)], end=20)
    assert found(spans, scores, background=("rest",)) == [(5.0, 11.0, "walk"), (11.0, 20.0, "run")]
    assert found(spans, scores, labels=("walk",)) == [(5.0, 11.0, "walk")]
    assert found(spans, scores, min_duration_seconds=5.5) == [(5.0, 11.0, "walk"), (11.0, 20.0, "run")]
    assert len(found(spans, scores, topk=1)) == 1


def test_the_best_window_of_a_segment_reaches_the_threshold() -> None:
    spans, scores = windows_of([(0, 0), (5, 1)], end=20)
    scores[:, 1] *= 0.6
    assert found(spans, scores, threshold=0.7) == [(0.0, pytest.approx(5.0, abs=0.3), "rest")]
    assert len(found(spans, scores, threshold=0.6)) == 2


def test_no_windows_are_no_segments() -> None:
    assert found(np.zeros((0, 2)), np.zeros((0, 3))) == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"smooth_seconds": 1.0}, "smoothing"),
        ({"merge_gap_seconds": 1.0}, "a gap to merge across"),
        ({"low_threshold": 0.2}, "a low threshold"),
        ({"nms": "soft"}, "soft suppression"),
        ({"nms_iou": 0.3}, "an IoU of suppression"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(settings, reason) -> None:
    with pytest.raises(UsageError, match=f"no use for {reason}"):
        SegmentSettings(exclusive=True, **settings)


def test_two_window_lengths_and_actions_are_refused() -> None:
    spans, scores = windows_of([(0, 1)], end=20)
    with pytest.raises(UsageError, match="windows of 2 lengths"):
        found(spans, scores, scale=np.arange(len(spans)) % 2)
    actions = {"verb": ("take", "put", "cut"), "noun": ("cup", "pan", "lid")}
    with pytest.raises(UsageError, match="do not exclude each other"):
        found(spans, {"verb": scores, "noun": scores}, heads=actions)


def test_settings_of_earlier_files_stay_what_they_were() -> None:
    assert "exclusive" not in SegmentSettings().to_dict()
    assert SegmentSettings(exclusive=True).to_dict()["exclusive"] is True


def test_curves_show_the_one_threshold_that_there_is() -> None:
    spans, scores = windows_of([(0, 1)], end=20)
    asked = {"video_seconds": (0.0, 20.0), "segments": ()}
    for settings, levels in (
        (SegmentSettings(threshold=0.4), (0.4, 0.2)),
        (SegmentSettings(threshold=0.4, exclusive=True), (0.4,)),
        (SegmentSettings(threshold=0.4, contrast=True), (0.4,)),
    ):
        curves = class_curves(spans, np.zeros(len(spans), int), {"": scores}, LABELS, settings=settings, **asked)
        assert len(curves) == 3
        assert all(curve.levels == pytest.approx(levels) for curve in curves)
