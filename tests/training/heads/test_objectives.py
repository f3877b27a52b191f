"""What a head is to say: steps of a segment, points near its middle on the level of its length, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tadacli.models.pyramid import AtPoints, points
from tadacli.training.heads.objectives import PointObjective, StepObjective, assigned, diou_loss, focal_loss
from tadacli.training.heads.sequences import FeatureWindow


def window(
    num_steps: int = 16,
    spans: list[tuple[float, float]] | None = None,
    classes: list[int] | None = None,
    ignored: list[tuple[float, float]] | None = None,
    missing: tuple[int, ...] = (),
) -> FeatureWindow:
    known = np.ones(num_steps, dtype=np.bool_)
    known[list(missing)] = False
    number = len(spans or [])
    return FeatureWindow(
        np.zeros((2, num_steps), dtype=np.float32),
        known,
        np.array(spans or [], dtype=np.float64).reshape(-1, 2),
        np.ones(number),
        {"": np.array(classes or [], dtype=np.int64)},
        np.array(ignored or [], dtype=np.float64).reshape(-1, 2),
    )


def test_steps_of_a_segment_are_its_class() -> None:
    targets = StepObjective(3, exclusive=True).targets(window(8, [(1.5, 4.5), (6.1, 6.4)], [2, 0]), 10)
    assert targets["classes"][2].nonzero().flatten().tolist() == [2, 3, 4]
    assert targets["classes"][0].nonzero().flatten().tolist() == [6]  # shorter than a step
    assert targets["classes"][1].sum() == 0
    assert targets["weights"].tolist() == [1] * 8 + [0] * 2


def test_steps_that_are_not_known_do_not_count() -> None:
    targets = StepObjective(1, exclusive=True).targets(window(8, [(5, 7)], [0], ignored=[(4, 6)], missing=(1,)), 8)
    assert targets["weights"].tolist() == [1, 0, 1, 1, 0, 1, 1, 1]  # what is labelled is known, even within


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_right_steps_cost_little_and_what_does_not_count_nothing(exclusive: bool) -> None:
    objective = StepObjective(2, exclusive=exclusive, normaliser=8.0)
    targets = {name: each[None] for name, each in objective.targets(window(8, [(2, 5)], [1], missing=(7,)), 8).items()}
    rows = torch.full((1, 2 + exclusive, 8), -20.0)
    rows[0, 1, 2:5] = 20.0
    if exclusive:
        rows[0, 2, [0, 1, 5, 6, 7]] = 20.0
    assert objective.loss(rows, targets) < 1e-6
    rows[0, :, 7] = -rows[0, :, 7]
    assert objective.loss(rows, targets) < 1e-6
    rows[0, :, 3] = -rows[0, :, 3]
    assert objective.loss(rows, targets) == pytest.approx((40 + (exclusive and np.log(2))) / 8, rel=1e-4)


def plainly_assigned(
    spans: list[tuple[float, float]], num_steps: int, num_levels: int
) -> list[tuple[list[int], float]]:
    """The published rule, point by point: the spans it takes, and the distance to the start in strides."""
    found = []
    for level in range(num_levels):
        stride = 2**level
        least = 0 if level == 0 else stride
        most = float("inf") if level == num_levels - 1 else 4 * stride
        for place in range(0, num_steps, stride):
            fitting = []
            for number, (start, end) in enumerate(spans):
                middle = (start + end) / 2
                near = max(middle - 1.5 * stride, start) < place < min(middle + 1.5 * stride, end)
                if near and least <= max(place - start, end - place) <= most:
                    fitting.append((end - start, number))
            shortest = min(fitting, default=(0, 0))[0]
            own = [number for length, number in fitting if length <= shortest + 1e-3]
            found.append((own, (place - spans[own[0]][0]) / stride if own else 0.0))
    return found


def test_points_take_spans_as_published() -> None:
    rng = np.random.default_rng(0)
    taken = 0
    for _ in range(20):
        starts = rng.uniform(0, 50, 6)
        spans = [(float(s), float(s + length)) for s, length in zip(starts, rng.uniform(0.5, 40, 6), strict=True)]
        spans.append(spans[0])  # two classes at one time
        owners, distances = assigned(torch.tensor(spans, dtype=torch.float64), points(64, 4))
        expected = plainly_assigned(spans, 64, 4)
        assert [row.nonzero().flatten().tolist() for row in owners] == [own for own, _ in expected]
        assert distances[:, 0].tolist() == pytest.approx([distance for _, distance in expected], abs=1e-4)
        taken += int(owners.any(dim=1).sum())
    assert taken > 100


def test_a_point_of_two_classes_is_both() -> None:
    targets = PointObjective({"": 3}, 3).targets(window(16, [(4, 8), (4, 8)], [0, 2]), 16)
    both = targets[".classes"].sum(dim=1) == 2
    assert both.any()
    assert targets[".classes"][both].tolist() == [[1, 0, 1]] * int(both.sum())


def test_an_action_that_is_hardly_inside_is_not_to_be_found() -> None:
    cut = window(16, [(0, 4)], [0])
    for share, is_found in ((0.29, False), (0.31, True)):
        part = FeatureWindow(cut.values, cut.known, cut.spans, np.array([share]), cut.classes, cut.ignored)
        assert bool(PointObjective({"": 1}, 3).targets(part, 16)[".classes"].any()) == is_found


def test_where_nothing_happens_all_is_to_say_so() -> None:
    part = window(16)
    by_step = StepObjective(3, exclusive=True).targets(part, 16)
    assert by_step["weights"].all()
    assert not by_step["classes"].any()
    none = {"verb": np.empty(0, np.int64), "noun": np.empty(0, np.int64)}
    named = FeatureWindow(part.values, part.known, part.spans, part.inside, none, part.ignored)
    objective = PointObjective({"verb": 2, "noun": 3}, 3, normaliser=4.0)
    targets = objective.targets(named, 16)
    assert targets["weights"].all()
    assert objective.count(targets) == 0
    for count, head in ((2, "verb"), (3, "noun")):
        assert targets[f"{head}.classes"].shape == (16 + 8 + 4, count)
        assert not targets[f"{head}.classes"].any()
    batch = {name: each[None] for name, each in targets.items()}
    said = {head: AtPoints(batch[f"{head}.classes"] - 20, batch["distances"]) for head in ("verb", "noun")}
    assert objective.loss(said, batch) < 1e-6
    said["noun"].logits[0, 5, 1] = 20
    assert objective.loss(said, batch) > 1


def test_losses_are_those_of_their_definitions() -> None:
    logits, targets = torch.tensor([0.3, -1.2]), torch.tensor([1.0, 0.0])
    p = torch.sigmoid(logits).tolist()
    expected = [-0.25 * (1 - p[0]) ** 2 * np.log(p[0]), -0.75 * p[1] ** 2 * np.log(1 - p[1])]
    assert focal_loss(logits, targets).tolist() == pytest.approx(expected, rel=1e-5)
    # [-1, 3] against [-2, 2]: shared 3, union 5, hull 5, middles 1 apart.
    found = diou_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 2.0]]))
    assert found.tolist() == pytest.approx([1 - 3 / 5 + (1 / 5) ** 2])
    assert diou_loss(torch.tensor([[1.5, 2.0]]), torch.tensor([[1.5, 2.0]])).tolist() == pytest.approx([0])
    assert torch.isfinite(diou_loss(torch.zeros(1, 2), torch.zeros(1, 2))).all()


def test_the_loss_of_points_is_none_for_what_is_right() -> None:
    objective = PointObjective({"verb": 2, "noun": 3}, 3, normaliser=4.0)
    part = window(16, [(4, 9)], [1])
    named = FeatureWindow(
        part.values, part.known, part.spans, part.inside, {"verb": np.array([1]), "noun": np.array([2])}, part.ignored
    )
    targets = {name: each[None] for name, each in objective.targets(named, 16).items()}
    assert objective.count(targets) > 0
    right = {
        head: AtPoints(40 * targets[f"{head}.classes"] - 20, targets["distances"].clone()) for head in ("verb", "noun")
    }
    assert objective.loss(right, targets) < 1e-6
    right["noun"].distances[...] *= 2
    assert objective.loss(right, targets) > 0.1


def test_an_action_weighs_as_much_as_its_span_is_right_where_classes_have_their_own() -> None:
    """The loss of TriDet, written out pair by pair of a point and a class."""
    torch.manual_seed(3)
    objective = PointObjective({"": 3}, 3, normaliser=2.0)
    # Two actions of other classes at the same time, and one in time of which nothing is known.
    part = window(32, [(4, 9), (4, 9), (20, 26)], [1, 2, 0], missing=(22, 23))
    targets = {name: each[None] for name, each in objective.targets(part, 32).items()}
    logits, distances = torch.randn(1, 56, 3), (3 * torch.rand(1, 56, 3, 2)).requires_grad_()
    loss = objective.loss({"": AtPoints(logits, distances)}, targets)
    expected = span_losses = torch.tensor(0.0)
    num_pairs = 0
    for point in range(56):
        for number in range(3):
            is_there, counts = targets[".classes"][0, point, number], targets["weights"][0, point]
            cost = focal_loss(logits[0, point, number], is_there) * counts
            if is_there and counts:
                num_pairs += 1
                own, true = distances[0, point, number], targets["distances"][0, point]
                shared, whole = torch.minimum(own, true).sum(), torch.maximum(own, true).sum()
                cost = cost * (shared / whole).detach() ** 0.25
                middles = (own[1] - own[0] - true[1] + true[0]) / 2
                span_losses = span_losses + 1 - shared / whole + (middles / whole) ** 2
            expected = expected + cost
    assert num_pairs >= 4
    assert loss.item() == pytest.approx((expected + span_losses).item() / 2, rel=1e-5)
    learnt, wanted = torch.autograd.grad(loss, distances)[0], torch.autograd.grad(span_losses / 2, distances)[0]
    torch.testing.assert_close(learnt, wanted, rtol=1e-4, atol=1e-6)
