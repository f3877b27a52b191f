"""What to label next: scores or results of `tada detect` in, spans to label out."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tadacli.datasets.labels_of_people import LabelsOfPeople, read_labels_of_people
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
    most_doubtful,
)
from tadacli.errors import UsageError
from tadacli.formats.detection_rows import detection_row
from tadacli.formats.results import read_detections
from tadacli.formats.rows import DetectionRow
from tadacli.results.json_ready import SegmentRow, rounded_seconds
from tadacli.results.runs import SuggestedSummary


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
        remarks: How `labelled` was read, and what of it cannot be used.
    """

    choices: tuple[Choice, ...]
    rows: tuple[DetectionRow, ...]
    labels: tuple[str, ...]
    num_videos: int
    failed: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...] = ()


def suggest(
    sources: AnyPath | Sequence[AnyPath],
    *,
    budget: int = DEFAULT_BUDGET,
    span_seconds: float | None = None,
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
        span_seconds: How long a span of score files is, in seconds; by default 4. Those of results are their segments.
        labelled: What people labelled already, annotations of any kind or results that were corrected: none of it is
            suggested again, and its labels count as examples, also those of other videos.
        data_root: The folder with the videos of `labelled`.

    Returns:
        The spans. There are fewer than were wanted where there is not as much left.

    Raises:
        UsageError: A file cannot be read or is of another kind, or a number makes no sense.
    """
    files = [Path(each) for each in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
    if not files:
        raise UsageError("no file is given", hint="give score files of tada detect --save-scores, or its results")
    if span_seconds is not None and not 0 < span_seconds < math.inf:
        raise UsageError(f"spans of {span_seconds:g} s are not possible", hint="give a length such as 4s")
    if data_root is not None and labelled is None:
        raise UsageError("a folder is given for the videos of labels, and no labels", hint="give --labelled, too")
    labels: tuple[str, ...] = ()
    are_scores = [file.suffix.lower() == SUFFIX for file in files]
    if all(are_scores):
        job = job_of_kept_scores(files, segments=SegmentSettings())
        labels = job.spec.heads.get("", ())
        span_seconds = DEFAULT_SPAN_SECONDS if span_seconds is None else span_seconds
        looked = _in_scores(job, span_seconds)
    elif len(files) == 1 and span_seconds is not None:
        raise UsageError(f"the spans of {files[0]} are its segments", hint="leave --span out, or give score files")
    elif len(files) == 1:
        looked = (_Looked(row, candidates_of_row(row)) for row in read_detections(files[0]))
    else:
        raise UsageError(
            f"{files[are_scores.index(False)]} is no score file, and there are {len(files)} files",
            hint="give score files alone, or one file of results",
        )
    pool: list[Sequence[Candidate]] = []
    rows: dict[str, DetectionRow] = {}
    for video in looked:
        rows[video.row["path"]] = video.row
        pool.append(most_doubtful(video.candidates, budget))
    people = None if labelled is None else read_labels_of_people(Path(labelled), data_root=data_root)
    parts = [] if people is None else _parts(people, rows)
    chosen = choose_spans(pool, budget=budget, labelled=parts)
    settings: SuggestedSummary = {"budget": budget, "span_seconds": span_seconds, "num_labelled": len(parts)}
    by_video: defaultdict[str, list[Choice]] = defaultdict(list)
    for choice in chosen:
        by_video[choice.span.path].append(choice)
    return Suggestions(
        choices=tuple(chosen),
        rows=tuple(_suggested(rows[path], by_video[path], settings) for path in rows if path in by_video),
        labels=labels,
        num_videos=len(rows),
        failed=tuple((path, row["error"] or "") for path, row in rows.items() if row["status"] == "error"),
        remarks=() if people is None else people.remarks,
    )


def _in_scores(job: DetectionJob, span_seconds: float) -> Iterator[_Looked]:
    for video in job.videos:
        found = job.find(video, None, None)
        assert found.scores is not None  # the job is made of them
        result = replace(found.result, segments=())  # others take their place
        row = detection_row(result, job.run, size_bytes=found.size_bytes)
        yield _Looked(row, candidates_of_scores(found.scores, span_seconds=span_seconds))


def _parts(people: LabelsOfPeople, rows: Mapping[str, DetectionRow]) -> list[LabelledPart]:
    """What is labelled already; labels count from a video's first frame, and one without times is of all of it."""
    found, others = people.by_video(list(rows))
    parts = [LabelledPart("", 0.0, 0.0, span.label) for span in others if not span.reason]
    for path, spans in found.items():
        start, length = rows[path]["start_seconds"] or 0.0, rows[path]["duration_seconds"] or 0.0
        for span in spans:
            end = length if span.end_seconds is None else span.end_seconds
            parts.append(LabelledPart(path, start + (span.start_seconds or 0.0), start + end, span.label))
    return parts


def _suggested(row: DetectionRow, choices: Sequence[Choice], settings: SuggestedSummary) -> DetectionRow:
    """The row with what was chosen of its video in place of its segments, in the order of time.

    It is of another run than the results: no `--resume` takes one for the other.
    """
    run = hashlib.sha256(json.dumps([row["run"], settings], sort_keys=True).encode()).hexdigest()[: len(row["run"])]
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
    changed = {"segments": segments, "settings": {**row["settings"], "suggested": settings}, "run": run}
    return cast("DetectionRow", {**row, **changed})
