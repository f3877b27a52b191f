"""The results of `tada detect` as predictions to score: the same columns as those of the challenges' files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.tables import AnyPath, read_bytes
from tadacli.errors import OutputError, UsageError
from tadacli.evaluation.predictions import TimedScores
from tadacli.formats.captions import player_segments
from tadacli.formats.epic_detection import NUM_CLASSES
from tadacli.formats.results import parse_detections
from tadacli.formats.rows import DetectionRow, SegmentRow
from tadacli.formats.video_names import video_ids
from tadacli.results import Note, NoteKind

_RUN_KEYS = ("tool_version", "weights_sha256", "spec", "settings")
_HINT = "give the .json or .jsonl that tada detect wrote"


class _VideoSegment(SegmentRow):
    video: str


@dataclass(frozen=True)
class FailedVideo:
    """A video without a result: its id in the data set, the path it was given by, and the reason."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class DetectResults:
    """The segments of all videos that could be read, and those that could not.

    `model` is the name of the model; `run` has the tool_version, weights_sha256, spec and settings of the results,
    those of the first where they differ.
    """

    predictions: TimedScores
    failed: tuple[FailedVideo, ...]
    model: str
    run: Mapping[str, Any]


def read_detected_actions(path: AnyPath) -> DetectResults:
    """The results of a model with verb and noun heads; the classes are those of "verb", "noun" and "action".

    The action is verb * 300 + noun. Videos go by the ids that EPIC-KITCHENS gives them, times count from the first
    frame: the columns equal those of the submission that `tada detect` writes. The file may be gzipped. Raises
    `UsageError` for a file of something else, of several models, with two videos of one id, or with classes that
    EPIC-KITCHENS-100 does not have.
    """
    shown = os.fspath(path)
    rows = _read(path, shown)
    for row in rows:
        heads = row["spec"].get("heads")
        if not isinstance(heads, dict) or not set(NUM_CLASSES) <= set(heads):
            raise UsageError(
                f"{shown}: the model {row['model']} has no heads for verbs and nouns",
                hint="EPIC-KITCHENS-100 needs both; results of other models can be scored on --dataset activitynet",
            )
    segments = _segments(rows)
    classes = {head: _classes(segments, head, shown) for head in NUM_CLASSES}
    action = classes["verb"] * NUM_CLASSES["noun"] + classes["noun"]
    return _results(rows, segments, {**classes, "action": action})


def read_detected_labels(path: AnyPath) -> DetectResults:
    """The results of any model by the names of their labels, which are numbered in alphabetical order.

    `relabelled` gives them the numbers of a ground truth. The columns equal those of the ActivityNet predictions
    that `tada detect` writes. The file may be gzipped. Raises `UsageError` as `read_detected_actions` does.
    """
    rows = _read(path, os.fspath(path))
    segments = _segments(rows)
    labels = tuple(sorted({segment["label"] for segment in segments}))
    index_of = {label: index for index, label in enumerate(labels)}
    classes = np.array([index_of[segment["label"]] for segment in segments], dtype=np.int64)
    return _results(rows, segments, {"": classes}, labels)


def _read(path: AnyPath, shown: str) -> list[DetectionRow]:
    """The rows of the file, each with the id of its video as `video`."""
    content = read_bytes(path)
    if content.startswith(b"path,status,"):
        raise UsageError(f"{shown} is a CSV table, which cannot be evaluated", hint=_HINT)
    rows = parse_detections(content, shown)
    models = list(dict.fromkeys(f"{row['model']}, weights {row['weights_sha256'][:12]}" for row in rows))
    if len(models) > 1:
        raise UsageError(
            f"{shown} holds results of {len(models)} models: {models[0]} and {models[1]}",
            hint="give the results of one model",
        )
    try:
        ids = video_ids([row["path"] for row in rows])
    except OutputError as error:
        raise UsageError(f"{shown}: {error.message}", hint="keep the results of one of them") from error
    return [{**row, "video": ids[row["path"]]} for row in rows]


def _segments(rows: Sequence[DetectionRow]) -> list[_VideoSegment]:
    """All segments in the order of the file, each with the id of its `video`, on the clock of players."""
    return [
        {**segment, "video": row["video"]}
        for row in rows
        if row["status"] != "error"
        for segment in player_segments(row)
    ]


def _classes(segments: Sequence[Mapping[str, Any]], head: str, shown: str) -> NDArray[np.int64]:
    for segment in segments:
        if not 0 <= segment.get(head, -1) < NUM_CLASSES[head]:
            raise UsageError(
                f"{shown}, video {segment['video']}: a segment has the {head} {segment.get(head)!r}, "
                f"which is none of the {NUM_CLASSES[head]} of EPIC-KITCHENS-100",
                hint="detect with a model of the EPIC-KITCHENS-100 classes",
            )
    return np.array([segment[head] for segment in segments], dtype=np.int64)


def _results(
    rows: Sequence[DetectionRow],
    segments: Sequence[_VideoSegment],
    classes: Mapping[str, NDArray[np.int64]],
    labels: tuple[str, ...] = (),
) -> DetectResults:
    predictions = TimedScores(
        video_ids=np.array([segment["video"] for segment in segments], dtype=np.str_),
        starts=np.array([segment["start_seconds"] for segment in segments], dtype=np.float64),
        ends=np.array([segment["end_seconds"] for segment in segments], dtype=np.float64),
        scores=np.array([segment["score"] for segment in segments], dtype=np.float64),
        classes=classes,
        result_videos=tuple(row["video"] for row in rows if row["status"] != "error"),
        labels=labels,
        notes=tuple(_notes(rows)),
    )
    failed = tuple(
        FailedVideo(row["video"], row["path"], row["error"] or "no reason is given")
        for row in rows
        if row["status"] == "error"
    )
    first: Mapping[str, Any] = rows[0]
    return DetectResults(predictions, failed, first["model"], {key: first[key] for key in _RUN_KEYS})


def _notes(rows: Sequence[DetectionRow]) -> Iterator[Note]:
    """What a reader of the metrics should know: videos that were seen in part, and results of several settings."""
    partial = [row for row in rows if row["status"] == "partial"]
    if partial:
        reasons = Counter(gap["reason"] for row in partial for gap in row["gaps"])
        named = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        text = (
            f"{len(partial)} of {len(rows)} videos were searched in part, {partial[0]['video']} first: "
            f"nothing can be found in their gaps{': ' if named else ''}{named}"
        )
        yield Note(NoteKind.PREDICTIONS, text)
    runs = {row["run"] for row in rows}
    if len(runs) > 1:
        text = f"the results come from {len(runs)} runs with different settings, machines or versions"
        yield Note(NoteKind.PREDICTIONS, text)
