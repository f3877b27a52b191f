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

from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels
from tadacli.evaluation.taking import blocks_of, rows_in_common, taken_segments, temporal_iou

# Below this a detection and a true segment have nothing to do with each other.
LEAST_TIOU = 0.1
# Detections that count, as multiples of the true segments of their class.
MULTIPLES = (1, 10)


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


@dataclass(frozen=True, eq=False)
class JudgedDetections:
    """What the detections that count are, best first, (N,) each.

    `rows` are their rows among all detections; `kinds` are numbers in the order of `ErrorKind`; `taken` are the rows of
    the true segments that they took, -1 for none; `multiples` say from which multiple on each counts.
    """

    tiou: float
    num_truth: int
    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]
    taken: NDArray[np.int64]
    multiples: NDArray[np.int64]

    def counts(self, multiple: int) -> ErrorCounts:
        """How many are of each kind, of those that count for a multiple."""
        counting = self.multiples <= multiple
        found = {kind: int((self.kinds[counting] == number).sum()) for number, kind in enumerate(ErrorKind)}
        num_missed = self.num_truth - int((self.taken[counting] >= 0).sum())
        return ErrorCounts(self.tiou, multiple, found, num_missed, self.num_truth)


def judge_detections(
    truth: TimedLabels, detections: ScoredSegments, *, tiou: float, multiple: int = MULTIPLES[-1]
) -> JudgedDetections:
    """What kind each detection is of.

    Args:
        truth: The true segments.
        detections: The detections; those of classes that the truth does not have are left out, as in mAP.
        tiou: The threshold on the temporal IoU, above `LEAST_TIOU`.
        multiple: How many detections count, see above.

    Returns:
        Those that count.
    """
    limits = np.bincount(truth.classes, minlength=1 + int(max(detections.classes, default=0)))[detections.classes]
    ranks = _ranks(detections)
    # What does not count comes after all of its class that does, and takes nothing from these.
    rows = np.flatnonzero(ranks < multiple * limits)
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    taken = taken_segments(truth, _of(detections, rows), tiou=tiou)
    kinds = _kinds(truth, detections, rows, taken, tiou=tiou)
    return JudgedDetections(tiou, len(truth), rows, kinds, taken, 1 + ranks[rows] // limits[rows])


def _of(detections: ScoredSegments, rows: NDArray[np.int64]) -> ScoredSegments:
    return ScoredSegments(*(getattr(detections, each.name)[rows] for each in fields(ScoredSegments)))


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
    truth: TimedLabels,
    detections: ScoredSegments,
    rows: NDArray[np.int64],
    taken: NDArray[np.int64],
    *,
    tiou: float,
) -> NDArray[np.int64]:
    """The kind by number of the detections in `rows`, of which some have taken a true segment."""
    number = {kind: each for each, kind in enumerate(ErrorKind)}
    kinds = np.full(len(rows), number[ErrorKind.BACKGROUND], dtype=np.int64)
    for true, places in rows_in_common(truth.videos, detections.videos[rows]):
        for block in blocks_of(places, len(true)):
            iou = temporal_iou(truth, true, detections, rows[block])
            own = truth.classes[true] == detections.classes[rows[block]][:, None]
            of_own, of_any = (np.where(own, iou, -1.0).max(axis=1), iou.max(axis=1))
            kinds[block[of_any >= LEAST_TIOU]] = number[ErrorKind.CONFUSION]
            kinds[block[of_own >= LEAST_TIOU]] = number[ErrorKind.LOCALIZATION]
            kinds[block[of_any >= tiou]] = number[ErrorKind.WRONG_LABEL]
            kinds[block[of_own >= tiou]] = number[ErrorKind.DOUBLE]
    kinds[taken >= 0] = number[ErrorKind.RIGHT]
    return kinds
