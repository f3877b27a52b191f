"""Reads saved predictions as arrays: our own results, EPIC-KITCHENS recognition and detection, ActivityNet.

Every file may be gzipped. The columns of one result belong together: row i of each is the same prediction.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.activitynet import is_span
from tadacli.datasets.tables import AnyPath, bad_line, parse_json, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.safe_pickle import UnsafePickleError, load_arrays, load_torch
from tadacli.formats.epic_detection import NUM_CLASSES, problems, unloadable
from tadacli.formats.epic_recognition import CHALLENGE as RECOGNITION_CHALLENGE
from tadacli.formats.epic_recognition import MEMBER
from tadacli.results import Note, NoteKind

_OUTPUTS = {"verb": "verb_output", "noun": "noun_output"}
_SHOWN_PROBLEMS = 20
_RECOGNITION_HINT = "give verb_output (97 scores), noun_output (300) and narration_id for each action"
_RESULTS_HINT = "give the .json or .jsonl that tada classify wrote"


@dataclass(frozen=True)
class ScoreTable:
    """All scores of N samples: `ids` (N,) text; `scores` maps heads to (N, num_classes), of the type in the file.

    Whether they are logits or probabilities, the file does not say.
    """

    ids: NDArray[np.str_]
    scores: Mapping[str, NDArray[Any]]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class TopScores:
    """The best classes of N videos: `paths` (N,) text; by head (N, k) class indices and scores, best first.

    A video with fewer than k has index -1 and score NaN behind them. `depth` is how many classes every video has:
    top-1 to top-`depth` accuracy can be computed, and from top-1 the confusion matrix, the mean class accuracy and
    the calibration of the best class; what takes all scores cannot. `num_classes` is the size of each head,
    `failed` maps the videos without a result to the reason.
    """

    paths: NDArray[np.str_]
    indices: Mapping[str, NDArray[np.int64]]
    scores: Mapping[str, NDArray[np.float64]]
    depth: Mapping[str, int]
    num_classes: Mapping[str, int]
    model: str
    failed: Mapping[str, str]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class TimedScores:
    """N timed segments in the order of the file: `video_ids` (N,) text, times in seconds, `scores` float64.

    `classes` maps heads to (N,) int64. `labels` are the names of the classes of the head "", empty where the file
    has numbers. `result_videos` are the videos the file has an entry for, also those without a segment.
    """

    video_ids: NDArray[np.str_]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int64]]
    result_videos: tuple[str, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def read_recognition(path: AnyPath) -> ScoreTable:
    """EPIC-KITCHENS-100 recognition results: `.pkl`, `.pt`, or the challenge's JSON 0.2 (also in its zip).

    The former hold a list of entries or one dictionary of arrays, with verb_output, noun_output, narration_id.
    Nothing in them is run: a pickle that needs more than numpy arrays, containers, text and numbers is refused.
    Raises `UsageError`.
    """
    content, shown = read_bytes(path), os.fspath(path)
    member = _zipped_json(content)
    if member is not None or content[:80].lstrip()[:1] in (b"{", b"["):
        return _challenge_scores(_json(content if member is None else member, shown), shown)
    table = _score_columns(_arrays(content, shown), shown)
    _check_once(table.ids.tolist(), shown)
    return table


def read_epic_detections(path: AnyPath) -> TimedScores:
    """An EPIC-KITCHENS-100 detection submission, with the heads "verb", "noun" and "action".

    The action is that of the entry's text "verb,noun", as verb * 300 + noun; it need not agree with the entry's verb
    and noun. Raises `UsageError` with everything the challenge would refuse.
    """
    shown = os.fspath(path)
    submission = _json(read_bytes(path), shown)
    found = problems(submission) + unloadable(submission)
    if found:
        more = [f"and {len(found) - _SHOWN_PROBLEMS} more"] if len(found) > _SHOWN_PROBLEMS else []
        raise UsageError(
            "\n  ".join([f"EPIC-KITCHENS would refuse {shown}:", *found[:_SHOWN_PROBLEMS], *more]),
            hint="mend the file; an action is named by its text 'verb,noun' under the key 'action'",
        )
    results: Mapping[str, list[Any]] = submission["results"]
    entries = [(video, entry) for video, listed in results.items() for entry in listed]
    actions = [[int(part) for part in entry["action"].split(",")] for _, entry in entries]
    heads = {head: np.array([int(entry[head]) for _, entry in entries], dtype=np.int64) for head in NUM_CLASSES}
    action = np.array([verb * NUM_CLASSES["noun"] + noun for verb, noun in actions], dtype=np.int64)
    return _timed(entries, {**heads, "action": action}, results)


def read_activitynet(path: AnyPath) -> TimedScores:
    """Predictions in the form of ActivityNet, their labels numbered in alphabetical order (see `relabelled`).

    Raises `UsageError` for a file of another form. Top keys that the official evaluation asks for, and nothing
    depends on, are only noted if they are missing.
    """
    shown = os.fspath(path)
    content = _json(read_bytes(path), shown)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise UsageError(f"{shown} has no object 'results'", hint="give predictions in the form of ActivityNet")
    entries = []
    for video, listed in results.items():
        if not isinstance(listed, list):
            raise bad_line(shown, f"video {video}", "not a list of predictions")
        for number, entry in enumerate(listed):
            _check_prediction(entry, shown, f"video {video}, prediction {number}")
            entries.append((video, entry))
    labels = tuple(sorted({entry["label"] for _, entry in entries}))
    index_of = {label: index for index, label in enumerate(labels)}
    missing = [key for key in ("version", "external_data") if key not in content]
    notes = tuple(
        Note(NoteKind.PREDICTIONS, f"the official evaluation refuses this file: {key!r} is missing") for key in missing
    )
    classes = np.array([index_of[entry["label"]] for _, entry in entries], dtype=np.int64)
    return replace(_timed(entries, {"": classes}, results), labels=labels, notes=notes)


def relabelled(predictions: TimedScores, labels: Sequence[str]) -> TimedScores:
    """ActivityNet predictions with the class numbers of these labels, those of the ground truth.

    Predictions of other labels are left out and noted: the official evaluation stops there, and they belong to
    classes that have no average precision. Raises `UsageError` if that leaves none.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    unknown = [label for label in predictions.labels if label not in index_of]
    numbers = np.array([index_of.get(label, -1) for label in predictions.labels], dtype=np.int64)
    classes = numbers[predictions.classes[""]] if len(numbers) else predictions.classes[""]
    kept = classes >= 0
    if len(kept) and not kept.any():
        raise UsageError(
            f"none of the predicted labels is in the ground truth ({', '.join(map(repr, unknown[:3]))}, ...)",
            hint="give predictions and annotations that name classes in the same way",
        )
    note = (
        f"{len(kept) - int(kept.sum())} of {len(kept)} predictions are left out: their labels are not in the ground "
        f"truth ({', '.join(map(repr, unknown[:3]))}{', ...' if len(unknown) > 3 else ''})"
    )
    return replace(
        predictions,
        video_ids=predictions.video_ids[kept],
        starts=predictions.starts[kept],
        ends=predictions.ends[kept],
        scores=predictions.scores[kept],
        classes={"": classes[kept]},
        labels=tuple(labels),
        notes=(*predictions.notes, *([Note(NoteKind.PREDICTIONS, note)] if unknown else [])),
    )


def read_classifications(path: AnyPath) -> TopScores:
    """The results that `tada classify` wrote as JSON or JSON lines, in their order.

    Raises `UsageError` for a file that holds none, or results of several models.
    """
    shown = os.fspath(path)
    rows = _result_rows(read_bytes(path), shown)
    heads: dict[str, int] | None = None
    failed: dict[str, str] = {}
    kept: list[tuple[str, dict[str, list[Any]]]] = []
    for number, row in enumerate(rows, start=1):
        place = f"result {number}"
        found, sizes = _result(row, shown, place)
        if (heads is not None and sizes != heads) or row["model"] != rows[0]["model"]:
            raise bad_line(shown, place, f"by the model {row['model']}, the first one by {rows[0]['model']}")
        heads = sizes
        if row["status"] == "error":
            failed[row["path"]] = str(row.get("error") or "no reason is given")
        else:
            kept.append((row["path"], found))
    _check_once([row["path"] for row in rows], shown)
    return _top_scores(kept, heads or {}, model=str(rows[0]["model"]), failed=failed)


# --- recognition ------------------------------------------------------------------------------------


def _arrays(content: bytes, shown: str) -> Any:
    """The value of a `.pkl` or `.pt`, read without running anything that it names."""
    is_torch = content.startswith(b"PK") or Path(shown.removesuffix(".gz")).suffix in (".pt", ".pth")
    try:
        return load_torch(content) if is_torch else load_arrays(content)
    except UnsafePickleError as error:
        raise UsageError(
            f"{shown} is refused: {error}, which could run a program",
            hint="save plain numpy arrays, or tensors with torch.save",
        ) from error
    except ValueError as error:
        raise UsageError(f"{shown} holds no recognition results: {error}", hint=_RECOGNITION_HINT) from error


def _score_columns(value: Any, shown: str) -> ScoreTable:
    keys = (*_OUTPUTS.values(), "narration_id")
    if isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            if not isinstance(entry, dict) or not set(keys) <= set(entry):
                raise bad_line(shown, f"entry {number}", f"not an object with {', '.join(keys)}")
        columns: Mapping[str, Any] = {key: [entry[key] for entry in value] for key in keys}
    elif isinstance(value, dict) and set(keys) <= set(value):
        columns = value
    else:
        raise UsageError(f"{shown} holds no {', '.join(keys)}", hint=_RECOGNITION_HINT)
    names = columns["narration_id"]
    if not isinstance(names, list | tuple | np.ndarray):
        raise UsageError(f"{shown}: narration_id is not a list of ids", hint=_RECOGNITION_HINT)
    ids = np.array([_text(each) for each in names], dtype=np.str_)
    scores = {head: _matrix(columns[key], shown, key, NUM_CLASSES[head]) for head, key in _OUTPUTS.items()}
    for head, values in scores.items():
        if len(values) != len(ids):
            raise UsageError(
                f"{shown} has {len(ids)} narration ids, but {len(values)} rows of {_OUTPUTS[head]}",
                hint=_RECOGNITION_HINT,
            )
    return ScoreTable(ids, scores)


def _text(value: Any) -> str:
    if not isinstance(value, str | bytes):
        raise UsageError(f"narration id {value!r} is not text", hint=_RECOGNITION_HINT)
    return value.decode() if isinstance(value, bytes) else str(value)


def _matrix(value: Any, shown: str, key: str, num_classes: int) -> NDArray[Any]:
    """(N, num_classes) of the float type in the file, at least single precision."""
    try:
        if isinstance(value, list | tuple):
            array = np.stack([_plain(row) for row in value]) if value else np.empty((0, num_classes))
        else:
            array = _plain(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{shown}: {key} is not an array of numbers: {error}", hint=_RECOGNITION_HINT) from error
    if array.ndim != 2 or array.shape[1] != num_classes or array.dtype.kind not in "fiu":
        raise UsageError(
            f"{shown}: {key} is {array.dtype} of shape {array.shape}, not (number of actions, {num_classes})",
            hint=_RECOGNITION_HINT,
        )
    if not np.isfinite(array).all():
        raise UsageError(f"{shown}: {key} has scores that are not finite numbers", hint="write finite scores")
    if array.dtype.kind != "f":
        return array.astype(np.float64)
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def _plain(value: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):  # a tensor; numpy has no bfloat16
        value = value.detach().float() if value.element_size() < 4 else value.detach()
    return np.asarray(value)


def _zipped_json(content: bytes) -> bytes | None:
    """The challenge's JSON in the zip that is uploaded, None for anything else."""
    if not content.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(MEMBER) if archive.namelist() == [MEMBER] else None
    except zipfile.BadZipFile:
        return None


def _challenge_scores(content: Any, shown: str) -> ScoreTable:
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or content.get("challenge") != RECOGNITION_CHALLENGE:
        raise UsageError(
            f"{shown} is no recognition submission: it needs 'challenge': {RECOGNITION_CHALLENGE!r} and 'results'",
            hint="give the challenge's JSON 0.2, or a .pkl or .pt of scores",
        )
    if content.get("version") != "0.2":
        raise UsageError(f"{shown}: version {content.get('version')!r} is not the text '0.2'", hint="mend the file")
    scores = {head: np.empty((len(results), size)) for head, size in NUM_CLASSES.items()}
    for number, (name, entry) in enumerate(results.items()):
        for head, size in NUM_CLASSES.items():
            scores[head][number] = _class_scores(entry, head, size, shown, name)
    has_actions = sum("action" in entry for entry in results.values())
    note = f"the action scores of {has_actions} of {len(results)} entries are not used: they follow from verb and noun"
    return ScoreTable(
        np.array(list(results), dtype=np.str_), scores, (Note(NoteKind.PREDICTIONS, note),) if has_actions else ()
    )


def _class_scores(entry: Any, head: str, size: int, shown: str, name: str) -> list[float]:
    values = entry.get(head) if isinstance(entry, dict) else None
    if not isinstance(values, dict) or len(values) != size:
        raise bad_line(shown, f"result {name}", f"{head} does not have the scores of all {size} classes")
    try:
        scores = [values[str(index)] for index in range(size)]
    except KeyError as error:
        raise bad_line(shown, f"result {name}", f"{head} lacks class {error}") from error
    if not all(_is_number(score) for score in scores):
        raise bad_line(shown, f"result {name}", f"{head} has scores that are not finite numbers")
    return scores


# --- timed segments ---------------------------------------------------------------------------------


def _timed(
    entries: Sequence[tuple[str, Any]], classes: Mapping[str, NDArray[np.int64]], results: Iterable[str]
) -> TimedScores:
    return TimedScores(
        video_ids=np.array([video for video, _ in entries], dtype=np.str_),
        starts=np.array([entry["segment"][0] for _, entry in entries], dtype=np.float64),
        ends=np.array([entry["segment"][1] for _, entry in entries], dtype=np.float64),
        scores=np.array([float(entry["score"]) for _, entry in entries], dtype=np.float64),
        classes=classes,
        result_videos=tuple(results),
    )


def _check_prediction(entry: Any, shown: str, place: str) -> None:
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise bad_line(shown, place, "no label")
    if not is_span(entry.get("segment")):
        raise bad_line(shown, place, f"segment is {entry.get('segment')!r}, not two times in seconds")
    if not _is_number(entry.get("score")):
        raise bad_line(shown, place, f"score is {entry.get('score')!r}, not a finite number")


# --- our own results --------------------------------------------------------------------------------


def _result_rows(content: bytes, shown: str) -> list[Any]:
    """The values of a JSON document with `results`, of JSON lines, or of a single result."""
    if content.startswith(b"path,status,"):
        raise UsageError(f"{shown} is a CSV table, which cannot be evaluated", hint=_RESULTS_HINT)
    lines = [line for line in content.split(b"\n") if line.strip()]
    try:
        values = [json.loads(line) for line in lines]
    except ValueError:
        values = [_json(content, shown)]
    is_document = len(values) == 1 and isinstance(values[0], dict) and "results" in values[0]
    rows = values[0]["results"] if is_document else values
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{shown} holds no results", hint=_RESULTS_HINT)
    return rows


def _result(row: Any, shown: str, place: str) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """The predictions and the number of classes of each head in one result."""
    if isinstance(row, dict) and "segments" in row:
        raise UsageError(f"{shown} comes from tada detect, which finds segments", hint=_RESULTS_HINT)
    known = isinstance(row, dict) and {"path", "status", "model", "spec"} <= set(row)
    sizes = row["spec"].get("heads") if known and isinstance(row["spec"], dict) else None
    sized = isinstance(sizes, dict) and all(type(size) is int for size in sizes.values())
    if not isinstance(sizes, dict) or not sized or not ("topk" in row or "heads" in row):
        raise UsageError(f"{shown}, {place}: not a result of tada classify", hint=_RESULTS_HINT)
    found = {"": row["topk"]} if "topk" in row else row["heads"]
    if not isinstance(found, dict) or set(found) != set(sizes):
        raise bad_line(shown, place, "its heads are not those of its model")
    for head, predictions in found.items():
        if not isinstance(predictions, list) or not all(_is_prediction(each, sizes[head]) for each in predictions):
            raise bad_line(shown, place, "its predictions do not each have an index and a score")
    return found, dict(sizes)


def _is_prediction(value: Any, num_classes: int) -> bool:
    index = value.get("index") if isinstance(value, dict) else None
    return type(index) is int and 0 <= index < num_classes and _is_number(value.get("score"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _top_scores(
    kept: Sequence[tuple[str, Mapping[str, list[Any]]]],
    num_classes: Mapping[str, int],
    *,
    model: str,
    failed: Mapping[str, str],
) -> TopScores:
    indices, scores, depth, notes = {}, {}, {}, []
    for head, size in num_classes.items():
        counts = [len(found[head]) for _, found in kept]
        indices[head] = np.full((len(kept), max(counts, default=0)), -1, dtype=np.int64)
        scores[head] = np.full(indices[head].shape, np.nan)
        for number, (_, found) in enumerate(kept):
            indices[head][number, : counts[number]] = [each["index"] for each in found[head]]
            scores[head][number, : counts[number]] = [each["score"] for each in found[head]]
        depth[head] = min(counts, default=0)
        if depth[head] < size:
            what = f"of the head {head}" if head else "of the model"
            text = (
                f"the file keeps the best {depth[head]} of the {size} classes {what} for every video: "
                f"accuracy can be computed up to top-{depth[head]}, and nothing that takes all scores"
            )
            notes.append(Note(NoteKind.PREDICTIONS, text))
    paths = np.array([path for path, _ in kept], dtype=np.str_)
    return TopScores(paths, indices, scores, depth, dict(num_classes), model, dict(failed), tuple(notes))


def _check_once(names: Sequence[str], shown: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"{shown} holds two results of {twice[0]}", hint="give the results of one run")


def _json(content: bytes, shown: str) -> Any:
    try:
        return parse_json(content.decode("utf-8-sig"), shown)
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not UTF-8 text (byte {error.start})", hint="give a JSON file") from error
