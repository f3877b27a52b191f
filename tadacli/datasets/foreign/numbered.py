"""Segments of numbered classes: ActionFormer's pickle, of which nothing is run, and the text of THUMOS's evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tadacli.datasets.foreign.marks import Mark, Marks
from tadacli.datasets.tables import AnyPath, bad_line
from tadacli.errors import UsageError
from tadacli.formats.safe_pickle import UnsafePickleError, load_arrays

# A pickle of protocol 2 or higher begins with this byte, which no text does.
_PICKLE = b"\x80"
_COLUMNS = ("video-id", "t-start", "t-end", "label", "score")
_HINT = "give a dictionary of video-id, t-start, t-end, label and score, as ActionFormer writes it"
_NUM_FIELDS = 5


class NumberedSegment(NamedTuple):
    """A segment in seconds, with the number of its class and its score; `place` is where it stands."""

    video: str
    start: float
    end: float
    number: int
    score: float
    place: str


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


def numbered_segments(content: bytes, shown: str) -> list[NumberedSegment]:
    """The segments of a file, in its order.

    Args:
        content: A pickle of the columns video-id, t-start, t-end (seconds), label and score; or text, a line for each
            segment with the same five fields, blanks between them. It is not gzipped.
        shown: What the file is called.

    Returns:
        The segments.

    Raises:
        UsageError: The file is something else, or holds a number that is none.
    """
    return _pickled(content, shown) if content.startswith(_PICKLE) else _lines(content, shown)


def read_numbered_segments(content: bytes, file: AnyPath) -> Marks:
    """The segments of a file as labels, which are the numbers of classes.

    Args:
        content: As `numbered_segments`.
        file: Its name, for errors.

    Returns:
        A mark for each segment.

    Raises:
        UsageError: As `numbered_segments`.
    """
    found = numbered_segments(content, str(file))
    marks = (Mark(each.place, each.video, str(each.number), each.start, each.end, score=each.score) for each in found)
    return Marks(tuple(marks), ("classes are numbers", "the labels are predictions of a model") if found else ())


def _lines(content: bytes, shown: str) -> list[NumberedSegment]:
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


def _pickled(content: bytes, shown: str) -> list[NumberedSegment]:
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


def _row(video: object, values: Sequence[object], shown: str, place: int | str) -> NumberedSegment:
    if not isinstance(video, str):
        raise bad_line(shown, place, f"the video is {str(video)[:40]!r}, not text")
    for value in values:
        if isinstance(value, bool) or not _is_numeral(value):
            raise bad_line(shown, place, f"{str(value)[:40]!r} is not a finite number")
    start, end, number, score = (float(value) for value in values)  # type: ignore[arg-type]
    if number != int(number) or abs(number) > np.iinfo(np.int32).max:
        raise bad_line(shown, place, f"{number:g} is not the number of a class")
    return NumberedSegment(video, start, end, int(number), score, f"line {place}" if isinstance(place, int) else place)


def _is_numeral(value: object) -> bool:
    try:
        return isinstance(value, str | int | float) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False
