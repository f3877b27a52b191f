"""Annotation files as samples: what is to be looked at, where its video is, and what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tadacli.results import Note, NoteKind


@dataclass(frozen=True)
class Sample:
    """One row of an annotation file: a video, or a span of one, and its class in each head.

    `path` is None if no file was found under any of the names that the data set is known to use. `labels` maps
    heads to class indices and is empty where the annotations name no class. Times are seconds from the start of
    the video; None is the video's own start or end. `video_id` is the video a span is of.
    """

    id: str
    path: Path | None
    labels: Mapping[str, int] = field(default_factory=dict)
    start_seconds: float | None = None
    end_seconds: float | None = None
    video_id: str = ""
    participant: str = ""


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
    a file was read that could have been read in another way.
    """

    name: str
    heads: Mapping[str, tuple[str, ...]]
    samples: tuple[Sample, ...]
    unused: tuple[UnusedRow, ...] = ()
    remarks: tuple[Note, ...] = ()

    @property
    def num_rows(self) -> int:
        """Number of rows in the annotations."""
        return len(self.samples) + len(self.unused)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What to know about the rows that cannot be evaluated, each as "N of M"; nothing if all can."""
        num_samples = len(self.samples)
        unlabelled = sum(not sample.labels for sample in self.samples)
        return (
            *self.remarks,
            *_unused_notes(self.unused, f"{self.num_rows} rows"),
            *_missing_notes(self.samples, "samples"),
            *([Note(NoteKind.NO_LABEL, f"{unlabelled} of {num_samples} samples have no label")] if unlabelled else []),
        )

    def names_of(self, sample: Sample) -> dict[str, str]:
        """The class name of a sample in each head."""
        return {head: self.heads[head][index] for head, index in sample.labels.items()}


@dataclass(frozen=True)
class GroundTruth:
    """Timed segments as columns: row i is a segment of the video `video_ids[i]`, from `starts[i]` to `ends[i]`.

    `video_ids` are text, times float64 seconds, `classes` int64 arrays by head, all of them (N,) and in the order
    of the file. `heads` maps heads to class names in index order. `videos` are the annotated videos, also those
    without a segment; their samples have no labels.
    """

    name: str
    heads: Mapping[str, tuple[str, ...]]
    video_ids: NDArray[np.str_]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int64]]
    videos: tuple[Sample, ...]
    unused: tuple[UnusedRow, ...] = ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What to know about annotations that are not used and videos that are not there, each as "N of M"."""
        num_rows = len(self.starts) + len(self.unused)
        return *_unused_notes(self.unused, f"{num_rows} segments"), *_missing_notes(self.videos, "videos")


def _unused_notes(unused: Sequence[UnusedRow], of_all: str) -> Iterator[Note]:
    for reason, count in sorted(Counter(row.reason for row in unused).items()):
        yield Note(NoteKind.UNUSED_ROWS, f"{count} of {of_all} are not used: {reason}")


def _missing_notes(samples: Sequence[Sample], unit: str) -> Iterator[Note]:
    missing = sum(sample.path is None for sample in samples)
    if missing:
        yield Note(NoteKind.NO_VIDEO, f"{missing} of {len(samples)} {unit} have no video file")
