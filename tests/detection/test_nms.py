"""Temporal IoU, NMS and soft-NMS against slow, obvious versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.detection.nms import nms, soft_nms, temporal_iou

NO_SPANS = np.zeros((0, 2))

ends = st.integers(0, 12)
# Whole seconds, reversed and empty spans among them, and few distinct scores, so that ties are common.
candidates = st.lists(st.tuples(ends, ends, st.integers(0, 6)), max_size=12)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[:, :2], table[:, 2] / 8


def iou_by_seconds(a, b) -> float:
    """IoU of spans with whole ends by counting the seconds in them."""
    in_a, in_b = set(range(int(a[0]), int(a[1]))), set(range(int(b[0]), int(b[1])))
    return len(in_a & in_b) / len(in_a | in_b) if in_a & in_b else 0.0


def nms_by_pairs(spans, scores, threshold) -> list[int]:
    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)):
        if all(iou_by_seconds(spans[row], spans[other]) <= threshold for other in kept):
            kept.append(row)
    return kept


def soft_nms_by_hand(spans, scores, thresholds, duration) -> list[tuple[int, float]]:
    left = dict(enumerate(scores))
    taken = []
    while left:
        best = min(left, key=lambda row: (-left[row], row))
        taken.append((best, left.pop(best)))
        width = (spans[best][1] - spans[best][0]) / duration
        limit = thresholds[0] + (thresholds[1] - thresholds[0]) * width
        for row in left:
            iou = iou_by_seconds(spans[best], spans[row])
            if iou > limit:
                left[row] *= math.exp(-iou * iou / 0.4)
    return taken


@settings(max_examples=60, deadline=None)
@given(a=candidates, b=candidates)
def test_iou_is_the_share_of_common_seconds(a, b) -> None:
    spans_a, spans_b = arrays(a)[0], arrays(b)[0]
    expected = np.array([[iou_by_seconds(x, y) for y in spans_b] for x in spans_a]).reshape(len(a), len(b))
    np.testing.assert_allclose(temporal_iou(spans_a, spans_b), expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=8))
def test_iou_of_any_times_is_a_symmetric_fraction(rows) -> None:
    spans = np.array(rows, dtype=np.float64).reshape(-1, 2)
    iou = temporal_iou(spans, spans)
    np.testing.assert_array_equal(iou, iou.T)
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_array_equal(np.diag(iou), (spans[:, 1] > spans[:, 0]).astype(float))


@settings(max_examples=60, deadline=None)
@given(rows=candidates, threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_nms_equals_comparing_every_pair(rows, threshold) -> None:
    spans, scores = arrays(rows)
    assert nms(spans, scores, iou_threshold=threshold).tolist() == nms_by_pairs(spans, scores, threshold)


@settings(max_examples=60, deadline=None)
@given(rows=candidates, threshold=st.floats(0, 1))
def test_nms_twice_is_nms_once(rows, threshold) -> None:
    spans, scores = arrays(rows)
    kept = nms(spans, scores, iou_threshold=threshold)
    again = nms(spans[kept], scores[kept], iou_threshold=threshold)
    assert again.tolist() == list(range(len(kept)))


@settings(max_examples=60, deadline=None)
@given(
    rows=candidates,
    thresholds=st.sampled_from([(0.0, 0.0), (0.25, 0.9), (0.5, 0.5)]),
    duration=st.sampled_from([12, 40]),
)
def test_soft_nms_equals_the_loop_written_out(rows, thresholds, duration) -> None:
    spans, scores = arrays(rows)
    order, lowered = soft_nms(spans, scores, duration_seconds=duration, iou_thresholds=thresholds)
    expected = soft_nms_by_hand(spans, scores, thresholds, duration)
    # Scores that differ only by the rounding of exp may change places: the order is compared by scores first.
    np.testing.assert_allclose(lowered, [score for _, score in expected], rtol=1e-12)
    assert sorted(order.tolist()) == list(range(len(rows)))
    if len(set(np.round(lowered, 9))) == len(rows):
        assert order.tolist() == [row for row, _ in expected]


@pytest.mark.parametrize(
    ("duration", "factor", "reason"),
    [
        (100, math.exp(-(0.5**2) / 0.4), "0.25 + 0.65 * 0.1 is below an IoU of 0.5"),
        (20, 1.0, "half of the video long: 0.25 + 0.65 * 0.5 is above 0.5"),
    ],
)
def test_the_published_threshold_grows_with_the_share_of_the_video(duration, factor, reason) -> None:
    spans, scores = np.array([[0.0, 10.0], [0.0, 5.0]]), np.array([0.9, 0.8])
    order, lowered = soft_nms(spans, scores, duration_seconds=duration)
    assert order.tolist() == [0, 1], reason
    assert lowered == pytest.approx([0.9, 0.8 * factor]), reason


def test_an_overlap_that_equals_its_bound_is_let_be() -> None:
    spans, scores = np.array([[0.0, 4.0], [0.0, 2.0]]), np.array([0.9, 0.8])
    at_the_bound = {"duration_seconds": 8.0, "iou_thresholds": (0.25, 0.75)}  # 0.25 + 0.5 * 4 / 8: the IoU
    assert soft_nms(spans, scores, **at_the_bound)[1].tolist() == [0.9, 0.8]
    assert soft_nms(spans, scores, **at_the_bound | {"duration_seconds": 8.01})[1][1] < 0.8
    assert nms(spans, scores, iou_threshold=0.5).tolist() == [0, 1]
    assert nms(spans, scores, iou_threshold=0.49).tolist() == [0]


def test_equal_scores_are_taken_in_the_order_given() -> None:
    spans, scores = np.array([[4.0, 6.0], [0.0, 2.0], [4.0, 6.0]]), np.array([0.5, 0.5, 0.5])
    assert nms(spans, scores, iou_threshold=0.5).tolist() == [0, 1]
    assert soft_nms(spans, scores, duration_seconds=100)[0].tolist() == [0, 1, 2]


def test_soft_nms_keeps_as_many_as_asked_and_the_last_one_too() -> None:
    spans, scores = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), np.array([0.1, 0.3, 0.2])
    assert soft_nms(spans, scores, duration_seconds=5, max_kept=2)[0].tolist() == [1, 2]
    assert soft_nms(spans, scores, duration_seconds=5)[0].tolist() == [1, 2, 0]


def test_nothing_stays_nothing_and_a_single_span_stays_as_it_is() -> None:
    assert nms(NO_SPANS, np.zeros(0), iou_threshold=0.5).tolist() == []
    assert soft_nms(NO_SPANS, np.zeros(0), duration_seconds=1)[0].tolist() == []
    order, lowered = soft_nms(np.array([[1.0, 2.0]]), np.array([0.7]), duration_seconds=9)
    assert (order.tolist(), lowered.tolist()) == ([0], [0.7])


def test_the_arguments_are_left_alone() -> None:
    spans, scores = np.array([[0.0, 2.0], [0.0, 2.0]]), np.array([0.5, 0.4])
    soft_nms(spans, scores, duration_seconds=100)
    assert scores.tolist() == [0.5, 0.4]
    with pytest.raises(ValueError, match="0 seconds"):
        soft_nms(spans, scores, duration_seconds=0)
