"""Detection mAP against a slow version written from the rules, and against cases with an answer known by thought."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import TadaError
from tadacli.evaluation import detection_metrics
from tadacli.evaluation.detection_metrics import (
    ACTIVITYNET_TIOU,
    EPIC_TIOU,
    THUMOS_TIOU,
    ScoredSegments,
    TimedLabels,
    average_precision,
    precision_by_video,
)

TIOU = (0.25, 0.5, 0.75)  # exact in binary, so that an oracle in fractions sees the same ties

# Whole seconds, with empty and backwards spans, few videos and classes, and few distinct scores.
spans = st.tuples(st.integers(0, 8), st.integers(0, 8))
labels = st.tuples(st.integers(0, 2), st.integers(0, 2), spans)
true_rows = st.lists(labels, min_size=1, max_size=12)
given_rows = st.lists(st.tuples(labels, st.integers(0, 5)), max_size=16)


def columns(rows) -> tuple[np.ndarray, ...]:
    table = np.array([(video, label, *span) for video, label, span in rows], dtype=np.int64).reshape(-1, 4)
    return tuple(table.T)


def truth_of(rows) -> TimedLabels:
    return TimedLabels(*columns(rows))


def detections_of(rows) -> ScoredSegments:
    return ScoredSegments(*columns([row for row, _ in rows]), np.array([score for _, score in rows], dtype=float))


def exact_iou(a, b) -> Fraction | float:
    shared = max(min(a[1], b[1]) - max(a[0], b[0]), 0)
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return Fraction(shared, union) if union else math.inf


def slow_average_precision(true, found, label, threshold) -> Fraction:
    """Average precision of one class, one detection after the other, in exact fractions."""
    wanted = [(video, span) for video, other, span in true if other == label]
    ranked = sorted((row for row in found if row[0][1] == label), key=lambda row: -row[1])
    free = set(range(len(wanted)))
    right: list[bool] = []
    for (video, _, span), _ in ranked:
        overlaps = [(exact_iou(span, wanted[index][1]), index) for index in free if wanted[index][0] == video]
        best = max(overlaps, default=(-1, -1))
        right.append(best[0] >= threshold)
        if right[-1]:
            free.remove(best[1])
    precision = [Fraction(sum(right[: end + 1]), end + 1) for end in range(len(right))]
    found_at = [max(precision[place:]) for place, hit in enumerate(right) if hit]
    return sum(found_at, Fraction(0)) / len(wanted)


@settings(max_examples=300, deadline=None)
@given(true=true_rows, found=given_rows)
def test_average_precision_is_that_of_one_detection_after_the_other(true, found) -> None:
    metrics = average_precision(truth_of(true), detections_of(found), tiou=TIOU)
    assert metrics.classes == tuple(sorted({label for _, label, _ in true}))
    expected = [[float(slow_average_precision(true, found, label, t)) for t in TIOU] for label in metrics.classes]
    np.testing.assert_allclose(metrics.average_precision, expected, rtol=0, atol=1e-12)
    assert metrics.num_scored == sum(row[1] in metrics.classes for row, _ in found)


@settings(max_examples=200, deadline=None)
@given(true=true_rows, found=given_rows)
def test_the_precision_of_a_video_is_that_of_its_classes_within_it(true, found) -> None:
    by_video = precision_by_video(truth_of(true), detections_of(found), tiou=TIOU)
    assert [each.video for each in by_video] == sorted({video for video, _, _ in true})
    for each in by_video:
        own = [row for row in true if row[0] == each.video]
        given = [row for row in found if row[0][0] == each.video]
        classes = {label for _, label, _ in own}
        expected = [
            float(sum(slow_average_precision(own, given, label, threshold) for label in classes) / len(classes))
            for threshold in TIOU
        ]
        np.testing.assert_allclose(each.mean_average_precision, expected, rtol=0, atol=1e-12)
        assert each.num_truth == len(own)


@pytest.mark.parametrize("pairs", [1, 7])
def test_many_detections_in_one_video_and_small_blocks_change_nothing(pairs, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    true = [(int(video), 0, (int(start), int(start + 9))) for video, start in rng.integers(0, [2, 90], (40, 2))]
    found = [((int(v), 0, (int(s), int(s + n))), int(p)) for v, s, n, p in rng.integers(0, [3, 90, 14, 40], (300, 4))]
    monkeypatch.setattr(detection_metrics, "_PAIRS", pairs)
    metrics = average_precision(truth_of(true), detections_of(found), tiou=TIOU)
    expected = [float(slow_average_precision(true, found, 0, t)) for t in TIOU]
    np.testing.assert_allclose(metrics.mean_average_precision, expected, rtol=0, atol=1e-12)
    assert 0.05 < metrics.average < 0.95


@pytest.mark.parametrize("origin", [-50.0, 0.0, 1.7e9], ids=["before 0", "from 0", "clock time"])
def test_times_of_any_size_find_all_they_overlap(origin) -> None:
    rng = np.random.default_rng(5)

    def rows(number: int) -> list:
        starts, lengths = origin + rng.uniform(0, 60, number), rng.uniform(0.5, 20, number)
        codes = rng.integers(0, [4, 2], (number, 2)).tolist()
        return [(*code, (start, start + length)) for code, start, length in zip(codes, starts, lengths, strict=True)]

    true, found = rows(80), list(zip(rows(150), rng.permutation(150).tolist(), strict=True))
    table = [np.array([[*row[:2], *row[2]] for row in part]).T for part in (true, [row for row, _ in found])]
    codes = [part[:2].astype(np.int64) for part in table]
    metrics = average_precision(
        TimedLabels(*codes[0], *table[0][2:]),
        ScoredSegments(*codes[1], *table[1][2:], np.array([score for _, score in found])),
        tiou=TIOU,
    )
    exact = [(video, label, tuple(map(Fraction, span))) for video, label, span in true]
    exact_found = [((video, label, tuple(map(Fraction, span))), score) for (video, label, span), score in found]
    expected = [[float(slow_average_precision(exact, exact_found, label, t)) for t in TIOU] for label in (0, 1)]
    np.testing.assert_allclose(metrics.average_precision, expected, rtol=0, atol=1e-12)
    assert metrics.average > 0.05


@settings(max_examples=60, deadline=None)
@given(true=true_rows, found=given_rows, order=st.permutations(range(3)), cut=st.integers(0, 3))
def test_neither_the_order_of_videos_nor_shards_of_them_change_anything(true, found, order, cut) -> None:
    # Scores are made unique: only then do videos not compete through the order they are given in.
    found = [(row, score + place / 100) for place, (row, score) in enumerate(found)]
    whole = average_precision(truth_of(true), detections_of(found), tiou=TIOU)
    moved = average_precision(
        truth_of(sorted(true, key=lambda row: order[row[0]])),
        detections_of(sorted(found, key=lambda row: order[row[0][0]])),
        tiou=TIOU,
    )
    assert moved == whole
    shards = [[video for video in range(3) if (video < cut) == first] for first in (True, False)]
    joined = average_precision(
        truth_of([row for shard in shards for row in true if row[0] in shard]),
        detections_of([row for shard in shards for row in found if row[0][0] in shard]),
        tiou=TIOU,
    )
    assert joined == whole


def test_equal_scores_stand_in_the_order_given() -> None:
    true = truth_of([(0, 0, (0, 4))])
    right, wrong = ((0, 0, (0, 4)), 1), ((0, 0, (6, 8)), 1)
    assert average_precision(true, detections_of([right, wrong]), tiou=TIOU).average == 1.0
    assert average_precision(true, detections_of([wrong, right]), tiou=TIOU).average == 0.5


def test_a_second_detection_of_the_same_segment_is_wrong_unless_another_is_free() -> None:
    twice = detections_of([((0, 0, (0, 4)), 3), ((0, 0, (0, 4)), 2), ((0, 0, (8, 9)), 1)])
    apart = average_precision(truth_of([(0, 0, (0, 4)), (0, 0, (8, 9))]), twice, tiou=[0.5])
    assert apart.average_precision == ((pytest.approx((1 + 2 / 3) / 2),),)
    near = average_precision(truth_of([(0, 0, (0, 4)), (0, 0, (0, 5)), (0, 0, (8, 9))]), twice, tiou=[0.5])
    assert near.average_precision == ((1.0,),)


def test_a_long_segment_is_found_behind_short_ones_that_start_later() -> None:
    true = truth_of([(0, 0, (0, 100)), *[(0, 0, (start, start + 1)) for start in range(1, 20, 2)]])
    found = average_precision(true, detections_of([((0, 0, (40, 95)), 1)]), tiou=[0.5])
    assert found.average == pytest.approx(1 / 11)


@pytest.mark.parametrize(("end", "threshold"), [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)])
def test_an_overlap_that_equals_the_threshold_is_right(end: int, threshold: float) -> None:
    true, found = truth_of([(0, 0, (0, 4))]), detections_of([((0, 0, (0, end)), 1)])
    assert average_precision(true, found, tiou=[threshold]).average == 1.0
    assert average_precision(true, found, tiou=[threshold + 1e-9]).average == 0.0


def test_classes_and_videos_of_any_number_stay_apart() -> None:
    """Half of 600 classes in 300 videos are found; of each, a second detection in another video is wrong."""
    true = truth_of([(label % 300, label, (0, 4)) for label in range(600)])
    right = [((label % 300, label, (0, 4)), 2) for label in range(0, 600, 2)]
    wrong = [(((label + 1) % 300, label, (0, 4)), 3) for label in range(0, 600, 2)]
    metrics = average_precision(true, detections_of(right + wrong), tiou=[0.5])
    assert metrics.average_precision == ((0.5,), (0.0,)) * 300
    assert (metrics.num_scored, metrics.num_videos, metrics.num_videos_detected) == (600, 300, 300)


def test_an_undefined_overlap_is_right_wherever_it_lies_and_a_backwards_span_is_not() -> None:
    true = truth_of([(0, 0, (0, 4))])
    same_length_backwards = detections_of([((0, 0, (7, 3)), 1)])
    other_length_backwards = detections_of([((0, 0, (4, 1)), 1)])
    assert average_precision(true, same_length_backwards, tiou=TIOU).average == 1.0
    assert average_precision(true, other_length_backwards, tiou=TIOU).average == 0.0


def test_what_the_numbers_are_based_on_is_counted() -> None:
    true = truth_of([(0, 5, (0, 4)), (0, 5, (5, 6)), (1, 7, (0, 4)), (2, 7, (0, 4))])
    found = detections_of([((0, 5, (0, 4)), 1), ((1, 6, (0, 4)), 1), ((9, 7, (0, 4)), 1)])
    metrics = average_precision(true, found, tiou=[0.5])
    assert (metrics.classes, metrics.num_truth) == ((5, 7), (2, 2))
    assert (metrics.num_detections, metrics.num_scored) == (3, 2)
    assert (metrics.num_videos, metrics.num_videos_detected) == (3, 1)
    assert metrics.mean_average_precision == (0.25,)


def test_every_class_of_the_ground_truth_counts_alike_and_no_other_does() -> None:
    true = truth_of([(0, 2, (0, 4)), (0, 2, (5, 6)), (1, 2, (0, 4)), (0, 7, (0, 4)), (1, 9, (0, 4))])
    found = detections_of([((0, 2, (0, 4)), 3), ((0, 2, (5, 6)), 2), ((1, 2, (0, 4)), 1), ((0, 4, (0, 4)), 9)])
    metrics = average_precision(true, found, tiou=[0.5])
    assert (metrics.classes, metrics.num_truth) == ((2, 7, 9), (3, 1, 1))
    assert metrics.average_precision == ((1.0,), (0.0,), (0.0,))
    assert metrics.mean_average_precision == (pytest.approx(1 / 3),)


def test_a_detection_counts_for_its_verb_when_its_noun_is_unknown() -> None:
    true = truth_of([(0, 1, (0, 4))])
    found = detections_of([((0, 1, (0, 4)), 1)])
    other = replace(found, classes=np.array([2]))
    verb, noun = (average_precision(true, each, tiou=EPIC_TIOU) for each in (found, other))
    assert (verb.average, noun.average) == (1.0, 0.0)
    assert (verb.num_scored, noun.num_scored) == (1, 0)
    assert verb.tiou == EPIC_TIOU


def test_thresholds_are_those_of_the_benchmarks() -> None:
    np.testing.assert_allclose(EPIC_TIOU, [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(ACTIVITYNET_TIOU, [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    np.testing.assert_allclose(THUMOS_TIOU, [0.3, 0.4, 0.5, 0.6, 0.7])


def test_an_empty_ground_truth_is_an_error_and_no_detections_are_not() -> None:
    true, nothing = truth_of([(0, 0, (0, 4))]), detections_of([])
    assert average_precision(true, nothing, tiou=TIOU).mean_average_precision == (0.0, 0.0, 0.0)
    with pytest.raises(TadaError, match="no true segments"):
        average_precision(truth_of([]), nothing, tiou=TIOU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.array([np.nan])}, "scores must be numbers"),
        ({"starts_seconds": np.array([np.nan])}, "starts_seconds must be numbers"),
        ({"classes": np.array([-1])}, "classes must be integers from 0"),
        ({"videos": np.array([0.5])}, "videos must be integers from 0"),
        ({"ends_seconds": np.array([1.0, 2.0])}, "do not fit"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(detections_of([((0, 0, (0, 4)), 1)]), **change)


def test_infinite_scores_rank_at_the_ends() -> None:
    true = truth_of([(0, 0, (0, 4))])
    found = detections_of([((0, 0, (6, 8)), -math.inf), ((0, 0, (5, 6)), 3), ((0, 0, (0, 4)), math.inf)])
    assert average_precision(true, found, tiou=TIOU).average == 1.0


def test_a_true_segment_without_an_end_is_refused_and_a_detection_finds_nothing() -> None:
    true = truth_of([(0, 0, (0, 4))])
    endless = replace(detections_of([((0, 0, (0, 4)), 1)]), ends_seconds=np.array([math.inf]))
    assert average_precision(true, endless, tiou=TIOU).average == 0.0
    with pytest.raises(ValueError, match="finite"):
        average_precision(replace(true, ends_seconds=np.array([math.inf])), endless, tiou=TIOU)


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        average_precision(truth_of([(0, 0, (0, 4))]), detections_of([]), tiou=[0.0, 0.5])
