"""What happens in videos, and when, as `detect` returns it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tadacli.errors import UsageError
from tadacli.results.classifications import Prediction
from tadacli.results.json_ready import DetectionStatus, detection_facts, segment_row
from tadacli.results.notes import Note, counted
from tadacli.results.shown import check_score, checked_span, list_repr, shortened, wanted_labels
from tadacli.results.videos import VideoInfo
from tadacli.strict_tables import in_one_line

if TYPE_CHECKING:
    import pandas

_MOST_NAMED = 3


@dataclass(frozen=True)
class Window:
    """A scored span of the timeline, [start_seconds, end_seconds) in presentation time.

    `scale` counts the window lengths that were asked for, from 0. `clips` are the frames the model saw,
    clip by clip, by number; `used` is the span from the first of them to where the last one stops being shown.
    """

    start_seconds: float
    end_seconds: float
    scale: int
    clips: tuple[tuple[int, ...], ...]
    used: tuple[float, float]


@dataclass(frozen=True)
class Segment:
    """A span with a label, [start_seconds, end_seconds) in presentation time, and its score in 0..1.

    `index` is the label's place in the head's labels. A segment of an action has a `verb` and a `noun`; its
    label joins theirs, and its index is verb * num_nouns + noun, as EPIC-KITCHENS numbers actions. `peak_score` is what
    met the threshold, 0..1: the highest that the label scores in the segment, while `score` is a mean; None where no
    threshold was met in this way, and in what earlier versions wrote.
    """

    start_seconds: float
    end_seconds: float
    label: str
    index: int
    score: float
    verb: Prediction | None = None
    noun: Prediction | None = None
    peak_score: float | None = None

    @property
    def action(self) -> str | None:
        """The pair of class numbers "verb,noun" of an action, None for other labels."""
        return None if self.verb is None or self.noun is None else f"{self.verb.index},{self.noun.index}"

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that it goes by: its own, and of an action those of its verb and its noun."""
        return (self.label, *(part.label for part in (self.verb, self.noun) if part is not None))

    @property
    def duration_seconds(self) -> float:
        """How long it lasts, in seconds."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True)
class Gap:
    """A span of the timeline, [start_seconds, end_seconds), of which needed frames cannot be read, or are not there."""

    start_seconds: float
    end_seconds: float
    reason: str


@dataclass(frozen=True, repr=False)
class Detection:
    """What happens in one video, and when; or why that could not be found out.

    `status` is "ok", "partial" (some windows could not be scored: see `gaps`) or "error" (then `error` says
    why). No segments are a result, too: nothing was found. `num_windows` of `num_windows_planned` windows
    were scored. `num_frames_used` distinct frames were used. `timeline` is where the video starts and ends in seconds
    where it was not opened, as its features were there already; `video` is None then. `cuts` are when shots begin that
    no segment reaches across, in presentation seconds; None where nobody asked for them.
    """

    path: str
    status: DetectionStatus
    model: str
    error: str = ""
    segments: tuple[Segment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    num_windows: int = 0
    num_windows_planned: int = 0
    num_frames_used: int = 0
    video: VideoInfo | None = None
    notes: tuple[Note, ...] = ()
    timeline: tuple[float, float] | None = None
    cuts: tuple[float, ...] | None = None

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def filter(
        self,
        *,
        label: str | Collection[str] | None = None,
        min_score: float | None = None,
        between: tuple[float | None, float | None] | None = None,
    ) -> Detection:
        """The same detection with some of its segments.

        Args:
            label: The label or labels that are wanted; any by default. An action goes by its own and by those of its
                verb and its noun.
            min_score: The least score, 0 to 1.
            between: Start and end in presentation seconds, None for no limit. A segment stays as it is if a part of it
                lies between; `clip_to` cuts.

        Returns:
            The detection with the segments that are all that was asked for, in their order.

        Raises:
            UsageError: The score is not between 0 and 1, or the start is not before the end.
        """
        wanted = wanted_labels(label)
        check_score(min_score)
        start, end = (-math.inf, math.inf) if between is None else checked_span(between)
        kept = (
            each
            for each in self.segments
            if (wanted is None or not wanted.isdisjoint(each.names))
            and (min_score is None or each.score >= min_score)
            and each.start_seconds < end
            and each.end_seconds > start
        )
        return replace(self, segments=tuple(kept))

    def merge(self, max_gap_seconds: float = 0.0) -> Detection:
        """The same detection, in which segments of one label that follow each other are one.

        Args:
            max_gap_seconds: At most so much time lies between two that become one. They stay apart where a cut, or
                frames that cannot be read, are between them.

        Returns:
            The detection, its segments in order of time. The score of a merged segment, and those of its verb and its
            noun, are the means over the segments, weighted by how long they last; its peak score is the highest.

        Raises:
            UsageError: The gap is no length of time.
        """
        from tadacli.results.spans import merged

        if not 0 <= max_gap_seconds < math.inf:
            raise UsageError(f"a gap of {max_gap_seconds} seconds is no length of time", hint="give 0 or more seconds")
        walls = [(cut, cut) for cut in self.cuts or ()] + [(gap.start_seconds, gap.end_seconds) for gap in self.gaps]
        return replace(self, segments=merged(self.segments, max_gap_seconds, walls))

    def clip_to(self, start_seconds: float | None, end_seconds: float | None) -> Detection:
        """The same detection with what lies in a span alone: segments and gaps are cut off at its ends.

        Args:
            start_seconds: Where the span starts, in presentation seconds; None for no limit.
            end_seconds: Where it ends.

        Returns:
            The detection. Its times are still those of the video.

        Raises:
            UsageError: The start is not before the end.
        """
        start, end = checked_span((start_seconds, end_seconds))
        return replace(
            self,
            segments=tuple(_clipped(self.segments, start, end)),
            gaps=tuple(_clipped(self.gaps, start, end)),
            cuts=None if self.cuts is None else tuple(cut for cut in self.cuts if start < cut < end),
        )

    def to_dict(self) -> dict[str, Any]:
        """What the row of `tada detect` says of the video, JSON-ready, without what the result was made with."""
        return dict(detection_facts(self))

    def to_pandas(self) -> pandas.DataFrame:
        """The segments as a table, see `Detections.to_pandas`."""
        return Detections([self]).to_pandas()

    def __repr__(self) -> str:
        if self.status == "error":
            return f"Detection({shortened(self.path)}: error: {in_one_line(self.error)})"
        labels = dict.fromkeys(each.label for each in self.segments)
        named = ", ".join(in_one_line(label, most=30) for label in list(labels)[:_MOST_NAMED])
        more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
        said = f"{counted(len(self.segments), 'segments')}{': ' if named else ''}{named}{more}"
        return f"Detection({shortened(self.path)}: {said}{', with gaps' if self.status == 'partial' else ''})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the timeline, and the first segments."""
        from tadacli.results.notebook import detection_html

        return detection_html(self)


AnySpan = TypeVar("AnySpan", Segment, Gap)


def _clipped(spans: Iterable[AnySpan], start: float, end: float) -> Iterator[AnySpan]:
    for each in spans:
        if each.start_seconds < end and each.end_seconds > start:
            yield replace(each, start_seconds=max(start, each.start_seconds), end_seconds=min(end, each.end_seconds))


class Detections(list[Detection]):
    """What happens in videos, one result for each, in order."""

    @property
    def failed(self) -> Detections:
        """The results of the videos that could not be searched."""
        return Detections(each for each in self if each.status == "error")

    def filter(
        self,
        *,
        label: str | Collection[str] | None = None,
        min_score: float | None = None,
        between: tuple[float | None, float | None] | None = None,
    ) -> Detections:
        """All of the detections, each with some of its segments, see `Detection.filter`."""
        return Detections(each.filter(label=label, min_score=min_score, between=between) for each in self)

    def merge(self, max_gap_seconds: float = 0.0) -> Detections:
        """All of the detections, each with segments joined, see `Detection.merge`."""
        return Detections(each.merge(max_gap_seconds) for each in self)

    def to_pandas(self) -> pandas.DataFrame:
        """All segments as a table.

        Returns:
            A row for each segment: columns `video`, `start_seconds`, `end_seconds`, `label`, `index`, `score` and
            `peak_score`; where there are actions also `verb`, `noun` (their numbers), `verb_label`, `noun_label`,
            `verb_score` and `noun_score`. Videos in which nothing was found, or which failed (`failed`), have none.
        """
        from tadacli.results.frames import data_frame

        rows = [{"video": each.path, **segment_row(segment)} for each in self for segment in each.segments]
        order = _COLUMNS if all(segment.verb is None for each in self for segment in each) else _ACTION_COLUMNS
        return data_frame(rows, order, texts=_TEXTS, counts=("index", "verb", "noun"))

    def __repr__(self) -> str:
        return list_repr("Detections", self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first of the results."""
        from tadacli.results.notebook import all_html

        return all_html(self)


_COLUMNS = ("video", "start_seconds", "end_seconds", "label", "index", "score", "peak_score")
_ACTION_COLUMNS = (*_COLUMNS, "verb", "noun", "verb_label", "noun_label", "verb_score", "noun_score")
_TEXTS = ("video", "label", "verb_label", "noun_label")
