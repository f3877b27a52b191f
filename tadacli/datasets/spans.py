"""Labelled spans of videos: what every kind of annotation file comes down to, before labels become class indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tadacli.datasets.samples import span_id
from tadacli.datasets.tables import named
from tadacli.errors import UsageError
from tadacli.results import Note


@dataclass(frozen=True)
class LabelledSpan:
    """One annotation: a span of a video, or all of it, and its label, before labels become class indices.

    `video` is the video as the annotations name it, `video_id` the video that `video` is cut from, if another one
    is named. `place` is where the annotation stands, `reason` why it cannot be used, `missing` why there is no `path`;
    `columns` are all its cells, if it comes from a table, and `fps` is the rate it gives for a folder or tar of frames.
    `score` is 0..1 where a model found it, and not a person. Times are exact to `about_seconds`: an end that lies
    beyond that of the video by no more is the end of the video.
    """

    place: str
    video: str
    label: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    path: Path | None = None
    split: str = ""
    video_id: str = ""
    participant: str = ""
    reason: str = ""
    missing: str = ""
    fps: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    score: float | None = None
    about_seconds: float = 0.0

    @property
    def id(self) -> str:
        """The id of its sample: the video, and the span if it is not all of it."""
        return span_id(self.video, self.start_seconds, self.end_seconds)


@dataclass(frozen=True)
class Annotations:
    """The annotations of a file (or folder) called `shown`, in its order; `remarks` say how it was read."""

    shown: str
    spans: tuple[LabelledSpan, ...]
    remarks: tuple[Note, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are named, in their usual spelling; nothing if none is."""
        return tuple(sorted({span.split for span in self.spans} - {""}))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, in alphabetical order."""
        return tuple(sorted({span.label for span in self.spans if not span.reason}))


def label_twins(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of labels that differ only by case, blanks or underscores: a person may mean one class by both."""
    seen: dict[str, str] = {}
    pairs = []
    for label in labels:
        other = seen.setdefault(" ".join(label.replace("_", " ").split()).casefold(), label)
        if other != label:
            pairs.append((other, label))
    return pairs


def refuse_contradictions(spans: Iterable[LabelledSpan], shown: str) -> None:
    """Raise `UsageError`, with the rows, if a span of a video has two labels: a sample has one."""
    first: dict[tuple[Path | str, float, float | None, str], LabelledSpan] = {}
    found = []
    for span in spans:
        if span.reason:
            continue
        key = (span.path or span.video, span.start_seconds or 0.0, span.end_seconds, span.split)
        other = first.setdefault(key, span)
        if other.label != span.label:
            found.append(f"{other.place} ({other.label!r}) and {span.place} ({span.label!r})")
    if found:
        raise UsageError(
            f"{shown} gives {len(found)} spans more than one label: {named(found)}",
            hint="keep one label for each span, or give each its own times; if several hold together, train a model of "
            "several labels: tada finetune --multi-label",
        )
