"""What to label next: scores or results of `tada detect` in, spans to label out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import cast

from tadacli.datasets.own_data import labelled_spans
from tadacli.datasets.spans import LabelledSpan
from tadacli.datasets.tables import AnyPath
from tadacli.detection.jobs import DetectionJob, job_of_kept_scores
from tadacli.detection.score_file import SUFFIX
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.span_choice import (
    DEFAULT_BUDGET,
    DEFAULT_SPAN_SECONDS,
    Candidate,
    Choice,
    LabelledPart,
    candidates_of_row,
    candidates_of_scores,
    choose_spans,
)
from tadacli.errors import UsageError
from tadacli.formats.detection_rows import detection_row
from tadacli.formats.results import read_detections
from tadacli.formats.rows import DetectionRow
from tadacli.results.json_ready import SegmentRow, rounded_seconds


@dataclass(frozen=True)
class _Looked:
    """A video that was looked at: its row, of which the segments do not matter here, and what could be labelled."""

    row: DetectionRow
    candidates: Sequence[Candidate]


@dataclass(frozen=True)
class Suggestions:
    """Spans to label, the most valuable first.

    Attributes:
        choices: The spans, and what the model takes them for.
        rows: The videos that they are of, in the order in which they were given, as `tada detect` writes videos: the
            segments are the spans, each with its `rank`, and their labels are guesses.
        labels: Those of the model in index order; none where only results were given.
        num_videos: How many videos were looked at.
        failed: Videos that could not be searched, and why: nothing of them is suggested.
        num_outside: How many of the spans that are labelled already are of no such video.
    """

    choices: tuple[Choice, ...]
    rows: tuple[DetectionRow, ...]
    labels: tuple[str, ...]
    num_videos: int
    failed: tuple[tuple[str, str], ...]
    num_outside: int = 0


def suggest(
    sources: AnyPath | Sequence[AnyPath],
    *,
    budget: int = DEFAULT_BUDGET,
    span_seconds: float = DEFAULT_SPAN_SECONDS,
    labelled: AnyPath | None = None,
    data_root: AnyPath | None = None,
) -> Suggestions:
    """The spans of videos whose labels would teach a model most, for a person to label.

    A span counts as much as the model is in doubt about it, by the margin between its two best labels; more, the fewer
    examples the labels have that it may show; less, the more spans of its video were chosen before it. Only a score
    file knows of spans in which nothing was found; of results the segments are what can be chosen.

    Args:
        sources: Score files of `tada detect --save-scores`, of one model and one set of windows, or one file of results
            (.json, .jsonl).
        budget: How many spans are wanted.
        span_seconds: How long a span is, in seconds; those of results are as long as their segments.
        labelled: What is labelled already, as `tada finetune --data` takes a file: none of it is suggested again, and
            its labels count as examples.
        data_root: The folder with the videos of `labelled`.

    Returns:
        The spans. There are fewer than were wanted where there is not as much left.

    Raises:
        UsageError: A file cannot be read or is of another kind, or a number makes no sense.
    """
    files = [Path(each) for each in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
    if not files:
        raise UsageError("no file is given", hint="give score files of tada detect --save-scores, or its results")
    if not span_seconds > 0:
        raise UsageError(f"spans of {span_seconds:g} s have no length", hint="give a length such as 4s")
    labels: tuple[str, ...] = ()
    are_scores = [file.suffix.lower() == SUFFIX for file in files]
    if all(are_scores):
        job = job_of_kept_scores(files, segments=SegmentSettings())
        labels = job.spec.heads.get("", ())
        looked = _in_scores(job, span_seconds)
    elif len(files) == 1:
        looked = (_Looked(row, candidates_of_row(row)) for row in read_detections(files[0]))
    else:
        raise UsageError(
            f"{files[are_scores.index(False)]} is no score file, and there are {len(files)} files",
            hint="give score files alone, or one file of results",
        )
    known = _by_video([] if labelled is None else labelled_spans(Path(labelled), data_root))
    rows: dict[str, DetectionRow] = {}
    parts: list[LabelledPart] = []

    def candidates() -> Iterator[Sequence[Candidate]]:
        for video in looked:
            rows[video.row["path"]] = video.row
            parts.extend(_parts(video.row, known))
            yield video.candidates

    pool = list(candidates())
    chosen = choose_spans(pool, budget=budget, labelled=parts)
    by_video: defaultdict[str, list[Choice]] = defaultdict(list)
    for choice in chosen:
        by_video[choice.span.path].append(choice)
    return Suggestions(
        choices=tuple(chosen),
        rows=tuple(_suggested(rows[path], by_video[path]) for path in rows if path in by_video),
        labels=labels,
        num_videos=len(rows),
        failed=tuple((path, row["error"] or "") for path, row in rows.items() if row["status"] == "error"),
        num_outside=sum(map(len, known.values())) - len(parts),
    )


def _in_scores(job: DetectionJob, span_seconds: float) -> Iterator[_Looked]:
    for video in job.videos:
        found = job.find(video, None, None)
        assert found.scores is not None  # the job is made of them
        row = detection_row(found.result, job.run, size_bytes=found.size_bytes)
        yield _Looked(row, candidates_of_scores(found.scores, span_seconds=span_seconds))


def _by_video(spans: Iterable[LabelledSpan]) -> dict[str, list[LabelledSpan]]:
    """The spans that can be used, by the real path of their video, or by its name where the file is not there."""
    found: defaultdict[str, list[LabelledSpan]] = defaultdict(list)
    for span in spans:
        if not span.reason:
            found[_key(span.video if span.path is None else span.path)].append(span)
    return found


def _key(path: AnyPath) -> str:
    return os.path.realpath(path) if os.path.exists(path) else PurePath(path).name


def _parts(row: DetectionRow, known: dict[str, list[LabelledSpan]]) -> list[LabelledPart]:
    """What of a video is labelled already; labels count from its first frame, a span without times is all of it."""
    path, start = row["path"], row["start_seconds"] or 0.0
    end = row["duration_seconds"] or 0.0
    return [
        LabelledPart(
            path,
            start + (span.start_seconds or 0.0),
            start + (end if span.end_seconds is None else span.end_seconds),
            span.label,
        )
        for span in known.get(_key(path), ())
    ]


def _suggested(row: DetectionRow, choices: Sequence[Choice]) -> DetectionRow:
    """The row with what was chosen of its video in place of its segments, in the order of time."""
    segments: list[SegmentRow] = [
        {
            "start_seconds": rounded_seconds(choice.span.start_seconds),
            "end_seconds": rounded_seconds(choice.span.end_seconds),
            "label": choice.span.guesses[0].label,
            "index": choice.span.guesses[0].index,
            "score": choice.span.guesses[0].score,
            "rank": choice.rank,
        }
        for choice in sorted(choices, key=lambda each: each.span.start_seconds)
    ]
    return cast("DetectionRow", {**row, "segments": segments})
