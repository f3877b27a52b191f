"""Reads the results that `tada detect` wrote, and says what is wrong with a file that holds none."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tadacli.errors import UsageError
from tadacli.formats.records import DETECTION_FORMATS
from tadacli.formats.rows import Row

_NOT_RESULTS_HINT = "give the .json or .jsonl that tada detect wrote"
_UNFINISHED_HINT = "finish it first: tada detect with the same inputs, --output and --resume"

# How the files of `tada detect` begin. In the challenges' files `results` is an object, not a list.
_BEGINNING = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*("results"\s*:\s*\[|"video"\s*:)')

_Types = Mapping[str, tuple[type, ...]]
_NONE = type(None)

_ROW: _Types = {
    "video": (str,),
    "path": (str,),
    "status": (str,),
    "error": (str, _NONE),
    "model": (str,),
    "task": (str,),
    "duration_seconds": (int, float, _NONE),
    "start_seconds": (int, float, _NONE),
    "fps": (int, float, _NONE),
    "windows": (int,),
    "windows_planned": (int,),
    "segments": (list,),
    "gaps": (list,),
    "frames": (dict,),
    "notes": (list,),
    "info": (dict, _NONE),
    "size_bytes": (int, _NONE),
    "tool_version": (str,),
    "weights_sha256": (str,),
    "spec": (dict,),
    "settings": (dict,),
    "run": (str,),
}
_SPAN: _Types = {"start_seconds": (int, float), "end_seconds": (int, float)}
_SEGMENT: _Types = {**_SPAN, "label": (str,), "index": (int,), "score": (int, float)}
_ACTION: _Types = {**_SEGMENT, "verb": (int,), "noun": (int,), "action": (str,)}
_GAP: _Types = {**_SPAN, "reason": (str,)}


def is_detect_results(content: bytes) -> bool:
    """Whether a file with this content, which is not gzipped, begins as those of `tada detect` in JSON do.

    False for the submissions and predictions of the challenges, and for any other file.
    """
    return _BEGINNING.match(content) is not None


def read_detections(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a results file of `tada detect`, JSON or JSON lines, whatever its name.

    Raises `UsageError` for a file that is missing, is no such file, is unfinished, or has a result that lacks
    something or holds it in another form.
    """
    shown = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error
    return parse_detections(content, shown)


def parse_detections(content: bytes, shown: str) -> list[Row]:
    """The rows in the content of a results file, which is called `shown` where something is wrong with it.

    Raises `UsageError` as `read_detections` does.
    """
    if content.startswith(b"path,status,"):
        raise UsageError(f"{shown} is a CSV table, which cannot be converted", hint=_NOT_RESULTS_HINT)
    try:
        # Takes a file that is cut within a character, so that it is called unfinished like any other.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(content)
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} does not hold results: it is not text", hint=_NOT_RESULTS_HINT) from error
    rows = _parse(text, shown)
    if not rows:
        raise UsageError(f"{shown} holds no results", hint=_NOT_RESULTS_HINT)
    for number, row in enumerate(rows, start=1):
        _check_row(row, f"result {number} of {shown}")
    _check_once([row["path"] for row in rows], shown)
    return rows


def _parse(text: str, shown: str) -> list[Any]:
    """The values of a JSON document or of JSON lines."""
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        values = [json.loads(text)] if lines else []
    except (ValueError, RecursionError):
        values = _parse_lines(lines, shown)
    if len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("results"), list):
        return list(values[0]["results"])
    return values


def _parse_lines(lines: list[str], shown: str) -> list[Any]:
    values: list[Any] = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            begun = "\n".join(lines).encode()
            if values and number == len(lines):
                raise UsageError(f"{shown} is unfinished: line {number} is cut short", hint=_UNFINISHED_HINT) from error
            forms = [DETECTION_FORMATS[name] for name in ("json", "jsonl")]
            if not values and any(form.decode(begun) or form.is_begun(begun) for form in forms):
                raise UsageError(f"{shown} is unfinished: its end is missing", hint=_UNFINISHED_HINT) from error
            raise UsageError(
                f"{shown} does not hold results: line {number} is not JSON ({error})", hint=_NOT_RESULTS_HINT
            ) from error
    return values


def _check_row(row: Any, place: str) -> None:
    if isinstance(row, dict) and "segments" not in row and ("topk" in row or "heads" in row):
        raise UsageError(
            f"{place} comes from tada classify, which finds no segments",
            hint="tada detect finds segments; classify writes csv, json and jsonl itself",
        )
    _check_types(row, _ROW, place)
    if row["status"] not in ("ok", "partial", "error"):
        raise UsageError(f"{place}: status {row['status']!r} is unknown", hint=_NOT_RESULTS_HINT)
    if row["segments"] and row["start_seconds"] is None:
        raise UsageError(f"{place} has segments, but does not say when the video starts", hint=_NOT_RESULTS_HINT)
    if not all(isinstance(note, str) for note in row["notes"]):
        raise UsageError(f"{place}: notes are not all text", hint=_NOT_RESULTS_HINT)
    for number, segment in enumerate(row["segments"], start=1):
        is_action = isinstance(segment, dict) and not {"verb", "noun"}.isdisjoint(segment)
        _check_span(segment, _ACTION if is_action else _SEGMENT, f"segment {number} in {place}")
    for number, gap in enumerate(row["gaps"], start=1):
        _check_span(gap, _GAP, f"gap {number} in {place}")


def _check_span(value: Any, types: _Types, place: str) -> None:
    _check_types(value, types, place)
    if value["end_seconds"] < value["start_seconds"]:
        raise UsageError(f"{place} ends before it starts", hint=_NOT_RESULTS_HINT)


def _check_types(value: Any, types: _Types, place: str) -> None:
    """Hold an object to its keys; numbers must be finite, and whole ones not too large for a float."""
    if not isinstance(value, dict):
        raise UsageError(f"{place} is not an object", hint=_NOT_RESULTS_HINT)
    missing = [repr(key) for key in types if key not in value]
    if missing:
        raise UsageError(f"{place} lacks {', '.join(missing)}", hint=_NOT_RESULTS_HINT)
    for key, allowed in types.items():
        given = value[key]
        infinite = isinstance(given, int | float) and not abs(given) <= sys.float_info.max
        if isinstance(given, bool) or not isinstance(given, allowed) or infinite:
            raise UsageError(f"{place}: {key} cannot be {json.dumps(given)[:60]}", hint=_NOT_RESULTS_HINT)


def _check_once(paths: list[str], shown: str) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise UsageError(f"{shown} holds two results of {path}", hint="convert the results of one run")
        seen.add(path)
