"""What the boundary-matching network is trained by, against a plain transcription of the published rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tadacli.detection.feature_grid import FeatureGrid
from tadacli.errors import UsageError
from tadacli.training.heads.objectives import batch_targets
from tadacli.training.heads.proposal_objective import (
    ProposalObjective,
    boundary_labels,
    overlap_loss,
    overlap_map,
    weighted_cross_entropy,
)
from tadacli.training.heads.proposal_windows import ProposalWindows
from tadacli.training.heads.sequences import FeatureWindow, LabelledSequence

T, D = 12, 6
Span = tuple[float, float]


def random_spans(rng: np.random.Generator, count: int) -> list[Span]:
    """Spans in bins, within the window."""
    return [tuple(sorted(rng.uniform(0, T, 2).tolist())) for _ in range(count)]  # type: ignore[misc]


def shared(a: Span, b: Span) -> float:
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def test_label_maps_are_the_published_ones() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 3):
        spans = random_spans(rng, count)
        overlap = overlap_map(np.array(spans).reshape(-1, 2), T, D)
        for d in range(D):
            for s in range(T):
                cell = (float(s), float(s + d + 1))
                ious = [shared(cell, each) / (d + 1 + each[1] - each[0] - shared(cell, each)) for each in spans]
                assert overlap[d, s] == pytest.approx(max(ious, default=0.0))
        for side in (0, 1):
            found = boundary_labels(np.array([each[side] for each in spans]), T)
            for i in range(T):
                anchor = (i - 0.5, i + 1.5)
                near = [shared(anchor, (each[side] - 1.5, each[side] + 1.5)) / 2 for each in spans]
                assert found[i] == pytest.approx(max(near, default=0.0))


def plain_cross_entropy(found: list[float], labels: list[float], threshold: float, mask: list[bool]) -> float:
    """r = entries / positives, and the coefficients 0.5 r / (r - 1) of negatives and 0.5 r of positives."""
    rows = [(p, label > threshold) for p, label, counted in zip(found, labels, mask, strict=True) if counted]
    ratio = len(rows) / sum(is_positive for _, is_positive in rows)
    total = 0.0
    for p, is_positive in rows:
        total -= 0.5 * ratio * math.log(p) if is_positive else 0.5 * ratio / (ratio - 1) * math.log(1 - p)
    return total / len(rows)


def plain_overlap_loss(found: Tensor, overlap: Tensor, mask: Tensor, generator: torch.Generator) -> float:
    """One draw: all of high overlap, and about as many of middling and of low overlap."""
    overlap = overlap * mask
    high = overlap > 0.7
    drawn = high.clone()
    for cells in ((overlap > 0.3) & ~high, (overlap > 0) & (overlap <= 0.3)):
        share = high.sum() / cells.sum()
        drawn |= cells & (torch.rand(overlap.shape, generator=generator) > 1 - share)
    squares = ((found - overlap) * drawn) ** 2
    return float(0.5 * squares.mean() * squares.numel() / drawn.sum())


def targets_of(spans: list[Span], classes: list[int] | None = None, ignored: list[Span] | None = None) -> FeatureWindow:
    """A window with spans in bins, of which two snippets each are looked at."""
    places = np.array(spans, dtype=np.float64).reshape(-1, 2) * 2 - 0.5
    none = np.array(ignored or [], dtype=np.float64).reshape(-1, 2) * 2 - 0.5
    numbers = np.array(classes or [0] * len(spans), dtype=np.int64)
    values, known = np.zeros((4, 2 * T), np.float32), np.ones(2 * T, np.bool_)
    return FeatureWindow(values, known, places, np.ones(len(spans)), {"": numbers}, none)


OBJECTIVE = ProposalObjective({"": 2}, T, D)
FITS = torch.tensor([[s + d + 1 <= T for s in range(T)] for d in range(D)])


def test_losses_are_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    spans = [(1.1, 4.0), (6.2, 7.9), (8.0, 11.8)]
    targets = OBJECTIVE.targets(targets_of(spans), 2 * T)
    assert torch.equal(targets["cells"] > 0, FITS)
    assert bool(targets["bins"].all())
    overlap = targets["overlap"]
    found = {
        "start": torch.rand(T, generator=generator),
        "end": torch.rand(T, generator=generator),
        "confidence_map": torch.rand(2, D, T, generator=generator),
        ".logits": torch.zeros(2, 2 * T),
    }
    boundaries = sum(
        plain_cross_entropy(found[name].tolist(), targets[name].tolist(), 0.5, [True] * T) for name in ("start", "end")
    )
    mask = FITS.flatten().tolist()
    as_class = plain_cross_entropy(found["confidence_map"][1].flatten().tolist(), overlap.flatten().tolist(), 0.9, mask)
    regression = found["confidence_map"][0]
    draws = [plain_overlap_loss(regression, overlap, FITS, generator) for _ in range(2000)]
    one = overlap_loss(regression[None], overlap[None], FITS[None].float())
    assert one.item() == pytest.approx(np.mean(draws), rel=0.02)
    # All snippets of segments are as far from one of two classes as from the other.
    expected = boundaries + 10 * one.item() + as_class + math.log(2)
    batch, said = ({name: each[None] for name, each in group.items()} for group in (targets, found))
    assert OBJECTIVE.loss(said, batch).item() == pytest.approx(expected, rel=1e-5)


def test_overlaps_count_in_equal_parts() -> None:
    overlap = torch.tensor([[[0.8] * 2 + [0.32] * 8 + [0.1] * 4 + [0.0] * 6]])
    counted = torch.ones_like(overlap)
    for wrong in (0.8, 0.32, 0.1):
        found = torch.where(overlap == torch.tensor(wrong), overlap + 0.2, overlap)
        assert overlap_loss(found, overlap, counted).item() == pytest.approx(0.5 * 0.2**2 / 3, rel=1e-5)
    without = torch.where(overlap > 0.7, 0.5, overlap)
    assert overlap_loss(torch.zeros_like(overlap), without, counted).item() == 0.0


def test_the_loss_of_a_batch_is_the_mean_of_its_windows() -> None:
    generator = torch.Generator().manual_seed(1)
    windows = [targets_of([(1.0, 3.0)], [1]), targets_of([(2.5, 7.5), (8.0, 9.0)]), targets_of([])]
    batch = batch_targets(OBJECTIVE, windows, 2 * T)
    found = {
        "start": torch.rand(3, T, generator=generator),
        "end": torch.rand(3, T, generator=generator),
        "confidence_map": torch.rand(3, 2, D, T, generator=generator),
        ".logits": torch.randn(3, 2, 2 * T, generator=generator),
    }
    each = [
        OBJECTIVE.loss({name: x[i : i + 1] for name, x in found.items()}, {n: x[i : i + 1] for n, x in batch.items()})
        for i in range(3)
    ]
    assert OBJECTIVE.loss(found, batch).item() == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_where_nothing_happens_all_is_to_say_so() -> None:
    targets = {name: each[None] for name, each in OBJECTIVE.targets(targets_of([]), 2 * T).items()}
    quiet = {
        "start": torch.full((1, T), 1e-6),
        "end": torch.full((1, T), 1e-6),
        "confidence_map": torch.full((1, 2, D, T), 1e-6),
        ".logits": torch.randn(1, 2, 2 * T),
    }
    assert OBJECTIVE.loss(quiet, targets) < 1e-4
    for name in ("start", "end", "confidence_map"):
        loud = OBJECTIVE.loss({**quiet, name: torch.full_like(quiet[name], 0.99)}, targets)
        assert loud > 1


def test_what_no_one_knows_is_not_learnt_from() -> None:
    """All time without a label is ignored: what is said there costs nothing, and what is said of the action does."""
    window = targets_of([(3.0, 7.0)], ignored=[(-np.inf, 3.0), (7.0, np.inf)])
    targets = OBJECTIVE.targets(window, 2 * T)
    counted = (targets["cells"] > 0).nonzero().tolist()
    assert [3, 3] in counted
    assert all((s >= 3 and s + d + 1 <= 7) or targets["overlap"][d, s] > 0.7 for d, s in counted)
    assert targets["bins"].nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7]
    probabilities = torch.full((1, T), 0.5)
    is_positive, bins = targets["start"][None] > 0.5, targets["bins"][None]
    usual = weighted_cross_entropy(probabilities, is_positive, bins)
    probabilities[0, 9] = 0.9
    assert torch.equal(weighted_cross_entropy(probabilities, is_positive, bins), usual)
    probabilities[0, 5] = 0.9
    assert weighted_cross_entropy(probabilities, is_positive, bins) > usual


def test_snippets_of_segments_are_their_classes() -> None:
    targets = OBJECTIVE.targets(targets_of([(1.0, 3.0), (2.0, 4.0)], [0, 1]), 2 * T)
    assert targets[".classes"][0, :8].tolist() == [0, 0, 1, 1, 0.5, 0.5, 0, 0]
    assert targets[".classes"][1, :8].tolist() == [0, 0, 0, 0, 0.5, 0.5, 1, 1]
    assert targets[".classes"][:, 8:].sum() == 0


def sequence(num_steps: int, spans: list[Span]) -> LabelledSequence:
    """Of one snippet a second; spans in seconds."""
    grid = FeatureGrid(np.zeros((num_steps, 4), np.float32), np.ones(num_steps, np.bool_), 0.5, 1.0, float(num_steps))
    rows = np.array(spans, dtype=np.float64).reshape(-1, 2)
    return LabelledSequence("v", grid, rows, {"": np.zeros(len(rows), np.int64)}, np.empty((0, 2)))


def test_windows_hold_whole_actions_or_are_of_videos_without_any() -> None:
    labelled, quiet = sequence(50, [(3, 5), (22, 26), (45, 50.4)]), sequence(30, [])
    windows = ProposalWindows([labelled, quiet], num_steps=2 * T, stride_steps=2 * D, seed=0)
    drawn = [windows.at(0, number)[0] for number in range(len(windows))]
    # At 0 and 12 steps, and at 36, which ends before the window does; of the one at 24 an action is cut off.
    assert [(len(each), (each.inside > 0.999).sum()) for each in drawn] == [
        (24, 1),
        (24, 1),
        (14, 1),
        (24, 0),
        (18, 0),
        (6, 0),
    ]
    assert drawn[1].spans.tolist() == [[9.5, 13.5]]
    assert drawn[2].spans.tolist() == [[8.5, 13.5]]  # what lies beyond the last step is not missing
    assert windows.at(0, 1)[1] != windows.at(1, 1)[1]
    with pytest.raises(UsageError, match="no segment of the training videos lies within a window of 24 s") as error:
        ProposalWindows([sequence(50, [(1, 40)])], num_steps=2 * T, stride_steps=2 * D, seed=0)
    assert "num_bins" in (error.value.hint or "")
