"""Overlap of spans in time, and what to do with spans that claim the same time: NMS and soft-NMS.

Spans are rows (start_seconds, end_seconds), half-open; one that ends where it starts, or before, is empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Soft-NMS of the published EPIC-KITCHENS-100 detection pipeline (localization.yaml of TAdaConv).
SOFT_NMS_SIGMA = 0.4
SOFT_NMS_IOU = (0.25, 0.9)


def temporal_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every span of `a` with every span of `b`.

    Args:
        a: Spans (N, 2) in seconds.
        b: Spans (M, 2).

    Returns:
        (N, M) fractions; 0 wherever one of the two is empty.
    """
    a, b = _spans(a)[:, None], _spans(b)[None]
    length_a, length_b = (np.maximum(spans[..., 1] - spans[..., 0], 0.0) for spans in (a, b))
    shared = np.maximum(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0.0)
    union = length_a + length_b - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return iou


def nms(spans: NDArray[np.float64], scores: NDArray[np.float64], *, iou_threshold: float) -> NDArray[np.int64]:
    """The spans that stay where some claim the same time.

    Args:
        spans: (N, 2) in seconds.
        scores: (N,).
        iou_threshold: A span goes when its IoU with one that stays, and has a better score, is above this.

    Returns:
        The row numbers of those that stay, by falling score; equal scores in the order given.
    """
    spans, scores = _spans(spans), _scores(scores)
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while waiting.size:
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        waiting = waiting[temporal_iou(spans[best : best + 1], spans[waiting])[0] <= iou_threshold]
    return np.array(kept, dtype=np.int64)


def soft_nms(
    spans: NDArray[np.float64],
    scores: NDArray[np.float64],
    *,
    duration_seconds: float,
    sigma: float = SOFT_NMS_SIGMA,
    iou_thresholds: tuple[float, float] = SOFT_NMS_IOU,
    max_kept: int | None = None,
    min_score: float = -np.inf,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The spans with scores that are lowered where a better one claims the same time, as published.

    The best span is taken (of equal ones the first given), and the scores of those left fall by the factor
    exp(-IoU^2 / `sigma`) where their IoU with it is above low + (high - low) * w, with w the taken span's length as a
    fraction of the video's; and so on. The published loop ends with one span left and loses it; here it is taken, too.

    Args:
        spans: (N, 2) in seconds.
        scores: (N,).
        duration_seconds: Length of the video.
        sigma: How much a score falls; by default as published.
        iou_thresholds: (low, high); by default as published.
        max_kept: At most so many are taken; published is int(duration_seconds) + 1.
        min_score: A span whose score falls below this is not taken.

    Returns:
        The row numbers in the order in which the spans are taken, and their lowered scores.

    Raises:
        ValueError: For a video without length.
    """
    spans, lowered = _spans(spans), _scores(scores).copy()
    if duration_seconds <= 0:
        raise ValueError(f"a video of {duration_seconds} seconds has no spans")
    low, high = iou_thresholds
    # Those that overlap a span begin before its end, and at most so long before its start as the longest one lasts.
    by_start = np.argsort(spans[:, 0], kind="stable")
    starts, longest = spans[by_start, 0], float((spans[:, 1] - spans[:, 0]).max(initial=0.0))
    taken: list[int] = []
    scores_taken: list[float] = []
    while len(taken) < (len(spans) if max_kept is None else min(max_kept, len(spans))):
        best = int(np.argmax(lowered))
        if lowered[best] < min_score:
            break
        start, end = spans[best].tolist()
        taken.append(best)
        scores_taken.append(float(lowered[best]))
        lowered[best] = -np.inf
        near = by_start[slice(*np.searchsorted(starts, (start - longest, end)))]
        iou = temporal_iou(spans[best : best + 1], spans[near])[0]
        hit = iou > low + (high - low) * (end - start) / duration_seconds
        lowered[near[hit]] *= np.exp(-np.square(iou[hit]) / sigma)
    return np.array(taken, dtype=np.int64), np.array(scores_taken, dtype=np.float64)


def _spans(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spans = np.asarray(values, dtype=np.float64)
    return spans.reshape(0, 2) if spans.size == 0 else spans


def _scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(-1)
