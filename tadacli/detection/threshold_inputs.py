"""What thresholds are applied to in a video, so that others can be applied elsewhere, as on the page of a report.

Everything before that (means of windows, smoothing, the most likely sequence of labels) does not depend on thresholds,
and is done here. What comes after is `find_runs` and suppression in `segments`, or, where windows compete or contrast
counts, only a choice among what is there. Of a timeline only those scores are kept that such a rule can see: those that
some low threshold lets pass, and the ones beside them, between which a segment may end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.actions import ClassScores, ScoresByHead
from tadacli.detection.segments import least_scores, one_length_segments
from tadacli.detection.settings import Heads, SegmentSettings
from tadacli.detection.shots import WindowsOfShot, shot_windows
from tadacli.detection.timelines import Timeline
from tadacli.results import Segment

# Thresholds that can be chosen; the lowest of them is as low as any is of use.
STEPS = np.arange(1, 101) / 100
_BYTES_OF_RUN = 8 * 8
# Classes whose timelines are made at a time, lest memory grow with their number.
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class TimelineCells:
    """The cells of a timeline, see `Timeline`: `edges` (N + 1,), and `gaps` (G, 2), ranges of those without a score."""

    edges: NDArray[np.float64]
    gaps: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class KeptScores:
    """The scores of a class in the cells of a timeline that may matter; all others are below every low threshold.

    `ranges` (R, 2) are those cells, and `values` (rows, M) their scores, of an action also those of its verb and noun.
    """

    ranges: NDArray[np.int32]
    values: NDArray[np.float64]

    @property
    def num_bytes(self) -> int:
        """What the numbers take."""
        return self.ranges.nbytes + self.values.nbytes


@dataclass(frozen=True, eq=False)
class ThresholdClass:
    """A class that may have segments: its highest score in any window; an action has (index, label) of its parts.

    `scores` has what is kept of each timeline, in the same order.
    """

    index: int
    label: str
    peak: float
    scores: tuple[KeptScores, ...] = ()
    verb: tuple[int, str] | None = None
    noun: tuple[int, str] | None = None


@dataclass(frozen=True, eq=False)
class ThresholdInputs:
    """What thresholds are applied to, of a video from `start_seconds` to `end_seconds`.

    Either `timelines`, one for each window length and shot, of which each class has `scores`. Or `runs`, the segments
    that thresholds choose among, with the score that is compared; `timelines` are then None. All that a threshold of
    `lowest` or above needs is there, with half of it or `lowest_low` and above as the low one; `lowest` None: nothing
    is, as it would have been too large. Runs that are `ranked` stand in the order in which the best are taken.
    """

    classes: tuple[ThresholdClass, ...]
    timelines: tuple[TimelineCells, ...] | None
    runs: tuple[tuple[Segment, float], ...]
    start_seconds: float
    end_seconds: float
    lowest: float | None
    lowest_low: float = 0.0
    ranked: bool = False


def threshold_inputs(
    spans: NDArray[np.float64],
    scale: NDArray[np.integer],
    scores: ScoresByHead,
    heads: Heads,
    *,
    settings: SegmentSettings,
    video_seconds: tuple[float, float],
    cuts: Sequence[float] = (),
    max_bytes: int,
) -> ThresholdInputs:
    """What thresholds are applied to, for all thresholds of 0.01 and above, or for fewer if it would be too large.

    Args:
        spans: As of `find_segments`; so are `scale`, `scores`, `heads`, `settings`, `video_seconds` and `cuts`.
        max_bytes: What the numbers may take. Classes, or runs, that score less are left out for it.

    Returns:
        The inputs. None are left where the settings name a threshold that could not be applied to them.
    """
    classes = ClassScores.check(scores, heads, num_windows=len(spans))
    peaks = classes.peaks(max_pairs=settings.max_pairs)
    least = np.full(len(peaks), _lowest_of(settings))
    wanted = [i for i in np.flatnonzero(peaks >= least_scores(least)).tolist() if settings.wants(classes.names(i))]
    shots = list(shot_windows(spans, scale, video_seconds, cuts, settings))
    if settings.exclusive or settings.contrast:
        runs = list(one_length_segments(shots, wanted, classes, settings, thresholds=least_scores(least)))
        class_of = partial(_class_of, classes, peaks)
        inputs = among_runs(runs, class_of, settings=settings, video_seconds=video_seconds, max_bytes=max_bytes)
    else:
        lengths = [shot for _, shot in shots]
        inputs = _with_timelines(classes, wanted, peaks, lengths, settings, video_seconds, max_bytes)
    return inputs if inputs.lowest is not None else ThresholdInputs((), None, (), *video_seconds, None)


def among_runs(
    runs: Sequence[tuple[Segment, float]],
    class_of: Callable[[int], ThresholdClass],
    *,
    settings: SegmentSettings,
    video_seconds: tuple[float, float],
    max_bytes: int,
    ranked: bool = False,
) -> ThresholdInputs:
    """What thresholds are applied to where they only choose among segments.

    Args:
        runs: The segments, with the score of each that is compared.
        class_of: Tells the class of a number.
        settings: What becomes a segment.
        video_seconds: The part of the timeline that was searched.
        max_bytes: What the numbers may take; those that score less are left out for it.
        ranked: Whether they stand in the order in which the best are taken.

    Returns:
        The inputs.
    """
    order = np.argsort([-compared for _, compared in runs], kind="stable").tolist()
    count = max_bytes // _BYTES_OF_RUN
    kept = tuple(runs[row] for row in sorted(order[:count]))
    left = max((runs[row][1] for row in order[count:]), default=-1.0)
    found = tuple(class_of(index) for index in sorted({each.index for each, _ in kept}))
    return ThresholdInputs(found, None, kept, *video_seconds, _lowest_above(left, settings), ranked=ranked)


def _class_of(classes: ClassScores, peaks: NDArray[np.float64], index: int) -> ThresholdClass:
    return _class(classes, index, float(peaks[index]))


def _with_timelines(
    classes: ClassScores,
    wanted: Sequence[int],
    peaks: NDArray[np.float64],
    shots: Sequence[WindowsOfShot],
    settings: SegmentSettings,
    video_seconds: tuple[float, float],
    max_bytes: int,
) -> ThresholdInputs:
    """The timelines with the classes that score highest, as many as there is room for."""
    low = min(_lowest_of(settings) / 2, 1.0 if settings.low_threshold is None else settings.low_threshold)
    timelines = tuple(_cells(shot) for shot in shots)
    room = max_bytes - sum(each.edges.nbytes + each.gaps.nbytes for each in timelines)
    order = sorted(wanted, key=lambda index: (-peaks[index], index))
    found: list[ThresholdClass] = []
    left = -1.0
    for index, kept in _kept(classes, order, shots, low=float(least_scores(np.array(low)))):
        room -= sum(each.num_bytes for each in kept)
        if room < 0:
            left = float(peaks[index])
            break
        found.append(_class(classes, index, float(peaks[index]), kept))
    found.sort(key=lambda each: each.index)
    return ThresholdInputs(tuple(found), timelines, (), *video_seconds, _lowest_above(left, settings), low)


def _kept(
    classes: ClassScores, order: Sequence[int], shots: Sequence[WindowsOfShot], *, low: float
) -> Iterator[tuple[int, tuple[KeptScores, ...]]]:
    """What is kept of each class, in this order."""
    for first in range(0, len(order), _BLOCK):
        block = order[first : first + _BLOCK]
        made = [shot.timeline(_columns(classes, block)) for shot in shots]
        for number, index in enumerate(block):
            yield index, tuple(_that_matter(timeline.scores[:, number :: len(block)], low) for timeline in made)


def _that_matter(rows: NDArray[np.float64], low: float) -> KeptScores:
    """The scores (N, rows) of cells of which the first is at least `low`, and of the cells beside these."""
    matters = rows[:, 0] >= low  # NaN is not above anything
    matters = matters | np.append(matters[1:], False) | np.append(False, matters[:-1])
    matters &= ~np.isnan(rows[:, 0])
    return KeptScores(_ranges(matters), np.ascontiguousarray(rows[matters].T))


def _cells(shot: WindowsOfShot) -> TimelineCells:
    timeline: Timeline = shot.timeline(np.zeros((len(shot.rows), 1)))
    return TimelineCells(timeline.edges, _ranges(~timeline.covered))


def _ranges(holds: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The ranges [first, last) in which something holds, (R, 2)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    return changes.reshape(-1, 2).astype(np.int32)


def _class(classes: ClassScores, index: int, peak: float, scores: tuple[KeptScores, ...] = ()) -> ThresholdClass:
    label = classes.names(index)[0]
    if not classes.is_action:
        return ThresholdClass(index, label, peak, scores)
    verb, noun = classes.verb_and_noun(index, 0.0, 0.0)
    return ThresholdClass(index, label, peak, scores, (verb.index, verb.label), (noun.index, noun.label))


def _lowest_of(settings: SegmentSettings) -> float:
    """The lowest threshold that may be asked for: 0.01, unless the settings have a lower one."""
    return float(STEPS[0]) if settings.threshold == "auto" else min(float(STEPS[0]), settings.threshold)


def _lowest_above(left_out: float, settings: SegmentSettings) -> float | None:
    """The lowest threshold that nothing of what was left out reaches; None if that of the settings is lower."""
    possible: list[float] = [_lowest_of(settings), *STEPS.tolist()]
    met = least_scores(np.array(possible))
    lowest = next((each for each, score in zip(possible, met.tolist(), strict=True) if score > left_out), None)
    if lowest is None or (settings.threshold != "auto" and lowest > settings.threshold):
        return None
    return lowest


def _columns(classes: ClassScores, indices: Sequence[int]) -> NDArray[np.float64]:
    """Scores of some classes in every window and, of actions, those of their verbs and nouns."""
    columns = classes.columns(indices)
    return np.hstack([columns, classes.parts(indices)]) if classes.is_action else columns
