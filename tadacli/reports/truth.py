"""What people labelled in the videos of a page, to be shown under what was found, and compared with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tadacli.datasets.labels_of_people import LabelsOfPeople
from tadacli.datasets.spans import LabelledSpan
from tadacli.datasets.tables import named
from tadacli.errors import UsageError
from tadacli.evaluation.agreement import LabelledTime, VideoLabels, agreement
from tadacli.formats.rows import DetectionRow
from tadacli.results import counted
from tadacli.results.json_ready import rounded_seconds


@dataclass(frozen=True)
class Truth:
    """The labels of people in a file called `name`, by the video as it was named; `remarks` say how it was read."""

    name: str
    spans: Mapping[str, Sequence[LabelledSpan]]
    remarks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The same for the same labels of the same file."""
        seen = [
            (video, [(each.start_seconds, each.end_seconds, each.label) for each in spans])
            for video, spans in self.spans.items()
        ]
        return hashlib.sha256(repr((self.name, seen)).encode("utf-8", "surrogatepass")).hexdigest()

    def of(self, row: DetectionRow) -> tuple[LabelledTime, ...] | None:
        """The labels of a video in presentation time, in order, as far as they lie in it; None where it has none."""
        if row["path"] not in self.spans or not row["duration_seconds"]:
            return None
        first = row["start_seconds"] or 0.0
        return tuple(sorted(_in_video(self.spans[row["path"]], first, first + row["duration_seconds"])))


def truth_of(labels: LabelsOfPeople, videos: Sequence[str]) -> Truth:
    """The labels of some videos.

    Args:
        labels: Those of all that people labelled.
        videos: Paths or URLs.

    Returns:
        The labels; those of other videos, and those that cannot be used, are remarked on.

    Raises:
        UsageError: None of these videos is labelled, or a name means several of them.
    """
    spans, others = labels.by_video(videos)
    unasked = list(dict.fromkeys(span.video for span in others))
    if not spans:
        listed = named(unasked, most=5) if unasked else "none of which a label can be used"
        raise UsageError(
            f"{labels.file} has no labels for {named(list(videos), most=3)}: its videos are {listed}",
            hint="name videos as the annotations do; suffixes and folders do not count",
        )
    also = f"{labels.file} also labels {counted(len(unasked), 'videos')} of which no result is asked for"
    return Truth(labels.file.name or str(labels.file), spans, (*labels.remarks, *([also] if unasked else [])))


def agreement_note(truth: Truth, videos: Sequence[VideoLabels]) -> str:
    """How far what was found agrees with what people labelled, in a sentence."""
    found = agreement(videos)
    kappa, f1 = found.overall.kappa, found.overall.f1
    where = f" over {counted(len(videos), 'videos')}" if len(videos) > 1 else ""
    by_chance = "no kappa, as all instants are labelled alike" if kappa is None else f"kappa {kappa:.2f}"
    matched = "no F1, as there are no segments" if f1 is None else f"F1 {f1:.2f}"
    return (
        f"agreement with {truth.name}{where}: {by_chance} on a grid of {found.step_seconds:g} s, "
        f"{matched} at tIoU {found.tiou:g}"
    )


def _in_video(spans: Sequence[LabelledSpan], first: float, end: float) -> Iterator[LabelledTime]:
    for span in spans:
        start = min(max(first + (span.start_seconds or 0.0), first), end)
        until = end if span.end_seconds is None else min(first + span.end_seconds, end)
        if start < until:
            yield LabelledTime(rounded_seconds(start), rounded_seconds(until), span.label)
