"""What people labelled in the videos of a page, to be shown under what was found, and compared with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.spans import LabelledSpan
from tadacli.datasets.tables import named, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.agreement import LabelledTime, VideoLabels, agreement
from tadacli.formats.captions import player_segments
from tadacli.formats.results import is_detect_results, parse_corrected
from tadacli.formats.rows import DetectionRow
from tadacli.formats.video_names import video_id
from tadacli.results import counted
from tadacli.results.json_ready import rounded_seconds
from tadacli.video.inputs import is_url


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


@dataclass(frozen=True)
class LabelsOfPeople:
    """The labels in a file; `remarks` say how it was read."""

    file: Path
    spans: Sequence[LabelledSpan]
    remarks: tuple[str, ...] = ()

    def of_videos(self, videos: Sequence[str]) -> Truth:
        """Those of some videos.

        Args:
            videos: Paths or URLs. A video goes by its file, or else by its name without the suffix.

        Returns:
            The labels; labels of other videos, and those that cannot be used, are remarked on.

        Raises:
            UsageError: The file labels none of these videos, or means several of them by one name.
        """
        places = {os.path.realpath(video): video for video in videos if not is_url(video)}
        by_name: dict[str, list[str]] = defaultdict(list)
        for video in videos:
            by_name[video_id(video).casefold()].append(video)
        spans: dict[str, list[LabelledSpan]] = {}
        others: list[str] = []
        for span in self.spans:
            place = None if span.path is None else places.get(os.path.realpath(span.path))
            same = by_name.get(video_id(span.video).casefold(), []) if place is None else [place]
            if len(same) > 1:
                raise UsageError(
                    f"{self.file}: {span.video!r} could be {named(same)}",
                    hint="give the videos that it could mean one at a time",
                )
            if not same:
                others.append(span.video)
            elif not span.reason:
                spans.setdefault(same[0], []).append(span)
        if not spans:
            raise self._of_none(videos, others)
        return Truth(self.file.name or str(self.file), spans, (*self.remarks, *self._remarks(others)))

    def _of_none(self, videos: Sequence[str], others: Sequence[str]) -> UsageError:
        listed = named(list(dict.fromkeys(others)), most=5) if others else "none of which a label can be used"
        return UsageError(
            f"{self.file} has no labels for {named(list(videos), most=3)}: its videos are {listed}",
            hint="name videos as the annotations do; suffixes and folders do not count",
        )

    def _remarks(self, others: Sequence[str]) -> Iterator[str]:
        reasons = Counter(span.reason for span in self.spans if span.reason)
        if reasons:
            listed = named(sorted(reasons), most=3)
            yield f"{counted(reasons.total(), 'labels')} of {self.file} cannot be used: {listed}"
        if others:
            yield f"{self.file} also labels {counted(len(set(others)), 'videos')} of which no result is asked for"


def read_labels_of_people(file: Path) -> LabelsOfPeople:
    """The labels in a file.

    Args:
        file: Annotations in any format that `read_annotations` takes, or results that a person corrected.

    Returns:
        The labels of all of its videos.

    Raises:
        UsageError: The file is none of these.
    """
    if not file.is_dir():
        content = read_bytes(file)
        if is_detect_results(content):
            return LabelsOfPeople(file, [*_corrected(parse_corrected(content, os.fspath(file)))])
    found = read_annotations(file)
    return LabelsOfPeople(file, found.spans, tuple(map(str, found.remarks)))


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


def _corrected(rows: Iterable[DetectionRow]) -> Iterator[LabelledSpan]:
    for row in rows:
        for number, each in enumerate(player_segments(row), start=1):
            place = f"{row['path']}, segment {number}"
            start, end = each["start_seconds"], each["end_seconds"]
            path = None if is_url(row["path"]) else Path(row["path"])
            reason = "" if start < end else "its span is empty"
            yield LabelledSpan(place, row["path"], each["label"], start, end, path, reason=reason)


def _in_video(spans: Sequence[LabelledSpan], first: float, end: float) -> Iterator[LabelledTime]:
    for span in spans:
        start = min(max(first + (span.start_seconds or 0.0), first), end)
        until = end if span.end_seconds is None else min(first + span.end_seconds, end)
        if start < until:
            yield LabelledTime(rounded_seconds(start), rounded_seconds(until), span.label)
