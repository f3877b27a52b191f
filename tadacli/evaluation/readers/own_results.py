"""Reads what `tada classify` and `tada detect` wrote: the best classes of videos, and timed segments."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from json import JSONDecodeError
from typing import Literal, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from tadacli.datasets.tables import AnyPath, bad_line, read_bytes
from tadacli.errors import OutputError, UsageError
from tadacli.evaluation.predictions import (
    SEVERAL_HEADS,
    TimedScores,
    TopScores,
    check_once,
    json_value,
    timed_scores,
)
from tadacli.evaluation.report import RunFacts
from tadacli.formats.captions import player_segments
from tadacli.formats.epic_detection import NUM_CLASSES
from tadacli.formats.results import parse_detections
from tadacli.formats.rows import DetectionRow
from tadacli.formats.tables import is_table
from tadacli.formats.video_names import video_ids
from tadacli.results import Note, NoteKind, SpecSummary, Status
from tadacli.results.json_ready import PredictionRow, SegmentRow
from tadacli.strict_tables import decode_table, parse_json

_NO_RESULTS = partial(UsageError, hint="give the .json or .jsonl that tada classify wrote")
_DETECT_HINT = "give the .json or .jsonl that tada detect wrote"


class _VideoSegment(SegmentRow):
    video: str


@dataclass(frozen=True)
class DetectResults:
    """The segments of all videos that could be read, and the reason, by id, for each of the others.

    `run` has the tool_version, weights_sha256, spec and settings of the results, those of the first where they differ;
    it is None for predictions in the form of a challenge. `paths` are those of videos by id, as the results have them.
    """

    predictions: TimedScores
    failed: Mapping[str, str] = field(default_factory=dict)
    run: RunFacts | None = None
    paths: Mapping[str, str] = field(default_factory=dict)


def read_detected_actions(path: AnyPath) -> DetectResults:
    """The results of a model with verb and noun heads.

    Args:
        path: What `tada detect` wrote, JSON or JSON lines, which may be gzipped.

    Returns:
        The segments with the classes of "verb", "noun" and "action", which is verb * 300 + noun. Videos go by the
        ids that EPIC-KITCHENS gives them, times count from the first frame: the columns equal those of the submission
        that `tada detect` writes.

    Raises:
        UsageError: The file holds something else, results of several models, two videos of one id, or classes that
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
    verbs, nouns = _classes(segments, "verb", shown), _classes(segments, "noun", shown)
    return _results(rows, segments, {"verb": verbs, "noun": nouns, "action": verbs * NUM_CLASSES["noun"] + nouns})


def read_detected_labels(path: AnyPath) -> DetectResults:
    """The results of any model by the names of their labels.

    Args:
        path: What `tada detect` wrote, JSON or JSON lines, which may be gzipped.

    Returns:
        The segments, their labels numbered in alphabetical order; `relabelled` gives them the numbers of a ground
        truth. The columns equal those of the ActivityNet predictions that `tada detect` writes.

    Raises:
        UsageError: The file holds something else, results of several models, or two videos of one id.
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
    if is_table(content):
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


def _classes(segments: Sequence[_VideoSegment], head: Literal["verb", "noun"], shown: str) -> NDArray[np.int64]:
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
    first = rows[0]
    run: RunFacts = {
        "tool_version": first["tool_version"],
        "weights_sha256": first["weights_sha256"],
        "spec": first["spec"],
        "settings": first["settings"],
    }
    return DetectResults(predictions, failed, run, {row["video"]: row["path"] for row in rows})


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


class _Result(TypedDict):
    """What the metrics need of a result of `tada classify`; it says more, which is passed over."""

    path: str
    status: Status
    model: str
    spec: SpecSummary
    error: NotRequired[str | None]
    topk: NotRequired[list[PredictionRow]]
    heads: NotRequired[dict[str, list[PredictionRow]]]


def read_classifications(path: AnyPath) -> TopScores:
    """The results that `tada classify` wrote as JSON or JSON lines, in their order.

    Args:
        path: The file, which may be gzipped.

    Returns:
        The best classes of each video.

    Raises:
        UsageError: The file holds no results, results of several models, or of one with several heads or labels that
            hold independently.
    """
    shown = os.fspath(path)
    rows = [
        _result(value, shown, f"result {number}")
        for number, value in enumerate(_result_values(read_bytes(path), shown), start=1)
    ]
    sizes = [_num_classes(row, shown, f"result {number}") for number, row in enumerate(rows, start=1)]
    for number, (row, size) in enumerate(zip(rows, sizes, strict=True), start=1):
        if (row["model"], size) != (rows[0]["model"], sizes[0]):
            by = f"by the model {row['model']}, the first one by {rows[0]['model']}"
            raise bad_line(shown, f"result {number}", by)
    check_once([row["path"] for row in rows], shown)
    failed = {row["path"]: row.get("error") or "no reason is given" for row in rows if row["status"] == "error"}
    kept = [row for row in rows if row["status"] != "error"]
    counts = [len(row["topk"]) for row in kept]
    depth, num_classes = min(counts, default=0), sizes[0]
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
        model=rows[0]["model"],
        failed=failed,
        notes=(Note(NoteKind.PREDICTIONS, note),) if depth < num_classes else (),
        folder=os.path.dirname(shown),
    )


def _result_values(content: bytes, shown: str) -> list[object]:
    """The values of a JSON document with `results`, of JSON lines, or of a single result."""
    if is_table(content):
        raise _NO_RESULTS(f"{shown} is a CSV table, which cannot be evaluated")
    try:
        values = [parse_json(line) for line in content.split(b"\n") if line.strip()]
    except JSONDecodeError:
        values = [json_value(content, shown)]
    except ValueError as error:  # a key that is there twice, or text that is not UTF-8
        raise _NO_RESULTS(f"{shown} does not hold results: {error}") from error
    is_document = len(values) == 1 and isinstance(values[0], dict) and "results" in values[0]
    rows = values[0]["results"] if is_document else values
    if not isinstance(rows, list) or not rows:
        raise _NO_RESULTS(f"{shown} holds no results")
    return rows


def _result(value: object, shown: str, place: str) -> _Result:
    if not isinstance(value, dict) or not ("topk" in value or "heads" in value or "segments" in value):
        raise _NO_RESULTS(f"{shown}, {place}: not a result of tada classify")
    if "segments" in value:
        raise _NO_RESULTS(f"{shown} comes from tada detect, which finds segments")
    needed = {key: value[key] for key in _Result.__annotations__ if key in value}
    return decode_table(_Result, needed, where=f"{shown}, {place}", error=_NO_RESULTS)


def _num_classes(row: _Result, shown: str, place: str) -> int:
    """The number of classes of the model of one result, whose predictions are found to be of these."""
    if "topk" not in row:
        raise UsageError(SEVERAL_HEADS, hint="score the data set with tada eval --model, which keeps all scores")
    if row["spec"].get("multi_label", False):
        raise UsageError(
            f"{shown} is of a model whose labels hold independently, and the mAP of these takes all scores",
            hint="score the data set with tada eval --model, which keeps all scores",
        )
    heads = row["spec"].get("heads", {})
    if set(heads) != {""}:
        raise bad_line(shown, place, "its heads are not those of its model")
    for each in row["topk"]:
        if not 0 <= each["index"] < heads[""]:
            raise bad_line(shown, place, f"it names the class {each['index']} of {heads['']}")
    return heads[""]
