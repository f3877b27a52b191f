"""Reads timed segments whose classes are numbers: ActionFormer's pickle, and the text of THUMOS's evaluation."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tadacli.datasets.tables import AnyPath, bad_line, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.predictions import TimedScores, timed_scores
from tadacli.formats.safe_pickle import UnsafePickleError, load_arrays
from tadacli.results import Note, NoteKind

# A pickle of protocol 2 or higher begins with this byte, which no text does.
_PICKLE = b"\x80"
_COLUMNS = ("video-id", "t-start", "t-end", "label", "score")
_HINT = "give a dictionary of video-id, t-start, t-end, label and score, as ActionFormer writes it"
_NUM_FIELDS = 5


def is_numbered(content: bytes) -> bool:
    """Whether a file begins as the ones of this module do.

    Args:
        content: The content of a file, which is not gzipped.

    Returns:
        True for a pickle, and for text whose first line has five fields of which the last four are numbers.
    """
    if content.startswith(_PICKLE):
        return True
    first = content[:4096].lstrip().split(b"\n", 1)[0].split()
    return len(first) == _NUM_FIELDS and all(_is_numeral(field.decode("latin-1")) for field in first[1:])


def read_numbered(path: AnyPath) -> TimedScores:
    """The segments of a file, in its order.

    Args:
        path: The file: a pickle of the columns video-id, t-start, t-end (seconds), label and score, of which nothing
            is run; or text, a line for each segment with the same five fields, blanks between them. It may be gzipped.

    Returns:
        The segments; the classes of the head "" are the numbers that the file has, and `labels` are empty.

    Raises:
        UsageError: The file is something else, or holds a number that is none.
    """
    content, shown = read_bytes(path), os.fspath(path)
    rows = _pickled(content, shown) if content.startswith(_PICKLE) else _lines(content, shown)
    segments = [(video, start, end, score) for video, start, end, _, score in rows]
    classes = np.array([number for _, _, _, number, _ in rows], dtype=np.int64)
    return timed_scores(segments, {"": classes}, dict.fromkeys(video for video, *_ in rows))


def with_names(found: TimedScores, class_numbers: Mapping[int, str], shown: str) -> TimedScores:
    """Segments of numbered classes as segments of named ones.

    Args:
        found: The segments.
        class_numbers: The names of classes by number. A class whose number is not among them is named by it.
        shown: What their file is called.

    Returns:
        The segments, their labels in alphabetical order, with a note on where the names are from.

    Raises:
        UsageError: There are segments, and no class has a number.
    """
    numbers = found.classes[""]
    if len(numbers) and not class_numbers:
        raise UsageError(
            f"{shown} names classes by number, and the annotations do not say which class has which number",
            hint="give each annotation its number as label_id, or predictions in ActivityNet's form, which have labels",
        )
    there, place = np.unique(numbers, return_inverse=True)
    names = [class_numbers.get(number, f"class {number}") for number in there.tolist()]
    labels = tuple(sorted(names))
    index_of = {name: index for index, name in enumerate(labels)}
    classes = np.array([index_of[name] for name in names], dtype=np.int64)[place] if names else numbers
    note = Note(NoteKind.READING, "the numbers of classes in the predictions are those of label_id in the annotations")
    return replace(found, classes={"": classes}, labels=labels, notes=(*found.notes, note))


_Row = tuple[str, float, float, int, float]


def _lines(content: bytes, shown: str) -> list[_Row]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not UTF-8 text (byte {error.start})", hint="give a text file") from error
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if fields and len(fields) != _NUM_FIELDS:
            raise bad_line(shown, number, "not a video, start and end in seconds, the number of a class and a score")
        if fields:
            found.append(_row(fields[0], fields[1:], shown, number))
    return found


def _pickled(content: bytes, shown: str) -> list[_Row]:
    try:
        value = load_arrays(content)
    except UnsafePickleError as error:
        raise UsageError(f"{shown} is refused: {error}, which could run a program", hint=_HINT) from error
    except ValueError as error:
        raise UsageError(f"{shown} holds no predictions: {error}", hint=_HINT) from error
    columns = [_column(value, name, shown) for name in _COLUMNS]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise UsageError(f"{shown} has columns of different lengths: {', '.join(map(str, lengths))}", hint=_HINT)
    return [_row(row[0], row[1:], shown, f"segment {number}") for number, row in enumerate(zip(*columns, strict=True))]


def _column(value: Any, name: str, shown: str) -> Sequence[Any]:
    column = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(column, np.ndarray) and column.ndim == 1:
        return list(column.tolist())
    if not isinstance(column, list | tuple):
        raise UsageError(f"{shown} has no column {name}", hint=_HINT)
    return column


def _row(video: object, values: Sequence[object], shown: str, place: int | str) -> _Row:
    if not isinstance(video, str):
        raise bad_line(shown, place, f"the video is {str(video)[:40]!r}, not text")
    for value in values:
        if isinstance(value, bool) or not _is_numeral(value):
            raise bad_line(shown, place, f"{str(value)[:40]!r} is not a finite number")
    start, end, number, score = (float(value) for value in values)  # type: ignore[arg-type]
    if number != int(number) or abs(number) > np.iinfo(np.int32).max:
        raise bad_line(shown, place, f"{number:g} is not the number of a class")
    return video, start, end, int(number), score


def _is_numeral(value: object) -> bool:
    try:
        return isinstance(value, str | int | float) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False
