"""What the boundary-matching network is to say of a window, and the losses of what it says instead, as published.

"A Stronger Baseline for Ego-Centric Action Detection" (arXiv 2106.06942), whose configuration gives the numbers. Two
things differ, so that the loss of a batch is the mean of those of its windows, however they are shared out: shares of
positives are those of each window, and where some cells are drawn there, here each counts as often as it is drawn on
the average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.nms import temporal_iou
from tadacli.models.bmn import SNIPPETS_PER_BIN
from tadacli.training.heads.sequences import FeatureWindow, classes_by_step

# How much of an action lies in a window that it counts in.
WHOLE = 0.999
# Around a boundary a start or an end is likely, this many bins to each side; a bin is looked at with half of both
# neighbours, and is a positive if more than this share of that is likely.
_BOUNDARY_BINS, _ANCHOR_MARGIN, _IS_BOUNDARY = 1.5, 0.5, 0.5
# The overlap of a proposal with an action: what is a positive as a class, and what is high, middling and low.
_IS_ACTION, _HIGH, _LOW = 0.9, 0.7, 0.3
# What the losses count: of boundaries, of the overlap by regression, and as a class.
_WEIGHTS = (1.0, 10.0, 1.0)


@dataclass(frozen=True)
class ProposalObjective:
    """Each bin is to say whether an action starts or ends there, each cell how well it overlaps one.

    A snippet within a segment is to be its class: cross entropy.
    """

    num_classes: Mapping[str, int]
    num_bins: int
    max_duration_bins: int

    def targets(self, window: FeatureWindow, num_steps: int) -> dict[str, Tensor]:
        """Those of a window of `num_steps` snippets.

        Args:
            window: Places count from the middle of its first snippet, in snippets.
            num_steps: Two for each bin.

        Returns:
            `start`, `end` (T,) and `overlap` (D, T); `bins` (T,) and `cells` (D, T), 0 where nothing is to be learnt;
            by head `classes` (K, 2 T), shares that add up to 1 within segments and are 0 elsewhere.
        """
        whole = in_bins(window.spans[window.inside > WHOLE])
        start, end = (boundary_labels(whole[:, side], self.num_bins) for side in (0, 1))
        overlap = overlap_map(whole, self.num_bins, self.max_duration_bins)
        bins, cells = self._counted(in_bins(window.ignored))
        targets = {
            "start": start,
            "end": end,
            "overlap": overlap,
            "bins": bins | (start > _IS_BOUNDARY) | (end > _IS_BOUNDARY),
            "cells": fits(self.num_bins, self.max_duration_bins) & (cells | (overlap > _HIGH)),
        }
        for head, count in self.num_classes.items():
            shown = classes_by_step(window, head, count, num_steps)
            targets[f"{head}.classes"] = shown / np.maximum(shown.sum(axis=0), 1)
        return {name: torch.from_numpy(each.astype(np.float32)) for name, each in targets.items()}

    def _counted(self, ignored: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The bins (T,) and cells (D, T) that reach into no time of which nothing is known."""
        anchors, cells = _anchors(self.num_bins), _cells(self.num_bins, self.max_duration_bins)
        hit = [
            np.logical_or.reduce([(spans[:, 0] < end) & (spans[:, 1] > start) for start, end in ignored.tolist()])
            if len(ignored)
            else np.zeros(len(spans), dtype=np.bool_)
            for spans in (anchors, cells)
        ]
        return ~hit[0], ~hit[1].reshape(self.max_duration_bins, self.num_bins)

    def loss(self, found: object, targets: Mapping[str, Tensor]) -> Tensor:
        """The mean over the windows."""
        assert isinstance(found, dict)
        said: dict[str, Tensor] = {name: each.float() for name, each in found.items()}
        by_regression, as_class = said["confidence_map"].unbind(dim=1)
        overlap, cells, bins = targets["overlap"], targets["cells"], targets["bins"]
        start, end = (weighted_cross_entropy(said[n], targets[n] > _IS_BOUNDARY, bins) for n in ("start", "end"))
        losses = (
            _WEIGHTS[0] * (start + end)
            + _WEIGHTS[1] * overlap_loss(by_regression, overlap, cells)
            + _WEIGHTS[2] * weighted_cross_entropy(as_class, overlap > _IS_ACTION, cells)
        )
        for head in self.num_classes:
            shares = targets[f"{head}.classes"]
            missed = -(shares * said[f"{head}.logits"].log_softmax(dim=1)).sum(dim=(1, 2))
            losses = losses + missed / shares.sum(dim=(1, 2)).clamp(min=1)
        return losses.mean()


def in_bins(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in snippets, from the middle of the first one, as places in bins from the start of the first one."""
    return (places.reshape(-1, 2) + 0.5) / SNIPPETS_PER_BIN


def boundary_labels(boundaries: NDArray[np.float64], num_bins: int) -> NDArray[np.float64]:
    """How much of each bin, with half of both neighbours, lies around a boundary.

    Args:
        boundaries: (S,) in bins.
        num_bins: T.

    Returns:
        (T,), 0 to 1: of several boundaries the largest share.
    """
    anchors = _anchors(num_bins)
    starts, ends = anchors.T[:, :, None]
    shared = np.minimum(ends, boundaries + _BOUNDARY_BINS) - np.maximum(starts, boundaries - _BOUNDARY_BINS)
    share: NDArray[np.float64] = np.maximum(shared, 0.0).max(axis=1, initial=0.0) / (1 + 2 * _ANCHOR_MARGIN)
    return share


def overlap_map(spans: NDArray[np.float64], num_bins: int, max_duration_bins: int) -> NDArray[np.float64]:
    """The IoU of every proposal with the action that it overlaps best.

    Args:
        spans: (S, 2) in bins.
        num_bins: T.
        max_duration_bins: D.

    Returns:
        (D, T): of cell (d, s), the proposal from s to s + d + 1.
    """
    best = temporal_iou(_cells(num_bins, max_duration_bins), spans).max(axis=1, initial=0.0)
    found: NDArray[np.float64] = best.reshape(max_duration_bins, num_bins)
    return found


def fits(num_bins: int, max_duration_bins: int) -> NDArray[np.bool_]:
    """Which cells (D, T) end within the window."""
    inside: NDArray[np.bool_] = np.arange(max_duration_bins)[:, None] + np.arange(num_bins) < num_bins
    return inside


def weighted_cross_entropy(found: Tensor, is_positive: Tensor, counted: Tensor) -> Tensor:
    """The binary cross entropy in which positives count as much as negatives do together.

    Args:
        found: Probabilities (B, ...).
        is_positive: (B, ...), bool.
        counted: (B, ...), 1, or 0 for what does not count.

    Returns:
        (B,): the means over what counts. Without positives those of the negatives, half of them as ever.
    """
    positive, counted = (is_positive & (counted > 0)).float().flatten(1), counted.flatten(1)
    num_counted, num_positive = counted.sum(dim=1, keepdim=True), positive.sum(dim=1, keepdim=True)
    of_positive = 0.5 * num_counted / num_positive.clamp(min=1)
    of_negative = 0.5 * num_counted / (num_counted - num_positive).clamp(min=1)
    weights = torch.where(positive > 0, of_positive, of_negative) * counted
    losses = F.binary_cross_entropy(found.flatten(1), positive, weight=weights, reduction="none")
    return losses.sum(dim=1) / num_counted[:, 0].clamp(min=1)


def overlap_loss(found: Tensor, overlap: Tensor, counted: Tensor) -> Tensor:
    """Half the squared error of the overlap, over proposals of high, middling and low overlap in equal parts.

    Args:
        found: (B, D, T), of 0 to 1.
        overlap: (B, D, T), what it is to be. Proposals without any do not count.
        counted: (B, D, T), 1, or 0 for what does not count.

    Returns:
        (B,): the means; 0 where no proposal has a high overlap.
    """
    found, overlap, is_counted = found.flatten(1), overlap.flatten(1), counted.flatten(1) > 0
    high = is_counted & (overlap > _HIGH)
    middling = is_counted & (overlap > _LOW) & (overlap <= _HIGH)
    low = is_counted & (overlap > 0) & (overlap <= _LOW)
    num_high = high.sum(dim=1, keepdim=True)
    weights = high.float()
    for cells in (middling, low):
        weights = weights + cells * (num_high / cells.sum(dim=1, keepdim=True).clamp(min=1)).clamp(max=1)
    squares = weights * (found - overlap) ** 2
    return 0.5 * squares.sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def _anchors(num_bins: int) -> NDArray[np.float64]:
    """The bins (T, 2) with half of both neighbours."""
    starts = np.arange(num_bins, dtype=np.float64)
    return np.stack([starts - _ANCHOR_MARGIN, starts + 1 + _ANCHOR_MARGIN], axis=1)


def _cells(num_bins: int, max_duration_bins: int) -> NDArray[np.float64]:
    """The proposals (D * T, 2) in bins."""
    durations, starts = np.divmod(np.arange(max_duration_bins * num_bins, dtype=np.float64), num_bins)
    return np.stack([starts, starts + durations + 1], axis=1)
