"""Segments of one label that become one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tadacli.results.classifications import Prediction
    from tadacli.results.detections import Segment

# Sums of times are off in their last digits.
_SAME_INSTANT_SECONDS = 1e-6


def merged(
    segments: Iterable[Segment], max_gap_seconds: float, walls: Collection[tuple[float, float]]
) -> tuple[Segment, ...]:
    """Segments, of which those of one label that are close become one.

    Args:
        segments: In any order.
        max_gap_seconds: At most so much time lies between two that become one.
        walls: Spans (start, end) in seconds; segments with one of them between them stay apart.

    Returns:
        The segments in order of time.
    """
    runs: list[list[Segment]] = []
    last: dict[int, tuple[list[Segment], float]] = {}  # the run of each label, and where it ends
    for each in sorted(segments, key=lambda each: (each.start_seconds, each.end_seconds, each.index)):
        run, end = last.get(each.index, ([], 0.0))
        is_close = bool(run) and each.start_seconds - end <= max_gap_seconds + _SAME_INSTANT_SECONDS
        if not is_close or any(end <= wall[1] and wall[0] <= each.start_seconds for wall in walls):
            run, end = [], each.end_seconds
            runs.append(run)
        run.append(each)
        last[each.index] = run, max(end, each.end_seconds)
    return tuple(_one(run) for run in runs)


def _one(run: Sequence[Segment]) -> Segment:
    if len(run) == 1:
        return run[0]
    peaks = [each.peak_score for each in run if each.peak_score is not None]
    return replace(
        run[0],
        end_seconds=max(each.end_seconds for each in run),
        score=_mean(run, [each.score for each in run]),
        verb=_mean_part(run, [each.verb for each in run]),
        noun=_mean_part(run, [each.noun for each in run]),
        peak_score=max(peaks, default=None),
    )


def _mean_part(run: Sequence[Segment], parts: Sequence[Prediction | None]) -> Prediction | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return replace(known[0], score=_mean(run, [part.score for part in known]))


def _mean(run: Sequence[Segment], scores: Sequence[float]) -> float:
    """The mean of scores, weighted by how long their segments last, with seven digits."""
    lengths = [each.duration_seconds for each in run]
    if sum(lengths) <= 0:
        lengths = [1.0] * len(run)
    return float(f"{sum(s * w for s, w in zip(scores, lengths, strict=True)) / sum(lengths):.7g}")
