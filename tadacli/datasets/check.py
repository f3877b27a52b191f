"""What is wrong with a data set before a model sees it: files, spans, duplicates, and samples in two splits.

Every file is opened, which reads its packets to the end, and of each sample nine frames are decoded, evenly from the
first to the last of its span. That finds files that are cut short, and damage in whatever these frames are made
from, at less than half the cost of decoding everything; damage between them can stay unseen.

Spans, and the times in what is found, count from the first frame of a video, as annotations do: a file may begin at
another presentation time than zero.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from stat import S_ISREG

import numpy as np

from tadacli.concurrency import default_workers, map_ahead
from tadacli.datasets.overlaps import Item, Leak, Span, duplicate_reasons, find_leaks
from tadacli.datasets.rates import rates_by_path
from tadacli.datasets.samples import Dataset, Sample, UnusedKind
from tadacli.errors import UsageError, VideoError
from tadacli.results import Note, NoteKind
from tadacli.sampling.pace import frame_rate
from tadacli.sampling.plan import annotated_part, frames_within
from tadacli.video.boundary import VideoBoundary
from tadacli.video.reading import open_video
from tadacli.video.source import Unreadable, VideoSource


class FindingKind(StrEnum):
    """What is wrong with a sample or a row; the values stand in the files of a check."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged or cut short"
    OUTSIDE = "span outside the video"
    TOO_SHORT = "too short"
    DUPLICATE = "duplicate"
    IN_SEVERAL_SPLITS = "in several splits"
    UNUSED_ROW = "unused row"


class FindingDetail(StrEnum):
    """What decides beyond the kind: whether a sample can be used all the same."""

    NONE = ""
    NO_FRAME = "no frame"  # not one frame of the video is in the span
    SAME_VIDEO = "same video"  # two splits share a video, but for all that is known no frame


# Of the video itself; the other kinds are about what it shares with others, or about rows without one.
_UNSOUND = frozenset(FindingKind) - {FindingKind.DUPLICATE, FindingKind.IN_SEVERAL_SPLITS, FindingKind.UNUSED_ROW}

NUM_PROBED_FRAMES = 9
# Files that a slow one may let pass, for each worker: what is known of them is small.
_NUM_AHEAD = 8


@dataclass(frozen=True)
class Finding:
    """One problem: of a sample, or of a row that became none. `path` is empty where no file was found."""

    kind: FindingKind
    split: str
    id: str
    path: str
    reason: str
    detail: FindingDetail = FindingDetail.NONE


@dataclass(frozen=True)
class _Problem:
    kind: FindingKind
    reason: str
    detail: FindingDetail = FindingDetail.NONE


@dataclass(frozen=True)
class SplitCount:
    """How many rows and samples a split has; `num_sound` samples have a video without a problem of its own.

    `num_other_splits` rows belong to other splits, and were rightly left out.
    """

    split: str
    dataset: str
    num_rows: int
    num_samples: int
    num_sound: int
    num_other_splits: int


@dataclass(frozen=True)
class DatasetCheck:
    """What a check found: findings by split, in the order of the annotations, rows that are not used last.

    `num_files` distinct files were opened. `notes` say what is no problem, but good to know.
    """

    splits: tuple[SplitCount, ...]
    num_files: int
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...] = ()

    @property
    def counts(self) -> dict[FindingKind, int]:
        """Number of findings of each kind that there is, in the order of the kinds."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in FindingKind if found[kind]}


def check_dataset(
    datasets: Mapping[str, Dataset],
    *,
    workers: int | None = None,
    clip_frames: int = 2,
    clip_seconds: float | None = None,
    index: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> DatasetCheck:
    """What is wrong with the samples of one or more splits (by name), whatever the number of workers.

    A span is outside the video if it ends more than one frame after it. Within a split, samples with the same span of
    the same file, or of files with the same bytes, are duplicates. Across splits, samples of the same file, bytes or
    video (where the data set names its videos) are findings of the later split. Tars are compared as files, folders
    of frames only by their place.

    Args:
        datasets: the splits by name, in the order in which a sample of several counts for the first.
        workers: threads that open files, each file once; by default by the number of cores.
        clip_frames: a sample with fewer frames is too short.
        clip_seconds: as is one that lasts less, in seconds at the video's average rate.
        index: a folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).
        on_progress: called with (files done, files in all), in the calling thread.

    Returns:
        The findings; a file that fails is one.

    Raises:
        UsageError: for settings out of range.
    """
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise UsageError(f"{workers} workers check nothing", hint="give 1 or more")
    needed = _Needed(clip_frames, clip_seconds)
    files: dict[str, dict[Span, None]] = defaultdict(dict)
    for sample in (sample for dataset in datasets.values() for sample in dataset.samples):
        if sample.path is not None:
            files[os.fspath(sample.path)][_span(sample)] = None
    rates = rates_by_path([sample for dataset in datasets.values() for sample in dataset.samples])
    probed: dict[str, _File] = {}

    stop = threading.Event()

    def probe(path: str) -> _File:
        return _probe(path, rates[path], tuple(files[path]), needed, stop, index)

    with closing(map_ahead(probe, files, workers=workers, stop=stop, num_ahead=workers * _NUM_AHEAD)) as results:
        for path, result in zip(files, results, strict=True):
            probed[path] = result
            if on_progress is not None:
                on_progress(len(probed), len(files))
    contents, num_unread = _contents(probed, workers=workers)
    items = {split: _items(dataset, probed, contents) for split, dataset in datasets.items()}
    leaked = find_leaks(items)
    findings: list[Finding] = []
    counts = []
    for split, dataset in datasets.items():
        of_split = _findings(split, dataset, probed, duplicate_reasons(items[split]), leaked[split])
        unsound = {finding.id for finding in of_split if finding.kind in _UNSOUND}
        elsewhere = sum(row.kind is UnusedKind.OTHER_SPLIT for row in dataset.unused)
        num_samples = len(dataset.samples)
        num_sound = num_samples - len(unsound)
        counts.append(SplitCount(split, dataset.name, dataset.num_rows, num_samples, num_sound, elsewhere))
        findings += of_split
    return DatasetCheck(tuple(counts), len(files), tuple(findings), _notes(datasets, num_unread))


def _findings(
    split: str, dataset: Dataset, probed: Mapping[str, _File], repeated: Sequence[str], leaked: Sequence[Sequence[Leak]]
) -> list[Finding]:
    findings = []
    for sample, repeats, leaks in zip(dataset.samples, repeated, leaked, strict=True):
        path = "" if sample.path is None else os.fspath(sample.path)
        problems = [_Problem(FindingKind.MISSING, sample.missing or "no file was found under any of its usual names")]
        if path:
            problems = list(probed[path].problems[_span(sample)])
        problems += [_Problem(FindingKind.DUPLICATE, repeats)] if repeats else []
        problems += [
            _Problem(
                FindingKind.IN_SEVERAL_SPLITS,
                leak.reason,
                FindingDetail.NONE if leak.same_frames else FindingDetail.SAME_VIDEO,
            )
            for leak in leaks
        ]
        findings += [Finding(each.kind, split, sample.id, path, each.reason, each.detail) for each in problems]
    return findings + [
        Finding(FindingKind.UNUSED_ROW, split, row.id, "", f"{row.place}: {row.reason}")
        for row in dataset.unused
        if row.kind is not UnusedKind.OTHER_SPLIT
    ]


def _notes(datasets: Mapping[str, Dataset], num_unread: int) -> tuple[Note, ...]:
    notes = [
        replace(note, text=f"{split}: {note}")
        for split, dataset in datasets.items()
        for note in dataset.notes
        if note.kind in (NoteKind.READING, NoteKind.ASSUMED_RATE, NoteKind.NO_LABEL)
    ]
    if num_unread:
        text = f"{num_unread} files could not be read a second time, and were not compared with others"
        notes.append(Note(NoteKind.READING, text))
    return tuple(notes)


def _span(sample: Sample) -> Span:
    return sample.start_seconds, sample.end_seconds


# --- one file -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Needed:
    """The least that a sample must have."""

    clip_frames: int
    clip_seconds: float | None

    def __post_init__(self) -> None:
        if self.clip_frames < 1 or (self.clip_seconds is not None and not 0 <= self.clip_seconds < float("inf")):
            raise UsageError(f"no clip has {self.clip_frames} frames or lasts {self.clip_seconds} s")


@dataclass(frozen=True)
class _File:
    """A file: the problems of each span of it, device and inode, and its size if it can be compared with others."""

    problems: Mapping[Span, tuple[_Problem, ...]]
    identity: tuple[int, int] | None = None
    num_bytes: int | None = None


def _probe(
    path: str,
    fps: float | None,
    spans: Sequence[Span],
    needed: _Needed,
    stop: threading.Event,
    index: str | os.PathLike[str] | None,
) -> _File:
    identity = None
    try:
        status = Path(path).stat()
        identity = (status.st_dev, status.st_ino)
        with VideoBoundary(path), open_video(path, fps=fps, index=index) as source:
            problems = _problems(source, spans, needed, stop)
    except FileNotFoundError:
        return _File(dict.fromkeys(spans, (_Problem(FindingKind.MISSING, "the file is not there any more"),)))
    except (VideoError, OSError, ValueError) as error:
        return _File(dict.fromkeys(spans, (_Problem(FindingKind.UNREADABLE, str(error)),)), identity)
    return _File(problems, identity, status.st_size if S_ISREG(status.st_mode) else None)


def _problems(
    source: VideoSource, spans: Sequence[Span], needed: _Needed, stop: threading.Event
) -> dict[Span, tuple[_Problem, ...]]:
    extents = {span: _extent(source, span) for span in spans}
    looked_at = {span: _spread(first, end) for span, (first, end) in extents.items()}
    wanted = sorted({index for indices in looked_at.values() for index in indices})
    bad = _bad_frames(source, wanted, stop)
    found: dict[Span, tuple[_Problem, ...]] = {}
    for span, (first, end) in extents.items():
        damage = _damage(source, span, looked_at[span], bad)
        # That a span reaches beyond what is left of a file says nothing against the span.
        outside = None if damage and source.info.truncated else _outside(source, span)
        short = None if first == end else _too_short(source, first, end, needed)
        found[span] = tuple(problem for problem in (damage, outside, short) if problem)
        if first == end and not found[span]:
            found[span] = (_Problem(FindingKind.TOO_SHORT, "no frame appears within the span", FindingDetail.NO_FRAME),)
    return found


def _extent(source: VideoSource, span: Span) -> tuple[int, int]:
    """(first, end) numbers of the frames of a span, as they are taken when it is classified."""
    part = annotated_part(source.info, *span)
    if part is None:
        return 0, source.info.num_frames
    start, end = part.start_seconds, part.end_seconds
    return frames_within(source.times_shown, -np.inf if start is None else start, np.inf if end is None else end)


def _spread(first: int, end: int) -> list[int]:
    """Frame numbers from `first` to the last before `end`, evenly, both with them."""
    if first >= end:
        return []
    return sorted(set(np.linspace(first, end - 1, NUM_PROBED_FRAMES).round().astype(int).tolist()))


def _bad_frames(source: VideoSource, wanted: Sequence[int], stop: threading.Event) -> dict[int, str]:
    """What is wrong with each of the wanted frames that cannot be had."""
    bad = {}
    try:
        for frame in source.iter_frames(wanted, skip_unreadable=True):
            if isinstance(frame, Unreadable):
                time = frame.time_seconds - source.info.start_seconds
                bad[frame.index] = f"frame {frame.index} at {time:.2f} s {frame.reason}"
            if stop.is_set():
                break
    except VideoError as error:
        # What the packets promised is not what decodes: none of the frames is sure.
        return dict.fromkeys(wanted, error.message)
    return bad


def _damage(source: VideoSource, span: Span, looked_at: Sequence[int], bad: Mapping[int, str]) -> _Problem | None:
    lost = [index for index in looked_at if index in bad]
    if lost:
        reason = f"{len(lost)} of {len(looked_at)} frames looked at are lost: {bad[lost[0]]}"
        return _Problem(FindingKind.DAMAGED, reason)
    info = source.info
    if info.truncated and (span[1] is None or span[1] > info.duration_seconds - _frame_seconds(source)):
        left = "" if info.num_frames_known else f"; {info.num_frames} frames are left"
        return _Problem(FindingKind.DAMAGED, f"the file was cut short{left}")
    return None


def _outside(source: VideoSource, span: Span) -> _Problem | None:
    duration = source.info.duration_seconds
    start, end = (0.0 if span[0] is None else span[0]), (duration if span[1] is None else span[1])
    kind = FindingKind.OUTSIDE
    if start >= duration or end <= 0:
        return _Problem(kind, f"nothing of it, the video lasts {duration:.2f} s", FindingDetail.NO_FRAME)
    if end > duration + _frame_seconds(source):
        return _Problem(kind, f"it ends at {end:.2f} s, the video at {duration:.2f} s")
    return None


def _too_short(source: VideoSource, first: int, end: int, needed: _Needed) -> _Problem | None:
    num_frames, fps = end - first, frame_rate(source, first, end)
    if num_frames < needed.clip_frames:
        return _Problem(FindingKind.TOO_SHORT, f"{num_frames} frames, a clip has {needed.clip_frames}")
    # A thousandth of a frame is what rounding may make of a length given in seconds.
    if needed.clip_seconds is not None and num_frames < needed.clip_seconds * fps - 1e-3:
        reason = f"{num_frames / fps:.2f} s, a clip spans {needed.clip_seconds:.2f} s"
        return _Problem(FindingKind.TOO_SHORT, reason)
    return None


def _frame_seconds(source: VideoSource) -> float:
    return float(1 / source.info.fps)


# --- files with the same bytes --------------------------------------------------------------------------


def _items(dataset: Dataset, probed: Mapping[str, _File], contents: Mapping[tuple[int, int], str]) -> list[Item]:
    """What each sample is compared by."""
    items = []
    for sample in dataset.samples:
        identity = None if sample.path is None else probed[os.fspath(sample.path)].identity
        # In videos of one's own the id is no more than a file name, which others may have, too.
        video = "" if dataset.name in ("folder", "csv") else sample.video_id
        digest = "" if identity is None else contents.get(identity, "")
        items.append(Item(sample.id, _span(sample), dict(sample.labels), identity, digest, video))
    return items


def _contents(probed: Mapping[str, _File], *, workers: int) -> tuple[dict[tuple[int, int], str], int]:
    """SHA-256 by device and inode of the files that are as long as another, and how many could not be read."""
    paths: dict[tuple[int, int], str] = {}
    for path, file in probed.items():
        if file.identity is not None and file.num_bytes is not None:
            paths.setdefault(file.identity, path)
    lengths = Counter(probed[path].num_bytes for path in paths.values())
    alike = {identity: path for identity, path in paths.items() if lengths[probed[path].num_bytes] > 1}
    stop = threading.Event()
    digests_of = partial(_digest, stop=stop)
    with closing(map_ahead(digests_of, alike.values(), workers=workers, stop=stop)) as digests:
        found = dict(zip(alike, digests, strict=True))
    return {identity: digest for identity, digest in found.items() if digest}, sum(not d for d in found.values())


def _digest(path: str, stop: threading.Event) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    content = hashlib.sha256()
    try:
        with VideoBoundary(path), Path(path).open("rb") as file:
            while not stop.is_set() and (block := file.read(1 << 20)):
                content.update(block)
    except VideoError:
        return ""
    return content.hexdigest()
