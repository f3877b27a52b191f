"""What people labelled in videos, in whatever form it was written, found again by the names of the videos."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.spans import LabelledSpan
from tadacli.datasets.tables import AnyPath, named, read_bytes
from tadacli.errors import UsageError
from tadacli.formats.captions import player_segments
from tadacli.formats.results import NOT_CHECKED, is_detect_results, is_guess, parse_corrected
from tadacli.formats.rows import DetectionRow
from tadacli.formats.video_names import video_id
from tadacli.results import counted
from tadacli.video.inputs import is_url


@dataclass(frozen=True)
class LabelsOfPeople:
    """The labels in a file; `remarks` say how it was read, and what of it cannot be used."""

    file: Path
    spans: Sequence[LabelledSpan]
    remarks: tuple[str, ...] = ()

    def by_video(self, videos: Sequence[str]) -> tuple[dict[str, list[LabelledSpan]], list[LabelledSpan]]:
        """The labels that can be used, by video.

        Args:
            videos: Paths or URLs. A video goes by its file, or else by its name without the suffix.

        Returns:
            Those of these videos, and those of others.

        Raises:
            UsageError: The file means several of the videos by one name.
        """
        places = {os.path.realpath(video): video for video in videos if not is_url(video)}
        by_name: dict[str, list[str]] = defaultdict(list)
        for video in videos:
            by_name[video_id(video).casefold()].append(video)
        spans: dict[str, list[LabelledSpan]] = {}
        others: list[LabelledSpan] = []
        for span in self.spans:
            place = None if span.path is None else places.get(os.path.realpath(span.path))
            same = by_name.get(video_id(span.video).casefold(), []) if place is None else [place]
            if len(same) > 1:
                raise UsageError(
                    f"{self.file}: {span.video!r} could be {named(same)}",
                    hint="give the videos that it could mean one at a time",
                )
            if not same:
                others.append(span)
            elif not span.reason:
                spans.setdefault(same[0], []).append(span)
        return spans, others


def read_labels_of_people(file: Path, *, data_root: AnyPath | None = None) -> LabelsOfPeople:
    """The labels in a file.

    Args:
        file: Annotations in any format that `read_annotations` takes, or results that a person corrected.
        data_root: The folder in which videos are looked for.

    Returns:
        The labels of all of its videos.

    Raises:
        UsageError: The file is none of these.
    """
    content = b"" if file.is_dir() else read_bytes(file)
    remarks: tuple[str, ...] = ()
    if is_detect_results(content):
        spans = [*_corrected(parse_corrected(content, os.fspath(file)))]
    else:
        found = read_annotations(file, data_root=data_root)
        spans, remarks = [*found.spans], tuple(map(str, found.remarks))
    reasons = Counter(span.reason for span in spans if span.reason)
    if reasons:
        listed = named(sorted(reasons), most=3)
        remarks = (*remarks, f"{counted(reasons.total(), 'labels')} of {file} cannot be used: {listed}")
    return LabelsOfPeople(file, spans, remarks)


def _corrected(rows: Iterable[DetectionRow]) -> Iterator[LabelledSpan]:
    for row in rows:
        for number, each in enumerate(player_segments(row), start=1):
            place = f"{row['path']}, segment {number}"
            start, end = each["start_seconds"], each["end_seconds"]
            path = None if is_url(row["path"]) else Path(row["path"])
            reason = "" if start < end else "its span is empty"
            reason = NOT_CHECKED if is_guess(each) else reason
            yield LabelledSpan(place, row["path"], each["label"], start, end, path, reason=reason)
