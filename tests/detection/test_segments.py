"""From window scores to segments: what a person sees of `tada detect`, without video or model."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tadacli.detection.nms import temporal_iou
from tadacli.detection.segments import class_curves, find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import TadaError, UsageError
from tadacli.results import Prediction, Segment

LABELS = {"": ("rest", "walk", "run")}
ACTIONS = {"verb": ("take", "put"), "noun": ("cup", "pan", "lid")}
END = 100.0

# Quarters of seconds and 64ths of scores: sums are exact, and ties and touching windows are common.
windows = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 12), st.integers(0, 1), *[st.integers(0, 64)] * 3), max_size=12
)
any_settings = st.builds(
    SegmentSettings,
    threshold=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    smooth_seconds=st.sampled_from([0.0, 1.5]),
    merge_gap_seconds=st.sampled_from([0.0, 1.0]),
    min_duration_seconds=st.sampled_from([0.0, 1.0]),
    nms=st.sampled_from(["hard", "soft", "none"]),
    topk=st.sampled_from([None, 3]),
    topk_per_class=st.sampled_from([None, 1]),
)


def arrays(rows, heads=LABELS):
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    spans = np.stack([table[:, 0], table[:, 0] + table[:, 1]], axis=1) / 4
    return spans, table[:, 2].astype(int), {"": (table[:, 3:] / 64).astype(np.float32)}, heads


def found(spans, scores, *, scale=None, heads=LABELS, video_seconds=(0.0, END), **settings) -> tuple[Segment, ...]:
    """Segments of rows of (start, end) with a row of scores each."""
    spans = np.array(spans, dtype=np.float64).reshape(-1, 2)
    scale = np.zeros(len(spans), dtype=int) if scale is None else np.array(scale)
    by_head = scores if isinstance(scores, dict) else {"": np.array(scores, dtype=np.float32).reshape(len(spans), -1)}
    return find_segments(
        spans, scale, by_head, heads, settings=SegmentSettings(**settings), video_seconds=video_seconds
    )


def brief(segments) -> list[tuple[float, float, str, float]]:
    return [(segment.start_seconds, segment.end_seconds, segment.label, segment.score) for segment in segments]


def in_a_row(*scores, seconds: float = 1.0):
    """Windows one after the other, and their scores for three classes: the rest goes to the first."""
    spans = [(number * seconds, (number + 1) * seconds) for number in range(len(scores))]
    return spans, [(1 - sum(pair), *pair) for pair in scores]


def test_segments_are_where_a_class_scores_high() -> None:
    spans, scores = in_a_row((0, 0), (0.5, 0), (0.75, 0), (0.25, 0.5), (0, 1), (0, 0))
    segments = found(spans, scores, background=("rest",), low_threshold=0.25)
    assert brief(segments) == [(1, 4, "walk", 0.5), (3, 5, "run", 0.75)]
    assert [segment.peak_score for segment in segments] == [0.75, 1.0]
    assert [segment.index for segment in segments] == [1, 2]
    assert {segment.action for segment in segments} == {None}


@examples(max_examples=60, deadline=None)
@given(
    start=st.floats(3, 8),
    seconds=st.floats(3, 8),
    height=st.sampled_from([0.5, 0.75, 1.0]),
    stride=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_a_segment_ends_where_windows_lie_half_in_what_they_show(start, seconds, height, stride) -> None:
    """Each window of 2 s scores by its share of something longer; as far as windows tell when that is."""
    starts = np.arange(0, 20, stride)
    spans = np.stack([starts, starts + 2], axis=1)
    shares = (np.minimum(spans[:, 1], start + seconds) - np.maximum(spans[:, 0], start)).clip(0) / 2
    scores = height * np.stack([1 - shares, shares, 0 * shares], axis=1)
    (segment,) = found(spans, scores, background=("rest",), threshold=0.5 * height)
    assert (segment.start_seconds, segment.end_seconds) == pytest.approx((start, start + seconds), abs=0.3 * stride)
    (outer,) = found(spans, scores, background=("rest",), threshold=0.5 * height, low_threshold=0.01)
    assert outer.start_seconds < start - 0.5
    assert outer.end_seconds > start + seconds + 0.5


def test_a_segment_goes_to_the_ends_of_the_video_and_of_a_gap() -> None:
    segments = found([(0, 2), (1, 3), (5, 7), (6, 8)], [(0, 1, 0)] * 4)
    assert brief(segments) == [(0, 3, "walk", 1), (5, 8, "walk", 1)]


def at_instants(spans, scores, label: int, *, threshold: float, step: float = 0.125) -> set[float]:
    """Instants that a segment covers, found by walking along the video."""
    instants = np.arange(0, 15, step) + step / 2
    values = []
    for instant in instants:
        there = (spans[:, 0] <= instant) & (instant < spans[:, 1])
        values.append(scores[there, label].astype(np.float64).mean() if there.any() else -1.0)
    covered: set[float] = set()
    stretch: list[int] = []
    for number, value in enumerate([*values, -1.0]):
        if value >= threshold / 2:
            stretch.append(number)
            continue
        if stretch and max(values[member] for member in stretch) >= threshold:
            covered.update(float(instants[member]) for member in stretch)
        stretch = []
    return covered


@examples(max_examples=60, deadline=None)
@given(rows=windows, threshold=st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_segments_of_one_scale_are_the_instants_found_by_walking_along(rows, threshold) -> None:
    spans, scale, scores, heads = arrays(rows)
    segments = find_segments(
        spans,
        scale * 0,
        scores,
        heads,
        settings=SegmentSettings(threshold=threshold, low_threshold=threshold / 2),
        video_seconds=(0, END),
    )
    instants = np.arange(0, 15, 0.125) + 0.0625
    for label in range(3):
        inside = {
            float(instant)
            for segment in segments
            for instant in instants
            if segment.index == label and segment.start_seconds <= instant < segment.end_seconds
        }
        assert inside == at_instants(spans, scores[""], label, threshold=threshold)


@examples(max_examples=60, deadline=None)
@given(rows=windows, settings=any_settings)
def test_whatever_the_settings_the_result_keeps_its_promises(rows, settings) -> None:
    spans, scale, scores, heads = arrays(rows)
    segments = find_segments(spans, scale, scores, heads, settings=settings, video_seconds=(0, END))
    places = [(segment.start_seconds, segment.end_seconds, segment.index) for segment in segments]
    assert places == sorted(places)
    assert len(segments) <= (settings.topk or len(segments))
    for segment in segments:
        assert segment.label == heads[""][segment.index]
        assert segment.end_seconds - segment.start_seconds >= settings.min_duration_seconds - 1e-6
        assert settings.levels[1] <= segment.score <= 1
        assert segment.score == float(f"{segment.score:.7g}")
    for label in range(3):
        same = np.array([place[:2] for place in places if place[2] == label]).reshape(-1, 2)
        assert len(same) <= (settings.topk_per_class or len(same))
        if settings.nms == "hard":
            assert (np.triu(temporal_iou(same, same), 1) <= settings.nms_iou).all()


@examples(max_examples=60, deadline=None)
@given(rows=windows, settings=any_settings)
def test_at_one_scale_segments_of_a_class_are_disjoint(rows, settings) -> None:
    spans, scale, scores, heads = arrays(rows)
    segments = find_segments(spans, scale * 0, scores, heads, settings=settings, video_seconds=(0, END))
    for label in range(3):
        same = [segment for segment in segments if segment.index == label]
        assert all(a.end_seconds <= b.start_seconds for a, b in pairwise(same))


@examples(max_examples=60, deadline=None)
@given(rows=windows, settings=any_settings, shift=st.integers(-64, 64))
def test_shifting_the_video_shifts_the_segments(rows, settings, shift) -> None:
    """To the last digit where they end with windows; where scores cross half their height rounding may differ."""
    settings = replace(settings, low_threshold=settings.levels[1])
    spans, scale, scores, heads = arrays(rows)
    here = find_segments(spans, scale, scores, heads, settings=settings, video_seconds=(0, END))
    there = find_segments(spans + shift, scale, scores, heads, settings=settings, video_seconds=(shift, shift + END))
    moved = tuple(
        replace(segment, start_seconds=segment.start_seconds + shift, end_seconds=segment.end_seconds + shift)
        for segment in here
    )
    assert there == moved


@examples(max_examples=60, deadline=None)
@given(rows=windows, settings=any_settings)
def test_a_class_is_found_alike_whatever_else_is_looked_for(rows, settings) -> None:
    spans, scale, scores, heads = arrays(rows)
    settings = replace(settings, topk=None)
    everything, walks = (
        find_segments(spans, scale, scores, heads, settings=chosen, video_seconds=(0, END))
        for chosen in (settings, replace(settings, labels=("walk",)))
    )
    assert walks == tuple(segment for segment in everything if segment.label == "walk")
    others = find_segments(
        spans, scale, scores, heads, settings=replace(settings, background=("walk",)), video_seconds=(0, END)
    )
    assert others == tuple(segment for segment in everything if segment.label != "walk")


def test_nothing_found_is_an_empty_result() -> None:
    spans, scores = in_a_row((0.25, 0.25), (0.25, 0.25))
    assert found(spans, scores, threshold=0.9) == ()
    assert found([], {"": np.zeros((0, 3), dtype=np.float32)}) == ()
    assert found([], {"verb": np.zeros((0, 2)), "noun": np.zeros((0, 3))}, heads=ACTIONS) == ()


def test_one_window_can_be_a_segment() -> None:
    assert brief(found([(2.5, 4.5)], [(0, 0.75, 0.25)])) == [(2.5, 4.5, "walk", 0.75)]


def test_a_gap_between_windows_is_never_part_of_a_segment() -> None:
    segments = found([(0, 2), (1, 3), (4, 6)], [(0, 1, 0)] * 3, merge_gap_seconds=10, smooth_seconds=10, threshold=0.1)
    assert brief(segments) == [(0, 3, "walk", 1), (4, 6, "walk", 1)]


def test_what_lies_outside_of_the_video_is_cut_off_and_does_not_count() -> None:
    spans, scores = [(-1, 1), (1, 3), (3, 5), (7, 9)], [(0, 1, 0), (0, 1, 0), (0, 0.5, 0), (0, 1, 0)]
    segments = found(spans, scores, video_seconds=(0.5, 4.0))
    assert brief(segments) == [(0.5, 4, "walk", float(f"{3 / 3.5:.7g}"))]


def test_a_score_meets_the_threshold_that_it_equals_as_float32() -> None:
    assert float(np.float32(0.7)) < 0.7
    assert brief(found([(0, 1)], [(0, 0.7, 0.3)], threshold=0.7)) == [(0, 1, "walk", 0.7)]
    assert found([(0, 1)], [(0, 0.6999999, 0.3)], threshold=0.7) == ()


def test_a_score_that_is_computed_in_double_precision_meets_the_threshold_that_it_equals() -> None:
    assert float(np.float32(0.1)) > 0.1
    scores = {"": np.array([[0.9, 0.1, 0.0]])}
    assert brief(found([(0, 1)], scores, threshold=0.1, labels=("walk",))) == [(0, 1, "walk", 0.1)]


def test_a_score_holds_the_low_threshold_that_it_equals_as_float32() -> None:
    assert float(np.float32(0.35)) < 0.35
    spans, scores = in_a_row((0.9, 0), (0.35, 0), (0.34, 0))
    assert [place[:2] for place in brief(found(spans, scores, low_threshold=0.35, labels=("walk",)))] == [(0, 2)]


def test_a_segment_that_none_competes_with_stays_whatever_its_digits() -> None:
    """Seven digits of its score may be a little below the threshold that it meets."""
    threshold = 0.12345674
    for suppression in ("none", "hard", "soft"):
        segments = found([(0, 1)], [(0, threshold, 0)], threshold=threshold, low_threshold=threshold, nms=suppression)
        assert brief(segments) == [(0, 1, "walk", 0.1234567)]


def test_a_window_that_reaches_into_the_video_by_rounding_alone_is_none() -> None:
    spans, scores = [(0, 2), (2, 4), (4 - 5e-7, 6)], [(0, 0.75, 0), (0, 0.75, 0), (0, 1, 0)]
    assert brief(found(spans, scores, video_seconds=(0.0, 4.0))) == [(0, 4, "walk", 0.75)]
    spans, scores = [(-2, 5e-7), (0, 2)], [(0, 1, 0), (0, 0.75, 0)]
    assert brief(found(spans, scores, video_seconds=(0.0, 4.0))) == [(0, 2, "walk", 0.75)]


def test_of_many_classes_none_is_left_out() -> None:
    labels = tuple(f"label{number}" for number in range(300))
    segments = found([(number, number + 1) for number in range(300)], np.eye(300), heads={"": labels})
    assert [(segment.start_seconds, segment.index) for segment in segments if segment.end_seconds <= END] == [
        (number, number) for number in range(100)
    ]
    segments = found([(0, 1)], np.ones((1, 300)), heads={"": labels})
    assert [segment.index for segment in segments] == list(range(300))


def test_scales_are_thresholded_apart_and_suppressed_together() -> None:
    # The short windows see the class for 2 s; a long one sees it for 4 s and shares half of that.
    spans, scale = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (4, 8)], [0, 0, 0, 0, 1, 1]
    scores = [(0, value, 0) for value in (0.75, 0.875, 0, 0, 0.5, 0)]
    short, long = (0, 2, "walk", 0.8125), (0, 4, "walk", 0.5)
    assert brief(found(spans, scores, scale=scale, nms="none")) == [short, long]
    assert brief(found(spans, scores, scale=scale, nms_iou=0.5)) == [short, long]
    assert brief(found(spans, scores, scale=scale, nms_iou=0.4)) == [short]
    lowered = (0, 4, "walk", float(f"{0.5 * math.exp(-0.25 / 0.4):.7g}"))
    assert brief(found(spans, scores, scale=scale, nms="soft")) == [short, lowered]
    assert brief(found(spans, scores, scale=scale, nms="soft", low_threshold=0.3)) == [short]
    # Of a video of 4 s, the short segment is half: published soft-NMS allows an IoU up to 0.575 there.
    half = {"scale": scale, "video_seconds": (0.0, 4.0)}
    assert brief(found(spans, scores, nms="soft", **half)) == [short, long]
    # What counts is the length of the video, wherever its times begin.
    later = {"scale": scale, "video_seconds": (100.0, 104.0)}
    segments = brief(found([(start + 100, end + 100) for start, end in spans], scores, nms="soft", **later))
    assert [score for *_, score in segments] == [short[3], long[3]]


def test_of_equal_segments_that_claim_the_same_time_the_earlier_stays_whatever_its_scale() -> None:
    settings = {"scale": [0, 1], "nms_iou": 0.3}
    assert brief(found([(1, 3), (0, 2)], [(0, 0.5, 0)] * 2, **settings)) == [(0, 2, "walk", 0.5)]
    assert brief(found([(0, 2), (1, 3)], [(0, 0.5, 0)] * 2, **settings)) == [(0, 2, "walk", 0.5)]


def test_classes_do_not_suppress_each_other() -> None:
    segments = found([(0, 2)], [(0, 0.5, 0.5)])
    assert brief(segments) == [(0, 2, "walk", 0.5), (0, 2, "run", 0.5)]


def test_the_best_are_kept_and_of_equal_ones_the_earlier() -> None:
    spans, scores = in_a_row((0.5, 0), (0, 0.75), (0.5, 0), (0, 0.5), (0.5, 0))
    settings = {"background": ("rest",), "low_threshold": 0.4}
    assert brief(found(spans, scores, topk=2, **settings)) == [(0, 1, "walk", 0.5), (1, 2, "run", 0.75)]
    assert brief(found(spans, scores, topk_per_class=1, **settings)) == [(0, 1, "walk", 0.5), (1, 2, "run", 0.75)]
    assert len(found(spans, scores, topk_per_class=2, **settings)) == 4
    assert brief(found(spans, scores, topk_per_class=2, topk=1, **settings)) == [(1, 2, "run", 0.75)]
    best = found(*in_a_row((0.5, 0), (0, 0), (0.75, 0)), nms="none", topk_per_class=1, **settings)
    assert brief(best) == [(2, 3, "walk", 0.75)]
    best = found(*in_a_row((0, 0.5), (0, 0), (0.5, 0)), topk=1, **settings)
    assert brief(best) == [(0, 1, "run", 0.5)]


VERB = [(0.25, 0.75), (0.0, 1.0), (1.0, 0.0)]
NOUN = [(0.0, 0.25, 0.75), (0.0, 0.4375, 0.5625), (0.75, 0.25, 0.0)]


def two_heads(verb, noun, **settings) -> tuple[Segment, ...]:
    spans = [(number, number + 1) for number in range(len(verb))]
    scores = {"verb": np.array(verb, dtype=np.float32), "noun": np.array(noun, dtype=np.float32)}
    return found(spans, scores, heads=ACTIONS, **settings)


def test_actions_have_a_verb_and_a_noun_with_scores_of_their_own() -> None:
    segments = two_heads(VERB, NOUN, low_threshold=0.25, threshold=0.4375)
    peaks = [segment.peak_score for segment in segments]
    assert peaks == [0.5625, 0.4375, 0.75]
    assert tuple(replace(segment, peak_score=None) for segment in segments) == (
        Segment(0, 2, "put lid", 5, 0.5625, verb=Prediction("put", 1, 0.875), noun=Prediction("lid", 2, 0.65625)),
        Segment(1, 2, "put pan", 4, 0.4375, verb=Prediction("put", 1, 1.0), noun=Prediction("pan", 1, 0.4375)),
        Segment(2, 3, "take cup", 0, 0.75, verb=Prediction("take", 0, 1.0), noun=Prediction("cup", 0, 0.75)),
    )
    assert [segment.action for segment in segments] == ["1,2", "1,1", "0,0"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"labels": ("put",)}, ["put lid", "put pan"]),
        ({"labels": ("pan", "take cup")}, ["put pan", "take cup"]),
        ({"background": ("lid",)}, ["put pan", "take cup"]),
        ({"labels": ("put",), "background": ("put pan",)}, ["put lid"]),
        ({"max_pairs": 1}, ["put lid", "take cup"]),
    ],
)
def test_actions_are_chosen_by_any_of_their_names(settings, expected) -> None:
    segments = two_heads(VERB, NOUN, **settings)
    assert sorted({segment.label for segment in segments}) == expected


@examples(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_windows=st.integers(1, 8),
    threshold=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_actions_are_the_segments_of_a_model_with_the_products_as_its_classes(seed, num_windows, threshold) -> None:
    rng = np.random.default_rng(seed)
    verb, noun = rng.integers(0, 9, (num_windows, 2)) / 8, rng.integers(0, 9, (num_windows, 3)) / 8
    products = (verb[:, :, None] * noun[:, None, :]).reshape(num_windows, 6)
    heads = {"": tuple(f"{v} {n}" for v in ACTIONS["verb"] for n in ACTIONS["noun"])}
    spans = [(start, start + 2) for start in range(num_windows)]
    actions = found(spans, {"verb": verb, "noun": noun}, heads=ACTIONS, threshold=threshold, max_pairs=6)
    plain = found(spans, products, heads=heads, threshold=threshold)
    assert [replace(action, verb=None, noun=None) for action in actions] == list(plain)
    for action in actions:
        assert (action.verb.label + " " + action.noun.label, action.verb.index * 3 + action.noun.index) == (
            action.label,
            action.index,
        )


@examples(max_examples=60, deadline=None)
@given(rows=windows, settings=any_settings)
def test_curves_show_what_was_thresholded(rows, settings) -> None:
    spans, scale, scores, heads = arrays(rows)
    asked = {"settings": settings, "video_seconds": (0.0, END)}
    segments = find_segments(spans, scale, scores, heads, **asked)
    curves = class_curves(spans, scale, scores, heads, segments=segments, num_classes=2, **asked)
    with_segments = sorted({segment.index for segment in segments})
    assert list(dict.fromkeys(curve.index for curve in curves))[: len(with_segments)] == with_segments
    for segment in segments if settings.merge_gap_seconds == 0 else ():
        fitting = [
            curve.values[(middles >= segment.start_seconds - 1e-9) & (middles <= segment.end_seconds + 1e-9)]
            for curve in curves
            if curve.index == segment.index
            for middles in [(curve.edges[:-1] + curve.edges[1:]) / 2]
        ]
        assert any(
            values.size and values.max() >= settings.levels[0] and (values >= settings.levels[1]).all()
            for values in fitting
        )


def test_curves_of_the_best_classes_fill_up_the_report() -> None:
    spans, scores = in_a_row((0.25, 0.125), (0.125, 0.125), (0.125, 0.5))
    settings = SegmentSettings(background=("rest",))
    arguments = np.array(spans), np.zeros(3, dtype=int), {"": np.array(scores)}, LABELS
    segments = find_segments(*arguments, settings=settings, video_seconds=(0, 3))
    asked = {"settings": settings, "video_seconds": (0.0, 3.0), "segments": segments}
    assert [curve.label for curve in class_curves(*arguments, num_classes=1, **asked)] == ["run"]
    run, walk = class_curves(*arguments, num_classes=9, **asked)
    assert (walk.label, walk.index, walk.scale) == ("walk", 1, 0)
    assert (run.edges.tolist(), run.values.tolist()) == ([0, 1, 2, 3], [0.125, 0.125, 0.5])
    assert run.levels == walk.levels == pytest.approx(settings.levels)


def test_curves_show_no_action_that_was_not_put_forward() -> None:
    scores = {"verb": np.array(VERB, dtype=np.float32), "noun": np.array(NOUN, dtype=np.float32)}
    arguments = np.array([(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]), np.zeros(3, dtype=int), scores, ACTIONS
    asked = {"settings": SegmentSettings(max_pairs=1), "video_seconds": (0.0, 3.0), "segments": ()}
    curves = class_curves(*arguments, num_classes=6, **asked)
    assert [curve.label for curve in curves] == ["take cup", "put lid"]


def test_curves_carry_the_thresholds_of_their_class() -> None:
    spans, scores = in_a_row((0.25, 0.125), (0.125, 0.5))
    limits = {"": [0.5, 0.25, 0.75][: len(LABELS[""])]}
    curves = class_curves(
        np.array(spans),
        np.zeros(2, dtype=int),
        {"": np.array(scores)},
        LABELS,
        settings=SegmentSettings(threshold="auto"),
        video_seconds=(0.0, 2.0),
        segments=(),
        thresholds=limits,
    )
    assert {curve.index: curve.levels for curve in curves} == {
        index: (limits[""][index], limits[""][index] / 2) for index in (curve.index for curve in curves)
    }
    assert len(curves) == len(LABELS[""])


# --- thresholds of each class -----------------------------------------------------------------------


@examples(max_examples=60, deadline=None)
@given(rows=windows, settings=any_settings, limits=st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 3))
def test_with_thresholds_of_its_own_each_class_has_the_segments_that_its_threshold_gives(
    rows, settings: SegmentSettings, limits: tuple[float, ...]
) -> None:
    spans, scale, scores, heads = arrays(rows)
    asked = replace(settings, topk=None)
    expected = [
        segment
        for index, limit in enumerate(limits)
        for segment in find_segments(
            spans, scale, scores, heads, settings=replace(asked, threshold=limit), video_seconds=(0, END)
        )
        if segment.index == index
    ]
    together = find_segments(
        spans,
        scale,
        scores,
        heads,
        settings=replace(asked, threshold="auto"),
        video_seconds=(0, END),
        thresholds={"": limits},
    )
    assert sorted(together, key=repr) == sorted(expected, key=repr)


def test_the_threshold_of_an_action_is_the_product_of_its_verbs_and_its_nouns() -> None:
    spans = np.array([[0.0, 1.0], [1.0, 2.0]])
    scores = {"verb": np.array([[0.5, 0.5]] * 2), "noun": np.array([[0.5, 0.25, 0.25]] * 2)}
    settings = SegmentSettings(threshold="auto")
    limits = {"verb": (0.5, 0.75), "noun": (0.5, 0.5, 0.25)}  # products 0.25 0.25 0.125, 0.375 0.375 0.1875
    asked = {"settings": settings, "video_seconds": (0.0, 2.0)}
    segments = find_segments(spans, np.zeros(2, dtype=int), scores, ACTIONS, thresholds=limits, **asked)
    assert brief(segments) == [(0, 2, "take cup", 0.25), (0, 2, "take lid", 0.125)]
    with pytest.raises(ValueError, match="thresholds of every class"):
        find_segments(spans, np.zeros(2, dtype=int), scores, ACTIONS, **asked)
    too_few = {"verb": (0.5, 0.5), "noun": (0.5, 0.5)}
    with pytest.raises(ValueError, match="4 thresholds do not fit 6"):
        find_segments(spans, np.zeros(2, dtype=int), scores, ACTIONS, thresholds=too_few, **asked)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold 1.5 is not between"),
        ({"threshold": math.nan}, "threshold nan is not between"),
        ({"threshold": 0.4, "low_threshold": 0.5}, "0.5 is above the threshold 0.4"),
        ({"low_threshold": -0.1}, "low threshold -0.1"),
        ({"threshold": "auto", "low_threshold": 0.1}, "0.1 does not go with"),
        ({"threshold": "auto", "nms_iou": 2}, "IoU of NMS 2"),
        ({"smooth_seconds": -1}, "smoothing of -1 seconds"),
        ({"merge_gap_seconds": math.inf}, "gap to merge across of inf"),
        ({"min_duration_seconds": -2.0}, "shortest segment of -2.0"),
        ({"nms": "loud"}, "unknown suppression 'loud'"),
        ({"nms_iou": 2}, "IoU of NMS 2"),
        ({"topk": 0}, "top 0"),
        ({"topk_per_class": -1}, "top per class -1"),
        ({"max_pairs": 0}, "pairs 0"),
        ({"labels": ("walk",), "background": ("walk",)}, "both wanted and background"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_with_a_hint(settings, message) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        SegmentSettings(**settings)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("heads", "label", "hint"),
    [
        (LABELS, "wolk", "did you mean 'walk'"),
        (LABELS, "zzz", "its labels are rest, walk, run"),
        (ACTIONS, "take cap", "did you mean 'take cup'"),
        (ACTIONS, "cups", "did you mean 'cup'"),
    ],
)
@pytest.mark.parametrize("kind", ["labels", "background"])
def test_unknown_labels_are_refused_with_a_suggestion(heads, label, hint, kind) -> None:
    settings = SegmentSettings(**{kind: (label,)})
    with pytest.raises(UsageError, match=f"no label '{label}'") as raised:
        settings.check_labels(heads)
    assert hint in raised.value.hint
    SegmentSettings(**{kind: ("run",)}).check_labels(LABELS)


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(TadaError, match="not numbers"):
        found([(0, 1)], [(0, math.nan, 0)])
    with pytest.raises(ValueError, match="from 5 to 5 seconds"):
        found([(0, 1)], [(0, 1, 0)], video_seconds=(5, 5))
