"""How far two labellings of the same videos agree, such as a machine's and a person's: Cohen's kappa and F1.

Both are the same whichever labelling is named first. Kappa asks which labels hold at each of many evenly spaced
instants, and how much more often the answers are the same than by chance. F1 asks which segments have a counterpart.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

# From one instant that is asked to the next, and what counts as a counterpart where nothing else is asked for.
STEP_SECONDS, TIOU = 0.1, 0.5
_SAME_IOU = 1e-9  # what rounding may take from an IoU

Ranges: TypeAlias = list[tuple[int, int]]


class LabelledTime(NamedTuple):
    """A labelled span, [start_seconds, end_seconds)."""

    start_seconds: float
    end_seconds: float
    label: str


@dataclass(frozen=True)
class VideoLabels:
    """Two labellings of a video that lasts from `video_seconds[0]` to `video_seconds[1]`."""

    first: Sequence[LabelledTime]
    second: Sequence[LabelledTime]
    video_seconds: tuple[float, float]


@dataclass(frozen=True)
class LabelAgreement:
    """How far two labellings agree about one label, or all of them together.

    Of `num_points` instants `num_same` are labelled the same, and `chance` / `num_points` would be by chance.
    `num_first` and `num_second` segments have `num_matched` counterparts.
    """

    num_points: int
    num_same: int
    chance: float
    num_first: int
    num_second: int
    num_matched: int

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa, at most 1; None where chance alone makes all instants the same."""
        if self.chance == self.num_points**2:
            return None
        return (self.num_points * self.num_same - self.chance) / (self.num_points**2 - self.chance)

    @property
    def f1(self) -> float | None:
        """2 x matched / (first + second), 0 to 1; None where there are no segments."""
        count = self.num_first + self.num_second
        return 2 * self.num_matched / count if count else None


@dataclass(frozen=True)
class Agreement:
    """How far two labellings agree: `overall`, and about each label, in alphabetical order."""

    overall: LabelAgreement
    by_label: dict[str, LabelAgreement]
    step_seconds: float
    tiou: float


def agreement(videos: Iterable[VideoLabels], *, step_seconds: float = STEP_SECONDS, tiou: float = TIOU) -> Agreement:
    """How far two labellings of videos agree.

    Kappa is taken on a grid: the instants in the middle of every `step_seconds` of each video. Of one label, an instant
    either has it or not; over all labels, an instant is the same in both where they give it the same set of labels,
    which may be empty. F1 matches as many segments of the same label one to one as have a temporal IoU of at least
    `tiou`. Segments of all videos are counted together.

    Args:
        videos: The videos with both labellings.
        step_seconds: The step of the grid.
        tiou: The least IoU of counterparts.

    Returns:
        The agreement; the order of labels in it is alphabetical.

    Raises:
        ValueError: For a step or an IoU that is not above 0, and for a video without length.

    Example:
        >>> from tadacli.evaluation.agreement import LabelledTime, VideoLabels, agreement
        >>> found = [LabelledTime(0.0, 2.0, "nod")]
        >>> true = [LabelledTime(0.0, 1.5, "nod"), LabelledTime(3.0, 4.0, "nod")]
        >>> overall = agreement([VideoLabels(found, true, (0.0, 4.0))]).overall
        >>> round(overall.kappa, 3), round(overall.f1, 3)
        (0.25, 0.667)
    """
    if step_seconds <= 0 or tiou <= 0:
        raise ValueError(f"a step of {step_seconds} seconds and an IoU of {tiou} say nothing")
    counts = _Counts()
    for video in videos:
        counts.add(video, step_seconds, tiou)
    return Agreement(
        counts.overall(), {label: counts.of_label(label) for label in sorted(counts.labels)}, step_seconds, tiou
    )


class _Counts:
    """What was counted in the videos so far."""

    def __init__(self) -> None:
        self.num_points = 0
        self.labels: set[str] = set()
        self._points: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
        self._segments: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
        self._sets: tuple[Counter[frozenset[str]], Counter[frozenset[str]]] = (Counter(), Counter())
        self._num_same = 0

    def add(self, video: VideoLabels, step: float, tiou: float) -> None:
        grid = _Grid.of(video.video_seconds, step)
        self.num_points += grid.count
        sides = [_by_label(spans) for spans in (video.first, video.second)]
        ranges = [{label: grid.ranges(spans) for label, spans in side.items()} for side in sides]
        for label in sides[0].keys() | sides[1].keys():
            self.labels.add(label)
            both = [side.get(label, []) for side in ranges]
            spans = [side.get(label, []) for side in sides]
            points = (*map(_length, both), _shared(both[0], both[1]))
            segments = (*map(len, spans), _num_matched(spans[0], spans[1], tiou))
            for number in range(3):
                self._points[number][label] += points[number]
                self._segments[number][label] += segments[number]
        for size, *sets in _stretches(grid.count, ranges):
            self._num_same += size * (sets[0] == sets[1])
            for counter, names in zip(self._sets, sets, strict=True):
                counter[names] += size

    def of_label(self, label: str) -> LabelAgreement:
        first, second, both = (points[label] for points in self._points)
        same = self.num_points - first - second + 2 * both
        chance = first * second + (self.num_points - first) * (self.num_points - second)
        return LabelAgreement(self.num_points, same, chance, *(segments[label] for segments in self._segments))

    def overall(self) -> LabelAgreement:
        chance = sum(count * self._sets[1][names] for names, count in self._sets[0].items())
        return LabelAgreement(self.num_points, self._num_same, chance, *(each.total() for each in self._segments))


@dataclass(frozen=True)
class _Grid:
    """Instants in the middle of each step."""

    start: float
    step: float
    count: int

    @classmethod
    def of(cls, video_seconds: tuple[float, float], step: float) -> _Grid:
        start, end = video_seconds
        if not start < end:
            raise ValueError(f"a video from {start} to {end} seconds has no instants")
        return cls(start, step, max(1, math.floor((end - start) / step + 0.5)))

    def ranges(self, spans: Sequence[LabelledTime]) -> Ranges:
        """The ranges [first, last) of instants in any of some spans that are in order; none touch."""
        merged: Ranges = []
        for span in spans:
            first, last = self._num_before(span.start_seconds), self._num_before(span.end_seconds)
            if first >= last:
                continue
            if merged and first <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], last)
            else:
                merged.append((first, last))
        return merged

    def _num_before(self, seconds: float) -> int:
        """How many instants lie before a time."""
        number = min(max(math.floor((seconds - self.start) / self.step), 0), self.count)
        while number > 0 and self._at(number - 1) >= seconds:
            number -= 1
        while number < self.count and self._at(number) < seconds:
            number += 1
        return number

    def _at(self, number: int) -> float:
        return self.start + (number + 0.5) * self.step


def _by_label(spans: Iterable[LabelledTime]) -> dict[str, list[LabelledTime]]:
    found: dict[str, list[LabelledTime]] = defaultdict(list)
    for span in sorted(spans):
        found[span.label].append(span)
    return dict(found)


def _length(ranges: Ranges) -> int:
    return sum(last - first for first, last in ranges)


def _shared(first: Ranges, second: Ranges) -> int:
    """How many instants are in both."""
    total = one = other = 0
    while one < len(first) and other < len(second):
        start, end = max(first[one][0], second[other][0]), min(first[one][1], second[other][1])
        total += max(end - start, 0)
        if first[one][1] <= second[other][1]:
            one += 1
        else:
            other += 1
    return total


def _stretches(
    num_points: int, sides: Sequence[dict[str, Ranges]]
) -> Iterable[tuple[int, frozenset[str], frozenset[str]]]:
    """Stretches of instants in which both sides stay the same: their length, and the labels of each side."""
    changes = sorted(
        (place, side, label, is_start)
        for side, by_label in enumerate(sides)
        for label, ranges in by_label.items()
        for span in ranges
        for place, is_start in zip(span, (True, False), strict=True)
    )
    holding: tuple[set[str], set[str]] = (set(), set())
    before = 0
    for place, side, label, is_start in [*changes, (num_points, 0, "", False)]:
        if place > before:
            yield place - before, frozenset(holding[0]), frozenset(holding[1])
            before = place
        (holding[side].add if is_start else holding[side].discard)(label)


def _num_matched(first: Sequence[LabelledTime], second: Sequence[LabelledTime], tiou: float) -> int:
    """How many segments, which are in order, can have a counterpart at the same time."""
    possible = _counterparts(first, second, tiou)
    owner: dict[int, int] = {}  # the row of the first that has a column of the second
    held: dict[int, int] = {}  # the other way round
    for row in range(len(first)):
        came_from: dict[int, int] = {}
        waiting = [row]
        for one in waiting:  # it grows by those that would have to take another one
            new = [column for column in possible[one] if column not in came_from]
            came_from.update(dict.fromkeys(new, one))
            free = next((column for column in new if column not in owner), None)
            if free is not None:
                _take(free, came_from, owner, held)
                break
            waiting += [owner[column] for column in new]
    return len(owner)


def _take(free: int, came_from: dict[int, int], owner: dict[int, int], held: dict[int, int]) -> None:
    """Who came to a free one takes it, and leaves what it had to the one that came to that, and so on."""
    column: int | None = free
    while column is not None:
        row = came_from[column]
        left = held.get(row)
        owner[column], held[row] = row, column
        column = left


def _counterparts(first: Sequence[LabelledTime], second: Sequence[LabelledTime], tiou: float) -> list[list[int]]:
    """For each of the first the rows of the second that overlap it enough."""
    starts = [other.start_seconds for other in second]
    longest = max((other.end_seconds - other.start_seconds for other in second), default=0.0)
    near = [
        range(bisect_left(starts, one.start_seconds - longest), bisect_left(starts, one.end_seconds)) for one in first
    ]
    return [
        [column for column in columns if _iou(one, second[column]) >= tiou - _SAME_IOU]
        for one, columns in zip(first, near, strict=True)
    ]


def _iou(a: LabelledTime, b: LabelledTime) -> float:
    shared = max(min(a.end_seconds, b.end_seconds) - max(a.start_seconds, b.start_seconds), 0.0)
    if shared <= 0:
        return 0.0
    return shared / (a.end_seconds - a.start_seconds + (b.end_seconds - b.start_seconds) - shared)
