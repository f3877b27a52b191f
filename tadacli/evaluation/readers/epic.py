"""Reads EPIC-KITCHENS-100 results: recognition as pickles, tensors or the challenge's JSON; detection submissions."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.tables import AnyPath, bad_line, is_number, most_unpacked, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.predictions import ScoreTable, TimedScores, check_once, json_value, timed_scores
from tadacli.formats.epic_detection import NUM_CLASSES, problems, unloadable
from tadacli.formats.epic_recognition import CHALLENGE as RECOGNITION_CHALLENGE
from tadacli.formats.epic_recognition import MEMBER
from tadacli.formats.safe_pickle import UnsafePickleError, load_arrays, load_torch
from tadacli.results import Note, NoteKind

_OUTPUTS = {"verb": "verb_output", "noun": "noun_output"}
_SHOWN_PROBLEMS = 20
_RECOGNITION_HINT = "give verb_output (97 scores), noun_output (300) and narration_id for each action"


def read_recognition(path: AnyPath) -> ScoreTable:
    """EPIC-KITCHENS-100 recognition results. Nothing in them is run.

    Args:
        path: A `.pkl` or `.pt` with a list of entries or one dictionary of arrays, with verb_output, noun_output and
            narration_id; or the challenge's JSON 0.2, also in its zip. It may be gzipped.

    Returns:
        The scores of each action.

    Raises:
        UsageError: The file has another form, or needs more than numpy arrays, containers, text and numbers.
    """
    content, shown = read_bytes(path), os.fspath(path)
    member = _zipped_json(content)
    if member is not None or content[:80].lstrip()[:1] in (b"{", b"["):
        return _challenge_scores(json_value(content if member is None else member, shown), shown)
    table = _score_columns(_arrays(content, shown), shown)
    check_once(table.ids.tolist(), shown)
    return table


def read_epic_detections(path: AnyPath) -> TimedScores:
    """An EPIC-KITCHENS-100 detection submission.

    Args:
        path: The challenge's JSON 0.2, which may be gzipped.

    Returns:
        The segments with the heads "verb", "noun" and "action". The action is that of the entry's text "verb,noun", as
        verb * 300 + noun; it need not agree with the entry's verb and noun.

    Raises:
        UsageError: The challenge would refuse the file; everything for which it would is named.
    """
    shown = os.fspath(path)
    submission = json_value(read_bytes(path), shown)
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
    segments = [(video, *entry["segment"], float(entry["score"])) for video, entry in entries]
    return timed_scores(segments, {**heads, "action": action}, results)


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
            if archive.namelist() != [MEMBER]:
                return None
            if archive.getinfo(MEMBER).file_size > most_unpacked(len(content)):
                raise UsageError(f"{MEMBER} claims to unpack to {archive.getinfo(MEMBER).file_size} bytes")
            return archive.read(MEMBER)
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
    if not all(is_number(score) for score in scores):
        raise bad_line(shown, f"result {name}", f"{head} has scores that are not finite numbers")
    return scores
