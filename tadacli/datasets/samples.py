"""Annotation files as samples: what is to be looked at, where its video is, and what it shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tadacli.results import Note, NoteKind, out_of


@dataclass(frozen=True)
class HeldLabel:
    """A class that a video shows from one time to another, by its index; None is the video's own start or end."""

    index: int
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class Sample:
    """One row of an annotation file: a video, or a span of one, and its class in each head.

    `path` is None if no file was found under any of the names that the data set is known to use. `labels` maps
    heads to class indices and is empty where the annotations name no class. Times are seconds from the start of
    the video; None is the video's own start or end. `video_id` is the video a span is of. `place` is where it stands in
    the annotations, for example "line 12"; `missing` says where and under which names a file was looked for in vain.
    `fps` is how many frames a second a folder or tar of frames has; None is what its name says, or else 30. Of
    multi-label data `others` are further classes of the one head, which hold during all of the span or a part of it.
    """

    id: str
    path: Path | None
    labels: Mapping[str, int] = field(default_factory=dict)
    start_seconds: float | None = None
    end_seconds: float | None = None
    video_id: str = ""
    participant: str = ""
    place: str = field(default="", compare=False)
    missing: str = field(default="", compare=False)
    fps: float | None = None
    others: tuple[HeldLabel, ...] = ()

    @property
    def own_classes(self) -> tuple[int, ...]:
        """The classes that the annotations give to just this span, in one head, by rising index."""
        span = self.start_seconds or 0.0, self.end_seconds
        same = (each.index for each in self.others if (each.start_seconds or 0.0, each.end_seconds) == span)
        return tuple(sorted({*self.labels.values(), *same}))

    @property
    def classes(self) -> tuple[int, ...]:
        """What the sample as a whole shows, in one head: its own classes, and those that hold for half of it or more.

        Of a span without a stated end it is its own and those that hold throughout.
        """
        start = self.start_seconds or 0.0
        end = math.inf if self.end_seconds is None else self.end_seconds
        return tuple(
            sorted({*self.labels.values(), *(each.index for each in self.others if _covers(each, start, end))})
        )

    def classes_at(self, seconds: float) -> tuple[int, ...]:
        """What is shown at a time within the span, in seconds from the start of the video, in one head."""
        held = (
            each.index
            for each in self.others
            if (each.start_seconds or 0.0) <= seconds < (math.inf if each.end_seconds is None else each.end_seconds)
        )
        return tuple(sorted({*self.own_classes, *held}))


def _covers(label: HeldLabel, start: float, end: float) -> bool:
    """Whether a label holds for at least half of a span; of one without an end, for all of it."""
    first = max(label.start_seconds or 0.0, start)
    last = min(math.inf if label.end_seconds is None else label.end_seconds, end)
    if math.isinf(end):
        return first <= start and math.isinf(last)
    # A thousandth of the span is what rounding of times may make of a half.
    return last - first >= 0.499 * (end - start)


def span_id(video: str, start_seconds: float | None, end_seconds: float | None) -> str:
    """The id of a span of a video: the video's name, and the times if it is not all of it."""
    if start_seconds is None and end_seconds is None:
        return video
    return f"{video}@{start_seconds or 0.0!r}-{'' if end_seconds is None else repr(end_seconds)}"


class UnusedKind(StrEnum):
    """Why a row became no sample."""

    OTHER_SPLIT = "other split"  # rightly left out, as another split was asked for
    REPEATED = "repeated"
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class UnusedRow:
    """A row that became no sample, and why; `place` is where it stands, for example "line 12"."""

    place: str
    id: str
    kind: UnusedKind
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The samples of one annotation file, in its order; every row is a sample or is in `unused`.

    `heads` maps head names to their class names in index order; a single head has the name "". `remarks` say how
    a file was read that could have been read in another way. With `multi_label` a sample of the one head may show
    several classes; rows that give the same span several labels are one sample.
    """

    name: str
    heads: Mapping[str, tuple[str, ...]]
    samples: tuple[Sample, ...]
    unused: tuple[UnusedRow, ...] = ()
    remarks: tuple[Note, ...] = ()
    multi_label: bool = False

    @property
    def num_rows(self) -> int:
        """Number of rows in the annotations."""
        num_used = len(self.samples)
        if self.multi_label:
            num_used = sum(max(1, len(sample.own_classes)) for sample in self.samples)
        return num_used + len(self.unused)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What to know about the rows that cannot be evaluated, each as "N of M"; nothing if all can."""
        notes = list(self.remarks)
        for reason, count in sorted(Counter(row.reason for row in self.unused).items()):
            notes.append(
                Note(NoteKind.UNUSED_ROWS, f"{out_of(count, self.num_rows, 'rows', 'are not used')}: {reason}")
            )
        missing = sum(sample.path is None for sample in self.samples)
        unlabelled = sum(not sample.labels for sample in self.samples)
        for kind, count, lack in (
            (NoteKind.NO_VIDEO, missing, "video file"),
            (NoteKind.NO_LABEL, unlabelled, "label"),
        ):
            if count:
                notes.append(Note(kind, out_of(count, len(self.samples), "samples", f"have no {lack}")))
        return tuple(notes)

    def classes_of(self, sample: Sample, head: str) -> tuple[int, ...]:
        """The classes that a labelled sample as a whole shows in a head, by index; one but of multi-label data."""
        return sample.classes if self.multi_label else (sample.labels[head],)

    def names_of(self, sample: Sample) -> dict[str, str]:
        """The class name of a sample in each head; of a multi-label one the first of its own."""
        return {head: self.heads[head][index] for head, index in sample.labels.items()}


@dataclass(frozen=True)
class GroundTruth:
    """Timed segments as columns: row i is a segment of the video `video_ids[i]`, from `starts[i]` to `ends[i]`.

    `video_ids` are text, times float64 seconds, `classes` int64 arrays by head, all of them (N,) and in the order
    of the file. `heads` maps heads to class names in index order. `videos` are the annotated videos, also those
    without a segment; their samples have no labels. `durations_seconds` are the lengths of videos by id, as far as
    they are published. `class_numbers` are the names of classes by the numbers that the annotations give them.
    """

    name: str
    heads: Mapping[str, tuple[str, ...]]
    video_ids: NDArray[np.str_]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int64]]
    videos: tuple[Sample, ...]
    durations_seconds: Mapping[str, float] = field(default_factory=dict)
    class_numbers: Mapping[int, str] = field(default_factory=dict)
