"""What thresholds are applied to in a video, so that others can be applied elsewhere, as on the page of a report.

Everything before that (means of windows, smoothing, the most likely sequence of labels) does not depend on thresholds,
and is done here. What comes after is `find_runs` and suppression in `segments`, or, where windows compete or contrast
counts, only a choice among what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
_BYTES_OF_RUN = 6 * 8


@dataclass(frozen=True)
class ThresholdClass:
    """A class that may have segments: its highest score in any window; an action has (index, label) of its parts."""

    index: int
    label: str
    peak: float
    verb: tuple[int, str] | None = None
    noun: tuple[int, str] | None = None


@dataclass(frozen=True, eq=False)
class ThresholdInputs:
    """What thresholds are applied to, of a video from `start_seconds` to `end_seconds`.

    Either `timelines`, one for each window length and shot, of `classes` (columns (K,)) or, of actions, of these, then
    of their verbs, then of their nouns (3K). Or `runs`, the segments that thresholds choose among, with the score that
    is compared; `timelines` are then None. All that a threshold of `lowest` or above needs is there; None: nothing is,
    as it would have been too large.
    """

    classes: tuple[ThresholdClass, ...]
    timelines: tuple[Timeline, ...] | None
    runs: tuple[tuple[Segment, float], ...]
    start_seconds: float
    end_seconds: float
    lowest: float | None


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
    start, end = video_seconds
    if settings.exclusive or settings.contrast:
        runs = list(one_length_segments(shots, wanted, classes, settings, thresholds=least_scores(least)))
        kept, left = _highest([peak for _, peak in runs], max_bytes // _BYTES_OF_RUN)
        chosen, timelines = sorted({runs[row][0].index for row in kept}), None
        choice = tuple(runs[row] for row in kept)
    else:
        num_bytes = _num_cells(shots) * (3 if classes.is_action else 1) * 8
        kept, left = _highest([peaks[index] for index in wanted], max_bytes // max(num_bytes, 1))
        chosen, choice = [wanted[row] for row in kept], ()
        timelines = tuple(shot.timeline(_columns(classes, chosen)) for _, shot in shots)
    lowest = _lowest_above(left, settings)
    if lowest is None:
        return ThresholdInputs((), None, (), start, end, None)
    found = tuple(_class(classes, index, float(peaks[index])) for index in chosen)
    return ThresholdInputs(found, timelines, choice, start, end, lowest)


def _class(classes: ClassScores, index: int, peak: float) -> ThresholdClass:
    label = classes.names(index)[0]
    if not classes.is_action:
        return ThresholdClass(index, label, peak)
    verb, noun = classes.verb_and_noun(index, 0.0, 0.0)
    return ThresholdClass(index, label, peak, (verb.index, verb.label), (noun.index, noun.label))


def _lowest_of(settings: SegmentSettings) -> float:
    """The lowest threshold that may be asked for: 0.01, unless the settings have a lower one."""
    return float(STEPS[0]) if settings.threshold == "auto" else min(float(STEPS[0]), settings.threshold)


def _highest(values: Sequence[float], count: int) -> tuple[list[int], float]:
    """The rows of the `count` highest values, in their order, and the highest of the others, -1 if there are none."""
    order = np.argsort(-np.asarray(values, dtype=np.float64), kind="stable").tolist()
    return sorted(order[:count]), max((values[row] for row in order[count:]), default=-1.0)


def _lowest_above(left_out: float, settings: SegmentSettings) -> float | None:
    """The lowest threshold that nothing of what was left out reaches; None if that of the settings is lower."""
    possible: list[float] = [_lowest_of(settings), *STEPS.tolist()]
    met = least_scores(np.array(possible))
    lowest = next((each for each, score in zip(possible, met.tolist(), strict=True) if score > left_out), None)
    if lowest is None or (settings.threshold != "auto" and lowest > settings.threshold):
        return None
    return lowest


def _num_cells(shots: Sequence[tuple[int, WindowsOfShot]]) -> int:
    """How many cells the timelines of one class have."""
    return sum(len(shot.timeline(np.zeros((len(shot.rows), 1))).covered) for _, shot in shots)


def _columns(classes: ClassScores, indices: Sequence[int]) -> NDArray[np.float64]:
    """Scores of some classes in every window and, of actions, those of their verbs and nouns."""
    columns = classes.columns(indices)
    return np.hstack([columns, classes.parts(indices)]) if classes.is_action else columns
