"""Reads the results that `tada detect` wrote, and says what is wrong with a file that holds none."""

from __future__ import annotations

import codecs
import os
import re
from functools import partial
from json import JSONDecodeError
from pathlib import Path
from typing import Any, cast

from tadacli.errors import UsageError
from tadacli.formats.row_formats import DETECTION_FORMATS
from tadacli.formats.rows import DetectionRow
from tadacli.formats.tables import is_table
from tadacli.results.json_ready import SegmentRow
from tadacli.strict_tables import decode_table, parse_json

_NO_RESULTS = partial(UsageError, hint="give the .json or .jsonl that tada detect wrote")
_UNFINISHED = partial(UsageError, hint="finish it first: tada detect with the same inputs, --output and --resume")

# How the files of `tada detect` begin. In the challenges' files `results` is an object, not a list.
_BEGINNING = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*("results"\s*:\s*\[|"video"\s*:)')
_ACTION = ("verb", "noun", "action")


def is_detect_results(content: bytes) -> bool:
    """Whether a file begins as those of `tada detect` in JSON do.

    Args:
        content: The content of a file, which is not gzipped.

    Returns:
        False for the submissions and predictions of the challenges, and for any other file.
    """
    return _BEGINNING.match(content) is not None


def read_detections(path: str | os.PathLike[str]) -> list[DetectionRow]:
    """The rows of a results file of `tada detect`, JSON or JSON lines, whatever its name.

    Args:
        path: The file.

    Returns:
        The rows, as they stand in the file.

    Raises:
        UsageError: The file is missing, is no such file, is unfinished, or has a result with a key that is missing or
            unknown, with a value of another type, or with times that contradict each other.
    """
    shown = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error
    return parse_detections(content, shown)


NOT_CHECKED = "it is a suggestion that nobody checked"


def is_guess(segment: SegmentRow) -> bool:
    """Whether a segment is what `tada suggest` would have labelled, and no person has: its label is a guess."""
    return "rank" in segment and segment.get("origin", "machine") == "machine" and not segment.get("checked", False)


def parse_corrected(content: bytes, shown: str) -> list[DetectionRow]:
    """The rows in the content of a results file that a person corrected: what a model found is no truth.

    Args:
        content: JSON or JSON lines.
        shown: What the file is called where something is wrong with it.

    Returns:
        The rows, as they stand in the file.

    Raises:
        UsageError: As `read_detections`, and for a file that nobody corrected.
    """
    rows = parse_detections(content, shown)
    if not all("removed" in row for row in rows):
        raise UsageError(
            f"{shown} is what a model found, and nobody corrected it",
            hint="correct it on the page of tada detect --report, and save that",
        )
    return rows


def parse_detections(content: bytes, shown: str) -> list[DetectionRow]:
    """The rows in the content of a results file.

    Args:
        content: JSON or JSON lines.
        shown: What the file is called where something is wrong with it.

    Returns:
        The rows, as they stand in the file.

    Raises:
        UsageError: As `read_detections`.
    """
    if is_table(content):
        raise _NO_RESULTS(f"{shown} is a CSV table, which cannot be converted")
    try:
        # Takes a file that is cut within a character, so that it is called unfinished like any other.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(content)
    except UnicodeDecodeError as error:
        raise _NO_RESULTS(f"{shown} does not hold results: it is not text") from error
    values = _parse(text, shown)
    if not values:
        raise _NO_RESULTS(f"{shown} holds no results")
    rows = [_checked(value, f"result {number} of {shown}") for number, value in enumerate(values, start=1)]
    seen: set[str] = set()
    for row in rows:
        if row["path"] in seen:
            raise UsageError(f"{shown} holds two results of {row['path']}", hint="convert the results of one run")
        seen.add(row["path"])
    return rows


def _parse(text: str, shown: str) -> list[Any]:
    """The values of a JSON document or of JSON lines."""
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        values = [parse_json(text)] if lines else []
    except JSONDecodeError:
        values = _parse_lines(lines, shown)
    except ValueError as error:  # a key that is there twice
        raise _NO_RESULTS(f"{shown} does not hold results: {error}") from error
    if len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("results"), list):
        return list(values[0]["results"])
    return values


def _parse_lines(lines: list[str], shown: str) -> list[Any]:
    values: list[Any] = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(parse_json(line))
        except ValueError as error:
            is_cut = isinstance(error, JSONDecodeError)
            if is_cut and values and number == len(lines):
                raise _UNFINISHED(f"{shown} is unfinished: line {number} is cut short") from error
            begun = "\n".join(lines).encode()
            forms = [DETECTION_FORMATS[name] for name in ("json", "jsonl")]
            if is_cut and not values and any(form.decode(begun) or form.is_begun(begun) for form in forms):
                raise _UNFINISHED(f"{shown} is unfinished: its end is missing") from error
            what = f"is not JSON ({error})" if is_cut else f"cannot be read: {error}"
            raise _NO_RESULTS(f"{shown} does not hold results: line {number} {what}") from error
    return values


def _checked(value: Any, place: str) -> DetectionRow:
    """The value, which is held to what a row may say; it stays as it is, so that it can be written again."""
    if not isinstance(value, dict):
        raise _NO_RESULTS(f"{place} is not an object")
    if "segments" not in value and ("topk" in value or "heads" in value):
        raise UsageError(
            f"{place} comes from tada classify, which finds no segments",
            hint="tada detect finds segments; classify writes csv, json and jsonl itself",
        )
    decode_table(DetectionRow, value, where=place, error=_NO_RESULTS)
    row = cast(DetectionRow, value)
    if row["segments"] and row["start_seconds"] is None:
        raise _NO_RESULTS(f"{place} has segments, but does not say when the video starts")
    for number, segment in enumerate(row["segments"], start=1):
        missing = [repr(key) for key in _ACTION if key not in segment]
        if missing and ("verb" in segment or "noun" in segment):
            raise _NO_RESULTS(f"segment {number} in {place} lacks {', '.join(missing)}")
    for name, spans in (("segment", row["segments"]), ("gap", row["gaps"])):
        for number, span in enumerate(spans, start=1):
            if span["end_seconds"] < span["start_seconds"]:
                raise _NO_RESULTS(f"{name} {number} in {place} ends before it starts")
    return row
