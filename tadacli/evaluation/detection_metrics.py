"""Mean average precision of timed segments, as the EPIC-KITCHENS-100, ActivityNet/HACS and THUMOS evaluators count it.

The rules, for each class of the ground truth and each threshold on the temporal IoU:

- The detections of the class, of all videos together, are taken by falling score; equal scores in the order given.
- A detection takes the true segment of its video and class that overlaps it best among those not taken by an
  earlier one, if their IoU is not below the threshold: then it is right. Otherwise it is wrong, as is every
  detection in a video without such a segment. Of equal IoUs the true segment given last is tried first.
- IoU is intersection over union in float64. Where the union is 0 (both spans empty, or one the other's length
  backwards) it is undefined, and that counts as better than any overlap, wherever the two spans lie. Spans are
  not cut to the video; a backwards one shares no time with any other.
- Precision after each detection is raised to the best precision at any later one. Average precision is the mean of
  that over the true segments, with 0 for those that nothing found.
- mAP is the mean over the classes of the ground truth. Detections of other classes are left out; so in EPIC-KITCHENS
  a detection may count for its verb and not for its noun. A video without detections is a video with misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import TadaError

# The thresholds of the official evaluators, to the last bit: IoUs fall exactly on them.
EPIC_TIOU: tuple[float, ...] = tuple(np.linspace(0.1, 0.5, 5).tolist())
ACTIVITYNET_TIOU: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
THUMOS_TIOU: tuple[float, ...] = tuple(np.linspace(0.3, 0.7, 5).tolist())

# Pairs of a detection and a true segment compared at a time: memory does not grow with the number of pairs.
_PAIRS = 1 << 19

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TimedLabels:
    """True segments as columns (N,): codes of video and class, start and end in seconds.

    Codes are integers from 0, with the same meaning in the ground truth and in the detections; those of videos
    leave few numbers out. Raises `ValueError` for columns that do not fit together, codes that are negative or no
    integers, and times that are NaN.
    """

    videos: Indices
    classes: Indices
    starts_seconds: Numbers
    ends_seconds: Numbers

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            is_code = name in ("videos", "classes")
            values = np.asarray(getattr(self, name), dtype=None if is_code else np.float64)
            if is_code and values.size and (values.dtype.kind not in "iu" or int(values.min()) < 0):
                raise ValueError(f"{name} must be integers from 0")
            if not is_code and np.isnan(values).any():
                raise ValueError(f"{name} must be numbers, not NaN")
            if values.shape != (len(self.videos),):
                raise ValueError(f"{values.shape} {name} do not fit {len(self.videos)} segments")
            object.__setattr__(self, name, values.astype(np.int64) if is_code else values)

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True, eq=False)
class ScoredSegments(TimedLabels):
    """Detections as columns (N,): as `TimedLabels`, and any number, not NaN, as the score."""

    scores: Numbers


@dataclass(frozen=True)
class DetectionMetrics:
    """Average precision, as fractions, and what it is based on.

    `average_precision` holds a row for each of `classes`, the sorted class codes of the ground truth, and in
    it a value for each threshold of `tiou`; `num_truth` counts the true segments of each class. Of
    `num_detections` given, `num_scored` are of one of the classes; of the `num_videos` of the ground truth,
    `num_videos_detected` have one of these.
    """

    tiou: tuple[float, ...]
    classes: tuple[int, ...]
    num_truth: tuple[int, ...]
    average_precision: tuple[tuple[float, ...], ...]
    num_detections: int
    num_scored: int
    num_videos: int
    num_videos_detected: int

    @property
    def mean_average_precision(self) -> tuple[float, ...]:
        """mAP at each threshold."""
        return tuple(float(value) for value in np.mean(self.average_precision, axis=0))

    @property
    def average(self) -> float:
        """Mean of the mAP over the thresholds."""
        return float(np.mean(self.mean_average_precision))


def average_precision(truth: TimedLabels, detections: ScoredSegments, *, tiou: Sequence[float]) -> DetectionMetrics:
    """How well `detections` find the segments of `truth`, by the rules at the top of this module.

    Args:
        truth: The true segments.
        detections: The detections; those of classes that the ground truth does not have are left out.
        tiou: The thresholds on the temporal IoU, above 0.

    Returns:
        Average precision as fractions, and what it is based on.

    Raises:
        TadaError: The ground truth is empty.
        ValueError: A threshold is not above 0, or a true segment has no end.
    """
    if not len(tiou) or not all(threshold > 0 for threshold in tiou):
        raise ValueError(f"thresholds {tiou} must be above 0")
    if not len(truth):
        raise TadaError(
            "there are no true segments to find", hint="check the annotations, and the subset if there is one"
        )
    if not bool(np.isfinite(truth.starts_seconds).all() and np.isfinite(truth.ends_seconds).all()):
        raise ValueError("true segments must have finite times")
    classes, truth_classes = np.unique(truth.classes, return_inverse=True)
    kept, found_classes = _ranked(detections, classes)
    found_videos = detections.videos[kept]
    num_videos = 1 + max(int(truth.videos.max()), int(detections.videos.max(initial=0)))
    truth_keys, keys = truth_classes * num_videos + truth.videos, found_classes * num_videos + found_videos
    pairs = _candidates(truth, truth_keys, detections, kept, keys, float(min(tiou)))
    hits = _assign(*pairs, np.asarray(tiou, dtype=np.float64), num_detections=len(kept), num_truth=len(truth))
    num_truth = np.bincount(truth_classes, minlength=len(classes))
    videos = np.flatnonzero(np.bincount(truth.videos))
    detected = np.bincount(found_videos, minlength=num_videos) > 0
    return DetectionMetrics(
        tiou=tuple(float(threshold) for threshold in tiou),
        classes=tuple(classes.tolist()),
        num_truth=tuple(num_truth.tolist()),
        average_precision=tuple(tuple(row) for row in _precisions(hits, found_classes, num_truth).tolist()),
        num_detections=len(detections),
        num_scored=len(hits),
        num_videos=len(videos),
        num_videos_detected=int(detected[videos].sum()),
    )


@dataclass(frozen=True)
class VideoPrecision:
    """How well the segments of one video are found: `video` is its code, `num_truth` counts its true segments.

    `mean_average_precision` has a fraction for each threshold.
    """

    video: int
    num_truth: int
    mean_average_precision: tuple[float, ...]


def precision_by_video(
    truth: TimedLabels, detections: ScoredSegments, *, tiou: Sequence[float]
) -> tuple[VideoPrecision, ...]:
    """How well the segments of each video are found, by the rules at the top of this module applied to it alone.

    Args:
        truth: The true segments.
        detections: The detections; in each video those of a class that it does not have are left out.
        tiou: The thresholds, above 0.

    Returns:
        A value for each video that has true segments, by rising code: the mean over its classes.

    Raises:
        TadaError: The ground truth is empty.
        ValueError: As for `average_precision`.
    """
    num_videos = 1 + max(int(truth.videos.max(initial=0)), int(detections.videos.max(initial=0)))
    # What a class is to all videos, a class in one video is to that video.
    own = replace(truth, classes=truth.classes * num_videos + truth.videos)
    found = replace(detections, classes=detections.classes * num_videos + detections.videos)
    measured = average_precision(own, found, tiou=tiou)
    videos, place = np.unique(np.array(measured.classes) % num_videos, return_inverse=True)
    num_classes = np.bincount(place)
    num_truth = np.bincount(place, np.array(measured.num_truth)).astype(np.int64)
    sums = [np.bincount(place, column) for column in np.array(measured.average_precision).T]
    means = (np.array(sums) / num_classes).T
    return tuple(
        VideoPrecision(video, count, tuple(row))
        for video, count, row in zip(videos.tolist(), num_truth.tolist(), means.tolist(), strict=True)
    )


def _ranked(detections: ScoredSegments, classes: Indices) -> tuple[Indices, Indices]:
    """Rows of the detections of these classes, by class, then by falling score; and the place of the class of each."""
    place = np.searchsorted(classes, detections.classes)
    kept = np.flatnonzero(classes[np.minimum(place, len(classes) - 1)] == detections.classes)
    kept = kept[np.argsort(-detections.scores[kept], kind="stable")]
    # In the smallest type, as numpy sorts 8 and 16 bits many times faster.
    kept = kept[np.argsort(place[kept].astype(np.min_scalar_type(len(classes))), kind="stable")]
    return kept, place[kept].astype(np.int64)


def _candidates(
    truth: TimedLabels,
    truth_keys: Indices,
    detections: ScoredSegments,
    kept: Indices,
    keys: Indices,
    lowest: float,
) -> tuple[Indices, Indices, Numbers]:
    """Pairs of the same key whose IoU is not below `lowest`: place in `kept`, row of `truth`, IoU.

    By detection, and for each the better pairs first. An undefined IoU becomes infinity.
    """
    by_key = np.lexsort((truth.starts_seconds, truth_keys))
    starts, stops = truth.starts_seconds[by_key], truth.ends_seconds[by_key]
    begins, ends = detections.starts_seconds[kept], detections.ends_seconds[kept]
    first, last = _overlapping(truth_keys[by_key], starts, stops, keys, begins, ends)
    sizes = last - first
    totals = np.cumsum(sizes)
    found: list[tuple[Indices, Indices, Numbers]] = []
    begin = 0
    while begin < len(kept):
        done = int(totals[begin] - sizes[begin])
        end = max(begin + 1, int(np.searchsorted(totals, done + _PAIRS, side="right")))
        block = slice(begin, end)
        places = np.repeat(np.arange(begin, end), sizes[block])
        rows = np.arange(len(places)) + np.repeat((last - totals + done)[block], sizes[block])
        iou = _paired_iou(begins[places], ends[places], starts[rows], stops[rows])
        near = np.flatnonzero(iou >= lowest)
        found.append((places[near], by_key[rows[near]], iou[near]))
        begin = end
    if not found:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    detection, row, iou = (np.concatenate(column) for column in zip(*found, strict=True))
    # Few detections have several candidates, and only these need sorting.
    same = np.diff(detection, prepend=-1, append=-1) == 0
    several = np.flatnonzero(same[:-1] | same[1:])
    order = several[np.lexsort((-row[several], -iou[several], detection[several]))]
    row[several], iou[several] = row[order], iou[order]
    return detection, row, iou


def _overlapping(
    truth_keys: Indices, starts: Numbers, stops: Numbers, keys: Indices, begins: Numbers, ends: Numbers
) -> tuple[Indices, Indices]:
    """First and end of the true segments, sorted by key and start, that each detection may have an IoU with.

    They are a little more than those of its key that share time with it, or all of its key where an undefined
    IoU is possible: it takes a span that is empty or backwards on one side.
    """
    first = np.flatnonzero(np.diff(truth_keys, prepend=-1))
    groups, sizes = truth_keys[first], np.diff(first, append=len(truth_keys))
    group_of = np.repeat(np.arange(len(groups)), sizes)
    odd = np.bincount(group_of, ~(stops > starts), minlength=len(groups)) > 0
    # All groups on one time axis, one after the other; the slack makes up for rounding on it.
    origin = float(min(starts.min(), stops.min()))
    span = float(max(starts.max(), stops.max())) - origin + 1.0
    slack = span * len(groups) * 1e-15
    axis_starts = group_of * span + (starts - origin)
    axis_stops = np.maximum.accumulate(group_of * span + (stops - origin))
    group = np.minimum(np.searchsorted(groups, keys), len(groups) - 1)
    found = np.flatnonzero(groups[group] == keys)
    # By group, as searches for neighbours one after the other are faster.
    found = found[np.argsort(group[found].astype(np.min_scalar_type(len(groups))), kind="stable")]
    group, begins, ends = group[found], begins[found], ends[found]
    low = np.searchsorted(axis_stops, group * span + np.clip(begins - origin, 0.0, span) - slack)
    high = np.searchsorted(axis_starts, group * span + np.clip(ends - origin, 0.0, span) + slack, side="right")
    whole = ~(ends > begins) | odd[group]
    least, most = first[group], (first + sizes)[group]
    low = np.where(whole, least, np.clip(low, least, most))
    high = np.where(whole, most, np.clip(high, low, most))
    bounds = np.zeros((2, len(keys)), dtype=np.int64)
    bounds[:, found] = low, high
    return bounds[0], bounds[1]


def _paired_iou(starts: Numbers, ends: Numbers, other_starts: Numbers, other_ends: Numbers) -> Numbers:
    """IoU of spans (P,) with others (P,), infinity where it is undefined.

    Not `suppression.temporal_iou`, which compares all with all and calls the IoU of empty spans 0.
    """
    shared = np.maximum(np.minimum(ends, other_ends) - np.maximum(starts, other_starts), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        iou: Numbers = shared / ((other_ends - other_starts) + (ends - starts) - shared)
    iou[np.isnan(iou)] = np.inf
    return iou


def _assign(
    detection: Indices, row: Indices, iou: Numbers, thresholds: Numbers, *, num_detections: int, num_truth: int
) -> NDArray[np.bool_]:
    """Which detections (D, T) get a true segment, of the pairs as `_candidates` orders them.

    Letting detections choose one after the other is the one stable matching in which every true segment prefers
    the earlier detection. So all may ask at once: each for the best it was not refused, and a true segment keeps
    the earliest that ever asked; who is refused asks for the next best. The outcome does not depend on the rounds.
    """
    num_tiou = len(thresholds)
    hits = np.zeros((num_detections, num_tiou), dtype=np.bool_)
    if not detection.size:
        return hits
    first = np.flatnonzero(np.diff(detection, prepend=-1))
    # The pairs that pass a threshold are the first ones of each detection, as these have the highest IoU.
    passing = np.add.reduceat(iou[:, None] >= thresholds, first, axis=0, dtype=np.int64)
    # Numbered by detection: of those who ask for one segment at one threshold, the earliest has the lowest number.
    who, column = np.nonzero(passing)
    pair = first[who]
    end = pair + passing[who, column]
    holder = np.full(num_truth * num_tiou, len(who))
    asking = np.arange(len(who))
    while asking.size:
        wanted = row[pair[asking]] * num_tiou + column[asking]
        before = holder[wanted]
        np.minimum.at(holder, wanted, asking)
        accepted = holder[wanted] == asking
        replaced = before[accepted]
        refused = np.concatenate([asking[~accepted], replaced[replaced < len(who)]])
        pair[refused] += 1
        asking = refused[pair[refused] < end[refused]]
    right = holder[holder < len(who)]
    hits[detection[first[who[right]]], column[right]] = True
    return hits


def _precisions(hits: NDArray[np.bool_], found_classes: Indices, num_truth: Indices) -> Numbers:
    """Average precision (C, T), a row for each class and a column for each threshold.

    The detections (D,) stand by class, then by falling score; `hits` (D, T) says at which thresholds each is right,
    and `num_truth` (C,) how many true segments each class has.

    Only the precision at each right detection counts, raised to the highest at any later one.
    """
    num_classes, num_tiou = len(num_truth), hits.shape[1]
    before_class = np.concatenate([[0], np.cumsum(np.bincount(found_classes, minlength=num_classes))])
    given = np.arange(1, len(hits) + 1) - before_class[found_classes]
    tiou, place = np.nonzero(hits.T)
    group = tiou * num_classes + found_classes[place]
    per_group = np.bincount(group, minlength=num_classes * num_tiou)
    right = np.arange(1, len(place) + 1) - (np.cumsum(per_group) - per_group)[group]
    best = _highest_from_here(right / given[place], group)
    sums = np.bincount(group, best, minlength=num_classes * num_tiou)
    precisions: Numbers = sums.reshape(num_tiou, num_classes).T / num_truth[:, None]
    return precisions


def _highest_from_here(values: Numbers, group: Indices) -> Numbers:
    """Highest of each value (P,) and the later ones of its group; groups stand in rising order."""
    # Complex numbers compare by their real part first, so that a new group starts anew, without rounding.
    keyed = np.empty(len(values), dtype=np.complex128)
    keyed.real, keyed.imag = -group, values
    highest: Numbers = np.maximum.accumulate(keyed[::-1])[::-1].imag
    return highest
