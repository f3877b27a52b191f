"""What a head says over time, for drawing: as it says it, for the classes that matter, and never longer than a page."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tadacli.detection.curves import MAX_CURVE_CELLS
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_curves import head_curves
from tadacli.detection.head_decoding import Candidates, ScoredSpans, find_candidates
from tadacli.detection.long_sequences import MOST_AT_ONCE, STEPS_IN_PIECE
from tadacli.detection.settings import SegmentSettings
from tadacli.models.temporal_head import TemporalHead
from tadacli.results import Segment
from tadacli.specs import FeatureSteps, HeadSpec, Thresholds

LABELS = tuple(f"class {number}" for number in range(300))
HALF = SegmentSettings(threshold=0.5)


def spec(heads: dict[str, tuple[str, ...]], thresholds: Thresholds | None = None) -> HeadSpec:
    return HeadSpec(
        name="head",
        task="action",
        dataset="none",
        architecture="pyramid",
        arguments={"in_channels": 4},
        heads=heads,
        steps=FeatureSteps(4, 1.0),
        thresholds=thresholds or {},
    )


def grid(num_steps: int, *, unknown: tuple[int, int] = (0, 0), start_seconds: float = 10.0) -> FeatureGrid:
    """Steps of a second; each begins and ends at a whole one."""
    known = np.ones(num_steps, dtype=np.bool_)
    known[slice(*unknown)] = False
    values = np.random.default_rng(0).normal(size=(num_steps, 4)).astype(np.float32) * known[:, None]
    return FeatureGrid(values, known, start_seconds + 0.5, 1.0, start_seconds + num_steps, start_seconds)


def put_forward(*spans: tuple[float, float, int, float]) -> Candidates:
    table = np.array(spans, dtype=np.float64).reshape(-1, 4)
    return Candidates(ScoredSpans(table[:, :2], table[:, 2].astype(np.int64), table[:, 3]))


def segment(index: int, score: float = 0.9) -> Segment:
    return Segment(11.0, 12.0, LABELS[index], index, score)


def test_of_spans_the_best_that_holds_each_moment() -> None:
    spans = put_forward((12, 20, 1, 0.4), (14, 15, 1, 0.9), (14, 30, 1, 0.1), (10, 40, 0, 0.2))
    (wide, narrow) = head_curves(spans, grid(30), spec({"": LABELS[:2]}), HALF, segments=())
    assert (narrow.index, narrow.levels, wide.index, wide.label) == (0, (0.5,), 1, "class 1")
    middles = (wide.edges[:-1] + wide.edges[1:]) / 2
    expected = np.select([(middles > a) & (middles < b) for a, b in ((14, 15), (12, 20), (14, 30))], [0.9, 0.4, 0.1])
    off = wide.values != expected
    assert off.sum() <= 6  # of the cells in which a span begins or ends
    assert (wide.values >= expected).all()
    assert (narrow.values == 0.2).all()


def test_time_of_which_nothing_is_known_has_no_score() -> None:
    spans = put_forward((10, 40, 0, 0.7))
    (curve,) = head_curves(spans, grid(30, unknown=(5, 8)), spec({"": LABELS[:1]}), HALF, segments=())
    middles = (curve.edges[:-1] + curve.edges[1:]) / 2
    assert np.array_equal(np.isnan(curve.values), (middles > 15) & (middles < 18))


def test_classes_with_segments_come_first_and_a_few_that_were_close() -> None:
    spans = put_forward(*((10, 20, number, number / 300) for number in range(300)))
    chosen = head_curves(spans, grid(30), spec({"": LABELS}), HALF, segments=[segment(7), segment(3)])
    assert [each.index for each in chosen] == [3, 7, 299, 298, 297]
    settings = SegmentSettings(threshold=0.5, background=("class 299",))
    chosen = head_curves(spans, grid(30), spec({"": LABELS}), settings, segments=[segment(3)])
    assert [each.index for each in chosen] == [3, 298, 297, 296, 295]
    many = [segment(number, score=1 - number / 300) for number in range(300)]
    chosen = head_curves(spans, grid(30), spec({"": LABELS}), HALF, segments=many)
    assert [each.index for each in chosen] == list(range(200))
    assert not head_curves(put_forward(), grid(30), spec({"": LABELS}), HALF, segments=())


def test_an_action_goes_by_both_names_and_a_class_has_its_own_threshold() -> None:
    heads = {"verb": ("take", "put"), "noun": ("cup", "pan", "lid")}
    (curve,) = head_curves(put_forward((10, 20, 4, 0.6)), grid(30), spec(heads), HALF, segments=())
    assert (curve.label, curve.levels) == ("put pan", (0.5,))
    own = spec({"": LABELS[:2]}, {"": (0.25, 0.75)})
    spans = put_forward((10, 20, 1, 0.6), (10, 20, 0, 0.5))
    curves = head_curves(spans, grid(30), own, SegmentSettings(threshold="auto"), segments=())
    assert [(each.index, each.levels) for each in curves] == [(1, (0.75,)), (0, (0.25,))]


def temporal() -> TemporalHead:
    torch.manual_seed(2)
    head = TemporalHead(in_channels=4, num_classes=3, width=8, num_blocks=1)
    torch.nn.init.normal_(head.head.weight, 0.0, 1.0)
    return head.eval()


def scores_of(head: TemporalHead, steps: FeatureGrid) -> NDArray[np.float32]:
    with torch.inference_mode():
        values = torch.from_numpy(np.ascontiguousarray(steps.values.T)[None])
        found: NDArray[np.float32] = head.scores(values, torch.from_numpy(steps.known[None]))[0].numpy()
    return found


def pieces(steps: FeatureGrid) -> list[NDArray[np.float32]]:
    if len(steps) <= MOST_AT_ONCE:
        return [steps.values]
    return [steps.values[first : first + STEPS_IN_PIECE] for first in range(0, len(steps), STEPS_IN_PIECE)]


@pytest.mark.parametrize("num_steps", [30, MOST_AT_ONCE + 3000])
def test_of_steps_their_scores_and_of_a_long_video_the_highest_of_several(num_steps: int) -> None:
    head, steps = temporal(), grid(num_steps, unknown=(5, 25))
    expected = scores_of(head, steps)
    candidates = find_candidates(head, steps, pieces(steps))
    curves = head_curves(candidates, steps, spec({"": LABELS[:3]}), HALF, segments=[segment(1)])
    assert curves[0].index == 1
    assert sorted(each.index for each in curves) == [0, 1, 2]
    for each in curves:
        assert each.levels == ()  # a segment's score is not one of these
        assert len(each.values) == len(each.edges) - 1 <= MAX_CURVE_CELLS
        assert (each.edges[0], each.edges[-1]) == (10.0, 10.0 + num_steps)
        cells = np.searchsorted(each.edges, steps.seconds) - 1
        highest = np.full(len(each.values), np.nan)
        np.fmax.at(highest, cells[steps.known], expected[each.index, steps.known].astype(np.float64))
        np.testing.assert_allclose(each.values, highest, rtol=1e-4, atol=1e-5)
        assert np.isnan(each.values).any()
