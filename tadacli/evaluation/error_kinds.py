"""What kinds of errors detections are, as DETAD names them, and how many true segments they miss.

(Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018, section 4.1.) Detections of all videos are
taken by falling score, equal ones in the order given, of each class so many times as it has true segments. One is

- right if it overlaps a true segment of its class by the threshold or more that no earlier one has taken; it takes the
  one that it overlaps best;
- a double detection if it so overlaps only those that are taken;
- of a wrong label if it so overlaps one of another class;
- a localization error if it overlaps one of its class by less than the threshold, and a tenth or more;
- a confusion error if it so overlaps one of another class;
- background otherwise.

A true segment is missed if no detection that counts took it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels

# Below this a detection and a true segment have nothing to do with each other.
LEAST_TIOU = 0.1
# Detections that count, as multiples of the true segments of their class.
MULTIPLES = (1, 10)
# Pairs of a detection and a true segment compared at a time: memory does not grow with the number of pairs.
_PAIRS = 1 << 19


class ErrorKind(StrEnum):
    """What a detection is; the first is no error."""

    RIGHT = "right"
    DOUBLE = "double detection"
    WRONG_LABEL = "wrong label"
    LOCALIZATION = "localization error"
    CONFUSION = "confusion error"
    BACKGROUND = "background"


@dataclass(frozen=True)
class ErrorCounts:
    """How many detections are of each kind, of those that count, and how many of the true segments are missed.

    `multiple` says how many count: of each class so many times its true segments. `tiou` is the threshold.
    """

    tiou: float
    multiple: int
    kinds: dict[ErrorKind, int]
    num_missed: int
    num_truth: int

    @property
    def num_detections(self) -> int:
        """How many detections count."""
        return sum(self.kinds.values())


def count_errors(
    truth: TimedLabels, detections: ScoredSegments, *, tiou: float, multiples: Sequence[int] = MULTIPLES
) -> tuple[ErrorCounts, ...]:
    """How many detections are of each kind.

    Args:
        truth: The true segments.
        detections: The detections; those of classes that the truth does not have are left out, as in mAP.
        tiou: The threshold on the temporal IoU, above `LEAST_TIOU`.
        multiples: How many detections count, see above.

    Returns:
        The counts for each multiple, in their order.
    """
    limits = np.bincount(truth.classes, minlength=1 + int(max(detections.classes, default=0)))
    ranks = _ranks(detections)
    # What does not count comes after all of its class that does, and takes nothing from these.
    rows = np.flatnonzero(ranks < max(multiples) * limits[detections.classes])
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    kinds, takes = _kinds(truth, detections, rows, tiou=tiou)
    counts = []
    for multiple in multiples:
        counting = ranks[rows] < multiple * limits[detections.classes[rows]]
        found = {kind: int((kinds[counting] == number).sum()) for number, kind in enumerate(ErrorKind)}
        num_missed = len(truth) - int((counting & takes).sum())
        counts.append(ErrorCounts(tiou, multiple, found, num_missed, len(truth)))
    return tuple(counts)


def _ranks(detections: ScoredSegments) -> NDArray[np.int64]:
    """The place of each detection among those of its class, by falling score, from 0."""
    order = np.lexsort((-detections.scores, detections.classes))  # stable: equal ones stay in the order given
    classes = detections.classes[order]
    first = np.flatnonzero(np.diff(classes, prepend=-1))
    places = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = places
    return ranks


def _kinds(
    truth: TimedLabels, detections: ScoredSegments, rows: NDArray[np.int64], *, tiou: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The kind by number of the detections in `rows`, which are by falling score, and whether they took a true one."""
    number = {kind: each for each, kind in enumerate(ErrorKind)}
    kinds = np.full(len(rows), number[ErrorKind.BACKGROUND], dtype=np.int64)
    for video in np.unique(truth.videos):
        true = np.flatnonzero(truth.videos == video)
        places = np.flatnonzero(detections.videos[rows] == video)
        is_free = np.ones(len(true), dtype=np.bool_)
        for block in np.array_split(places, 1 + len(places) * len(true) // _PAIRS):
            found = rows[block]
            iou = _overlaps(truth, true, detections, found)
            own = truth.classes[true] == detections.classes[found][:, None]
            of_own, of_any = (np.where(own, iou, -1.0).max(axis=1), iou.max(axis=1))
            kinds[block[of_any >= LEAST_TIOU]] = number[ErrorKind.CONFUSION]
            kinds[block[of_own >= LEAST_TIOU]] = number[ErrorKind.LOCALIZATION]
            kinds[block[of_any >= tiou]] = number[ErrorKind.WRONG_LABEL]
            for place in np.flatnonzero(of_own >= tiou).tolist():
                free = np.where(own[place] & is_free & (iou[place] >= tiou), iou[place], -1.0)
                best = int(free.argmax())
                is_right = free[best] >= 0
                kinds[block[place]] = number[ErrorKind.RIGHT if is_right else ErrorKind.DOUBLE]
                is_free[best] &= not is_right
    return kinds, kinds == number[ErrorKind.RIGHT]


def _overlaps(
    truth: TimedLabels, true: NDArray[np.int64], detections: ScoredSegments, found: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The temporal IoU of detections (rows) with true segments (columns); 0 where it is undefined."""
    starts, ends = truth.starts_seconds[true], truth.ends_seconds[true]
    begin, end = detections.starts_seconds[found][:, None], detections.ends_seconds[found][:, None]
    shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, begin), 0.0)
    union = (ends - starts) + (end - begin) - shared
    iou: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou
