"""Reads what `tada classify` and `tada detect` wrote: the best classes of videos, and timed segments."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.tables import AnyPath, bad_line, is_number, read_bytes
from tadacli.errors import OutputError, UsageError
from tadacli.evaluation.predictions import (
    SEVERAL_HEADS,
    TimedScores,
    TopScores,
    check_once,
    json_value,
    timed_scores,
)
from tadacli.formats.captions import player_segments
from tadacli.formats.epic_detection import NUM_CLASSES
from tadacli.formats.results import parse_detections
from tadacli.formats.rows import DetectionRow, SegmentRow
from tadacli.formats.video_names import video_ids
from tadacli.results import Note, NoteKind

_CLASSIFY_HINT = "give the .json or .jsonl that tada classify wrote"
_RUN_KEYS = ("tool_version", "weights_sha256", "spec", "settings")
_DETECT_HINT = "give the .json or .jsonl that tada detect wrote"


class _VideoSegment(SegmentRow):
    video: str


@dataclass(frozen=True)
class DetectResults:
    """The segments of all videos that could be read, and the reason, by id, for each of the others.

    `run` has the tool_version, weights_sha256, spec and settings of the results, those of the first where they differ;
    it is None for predictions in the form of a challenge.
    """

    predictions: TimedScores
    failed: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, Any] | None = None


def read_detected_actions(path: AnyPath) -> DetectResults:
    """The results of a model with verb and noun heads; the classes are those of "verb", "noun" and "action".

    The action is verb * 300 + noun. Videos go by the ids that EPIC-KITCHENS gives them, times count from the first
    frame: the columns equal those of the submission that `tada detect` writes. The file may be gzipped. Raises
    `UsageError` for a file of something else, of several models, with two videos of one id, or with classes that
    EPIC-KITCHENS-100 does not have.
    """
    shown = os.fspath(path)
    rows = _detect_rows(path, shown)
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
    rows = _detect_rows(path, os.fspath(path))
    segments = _segments(rows)
    labels = tuple(sorted({segment["label"] for segment in segments}))
    index_of = {label: index for index, label in enumerate(labels)}
    classes = np.array([index_of[segment["label"]] for segment in segments], dtype=np.int64)
    return _results(rows, segments, {"": classes}, labels)


def _detect_rows(path: AnyPath, shown: str) -> list[DetectionRow]:
    """The rows of the file, each with the id of its video as `video`."""
    content = read_bytes(path)
    if content.startswith(b"path,status,"):
        raise UsageError(f"{shown} is a CSV table, which cannot be evaluated", hint=_DETECT_HINT)
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
    failed = {row["video"]: row["error"] or "no reason is given" for row in rows if row["status"] == "error"}
    predictions = timed_scores(
        [(each["video"], each["start_seconds"], each["end_seconds"], each["score"]) for each in segments],
        classes,
        [row["video"] for row in rows if row["video"] not in failed],
        labels=labels,
        notes=_detect_notes(rows),
    )
    first: Mapping[str, Any] = rows[0]
    return DetectResults(predictions, failed, {key: first[key] for key in _RUN_KEYS})


def _detect_notes(rows: Sequence[DetectionRow]) -> Iterator[Note]:
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


# --- tada classify ------------------------------------------------------------------------------------


def read_classifications(path: AnyPath) -> TopScores:
    """The results that `tada classify` wrote as JSON or JSON lines, in their order.

    Raises `UsageError` for a file that holds none, or results of several models, or of one with several heads.
    """
    shown = os.fspath(path)
    rows = _result_rows(read_bytes(path), shown)
    num_classes = 0
    for number, row in enumerate(rows, start=1):
        place = f"result {number}"
        size = _num_classes(row, shown, place)
        if (number > 1 and size != num_classes) or row["model"] != rows[0]["model"]:
            raise bad_line(shown, place, f"by the model {row['model']}, the first one by {rows[0]['model']}")
        num_classes = size
    check_once([row["path"] for row in rows], shown)
    failed = {row["path"]: str(row.get("error") or "no reason is given") for row in rows if row["status"] == "error"}
    kept = [row for row in rows if row["status"] != "error"]
    counts = [len(row["topk"]) for row in kept]
    depth = min(counts, default=0)
    indices = np.full((len(kept), max(counts, default=0)), -1, dtype=np.int64)
    scores = np.full(indices.shape, np.nan)
    for number, row in enumerate(kept):
        indices[number, : counts[number]] = [each["index"] for each in row["topk"]]
        scores[number, : counts[number]] = [each["score"] for each in row["topk"]]
    note = (
        f"the file keeps the best {depth} of the {num_classes} classes of the model for every video: "
        f"accuracy can be computed up to top-{depth}, and nothing that takes all scores"
    )
    return TopScores(
        paths=np.array([row["path"] for row in kept], dtype=np.str_),
        indices=indices,
        scores=scores,
        depth=depth,
        num_classes=num_classes,
        model=str(rows[0]["model"]),
        failed=failed,
        notes=(Note(NoteKind.PREDICTIONS, note),) if depth < num_classes else (),
        folder=os.path.dirname(shown),
    )


def _result_rows(content: bytes, shown: str) -> list[Any]:
    """The values of a JSON document with `results`, of JSON lines, or of a single result."""
    if content.startswith(b"path,status,"):
        raise UsageError(f"{shown} is a CSV table, which cannot be evaluated", hint=_CLASSIFY_HINT)
    lines = [line for line in content.split(b"\n") if line.strip()]
    try:
        values = [json.loads(line) for line in lines]
    except ValueError:
        values = [json_value(content, shown)]
    is_document = len(values) == 1 and isinstance(values[0], dict) and "results" in values[0]
    rows = values[0]["results"] if is_document else values
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{shown} holds no results", hint=_CLASSIFY_HINT)
    return rows


def _num_classes(row: Any, shown: str, place: str) -> int:
    """The number of classes of the model of one result, whose predictions are found to be of these."""
    if isinstance(row, dict) and "segments" in row:
        raise UsageError(f"{shown} comes from tada detect, which finds segments", hint=_CLASSIFY_HINT)
    known = isinstance(row, dict) and {"path", "status", "model", "spec"} <= set(row)
    heads = row["spec"].get("heads") if known and isinstance(row["spec"], dict) else None
    if not isinstance(heads, dict) or not ("topk" in row or "heads" in row):
        raise UsageError(f"{shown}, {place}: not a result of tada classify", hint=_CLASSIFY_HINT)
    if "topk" not in row:
        raise UsageError(SEVERAL_HEADS, hint="score the data set with tada eval --model, which keeps all scores")
    if set(heads) != {""} or type(heads[""]) is not int:
        raise bad_line(shown, place, "its heads are not those of its model")
    predictions, size = row["topk"], int(heads[""])
    if not isinstance(predictions, list) or not all(_is_prediction(each, size) for each in predictions):
        raise bad_line(shown, place, "its predictions do not each have an index and a score")
    return size


def _is_prediction(value: Any, num_classes: int) -> bool:
    index = value.get("index") if isinstance(value, dict) else None
    return type(index) is int and 0 <= index < num_classes and is_number(value.get("score"))
