"""What a head says at steps or points of time, as scored spans: candidates, and soft-NMS among those of a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tadacli.detection.actions import fuse_actions
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.nms import soft_nms
from tadacli.models.pyramid import AtPoints, Pyramid, known_points, points
from tadacli.models.temporal_head import TemporalHead

Head = TemporalHead | Pyramid

# As published for EPIC-KITCHENS-100 by ActionFormer and TriDet: the lowest score, how many points of a level are asked,
# the shortest span in steps, the deviation of soft-NMS; and of the fusion of verbs and nouns, how many are paired.
MIN_SCORE, MOST_CANDIDATES, MIN_STEPS, SIGMA = 0.001, 5000, 0.05, 0.4
_FUSED = 10
# Of each class, so many candidates go through soft-NMS and so many spans stay.
_MOST_OF_CLASS, _MOST_KEPT = 1000, 200
# Scores at which a curve is cut; the margin is as long as so much of the span that it surrounds.
_CUTS = np.linspace(0.05, 0.95, 19)
_MARGIN = 0.25


@dataclass(frozen=True, eq=False)
class ScoredSpans:
    """N spans: `seconds` (N, 2), `classes` and `scores` (N,), by falling score.

    With a verb and a noun, the class is verb * num_nouns + noun, and `pair_scores` (N, 2) are those of both.
    """

    seconds: NDArray[np.float64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    pair_scores: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> ScoredSpans:
        """Some of the spans with other scores."""
        pairs = None if self.pair_scores is None else self.pair_scores[rows]
        return ScoredSpans(self.seconds[rows], self.classes[rows], scores, pairs)


def find_spans(head: Head, grid: FeatureGrid) -> ScoredSpans:
    """The spans that a head finds in a video.

    Args:
        head: The network, in eval mode.
        grid: Its features.

    Returns:
        The spans within the video after soft-NMS, best first.
    """
    device = next(head.parameters()).device
    num_steps = -(-len(grid) // head.step_multiple) * head.step_multiple
    values = np.zeros((1, grid.values.shape[1], num_steps), dtype=np.float32)
    values[0, :, : len(grid)] = grid.values.T
    known = np.zeros((1, num_steps), dtype=np.bool_)
    known[0, : len(grid)] = grid.known
    features, there = torch.from_numpy(values).to(device), torch.from_numpy(known).to(device)
    with torch.inference_mode():
        if isinstance(head, TemporalHead):
            curves = head.scores(features, there)[0].double().cpu().numpy()
            candidates = spans_of_curves(curves[:, : len(grid)], grid.known)
        else:
            found = {
                name: AtPoints(*(part[0].float().cpu() for part in at)) for name, at in head(features, there).items()
            }
            candidates = spans_of_points(
                found, known_points(there, head.num_levels)[0].cpu(), num_levels=head.num_levels
            )
    return suppressed(_in_seconds(candidates, grid), duration_seconds=grid.duration_seconds)


def spans_of_points(found: dict[str, AtPoints], known: torch.Tensor, *, num_levels: int) -> ScoredSpans:
    """The candidates that points put forward, in steps.

    Args:
        found: By head logits (P, K) and distances (P, 2).
        known: (P,), which points count.
        num_levels: L.

    Returns:
        A span for each class of a point that is likely enough. With a verb and a noun, the span is the mean of those
        of both, and the score the root of the product, for the best verbs and nouns of each point.
    """
    num_steps = len(known) * 2 ** (num_levels - 1) // (2**num_levels - 1)
    at = points(num_steps, num_levels)
    reach = torch.stack([each.distances for each in found.values()]).mean(dim=0) * at.strides[:, None]
    spans = torch.stack([at.places - reach[:, 0], at.places + reach[:, 1]], dim=1).double().numpy()
    scores = {name: (torch.sigmoid(each.logits) * known[:, None]).double().numpy() for name, each in found.items()}
    pair_scores = None
    if len(scores) == 1:
        (by_class,) = scores.values()
        rows, classes = np.nonzero(by_class > MIN_SCORE)
        best = by_class[rows, classes]
    else:
        verb, noun = scores["verb"], scores["noun"]
        pairs, products = fuse_actions(verb, noun, top_verbs=_FUSED, top_nouns=_FUSED, num_pairs=_FUSED**2)
        rows, places = np.nonzero(np.sqrt(products) > MIN_SCORE)
        verbs, nouns = pairs[rows, places].T
        best = np.sqrt(products[rows, places])
        classes, pair_scores = verbs * noun.shape[1] + nouns, np.stack([verb[rows, verbs], noun[rows, nouns]], axis=1)
    all_found = ScoredSpans(spans[rows], classes, best, pair_scores)
    is_long = spans[rows, 1] - spans[rows, 0] > MIN_STEPS
    level = np.log2(at.strides.numpy())[rows]
    kept = [_best(np.flatnonzero(is_long & (level == number)), best, MOST_CANDIDATES) for number in range(num_levels)]
    chosen = np.concatenate(kept)
    return all_found.of(chosen, best[chosen])


def spans_of_curves(curves: NDArray[np.float64], known: NDArray[np.bool_]) -> ScoredSpans:
    """The candidates in curves of scores over time, in steps.

    Each curve is cut at many heights, at places between steps where it crosses them. What a piece scores is its mean
    less that of its surroundings on both sides: so of the pieces of one hill, the one whose ends are steep is the best.

    Args:
        curves: (K, T), 0 to 1.
        known: (T,); where nothing is known, a piece ends.

    Returns:
        The pieces that score above the least.
    """
    num_steps = curves.shape[1]
    found: list[NDArray[np.float64]] = []
    for number, curve in enumerate(np.where(known, curves, 0.0)):
        # A step reaches half-way to its neighbours, so the first and the last one half a step beyond the grid.
        padded = np.concatenate([[0.0], curve, [0.0]])
        total = np.concatenate([[0.0], np.cumsum(curve)])
        for height in _CUTS[curve.max(initial=0.0) >= _CUTS]:
            above = padded >= height
            rises, falls = np.flatnonzero(~above[:-1] & above[1:]), np.flatnonzero(above[:-1] & ~above[1:])
            starts = rises + (height - padded[rises]) / (padded[rises + 1] - padded[rises]) - 1
            ends = falls + (padded[falls] - height) / (padded[falls] - padded[falls + 1]) - 1
            starts, ends = np.maximum(starts, -0.5), np.minimum(ends, num_steps - 0.5)
            inside = (total[falls] - total[rises]) / (falls - rises)
            margin = np.maximum(np.rint(_MARGIN * (falls - rises)).astype(np.int64), 1)
            before, after = np.maximum(rises - margin, 0), np.minimum(falls + margin, num_steps)
            around = (total[rises] - total[before] + total[after] - total[falls]) / (2 * margin)
            rows = [starts, ends, np.full(len(starts), number), inside - around]
            found.append(np.stack(rows, axis=1))
    table = np.concatenate(found) if found else np.empty((0, 4))
    table = table[(table[:, 3] > MIN_SCORE) & (table[:, 1] > table[:, 0])]
    return ScoredSpans(table[:, :2], table[:, 2].astype(np.int64), table[:, 3])


def suppressed(candidates: ScoredSpans, *, duration_seconds: float, sigma: float = SIGMA) -> ScoredSpans:
    """Spans of which those that claim the time of a better one of their class have lower scores (Gaussian soft-NMS).

    Args:
        candidates: In seconds.
        duration_seconds: Of the video.
        sigma: How much a score falls.

    Returns:
        Those that stay above the least score, best first; equal ones in the order given.
    """
    rows: list[NDArray[np.int64]] = []
    scores: list[NDArray[np.float64]] = []
    for number in np.unique(candidates.classes):
        own = _best(np.flatnonzero(candidates.classes == number), candidates.scores, _MOST_OF_CLASS)
        taken, lowered = soft_nms(
            candidates.seconds[own],
            candidates.scores[own],
            duration_seconds=duration_seconds,
            sigma=sigma,
            iou_thresholds=(0.0, 0.0),
            max_kept=_MOST_KEPT,
            min_score=MIN_SCORE,
        )
        rows.append(own[taken])
        scores.append(lowered)
    if not rows:
        return candidates
    kept, score = np.concatenate(rows), np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    return candidates.of(kept[order], score[order])


def _best(rows: NDArray[np.int64], scores: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The rows of the best scores, best first."""
    best: NDArray[np.int64] = rows[np.argsort(-scores[rows], kind="stable")[:most]]
    return best


def _in_seconds(candidates: ScoredSpans, grid: FeatureGrid) -> ScoredSpans:
    """Candidates in steps as spans of the video, without those that lie outside of it."""
    seconds = np.clip(grid.seconds_of(candidates.seconds), grid.start_seconds, grid.duration_seconds)
    within = np.flatnonzero(seconds[:, 1] > seconds[:, 0])
    pairs = None if candidates.pair_scores is None else candidates.pair_scores[within]
    return ScoredSpans(seconds[within], candidates.classes[within], candidates.scores[within], pairs)
