"""What a run of excerpts will do: which files it writes, and which of them are there already."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tadacli.errors import OutputError, UsageError
from tadacli.excerpts import ImageFormat
from tadacli.excerpts.contact_sheet import MOST_ON_SHEET
from tadacli.excerpts.marks import Mark, Origin, digest, read_mark
from tadacli.excerpts.names import excerpt_stems
from tadacli.excerpts.wanted import WantedSegment, WantedVideo
from tadacli.files import check_new_files, require_folder
from tadacli.results.shown import check_score, wanted_labels
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, file_size

_SHEET_SUFFIXES = (".jpg", ".jpeg", ".png")
_RESUME_HINT = "--resume keeps the files that are whole, and makes the others; or give another --output"


@dataclass(frozen=True)
class Planned:
    """A file that is to be there in the end, and what it says it is of; `held` is its mark where it is there."""

    path: Path
    origin_id: str
    held: Mark | None = None


@dataclass(frozen=True)
class PlannedSegment:
    """A segment with its files: the video, the picture, and whether it is on the contact sheet."""

    segment: WantedSegment
    file: Planned | None
    image: Planned | None
    on_sheet: bool = False


@dataclass(frozen=True)
class PlannedVideo:
    """A video with those of its segments that are cut out."""

    video: WantedVideo
    segments: tuple[PlannedSegment, ...]


@dataclass(frozen=True)
class ExcerptJob:
    """Videos with the segments that are cut out of them, and how.

    `folder` is where their files go, None where a contact sheet, `sheet`, is all that is wanted.
    """

    videos: tuple[PlannedVideo, ...]
    folder: Path | None
    pad_seconds: float
    sheet: Planned | None
    max_download: int

    @property
    def num_segments(self) -> int:
        """How many segments there are in all videos."""
        return sum(len(each.segments) for each in self.videos)


def excerpt_job(
    videos: Sequence[WantedVideo],
    *,
    output: Path | None = None,
    label: str | Collection[str] | None = None,
    min_score: float | None = None,
    pad_seconds: float = 0.0,
    clips: bool = True,
    images: ImageFormat | None = None,
    sheet: Path | None = None,
    resume: bool = False,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
) -> ExcerptJob:
    """What will be done; nothing is written yet, and no video is opened.

    Args:
        videos: What there is.
        output: The folder for videos and pictures; it need not exist. None where a contact sheet is all that is wanted.
        label: Only segments with this label, or one of these.
        min_score: Only segments with at least this score, 0 to 1; those without a score stay.
        pad_seconds: So much more at either side of a segment, in its video.
        clips: Whether the videos of segments are written.
        images: Whether the pictures of their middles are, and as what.
        sheet: The contact sheet, JPEG or PNG by its suffix.
        resume: Whether files that are there are kept, where they are what this run would write.
        max_download: The largest file that is fetched for a URL, in bytes.

    Returns:
        The job.

    Raises:
        UsageError: Nothing would be written, or a setting is out of range.
        OutputError: A file is there already and may not be, or the folder cannot be.
    """
    if not 0 <= pad_seconds < math.inf:
        raise UsageError(f"{pad_seconds} seconds at the sides are not possible", hint="give 0 or more")
    check_score(min_score)
    folder = output if clips or images is not None else None
    if folder is None and (sheet is None or images is not None):
        raise UsageError("nothing says where the files go", hint="name a folder: --output FOLDER")
    if sheet is not None and sheet.suffix.lower() not in _SHEET_SUFFIXES:
        raise UsageError(f"--sheet {sheet} has another ending", hint="name it .jpg or .png")
    wanted, planned = wanted_labels(label), []
    for video, stems in zip(videos, excerpt_stems(videos), strict=True):
        size, segments = _size_of(video), []
        for segment, stem in zip(video.segments, stems, strict=True):
            if segment.is_one_of(wanted, min_score):
                file = image = None
                if folder is not None and clips:
                    origin = Origin.of(video.path, size, segment, pad_seconds=pad_seconds, kind="mp4")
                    file = Planned(folder / f"{stem}.mp4", origin.id)
                if folder is not None and images is not None:
                    origin = Origin.of(video.path, size, segment, pad_seconds=None, kind=images)
                    image = Planned(folder / f"{stem}.{images}", origin.id)
                segments.append(PlannedSegment(segment, file, image))
        planned.append(PlannedVideo(video, tuple(segments)))
    if sheet is not None:
        planned = _with_best_on_sheet(planned)
    job = ExcerptJob(tuple(planned), folder, pad_seconds, _sheet_of(planned, sheet), max_download)
    return _with_held(job, resume=resume)


def _size_of(video: WantedVideo) -> int | None:
    """That which it was searched with: one that has changed is not cut, and one that is missing by now had it."""
    return file_size(video.path) if video.size_bytes is None else video.size_bytes


def _with_best_on_sheet(videos: Sequence[PlannedVideo]) -> list[PlannedVideo]:
    """Those with the highest scores are on it; what has none was put there by a person, and comes first."""
    places = [(number, place) for number, each in enumerate(videos) for place in range(len(each.segments))]

    def score(place: tuple[int, int]) -> float:
        found = videos[place[0]].segments[place[1]].segment.score
        return math.inf if found is None else found

    best = set(sorted(places, key=score, reverse=True)[:MOST_ON_SHEET])
    return [
        replace(
            each,
            segments=tuple(
                replace(segment, on_sheet=(number, place) in best) for place, segment in enumerate(each.segments)
            ),
        )
        for number, each in enumerate(videos)
    ]


def _sheet_of(videos: Sequence[PlannedVideo], sheet: Path | None) -> Planned | None:
    """The sheet is a function of all segments, and of what each of their videos is."""
    if sheet is None:
        return None
    origins = [
        Origin.of(each.video.path, _size_of(each.video), planned.segment, pad_seconds=None, kind="sheet").id
        for each in videos
        for planned in each.segments
    ]
    return Planned(sheet, digest([sheet.suffix.lower() == ".png", *origins]))


def _with_held(job: ExcerptJob, *, resume: bool) -> ExcerptJob:
    """The job with the files that are there. Raises `OutputError` for one that is none of this job, or may not be."""
    folder = job.folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", hint="name a folder, which need not exist")
    if folder is not None and not folder.exists():
        require_folder(folder)
    segments = [planned for each in job.videos for planned in each.segments]
    files = [found for planned in segments for found in (planned.file, planned.image) if found is not None]
    files += [job.sheet] if job.sheet is not None else []
    check_new_files([each.path for each in files], may_be_made=folder, replace=resume, hint=_RESUME_HINT)
    if not resume:
        return job
    videos = tuple(
        replace(
            each,
            segments=tuple(
                replace(planned, file=_held(planned.file), image=_held(planned.image)) for planned in each.segments
            ),
        )
        for each in job.videos
    )
    return replace(job, videos=videos, sheet=_held(job.sheet))


def _held(planned: Planned | None) -> Planned | None:
    if planned is None or not os.path.lexists(planned.path):
        return planned
    mark = read_mark(planned.path)
    if mark is None or mark["id"] != planned.origin_id:
        raise OutputError(
            f"{planned.path} is not what this run would write: it was made of another video, or with other settings",
            hint="give another --output, or remove the file",
        )
    return replace(planned, held=mark)
