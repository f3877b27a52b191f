"""Actions of a long video from features of its snippets, by the boundary-matching network, as published.

Inference of "A Stronger Baseline for Ego-Centric Action Detection" (arXiv 2106.06942) with the settings of its
published configuration. Windows of features, one half over the other, go through the network; what it says of each
proposal is averaged over the windows that hold it, on one axis over the whole video. Proposals from a likely start to
a likely end stay, soft-NMS sorts out those of the same action, and the scores of a classifier of snippets, sampled
over each proposal, say which action it is.

The axis counts bins of `SNIPPETS_PER_BIN` snippets from the start of the video. Windows go by one after the other:
nothing is kept of the features, and of the proposals only those that may stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.actions import fuse_actions
from tadacli.detection.nms import soft_nms
from tadacli.detection.settings import DETECTED_PAIRS, Heads
from tadacli.models.bmn import BMN, SNIPPETS_PER_BIN, sampling_table
from tadacli.results import Prediction, Segment

# A window that would begin with less than this left of the video is left out.
_LEAST_SECONDS = 0.2
# The score of a proposal is its confidence as a class, to this power, times its confidence by regression.
_CLASS_POWER = 1.2
# A start or an end is likely at a peak, or above this share of the highest probability in the video.
_SHARE_OF_HIGHEST = 0.5
# Classes are sampled at so many points of a proposal, none of them outside of it.
_CLASS_POINTS = 6
# Soft-NMS sees so many candidates for each one that it takes, and more where others could be taken.
_TRIED = 32
# How finely the score of those is found.
_HALVINGS = 40


class Rows(Protocol):
    """Values (N, ...) of the snippets of a video: a tensor, or what reads those of a window when they are needed."""

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Proposals:
    """Spans of a video that may hold an action, best first.

    Attributes:
        spans: Start and end (N, 2) in seconds.
        scores: (N,), after soft-NMS.
        cells: Duration less one and start (N, 2), in bins of the axis over the video.
        num_windows: Windows that went through the network.
    """

    spans: NDArray[np.float64]
    scores: NDArray[np.float64]
    cells: NDArray[np.int64]
    num_windows: int


def propose(
    features: Rows, network: BMN, *, duration_seconds: float, snippet_seconds: float, batch_size: int = 1
) -> Proposals:
    """The proposals of one video.

    Args:
        features: (N, C), of the snippets of the whole video in order.
        network: In evaluation mode; it gets the features on its device and in its number type.
        duration_seconds: Length of the video.
        snippet_seconds: From one snippet to the next; 8 frames of 60 per second as published.
        batch_size: Windows that go through the network at once.

    Returns:
        At most one for each second of the video begun.

    Raises:
        ValueError: There are no features, the video has no length, or what the network gives is not finite.
    """
    if len(features) == 0 or duration_seconds <= 0:
        raise ValueError(f"{len(features)} snippets of {duration_seconds} s hold no actions")
    candidates = _candidates(features, network, duration_seconds, snippet_seconds, batch_size)
    num_bins, wanted = -(-len(features) // SNIPPETS_PER_BIN), int(duration_seconds) + 1
    num_tried = _TRIED * wanted
    while True:
        level = candidates.level_of(num_tried)
        cells, scores = candidates.from_level(level)
        bins = np.stack([cells[:, 1], cells.sum(axis=1) + 1], axis=1)
        spans = (bins / num_bins * duration_seconds).clip(0, duration_seconds)
        kept, lowered = soft_nms(spans, scores, duration_seconds=duration_seconds, max_kept=wanted)
        # Scores only fall: what is below the level cannot come before the last one that is taken.
        if level == 0 or lowered[-1] >= level:
            return Proposals(spans[kept], lowered, cells[kept], candidates.num_windows)
        num_tried *= 4


def class_probabilities(
    logits: Rows, proposals: Proposals, *, network: BMN, duration_seconds: float, snippet_seconds: float
) -> NDArray[np.float64]:
    """What a classifier of snippets says of each proposal.

    Args:
        logits: (N, V, K), of V views of each snippet.
        proposals: Those of `propose` for the same snippets.
        network: The one that made them, for the size of its windows.
        duration_seconds: Length of the video.
        snippet_seconds: From one snippet to the next.

    Returns:
        Probabilities (P, K): the mean over points of the proposal, views, and windows that hold it.
    """
    num_bins = network.num_bins
    table = sampling_table(
        num_bins, network.max_duration_bins, num_points=_CLASS_POINTS, extension=0.0, dtype=logits.dtype
    )
    durations, first = proposals.cells.T
    summed, counts = np.zeros((len(durations), logits.shape[2])), np.zeros(len(durations))
    windows = _windows(logits, network, duration_seconds, snippet_seconds)
    for number, window in enumerate(windows):
        places = first - number * network.max_duration_bins
        held = np.flatnonzero((places >= 0) & (places + durations < num_bins))
        by_bin = window.t().cpu()  # (T, V * K)
        for row in held:
            cell = durations[row] * num_bins + places[row]
            entries = slice(int(table.offsets[cell]), int(table.offsets[cell + 1]))
            point, place = table.columns[entries] % _CLASS_POINTS, table.columns[entries] // _CLASS_POINTS
            points = by_bin.new_zeros(_CLASS_POINTS, by_bin.shape[1])
            points.index_add_(0, point, table.weights[entries, None] * by_bin[place])
            summed[row] += points.view(-1, *logits.shape[1:]).softmax(dim=-1).mean(dim=(0, 1)).double().numpy()
            counts[row] += 1
    probabilities: NDArray[np.float64] = summed / np.maximum(counts, 1)[:, None]
    return probabilities


def action_segments(
    proposals: Proposals, verb: NDArray[np.float64], noun: NDArray[np.float64], *, heads: Heads
) -> list[Segment]:
    """The actions that the proposals are, `DETECTED_PAIRS` of a verb and a noun for each of them.

    Args:
        proposals: P spans with scores.
        verb: Probabilities (P, V) of the verbs.
        noun: Probabilities (P, N) of the nouns.
        heads: The labels of "verb" and "noun".

    Returns:
        The segments of one proposal after the other, whose scores are that of the proposal times those of both classes.
    """
    verbs, nouns = heads["verb"], heads["noun"]
    pairs, products = fuse_actions(verb, noun, num_pairs=DETECTED_PAIRS)
    return [
        Segment(
            float(span[0]),
            float(span[1]),
            f"{verbs[v]} {nouns[n]}",
            int(v * len(nouns) + n),
            float(score * product),
            Prediction(verbs[v], int(v), float(verb[row, v])),
            Prediction(nouns[n], int(n), float(noun[row, n])),
        )
        for row, (span, score) in enumerate(zip(proposals.spans, proposals.scores, strict=True))
        for (v, n), product in zip(pairs[row], products[row], strict=True)
    ]


def labelled_segments(
    proposals: Proposals, probabilities: NDArray[np.float64], *, labels: Sequence[str]
) -> list[Segment]:
    """What the proposals are by a classifier with one head, its best `DETECTED_PAIRS` classes for each of them.

    Args:
        proposals: P spans with scores.
        probabilities: (P, K) of the classes.
        labels: Their K names.

    Returns:
        The segments of one proposal after the other, whose scores are that of the proposal times that of the class.
    """
    return [
        Segment(float(span[0]), float(span[1]), labels[best], int(best), float(score * probabilities[row, best]))
        for row, (span, score) in enumerate(zip(proposals.spans, proposals.scores, strict=True))
        for best in np.argsort(-probabilities[row], kind="stable")[:DETECTED_PAIRS]
    ]


@dataclass(frozen=True, eq=False)
class _Part:
    """The candidates that start in the bins from `first` on: rows of a map (D, `width`) as one line, and scores (N,).

    A long video has millions of them, so each is held in as few bytes as it takes.
    """

    first: int
    width: int
    places: NDArray[np.unsignedinteger]
    scores: NDArray[np.float64]

    def cells(self) -> NDArray[np.int64]:
        """As of `Proposals`."""
        durations, first = np.divmod(self.places.astype(np.int64), self.width)
        return np.stack([durations, first + self.first], axis=1)

    def chosen(self, rows: NDArray[np.bool_]) -> _Part:
        """Some of them."""
        return replace(self, places=self.places[rows], scores=self.scores[rows])


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Proposals from a likely start to a likely end, with scores of 0 to 1."""

    parts: Sequence[_Part]
    num_windows: int

    def level_of(self, number: int) -> float:
        """A score that about the `number` best ones reach, and no fewer; 0 if there are no more than that."""
        low, high = 0.0, 1.0
        if sum(len(part.scores) for part in self.parts) <= number:
            return low
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            reached = sum(np.count_nonzero(part.scores >= middle) for part in self.parts)
            low, high = (middle, high) if reached >= number else (low, middle)
        return low

    def from_level(self, level: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Those whose score is not below `level`, by duration and then by start: cells (N, 2) and scores (N,)."""
        parts = [part.chosen(part.scores >= level) for part in self.parts]
        cells = np.concatenate([part.cells() for part in parts])
        order = np.lexsort((cells[:, 1], cells[:, 0]))
        return cells[order], np.concatenate([part.scores for part in parts])[order]


def _candidates(
    features: Rows, network: BMN, duration_seconds: float, snippet_seconds: float, batch_size: int
) -> _Candidates:
    """Looks for candidates while windows come: of the map over the video only their scores are kept."""
    longest, length = network.max_duration_bins, -(-len(features) // SNIPPETS_PER_BIN)
    start, end = boundaries = np.zeros((2, length))
    windows = _windows(features, network, duration_seconds, snippet_seconds)
    waiting: list[NDArray[np.float64]] = []  # maps of which ends are to come
    parts: list[_Part] = []
    num_known = num_looked_at = num_windows = 0

    def look_at(maps: NDArray[np.float64]) -> None:
        """Keeps what may be a candidate: what is likely is no likelier when more of the video is known."""
        nonlocal num_looked_at
        starts, ends = (_likely(each[:num_known]) for each in boundaries)
        starts[0], ends[-1] = True, True
        width = maps.shape[2]
        here = slice(num_looked_at, num_looked_at + width + longest)
        places = np.flatnonzero(_holds(starts[here], ends[here], longest)[:, :width])
        by_regression, as_class = maps.reshape(2, -1)[:, places]
        smallest = np.min_scalar_type(maps[0].size)
        parts.append(_Part(num_looked_at, width, places.astype(smallest), as_class**_CLASS_POWER * by_regression))
        num_looked_at += width

    for maps, *of_bins in _fused(_outputs(windows, network, batch_size), network, length):
        boundaries[:, num_known : num_known + maps.shape[2]] = of_bins
        num_known += maps.shape[2]
        num_windows += 1
        waiting.append(maps)
        if num_known > num_looked_at + waiting[0].shape[2] + longest and num_known < length:
            look_at(waiting.pop(0))
    for maps in waiting:
        look_at(maps)
    starts, ends = _likely(start), _likely(end)
    starts[0], ends[-1] = True, True
    for number, part in enumerate(parts):
        cells = part.cells()
        parts[number] = part.chosen(starts[cells[:, 1]] & ends[cells.sum(axis=1) + 1])
    return _Candidates(parts, num_windows)


def _fused(
    outputs: Iterator[dict[str, NDArray[np.float64]]], network: BMN, length: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """What windows say together of the bins of the axis in order, as soon as no later window says more of them.

    Yields confidence (2, D, n), starts and ends (n,), means over the windows: once for each window.
    """
    num_bins, longest = network.num_bins, network.max_duration_bins
    fits = np.arange(longest)[:, None] + np.arange(num_bins) < num_bins
    confidence, boundaries = np.zeros((2, longest, num_bins)), np.zeros((2, num_bins))
    proposal_counts, window_counts = np.zeros((longest, num_bins)), np.zeros(num_bins)
    sums = (confidence, boundaries, proposal_counts, window_counts)
    first, found = 0, next(outputs, None)
    while found is not None:
        confidence += found["confidence_map"] * fits
        boundaries += np.stack([found["start"], found["end"]])
        proposal_counts += fits
        window_counts += 1
        found = next(outputs, None)
        done = slice(0, min(length - first, longest if found is not None else num_bins))
        start, end = boundaries[:, done] / window_counts[done]
        yield confidence[:, :, done] / np.maximum(proposal_counts[:, done], 1), start, end
        first += longest
        for each in sums:  # the next window begins so many bins later
            each[..., :-longest] = each[..., longest:].copy()
            each[..., -longest:] = 0


def _outputs(windows: Iterator[Tensor], network: BMN, batch_size: int) -> Iterator[dict[str, NDArray[np.float64]]]:
    """What the network says of each window, by name, without the axis of the batch."""
    like = next(network.parameters())
    while batch := [window for _, window in zip(range(batch_size), windows, strict=False)]:
        with torch.inference_mode():
            outputs = network(torch.stack(batch).to(like))
        found = {name: values.double().cpu().numpy() for name, values in outputs.items()}
        if not all(np.isfinite(values).all() for values in found.values()):
            raise ValueError("what the network makes of the features is not finite")
        for number in range(len(batch)):
            yield {name: values[number] for name, values in found.items()}


def _windows(values: Rows, network: BMN, duration_seconds: float, snippet_seconds: float) -> Iterator[Tensor]:
    """(C, T) for each window of values (N, ...) of snippets, C in all: zeros after the last, resampled to the bins.

    One window begins as many bins after the other as the longest proposal has, so each proposal lies within one.
    """
    num_snippets, step = (SNIPPETS_PER_BIN * count for count in (network.num_bins, network.max_duration_bins))
    for first in range(0, len(values), step):
        if first and first * snippet_seconds > duration_seconds - _LEAST_SECONDS:
            return
        window = values[first : first + num_snippets].flatten(1).t()
        window = F.pad(window, (0, num_snippets - window.shape[1]))
        yield F.interpolate(window[None], size=network.num_bins, mode="linear", align_corners=True)[0]


def _likely(probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which bins of the axis (A,) are a likely start or end; the first and the last one are not asked."""
    likely = np.zeros(len(probabilities), dtype=bool)
    inner = probabilities[1:-1]
    is_peak = (inner > probabilities[:-2]) & (inner > probabilities[2:])
    likely[1:-1] = is_peak | (inner > _SHARE_OF_HIGHEST * probabilities.max(initial=0.0))
    return likely


def _holds(starts: NDArray[np.bool_], ends: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """Whether each proposal (D, A) begins at a likely start and ends at a likely end within the video."""
    holds = np.zeros((longest, len(starts)), dtype=bool)
    for duration in range(min(longest, len(starts) - 1)):
        holds[duration, : len(starts) - duration - 1] = starts[: len(starts) - duration - 1] & ends[duration + 1 :]
    return holds
