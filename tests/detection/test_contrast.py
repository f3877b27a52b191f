"""What stands out from its surroundings: what a person sees of `tada detect --contrast`, without video or model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tadacli.detection.contrast import contrast_runs
from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import UsageError
from tests.detection.test_exclusive import LABELS, windows_of


def found(spans, scores, *, video_seconds=(0.0, 20.0), cuts=(), **settings):
    chosen = SegmentSettings(contrast=True, background=("rest",), **settings)
    scale = np.zeros(len(spans), dtype=int)
    by_head = {"": np.asarray(scores, dtype=np.float32)}
    return find_segments(spans, scale, by_head, LABELS, settings=chosen, video_seconds=video_seconds, cuts=cuts)


def sure_of(scores):
    """Scores of a classifier that says plainly which label has the most of a window."""
    return scores**4 / np.maximum((scores**4).sum(axis=1, keepdims=True), 1e-9)


def brief(segments):
    return [(each.start_seconds, each.end_seconds, each.label) for each in segments]


@examples(deadline=None, max_examples=40)
@given(start=st.floats(2, 8), seconds=st.floats(1.5, 8), height=st.floats(0.4, 1.0))
def test_a_segment_has_the_ends_of_what_windows_show_however_faintly(start, seconds, height) -> None:
    spans, scores = windows_of([(0, 0), (start, 1), (start + seconds, 0)], end=20)
    best = max(found(spans, sure_of(scores) * height, threshold=0.3), key=lambda each: each.score)
    assert (best.start_seconds, best.end_seconds) == pytest.approx((start, start + seconds), abs=0.3)
    assert best.peak_score == pytest.approx(height, abs=0.01)
    assert 0.5 * height < best.score < height


def test_what_no_single_level_parts_is_parted() -> None:
    """Two moves with a pause between them that is shorter than a window, and a faint third one."""
    changes = [(0, 0), (3, 1), (6, 0), (6.6, 1), (10, 0), (14, 1), (17, 0)]
    spans, scores = windows_of(changes, end=20)
    scores = sure_of(scores)
    scores[spans[:, 0] > 12] *= 0.4
    ends = np.array([(each.start_seconds, each.end_seconds) for each in found(spans, scores, threshold=0.3)])
    for start, end in ((3, 6), (6.6, 10), (14, 17)):
        assert np.abs(ends - (start, end)).max(axis=1).min() < 0.3
    usual = SegmentSettings(threshold=0.3, background=("rest",))
    scale, by_head = np.zeros(len(spans), dtype=int), {"": scores.astype(np.float32)}
    whole = find_segments(spans, scale, by_head, LABELS, settings=usual, video_seconds=(0.0, 20.0))
    assert len(whole) == 2


@examples(deadline=None, max_examples=40)
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=20), stride=st.sampled_from([0.25, 0.5, 1.0]))
def test_a_score_is_the_height_inside_less_that_around(scores, stride) -> None:
    starts = np.arange(len(scores)) * stride
    spans, values = np.stack([starts, starts + 1], axis=1), np.array(scores)
    instants = np.arange(0, spans[-1, 1], 1e-3) + 5e-4
    line = np.interp(instants, spans.mean(axis=1), values)
    runs = contrast_runs(spans, values, threshold=0.0)
    if runs:  # the best is not lowered
        best = runs[0]
        inside = (best.start_seconds <= instants) & (instants < best.end_seconds)
        around = (best.start_seconds - 0.5 <= instants) & (instants < best.end_seconds + 0.5) & ~inside
        expected = line[inside].mean() - (line[around].mean() if around.any() else 0.0) if inside.any() else best.score
        assert best.score == pytest.approx(expected, abs=0.02)
    assert [run.score for run in runs] == sorted((run.score for run in runs), reverse=True)
    for run in runs:
        assert 0 <= run.start_seconds < run.end_seconds <= spans[-1, 1] + 1e-9
        assert run.score <= run.peak + 1e-9


def test_a_shot_of_one_label_is_one_segment_to_its_cuts() -> None:
    spans, scores = windows_of([(0, 1)], end=20)
    halves = (spans[:, 1] <= 9) | (spans[:, 0] >= 9)
    segments = found(spans[halves], scores[halves], cuts=(9.0,))
    assert brief(segments) == [(0.0, 9.0, "walk"), (9.0, 20.0, "walk")]
    assert [each.score for each in segments] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"smooth_seconds": 1.0}, "no use for smoothing"),
        ({"low_threshold": 0.2}, "no use for a low threshold"),
        ({"nms": "soft"}, "no use for soft suppression"),
        ({"nms_iou": 0.3}, "no use for an IoU of suppression"),
        ({"exclusive": True}, "two ways"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(settings, reason) -> None:
    with pytest.raises(UsageError, match=reason):
        SegmentSettings(contrast=True, **settings)


def test_verbs_and_nouns_and_two_window_lengths_are_refused() -> None:
    spans, scores = windows_of([(0, 1)], end=20)
    asked = {"settings": SegmentSettings(contrast=True), "video_seconds": (0.0, 20.0)}
    with pytest.raises(UsageError, match="windows of 2 lengths"):
        find_segments(spans, np.arange(len(spans)) % 2, {"": scores}, LABELS, **asked)
    heads = {"verb": ("take", "put", "cut"), "noun": ("cup", "pan", "lid")}
    with pytest.raises(UsageError, match="one kind of label"):
        find_segments(spans, np.zeros(len(spans), dtype=int), {"verb": scores, "noun": scores}, heads, **asked)
