"""True segments and detections of an evaluation, side by side for each video, as its page shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.error_kinds import MULTIPLES
from tadacli.evaluation.report import ComparedSegments, EvalReport, TaskParts, TimedVideo

# Segments of one task on a page; so many have a megabyte.
MAX_SHOWN = 20_000
# What stands for infinity, which JSON does not have.
_FAR = 1e9


class LaneVideo(TypedDict):
    """A video; `truth` lists class, start, end and whether it was found of each true segment, one after the other.

    `found` lists class, start, end, score and kind of error of each detection. Times are in seconds from the first
    frame; classes and kinds are numbers of the task's. `seconds` is how long the lanes are.
    """

    id: str
    video: int
    seconds: float
    truth: list[float]
    found: list[float]


class LanesData(TypedDict):
    """The segments of a task: of each class the best detections, `multiple` times as many as it has true segments.

    `labels` are classes. `num_left` videos have no lanes, as there is no room for them.
    """

    multiple: int
    tiou: float
    labels: list[str]
    videos: list[LaneVideo]
    num_left: int


def shown_videos(report: EvalReport) -> Iterator[str]:
    """The files of the videos that have lanes, those of the first task first; they repeat."""
    for parts in report.parts.values():
        if parts.segments is not None:
            names = (parts.segments.videos[code] for code in _with_room(parts, parts.segments)[1])
            yield from (report.videos[name].path for name in names if name in report.videos)


def lanes(report: EvalReport, parts: TaskParts, number: Callable[[str], int]) -> LanesData | None:
    """The lanes of a task.

    Args:
        report: The report.
        parts: The task.
        number: Gives the number that the page has for the file of a video.

    Returns:
        The lanes, videos by id; None where the segments are not known.
    """
    segments = parts.segments
    if segments is None:
        return None
    multiple, codes = _with_room(parts, segments)
    place = {each.index: number for number, each in enumerate(parts.classes)}
    shown = _Shown(segments, place, multiple)
    videos = []
    for code in sorted(codes):
        name = segments.videos[code]
        known = report.videos.get(name, TimedVideo())
        truth, found, last = shown.of(code)
        videos.append(
            LaneVideo(
                id=name,
                video=number(known.path),
                seconds=round(max(last, known.duration_seconds or 0.0), 3),
                truth=truth,
                found=found,
            )
        )
    return {
        "multiple": multiple,
        "tiou": segments.judged.tiou,
        "labels": [each.name for each in parts.classes],
        "videos": videos,
        "num_left": len(_with_segments(segments)) - len(codes),
    }


def _with_room(parts: TaskParts, segments: ComparedSegments) -> tuple[int, list[int]]:
    """How many detections are shown, as a multiple, and the videos that there is room for, by code, the worst first."""
    num_videos = len(segments.videos)
    in_truth = np.bincount(segments.truth.videos, minlength=num_videos)
    of_found = segments.detections.videos[segments.judged.rows]
    multiple, sizes = 0, in_truth
    for each in MULTIPLES:
        counting = of_found[segments.judged.multiples <= each]
        total = in_truth + np.bincount(counting, minlength=num_videos)
        if not multiple or total.sum() <= MAX_SHOWN:
            multiple, sizes = each, total
    average = {each.name: each.average for each in parts.videos}
    worst = sorted(_with_segments(segments), key=lambda code: (average.get(segments.videos[code], 0.0), code))
    num_fitting = int(np.searchsorted(np.cumsum(sizes[worst]), MAX_SHOWN, side="right"))
    return multiple, worst[:num_fitting]


def _with_segments(segments: ComparedSegments) -> list[int]:
    found = segments.detections.videos[segments.judged.rows]
    return [int(code) for code in np.union1d(segments.truth.videos, found)]


class _Shown:
    """The segments of a task by video."""

    def __init__(self, segments: ComparedSegments, place: dict[int | None, int], multiple: int) -> None:
        self._segments, self._place = segments, place
        judged = segments.judged
        self._counting = np.flatnonzero(judged.multiples <= multiple)
        self._is_found = np.zeros(len(segments.truth), dtype=np.bool_)
        taken = judged.taken[self._counting]
        self._is_found[taken[taken >= 0]] = True

    def of(self, code: int) -> tuple[list[float], list[float], float]:
        """The true segments and the detections of a video, and where the last of them ends."""
        truth, detections, judged = self._segments.truth, self._segments.detections, self._segments.judged
        true = np.flatnonzero(truth.videos == code)
        true = true[np.argsort(truth.starts_seconds[true], kind="stable")]
        mine = self._counting[detections.videos[judged.rows[self._counting]] == code]
        mine = mine[np.argsort(detections.starts_seconds[judged.rows[mine]], kind="stable")]
        rows = judged.rows[mine]
        times = truth.starts_seconds[true], truth.ends_seconds[true]
        of_truth = self._flat(truth.classes[true], *times, self._is_found[true])
        times = detections.starts_seconds[rows], detections.ends_seconds[rows]
        of_found = self._flat(detections.classes[rows], *times, detections.scores[rows], judged.kinds[mine])
        ends = np.concatenate([truth.ends_seconds[true], times[1]])
        return of_truth, of_found, float(ends[np.isfinite(ends)].max(initial=0.0))

    def _flat(self, classes: NDArray[np.int64], *columns: NDArray[Any]) -> list[float]:
        places = np.array([self._place[code] for code in classes.tolist()], dtype=np.float64)
        values = np.stack([places, *(each.astype(np.float64) for each in columns)], axis=1).ravel()
        rounded = np.round(np.nan_to_num(values, posinf=_FAR, neginf=-_FAR), 3).tolist()
        return [int(value) if value == int(value) else value for value in rounded]
