"""From the scores of windows to labelled segments; the result depends on the arguments and on nothing else.

For each window length, every class gets a curve over time (`timelines`), which is smoothed, cut by two
thresholds into runs and merged across short gaps. A segment ends where its score crosses half of its highest, which is
where the windows that see it lie half in it (see `find_runs`). The segments of a class from all window lengths together
are then thinned out (`nms`), and the best are kept. Verb and noun scores become actions (`actions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.actions import ClassScores, ScoresByHead
from tadacli.detection.contrast import ContrastRun, contrast_runs
from tadacli.detection.curves import ClassCurve
from tadacli.detection.exclusive import LabelledRun, exclusive_runs
from tadacli.detection.nms import nms, soft_nms
from tadacli.detection.settings import Heads, SegmentSettings
from tadacli.detection.shots import WindowsOfShot, shot_windows
from tadacli.detection.timelines import SAME_INSTANT_SECONDS, ScoreRun, Timeline, find_runs
from tadacli.errors import UsageError
from tadacli.results import Segment
from tadacli.specs import LOW_SHARE, Thresholds

# Curves are made for this many classes at a time: memory does not grow with their number.
_BLOCK = 128


def find_segments(
    spans: NDArray[np.float64],
    scale: NDArray[np.integer],
    scores: ScoresByHead,
    heads: Heads,
    *,
    settings: SegmentSettings,
    video_seconds: tuple[float, float],
    cuts: Sequence[float] = (),
    thresholds: Thresholds | None = None,
    low_share: float = LOW_SHARE,
) -> tuple[Segment, ...]:
    """The segments that the scores of windows give, sorted by start, end and index; there may be none.

    One head gives segments of its labels, "verb" and "noun" give actions: their score is the mean product, and verb and
    noun have means of their own. There may be segments of an action if some window has it among its best pairs (see
    `fuse_actions`) and its product reaches the threshold there.

    Args:
        spans: Starts and ends (W, 2) of the windows, in seconds of presentation time.
        scale: Numbers (W,) of their lengths.
        scores: (W, C) by head name.
        heads: The labels by head name.
        settings: What becomes a segment.
        video_seconds: (start, end) of the video; what lies outside is cut off.
        cuts: Times that no window reaches across; no segment does either.
        thresholds: Those of every class by head, for the threshold "auto"; that of an action is the product of those of
            its verb and its noun, as its score is the product of theirs.
        low_share: The share of these that a segment holds throughout.

    Returns:
        The segments; scores have seven significant digits. A score equals a threshold if it does so in float32.

    Raises:
        UsageError: For heads and labels of which no such segments can be made.
        TadaError: For scores that are not numbers.
        ValueError: For "auto" without thresholds.
    """
    settings.check_labels(heads)
    classes = ClassScores.check(scores, heads, num_windows=len(spans))
    peaks = classes.peaks(max_pairs=settings.max_pairs)
    # Means do not exceed what they are means of, so a class that no window shows cannot have a segment.
    levels = _Levels.of(settings, thresholds, low_share, num_classes=len(peaks))
    shown = np.flatnonzero(peaks >= levels.high).tolist()
    indices = [index for index in shown if settings.wants(classes.names(index))]
    if settings.exclusive or settings.contrast:
        shots = shot_windows(spans, scale, video_seconds, cuts, settings)
        runs = one_length_segments(shots, indices, classes, settings, thresholds=levels.high)
        kept = [segment for segment, _ in runs]
        kept = [segment for index in indices for segment in _best_of(kept, index, settings.topk_per_class)]
        return tuple(sorted(_best(kept, settings.topk), key=_place))
    found: dict[int, list[Segment]] = {index: [] for index in indices}
    for _, length in shot_windows(spans, scale, video_seconds, cuts, settings):
        for block in _blocks(indices):
            for segment in _length_segments(length, block, classes, settings, levels):
                found[segment.index].append(segment)
    kept = [
        segment
        for index, candidates in found.items()
        for segment in _thin_out(
            candidates, settings, low=levels.low[index], duration_seconds=video_seconds[1] - video_seconds[0]
        )
    ]
    return tuple(sorted(_best(kept, settings.topk), key=_place))


def class_curves(
    spans: NDArray[np.float64],
    scale: NDArray[np.integer],
    scores: ScoresByHead,
    heads: Heads,
    *,
    settings: SegmentSettings,
    video_seconds: tuple[float, float],
    segments: Sequence[Segment],
    cuts: Sequence[float] = (),
    thresholds: Thresholds | None = None,
    low_share: float = LOW_SHARE,
    num_classes: int = 5,
) -> tuple[ClassCurve, ...]:
    """What was thresholded to find segments: a curve for each class and window length.

    Args:
        spans: As of `find_segments`; so are `scale`, `scores`, `heads`, `settings`, `video_seconds`, `thresholds` and
            `low_share`.
        segments: What was found. Classes that have segments come first, by index.
        cuts: As of `find_segments`.
        num_classes: If those are fewer, the classes with the highest scores of any window follow: they show what was
            close to being found.
    """
    classes = ClassScores.check(scores, heads, num_windows=len(spans))
    chosen = sorted({segment.index for segment in segments})
    peaks = classes.peaks(max_pairs=settings.max_pairs)
    for index in np.argsort(-peaks, kind="stable").tolist():
        if len(chosen) >= num_classes or peaks[index] < 0:
            break
        if index not in chosen and settings.wants(classes.names(index)):
            chosen.append(index)
    levels = _Levels.of(settings, thresholds, low_share, num_classes=len(peaks))
    num_levels = 1 if settings.exclusive or settings.contrast else 2
    curves = [
        ClassCurve(
            classes.names(index)[0],
            index,
            number,
            timeline.edges,
            timeline.scores[:, column],
            levels[index][:num_levels],
        )
        for number, length in shot_windows(spans, scale, video_seconds, cuts, settings)
        for timeline in [length.timeline(classes.columns(chosen))]
        for column, index in enumerate(chosen)
    ]
    return tuple(sorted(curves, key=lambda curve: chosen.index(curve.index)))


def least_scores(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least scores that meet thresholds: a float32 score of 0.7 is a little less than 0.7, and meets it."""
    return np.minimum(thresholds, thresholds.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Levels:
    """The scores that segments of each class reach somewhere and hold throughout, (C,) each."""

    high: NDArray[np.float64]
    low: NDArray[np.float64]

    def __getitem__(self, index: int) -> tuple[float, float]:
        return float(self.high[index]), float(self.low[index])

    @classmethod
    def of(
        cls, settings: SegmentSettings, thresholds: Thresholds | None, low_share: float, *, num_classes: int
    ) -> _Levels:
        if settings.levels is not None:
            high, low = (np.full(num_classes, level) for level in settings.levels)
        else:
            high = _class_thresholds(thresholds or {})
            low = high * low_share
        if high.shape != (num_classes,):
            raise ValueError(f"{len(high)} thresholds do not fit {num_classes} classes")
        return cls(least_scores(high), least_scores(low))


def _class_thresholds(thresholds: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    """Thresholds by class, as `ClassScores` numbers them."""
    if set(thresholds) == {"verb", "noun"}:
        return np.outer(thresholds["verb"], thresholds["noun"]).ravel()
    if len(thresholds) != 1:
        raise ValueError('the threshold "auto" needs the thresholds of every class')
    (values,) = thresholds.values()
    return np.array(values, dtype=np.float64)


def _length_segments(
    length: WindowsOfShot, indices: list[int], classes: ClassScores, settings: SegmentSettings, levels: _Levels
) -> Iterator[Segment]:
    """The segments of some classes that the windows of one length give."""
    timeline = length.timeline(classes.columns(indices))
    found = [
        (index, run)
        for column, index in enumerate(indices)
        for run in _runs(timeline, column, settings, high=levels.high[index], low=levels.low[index])
    ]
    segments = (
        Segment(
            run.start_seconds,
            run.end_seconds,
            classes.names(index)[0],
            index,
            _seven_digits(run.score),
            peak_score=_seven_digits(run.peak),
        )
        for index, run in found
    )
    if not classes.is_action:
        yield from segments
        return
    actions = sorted({index for index, _ in found})
    parts = length.timeline(classes.parts(actions))
    for segment, (index, run) in zip(segments, found, strict=True):
        columns = actions.index(index), actions.index(index) + len(actions)
        verb_score, noun_score = (_seven_digits(parts.mean(run.cells, column)) for column in columns)
        verb, noun = classes.verb_and_noun(index, verb_score, noun_score)
        yield replace(segment, verb=verb, noun=noun)


def one_length_segments(
    shots: Iterable[tuple[int, WindowsOfShot]],
    indices: Sequence[int],
    classes: ClassScores,
    settings: SegmentSettings,
    *,
    thresholds: NDArray[np.float64],
) -> Iterator[tuple[Segment, float]]:
    """The segments of some classes where windows are of one length; where one label holds at a time, all compete.

    Where they lie and what they score does not depend on thresholds.

    Args:
        shots: The windows.
        indices: The classes.
        classes: The scores of all classes.
        settings: What becomes a segment; they are `exclusive`, or ask for `contrast`.
        thresholds: What the best window of a segment reaches, for every class (C,).

    Yields:
        Each segment with the score of its best window, of which `peak_score` is rounded.

    Raises:
        UsageError: For windows of several lengths.
    """
    lengths = list(shots)
    if (num_lengths := len({number for number, _ in lengths})) > 1:
        option = "--exclusive" if settings.exclusive else "--contrast"
        raise UsageError(
            f"windows of {num_lengths} lengths do not say which label holds", hint=f"give one --window with {option}"
        )
    (scores,) = classes.scores.values()
    for _, length in lengths:
        here = scores[length.rows]
        runs: Iterable[tuple[int, LabelledRun | ContrastRun]] = (
            [(run.index, run) for run in exclusive_runs(length.spans, here)]
            if settings.exclusive
            else (
                (index, run)
                for index in indices
                for run in contrast_runs(length.spans, here[:, index], threshold=thresholds[index])
            )
        )
        for index, run in runs:
            long_enough = run.end_seconds - run.start_seconds >= settings.min_duration_seconds - SAME_INSTANT_SECONDS
            if index in indices and run.peak >= thresholds[index] and long_enough:
                (label,) = classes.names(index)
                score, peak = _seven_digits(run.score), _seven_digits(run.peak)
                yield Segment(run.start_seconds, run.end_seconds, label, index, score, peak_score=peak), run.peak


def _best_of(segments: list[Segment], index: int, count: int | None) -> list[Segment]:
    """The `count` best segments of one class."""
    return _best([segment for segment in segments if segment.index == index], count)


def _runs(timeline: Timeline, column: int, settings: SegmentSettings, *, high: float, low: float) -> list[ScoreRun]:
    return find_runs(
        timeline,
        column,
        high=high,
        low=low,
        at_half_height=settings.low_threshold is None,
        merge_gap_seconds=settings.merge_gap_seconds,
        min_duration_seconds=settings.min_duration_seconds,
    )


def _thin_out(
    segments: list[Segment], settings: SegmentSettings, *, low: float, duration_seconds: float
) -> list[Segment]:
    """What is left of the segments of one class where they claim the same time."""
    segments = sorted(segments, key=_place)
    spans = np.array([(segment.start_seconds, segment.end_seconds) for segment in segments], dtype=np.float64)
    scores = np.array([segment.score for segment in segments], dtype=np.float64)
    if settings.nms == "hard":
        segments = [segments[row] for row in nms(spans, scores, iou_threshold=settings.nms_iou).tolist()]
    elif settings.nms == "soft":
        rows, lowered = soft_nms(spans, scores, duration_seconds=duration_seconds)
        segments = [
            replace(segments[row], score=_seven_digits(score))
            for row, score in zip(rows.tolist(), lowered.tolist(), strict=True)
            if score == segments[row].score or score >= low
        ]
    return _best(segments, settings.topk_per_class)


def _best(segments: list[Segment], count: int | None) -> list[Segment]:
    """The `count` best segments, all of them for None; of equal scores the earlier."""
    return sorted(segments, key=lambda segment: (-segment.score, _place(segment)))[:count]


def _place(segment: Segment) -> tuple[float, float, int]:
    return segment.start_seconds, segment.end_seconds, segment.index


def _blocks(indices: list[int]) -> Iterator[list[int]]:
    return (indices[first : first + _BLOCK] for first in range(0, len(indices), _BLOCK))


def _seven_digits(score: float) -> float:
    """A score as reported: seven digits are what float32 holds."""
    return float(f"{score:.7g}")
