"""What a head says at steps or points of time, as scored spans: candidates, and soft-NMS among those of a class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tadacli.allocator import giving_back_large_blocks
from tadacli.detection.actions import fuse_actions
from tadacli.detection.boundary_matching import class_probabilities, propose
from tadacli.detection.curves import thinned
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.long_sequences import (
    MOST_AT_ONCE,
    STEPS_IN_PIECE,
    piece_size,
    pieces_of_levels,
    score_steps,
)
from tadacli.detection.nms import soft_nms
from tadacli.detection.passing_snippets import PassingSnippets
from tadacli.detection.settings import DETECTED_PAIRS
from tadacli.models.bmn import SNIPPETS_PER_BIN
from tadacli.models.bmn_head import BMNHead
from tadacli.models.ensemble import Ensemble, mean_scores, members_of, together
from tadacli.models.pyramid import AtPoints, Pyramid, known_points, points
from tadacli.models.temporal_head import TemporalHead

Head = TemporalHead | Pyramid | Ensemble | BMNHead

# As published for EPIC-KITCHENS-100 by ActionFormer and TriDet: the lowest score, how many points of a level are asked,
# the shortest span in steps, the deviation of soft-NMS; and of the fusion of verbs and nouns, how many are paired.
MIN_SCORE, MOST_CANDIDATES, MIN_STEPS, SIGMA = 0.001, 5000, 0.05, 0.4
_FUSED = 10
# Of each class, so many candidates go through soft-NMS and so many spans stay.
_MOST_OF_CLASS, _MOST_KEPT = 1000, 200
_VALUES_AT_ONCE = 1 << 18  # of curves of a long video that are cut together
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


@dataclass(frozen=True, eq=False)
class Candidates:
    """The spans that a head puts forward in a video, before soft-NMS.

    `step_scores` are edges (N + 1,), in seconds, and the scores (K, N) of each class between them, NaN where no step is
    known: what spans were cut from, of a long video thinned for drawing. None of a head that has points or proposals.
    Proposals have gone through soft-NMS already, before they had classes (`is_suppressed`).
    """

    spans: ScoredSpans
    step_scores: tuple[NDArray[np.float64], NDArray[np.float32]] | None = None
    is_suppressed: bool = False

    def suppressed(self, *, duration_seconds: float) -> ScoredSpans:
        """The spans after soft-NMS, best first; `duration_seconds` is that of the video."""
        if self.is_suppressed:
            return self.spans
        return suppressed(self.spans, duration_seconds=duration_seconds)


def find_spans(head: Head, grid: FeatureGrid) -> ScoredSpans:
    """The spans that a head finds in a video.

    Args:
        head: The network, in eval mode.
        grid: Its features.

    Returns:
        The spans within the video after soft-NMS, best first.
    """
    size = piece_size(len(grid))
    pieces = (grid.values[first : first + size] for first in range(0, len(grid), size))
    return find_candidates(head, grid, pieces).suppressed(duration_seconds=grid.duration_seconds)


def find_candidates(head: Head, grid: FeatureGrid, pieces: Iterable[NDArray[np.float32]]) -> Candidates:
    """The spans that a head puts forward in a video whose features need not be in memory.

    Args:
        head: The network, in eval mode.
        grid: Which steps there are; its values are not looked at.
        pieces: The features of its steps in order, `piece_size` in each but the last one. More than one go through
            the head one by one, and what it says is that of the whole sequence but for the last digits of float32.

    Returns:
        The spans within the video.
    """
    with nullcontext() if piece_size(len(grid)) == len(grid) else giving_back_large_blocks():
        return _candidates_of(head, grid, pieces)


def _candidates_of(head: Head, grid: FeatureGrid, pieces: Iterable[NDArray[np.float32]]) -> Candidates:
    if isinstance(head, BMNHead):
        return _of_proposals(head, grid, pieces)
    known = np.zeros(-(-len(grid) // head.step_multiple) * head.step_multiple, dtype=np.bool_)
    known[: len(grid)] = grid.known
    members = members_of(head)
    find = _in_curves if isinstance(members[0], TemporalHead) else _at_points
    return find(members, grid, _padded(pieces, len(grid), len(known)), known)  # type: ignore[arg-type]


def _of_proposals(head: BMNHead, grid: FeatureGrid, pieces: Iterable[NDArray[np.float32]]) -> Candidates:
    """Proposals with their likeliest classes, sorted out before they have any, as published.

    A bin lasts from half a stride before its first snippet to half a stride after its last one.
    """
    network, stride = head.proposals, grid.stride_seconds
    duration = -(-len(grid) // SNIPPETS_PER_BIN) * SNIPPETS_PER_BIN * stride
    with PassingSnippets(head, pieces, grid.known) as snippets:
        proposals = propose(snippets, network, duration_seconds=duration, snippet_seconds=stride)
        scores = {
            name: class_probabilities(
                logits, proposals, network=network, duration_seconds=duration, snippet_seconds=stride
            )
            for name, logits in snippets.logits().items()
        }
    pair_scores = None
    if len(scores) == 1:
        (by_class,) = scores.values()
        classes = np.argsort(-by_class, axis=1, kind="stable")[:, :DETECTED_PAIRS]
        likely = np.take_along_axis(by_class, classes, axis=1)
    else:
        pairs, likely = fuse_actions(scores["verb"], scores["noun"], num_pairs=DETECTED_PAIRS)
        classes = pairs[..., 0] * scores["noun"].shape[1] + pairs[..., 1]
        rows = np.arange(len(pairs))[:, None]
        pair_scores = np.stack([scores["verb"][rows, pairs[..., 0]], scores["noun"][rows, pairs[..., 1]]], axis=2)
        pair_scores = pair_scores.reshape(-1, 2)
    spans = np.repeat(proposals.spans, likely.shape[1], axis=0) / stride - 0.5
    found = ScoredSpans(spans, classes.ravel(), (proposals.scores[:, None] * likely).ravel(), pair_scores)
    found = _in_seconds(found, grid)
    best = _best(np.arange(len(found)), found.scores, len(found))
    return Candidates(found.of(best, found.scores[best]), is_suppressed=True)


def _padded(pieces: Iterable[NDArray[np.float32]], num_steps: int, num_padded: int) -> Iterator[NDArray[np.float32]]:
    """The same pieces, the last one with so many more steps of zeros that there are as many as a head takes."""
    count = 0
    for piece in pieces:
        count += len(piece)
        yield np.pad(piece, ((0, num_padded - num_steps), (0, 0))) if count == num_steps else piece
    if count != num_steps:
        raise ValueError(f"{count} features are not those of {num_steps} steps")


def _at_once(
    head: torch.nn.Module, pieces: Iterable[NDArray[np.float32]], known: NDArray[np.bool_]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The one piece that there is and its known steps as a network takes them."""
    device = next(head.parameters()).device
    (values,) = pieces
    features = torch.from_numpy(np.ascontiguousarray(values.T)[None])
    return features.to(device), torch.from_numpy(known[None]).to(device)


def _in_curves(
    heads: Sequence[TemporalHead],
    grid: FeatureGrid,
    pieces: Iterable[NDArray[np.float32]],
    known: NDArray[np.bool_],
) -> Candidates:
    """The candidates of heads that score steps, of their mean: of each class no more than go through soft-NMS."""
    found: list[ScoredSpans] = []
    edges, drawn = np.arange(-0.5, len(grid), dtype=np.float64), []
    for first_class, curves in _curves(heads, pieces, known):
        cells, highest = thinned(edges, np.where(grid.known, curves, np.float32(np.nan)))
        drawn.append(highest)
        spans = _in_seconds(spans_of_curves(curves.astype(np.float64), grid.known), grid)
        classes = range(len(curves))
        of_each = [_best(np.flatnonzero(spans.classes == number), spans.scores, _MOST_OF_CLASS) for number in classes]
        rows = np.concatenate(of_each)
        found.append(replace(spans.of(rows, spans.scores[rows]), classes=spans.classes[rows] + first_class))
    return Candidates(_joined(found), (_within(cells, grid), np.concatenate(drawn)))


def _curves(
    heads: Sequence[TemporalHead], pieces: Iterable[NDArray[np.float32]], known: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(number of the first, scores (k, T)) of some classes at a time, the mean of those of the heads."""
    if len(known) <= MOST_AT_ONCE:
        features, there = _at_once(heads[0], pieces, known)
        with torch.inference_mode():
            at_once = mean_scores([head.scores(features, there) for head in heads])[0].cpu().numpy()
        yield 0, at_once
        return
    num_classes = max(_VALUES_AT_ONCE // len(known), 1)
    with score_steps(heads, pieces, known) as scores:
        for first in range(0, heads[0].num_classes, num_classes):
            parts = [each[:, first : first + num_classes].copy() for each in scores.pieces(STEPS_IN_PIECE)]
            yield first, np.concatenate(parts).T


def _at_points(
    heads: Sequence[Pyramid], grid: FeatureGrid, pieces: Iterable[NDArray[np.float32]], known: NDArray[np.bool_]
) -> Candidates:
    """The candidates of heads that have points, of what they say together."""
    if len(grid) <= MOST_AT_ONCE:
        features, there = _at_once(heads[0], pieces, known)
        with torch.inference_mode():
            of_heads = [
                {name: AtPoints(*(part[0].float().cpu() for part in at)) for name, at in head(features, there).items()}
                for head in heads
            ]
        num_levels = heads[0].num_levels
        of_all = known_points(there, num_levels)[0].cpu()
        return Candidates(_in_seconds(spans_of_points(together(of_heads), of_all, num_levels=num_levels), grid))
    best: dict[int, ScoredSpans] = {}
    with closing(pieces_of_levels(heads, pieces, known)) as levels:
        for each in levels:
            strides = torch.full((len(each.known),), 2.0**each.level)
            spans, _ = _candidates(each.said, (each.first + torch.arange(len(strides))) * strides, strides, each.known)
            both = _joined([best[each.level], spans] if each.level in best else [spans])
            rows = _best(np.arange(len(both)), both.scores, MOST_CANDIDATES)
            best[each.level] = both.of(rows, both.scores[rows])
    return Candidates(_in_seconds(_joined(list(best.values())), grid))


def spans_of_points(found: dict[str, AtPoints], known: torch.Tensor, *, num_levels: int) -> ScoredSpans:
    """The candidates that points put forward, in steps.

    Args:
        found: By head logits (P, K) and distances (P, 2), or (P, K, 2).
        known: (P,), which points count.
        num_levels: L.

    Returns:
        A span for each class of a point that is likely enough. With a verb and a noun, the span is the mean of those
        of both, and the score the root of the product, for the best verbs and nouns of each point.
    """
    num_steps = len(known) * 2 ** (num_levels - 1) // (2**num_levels - 1)
    at = points(num_steps, num_levels)
    candidates, rows = _candidates(found, at.places, at.strides, known)
    level = np.log2(at.strides.numpy())[rows]
    kept = [_best(np.flatnonzero(level == number), candidates.scores, MOST_CANDIDATES) for number in range(num_levels)]
    chosen = np.concatenate(kept)
    return candidates.of(chosen, candidates.scores[chosen])


def _candidates(
    found: dict[str, AtPoints], places: torch.Tensor, strides: torch.Tensor, known: torch.Tensor
) -> tuple[ScoredSpans, NDArray[np.int64]]:
    """The likely and long enough spans of points, in steps and in order of the points, and of which point each is."""
    scores = {name: (torch.sigmoid(each.logits) * known[:, None]).double().numpy() for name, each in found.items()}
    pair_scores = None
    if len(scores) == 1:
        (by_class,) = scores.values()
        rows, classes = np.nonzero(by_class > MIN_SCORE)
        best, of_heads = by_class[rows, classes], [classes]
    else:
        verb, noun = scores["verb"], scores["noun"]
        pairs, products = fuse_actions(verb, noun, top_verbs=_FUSED, top_nouns=_FUSED, num_pairs=_FUSED**2)
        rows, ranks = np.nonzero(np.sqrt(products) > MIN_SCORE)
        verbs, nouns = pairs[rows, ranks].T
        best, of_heads = np.sqrt(products[rows, ranks]), [verbs, nouns]
        classes, pair_scores = verbs * noun.shape[1] + nouns, np.stack([verb[rows, verbs], noun[rows, nouns]], axis=1)
    at = torch.from_numpy(rows)
    distances = [
        each.distances[at, torch.from_numpy(own)] if each.of_each_class else each.distances[at]
        for each, own in zip(found.values(), of_heads, strict=True)
    ]
    reach = torch.stack(distances).mean(dim=0) * strides[at, None]
    spans = torch.stack([places[at] - reach[:, 0], places[at] + reach[:, 1]], dim=1).double().numpy()
    is_long = np.flatnonzero(spans[:, 1] - spans[:, 0] > MIN_STEPS)
    return ScoredSpans(spans, classes, best, pair_scores).of(is_long, best[is_long]), rows[is_long]


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


def _joined(parts: Sequence[ScoredSpans]) -> ScoredSpans:
    """All spans, in the order given."""
    pairs = [part.pair_scores for part in parts if part.pair_scores is not None]
    return ScoredSpans(
        np.concatenate([part.seconds for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(pairs) if pairs else None,
    )


def _best(rows: NDArray[np.int64], scores: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The rows of the best scores, best first."""
    best: NDArray[np.int64] = rows[np.argsort(-scores[rows], kind="stable")[:most]]
    return best


def _in_seconds(candidates: ScoredSpans, grid: FeatureGrid) -> ScoredSpans:
    """Candidates in steps as spans of the video, without those that lie outside of it."""
    seconds = _within(candidates.seconds, grid)
    within = np.flatnonzero(seconds[:, 1] > seconds[:, 0])
    pairs = None if candidates.pair_scores is None else candidates.pair_scores[within]
    return ScoredSpans(seconds[within], candidates.classes[within], candidates.scores[within], pairs)


def _within(steps: NDArray[np.float64], grid: FeatureGrid) -> NDArray[np.float64]:
    """The times of places on the grid, moved into the video where they lie outside of it."""
    found: NDArray[np.float64] = np.clip(grid.seconds_of(steps), grid.start_seconds, grid.duration_seconds)
    return found
