"""Kinds of errors of detections, against cases by hand and against mAP's own rule of what is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels
from tadacli.evaluation.error_kinds import ErrorCounts, ErrorKind, judge_detections
from tadacli.evaluation.taking import taken_segments

Row = tuple[int, int, float, float]


def truth_of(rows: list[Row]) -> TimedLabels:
    videos, classes, starts, ends = (np.array(column) for column in zip(*rows, strict=True))
    return TimedLabels(videos, classes, starts, ends)


def detections_of(rows: list[tuple[int, int, float, float, float]]) -> ScoredSegments:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return ScoredSegments(*columns)


def count_errors(
    truth: TimedLabels, detections: ScoredSegments, *, tiou: float, multiples: list[int]
) -> tuple[ErrorCounts, ...]:
    judged = judge_detections(truth, detections, tiou=tiou, multiple=max(multiples))
    return tuple(map(judged.counts, multiples))


TRUTH = [(0, 0, 0.0, 10.0), (0, 1, 20.0, 30.0), (1, 0, 0.0, 4.0)]


@pytest.mark.parametrize(
    ("video", "class_", "start", "end", "kind"),
    [
        (0, 0, 0.0, 9.0, ErrorKind.RIGHT),
        (0, 1, 0.0, 9.0, ErrorKind.WRONG_LABEL),
        (0, 0, 6.0, 16.0, ErrorKind.LOCALIZATION),  # 4 of 16 seconds
        (0, 1, 6.0, 16.0, ErrorKind.CONFUSION),
        (0, 0, 9.5, 16.0, ErrorKind.BACKGROUND),  # below a tenth
        (0, 0, 40.0, 50.0, ErrorKind.BACKGROUND),
        (2, 0, 0.0, 10.0, ErrorKind.BACKGROUND),  # a video without a true segment
        (0, 0, 9.0, 0.0, ErrorKind.BACKGROUND),  # backwards
    ],
)
def test_one_detection(video: int, class_: int, start: float, end: float, kind: ErrorKind) -> None:
    (counts,) = count_errors(
        truth_of(TRUTH), detections_of([(video, class_, start, end, 0.5)]), tiou=0.5, multiples=[1]
    )
    assert {each for each, number in counts.kinds.items() if number} == {kind}
    assert (counts.num_detections, counts.num_truth) == (1, 3)
    assert counts.num_missed == (2 if kind is ErrorKind.RIGHT else 3)


def test_the_better_one_is_right_and_the_other_double_and_few_count() -> None:
    rows = [(0, 0, 0.0, 10.0, 0.8), (0, 0, 0.0, 9.0, 0.9), (1, 0, 0.0, 4.0, 0.1), (0, 1, 50.0, 60.0, 0.2)]
    found = detections_of([*rows, (0, 7, 0.0, 10.0, 1.0)])
    few, many = count_errors(truth_of(TRUTH), found, tiou=0.5, multiples=[1, 10])
    # Of class 0, with two true segments, the first two count; class 7 is not in the truth.
    assert (few.kinds[ErrorKind.RIGHT], few.kinds[ErrorKind.DOUBLE], few.kinds[ErrorKind.BACKGROUND]) == (1, 1, 1)
    assert (few.num_detections, few.num_missed) == (3, 2)
    assert (many.kinds[ErrorKind.RIGHT], many.num_detections, many.num_missed) == (2, 4, 1)


spans = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 12), st.integers(1, 6))


def one_after_the_other(truth: TimedLabels, detections: ScoredSegments, tiou: float) -> list[int]:
    """The rule of `taken_segments` word for word."""
    left, taken = set(range(len(truth))), [-1] * len(detections)
    for row in sorted(range(len(detections)), key=lambda row: -detections.scores[row]):
        best, most = -1, 0.0
        for true in sorted(left):
            same = truth.videos[true] == detections.videos[row] and truth.classes[true] == detections.classes[row]
            start = max(truth.starts_seconds[true], detections.starts_seconds[row])
            end = min(truth.ends_seconds[true], detections.ends_seconds[row])
            lengths = [
                each.ends_seconds[at] - each.starts_seconds[at] for each, at in ((truth, true), (detections, row))
            ]
            iou = max(end - start, 0.0) / (sum(lengths) - max(end - start, 0.0))
            if same and iou >= tiou and iou > most:
                best, most = true, iou
        taken[row] = best
        left -= {best}
    return taken


@given(st.lists(spans, min_size=1, max_size=8), st.lists(st.tuples(spans, st.integers(0, 5)), min_size=1, max_size=20))
def test_each_takes_the_best_of_what_is_left(true: list[tuple], found: list[tuple]) -> None:
    truth = truth_of([(video, class_, float(start), float(start + length)) for video, class_, start, length in true])
    rows = [(v, c, float(start), float(start + length), score / 5) for (v, c, start, length), score in found]
    detections = detections_of(rows)
    (counts,) = count_errors(truth, detections, tiou=0.5, multiples=[1000])
    taken = taken_segments(truth, detections, tiou=0.5).tolist()
    assert taken == one_after_the_other(truth, detections, 0.5)
    known = np.isin(detections.classes, truth.classes)
    assert counts.kinds[ErrorKind.RIGHT] == sum(row >= 0 for row in taken)
    assert counts.num_detections == known.sum()
    assert counts.num_missed == len(truth) - counts.kinds[ErrorKind.RIGHT]
