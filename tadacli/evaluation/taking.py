"""Which true segment each detection takes, where each of these is found once: what F1 and kinds of errors count by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels

# Pairs of a detection and a true segment compared at a time: memory does not grow with the number of pairs.
_PAIRS = 1 << 19


def taken_segments(truth: TimedLabels, detections: ScoredSegments, *, tiou: float) -> NDArray[np.int64]:
    """The true segment that each detection takes.

    Each, by falling score, equal ones in the order given, takes the true segment of its video and class that it
    overlaps best of those that are left, the first of equals, if their temporal IoU is not below a threshold. What one
    takes does not depend on those with lower scores, so it holds for all thresholds on scores at once.

    Args:
        truth: The true segments.
        detections: The detections (N,).
        tiou: The threshold on the IoU, above 0.

    Returns:
        Rows of `truth`, -1 for a detection that takes none, (N,).
    """
    taken = np.full(len(detections), -1, dtype=np.int64)
    num_classes = 1 + max(int(truth.classes.max(initial=0)), int(detections.classes.max(initial=0)))
    true_keys = truth.videos * num_classes + truth.classes
    keys = detections.videos * num_classes + detections.classes
    by_score = np.argsort(-detections.scores, kind="stable")
    for true, places in rows_in_common(true_keys, keys[by_score]):
        found = by_score[places]
        is_free = np.ones(len(true), dtype=np.bool_)
        for block in blocks_of(found, len(true)):
            iou = temporal_iou(truth, true, detections, block)
            for place in np.flatnonzero(iou.max(axis=1) >= tiou).tolist():
                free = np.where(is_free, iou[place], -1.0)
                best = int(free.argmax())
                if free[best] >= tiou:
                    taken[block[place]] = true[best]
                    is_free[best] = False
    return taken


def rows_in_common(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows (of the first, of the second) with the same value, for each value that both have, in their order."""
    orders = [np.argsort(values, kind="stable") for values in (first, second)]
    both = np.intersect1d(first, second)
    bounds = [
        np.searchsorted(values[order], [both, both + 1]).T.tolist()
        for values, order in zip((first, second), orders, strict=True)
    ]
    for (begin, end), (other_begin, other_end) in zip(*bounds, strict=True):
        yield orders[0][begin:end], orders[1][other_begin:other_end]


def temporal_iou(
    truth: TimedLabels, true: NDArray[np.int64], detections: ScoredSegments, found: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The temporal IoU of detections with true segments.

    Args:
        truth: The true segments.
        true: Rows of it (M,).
        detections: The detections.
        found: Rows of them (N,).

    Returns:
        (N, M), 0 where it is undefined.
    """
    starts, ends = truth.starts_seconds[true], truth.ends_seconds[true]
    begin, end = detections.starts_seconds[found][:, None], detections.ends_seconds[found][:, None]
    shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, begin), 0.0)
    union = (ends - starts) + (end - begin) - shared
    iou: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou


def blocks_of(rows: NDArray[np.int64], num_truth: int) -> Iterator[NDArray[np.int64]]:
    """The rows in parts, each small enough to be compared with so many true segments at once."""
    yield from np.array_split(rows, 1 + len(rows) * num_truth // _PAIRS)
