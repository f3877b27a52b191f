"""Steps and points as scored spans: places between steps, fusion of verbs and nouns, and soft-NMS by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tadacli.detection.feature_grid import FeatureGrid, grid_of
from tadacli.detection.head_decoding import ScoredSpans, find_spans, spans_of_curves, spans_of_points, suppressed
from tadacli.models.pyramid import AtPoints, Pyramid, points


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def test_a_curve_is_cut_where_it_crosses_a_height() -> None:
    curves = np.zeros((2, 20))
    curves[1, 5:9] = 1.0
    found = spans_of_curves(curves, np.ones(20, dtype=np.bool_))
    assert set(found.classes.tolist()) == {1}
    for height in (0.25, 0.5, 0.75):
        assert any(np.allclose(span, (5 - (1 - height), 8 + (1 - height))) for span in found.seconds)
    assert found.scores.max() == pytest.approx(1.0)  # all of it inside, nothing around


def test_a_piece_reaches_half_a_step_beyond_the_grid_and_no_further() -> None:
    curves = np.ones((1, 6))
    found = spans_of_curves(curves, np.ones(6, dtype=np.bool_))
    assert (found.seconds.min(), found.seconds.max()) == (-0.5, 5.5)
    known = np.array([True, True, True, False, False, True])
    assert len(spans_of_curves(np.zeros((1, 6)), known)) == 0
    ends = spans_of_curves(curves, known).seconds[:, 1]
    assert not ((ends > 3) & (ends < 4)).any()


def test_points_say_spans_in_steps() -> None:
    at = points(16, 3)
    logits, distances = torch.full((len(at.places), 2), -20.0), torch.zeros(len(at.places), 2)
    row = int(torch.nonzero((at.strides == 2) & (at.places == 8))[0])
    logits[row, 1], distances[row] = logit(0.8), torch.tensor([1.5, 2.0])
    known = torch.ones(len(at.places), dtype=torch.bool)
    found = spans_of_points({"": AtPoints(logits, distances)}, known, num_levels=3)
    assert found.seconds.tolist() == [[5.0, 12.0]]
    assert (found.classes.tolist(), found.scores.tolist()) == ([1], [pytest.approx(0.8)])
    known[row] = False
    assert len(spans_of_points({"": AtPoints(logits, distances)}, known, num_levels=3)) == 0


@pytest.mark.parametrize("start", [5.0, 0.0, -2.0])
def test_spans_lie_within_the_video_whenever_it_starts(start: float) -> None:
    torch.manual_seed(0)
    head = Pyramid(in_channels=4, num_classes=2, width=16, num_levels=3).eval()
    with torch.no_grad():
        head.state_dict()["heads.0.distances.bias"].fill_(3.0)  # points of the first steps reach beyond the start
    values = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    centres, end = start + 0.25 + 0.5 * np.arange(32), start + 16.0
    grid = grid_of(values, centres, stride_seconds=0.5, duration_seconds=end, start_seconds=start)
    found = find_spans(head, grid)
    assert found.seconds.min() == start
    assert found.seconds.max() <= end


def test_a_verb_and_a_noun_at_one_point_are_an_action() -> None:
    logits = {"verb": torch.full((1, 2), -20.0), "noun": torch.full((1, 3), -20.0)}
    logits["verb"][0, 1], logits["noun"][0, 2] = logit(0.9), logit(0.4)
    distances = {"verb": torch.tensor([[1.0, 3.0]]), "noun": torch.tensor([[2.0, 5.0]])}
    said = {head: AtPoints(logits[head], distances[head]) for head in logits}
    found = spans_of_points(said, torch.ones(1, dtype=torch.bool), num_levels=1)
    best = int(np.argmax(found.scores))
    assert found.classes[best] == 1 * 3 + 2
    assert found.scores[best] == pytest.approx(math.sqrt(0.9 * 0.4))
    assert found.seconds[best].tolist() == [-1.5, 4.0]  # the mean of both
    assert found.pair_scores is not None
    assert found.pair_scores[best].tolist() == pytest.approx([0.9, 0.4])


def test_classes_with_distances_of_their_own_have_spans_of_their_own() -> None:
    logits = {"verb": torch.full((1, 2), logit(0.9)), "noun": torch.full((1, 3), logit(0.4))}
    distances = {"verb": 1 + torch.arange(4.0).view(1, 2, 2), "noun": 10 + torch.arange(6.0).view(1, 3, 2)}
    said = {head: AtPoints(logits[head], distances[head]) for head in logits}
    known = torch.ones(1, dtype=torch.bool)
    nouns = spans_of_points({"": said["noun"]}, known, num_levels=1)
    assert nouns.classes.tolist() == [0, 1, 2]
    assert nouns.seconds.tolist() == [[-10, 11], [-12, 13], [-14, 15]]
    actions = spans_of_points(said, known, num_levels=1)
    order = np.argsort(actions.classes)
    assert actions.classes[order].tolist() == [0, 1, 2, 3, 4, 5]
    assert actions.seconds[order].tolist() == [
        [-(verb + noun) / 2, (verb + noun) / 2 + 1] for verb in (1, 3) for noun in (10, 12, 14)
    ]


def test_only_spans_of_one_class_suppress_each_other() -> None:
    seconds = np.array([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0], [20.0, 30.0]])
    found = suppressed(
        ScoredSpans(seconds, np.array([0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6])), duration_seconds=40.0
    )
    assert (found.classes.tolist()) == [0, 1, 0, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6, 0.8 * math.exp(-1 / 0.4)])


def test_snippets_that_are_missing_are_unknown_steps() -> None:
    grid = grid_of(
        np.arange(6, dtype=np.float32).reshape(3, 2),
        np.array([0.25, 0.75, 2.25]),
        stride_seconds=0.5,
        duration_seconds=2.5,
    )
    assert grid.known.tolist() == [True, True, False, False, True]
    assert grid.values[4].tolist() == [4.0, 5.0]
    assert grid.steps_of(np.array([2.25])).tolist() == [4.0]
    assert grid.seconds_of(np.array([4.0])).tolist() == [2.25]


@pytest.mark.parametrize(
    ("centres", "stride", "problem"),
    [
        ([], 0.5, "make no grid"),
        ([1.0, 0.5], 0.5, "do not rise"),
        ([0.0, 1e12], 0.5, "do not fit a stride"),
        ([0.0, 0.01, 0.02, 0.03], 0.5, "closer to each other"),
    ],
)
def test_times_that_are_no_grid_are_refused(centres: list[float], stride: float, problem: str) -> None:
    values = np.zeros((len(centres), 2), dtype=np.float32)
    with pytest.raises(ValueError, match=problem):
        grid_of(values, np.array(centres), stride_seconds=stride, duration_seconds=2.0)


def test_a_grid_has_a_step_for_each_feature() -> None:
    with pytest.raises(ValueError, match="no steps of one grid"):
        FeatureGrid(np.zeros((3, 2), np.float32), np.ones(2, np.bool_), 0.0, 1.0, 3.0)
