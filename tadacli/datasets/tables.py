"""Reads annotation files, plain or gzipped, and says which line of which file is not what it should be."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadacli.datasets.samples import Dataset, Sample, UnusedKind, UnusedRow
from tadacli.errors import UsageError
from tadacli.results import Note

AnyPath = str | os.PathLike[str]
_GZIP = b"\x1f\x8b"


def read_bytes(path: AnyPath) -> bytes:
    """The content of a file, unpacked if it is gzipped. Raises `UsageError` if it cannot be read."""
    shown = os.fspath(path)
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {shown}", hint="check the name") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{shown} is a damaged gzip file: {error}", hint="fetch or write it again") from error
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error


def read_text(path: AnyPath) -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises `UsageError` if it is none."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{os.fspath(path)} is not UTF-8 text (byte {error.start})", hint="give a text file of annotations"
        ) from error


def parse_json(text: str, path: AnyPath) -> Any:
    """The value of a JSON text; `path` is named if it is none. Raises `UsageError`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{os.fspath(path)} is not JSON: {error}", hint="it may be unfinished") from error


def read_lines(path: AnyPath) -> list[tuple[int, str]]:
    """(line number from 1, text) of each line that is not blank, without the blanks around it."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


@dataclass(frozen=True)
class TableRow:
    """A row of a table by column name; its readers raise `UsageError` naming file, line and column."""

    file: str
    line: int
    values: Mapping[str, str]

    def text(self, column: str) -> str:
        """The cell without the blanks around it; it must not be empty."""
        value = self.values[column].strip()
        if not value:
            raise self.error(f"{column} is empty")
        return value

    def number(self, column: str) -> float:
        """The cell as a finite number."""
        text = self.text(column)
        try:
            value = float(text)
        except ValueError as error:
            raise self.error(f"{column} is {text!r}, not a number") from error
        if not math.isfinite(value):
            raise self.error(f"{column} is {text!r}, not a finite number")
        return value

    def span(self, *, offset: float = 0.0) -> tuple[float | None, float | None]:
        """Seconds of the columns start and end (or start_seconds, end_seconds), less `offset`; None where empty."""
        start, end = (self._seconds((name, f"{name}_seconds"), offset) for name in ("start", "end"))
        if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
            raise self.error("the span is empty, reversed, or begins before the video")
        return start, end

    def _seconds(self, columns: Sequence[str], offset: float) -> float | None:
        column = next((name for name in columns if self.values.get(name, "").strip()), None)
        if column is None:
            return None
        return max(0.0, round(self.number(column) - offset, 6)) if offset else self.number(column)

    def index(self, column: str, num_classes: int) -> int:
        """The cell as a class index from 0 on."""
        return class_index(self.text(column), num_classes, self.file, f"line {self.line}", column)

    def error(self, what: str) -> UsageError:
        """The error to raise about this row."""
        return bad_line(self.file, self.line, what)


def read_table(path: AnyPath, required: Collection[str], *, what: str) -> list[TableRow]:
    """The rows of a comma separated file with a header line, by column name.

    Raises `UsageError` if a required column is missing, calling the file no `what`, or if a row has more or fewer
    fields than the header.
    """
    shown, rows = os.fspath(path), []
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in required if name not in header]
        if missing or len(set(header)) != len(header):
            reason = f"lacks the column {', '.join(missing)}" if missing else "names a column twice"
            raise UsageError(
                f"{shown}, line 1: the header {reason}", hint=f"give {what}: comma separated, with a header line"
            )
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise bad_line(shown, reader.line_num, f"{len(fields)} fields, where the header has {len(header)}")
            rows.append(TableRow(shown, reader.line_num, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise bad_line(shown, reader.line_num, f"not comma separated values ({error})") from error
    return rows


def header_of(path: AnyPath) -> list[str]:
    """The comma separated names in a file's first line, which may be no header at all."""
    first = read_text(path).split("\n", 1)[0]
    return [name.strip().strip('"') for name in first.split(",")]


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def named(names: Sequence[str], *, most: int = 5) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def bad_line(file: AnyPath, line: int | str, what: str) -> UsageError:
    """The error about a line (by number) or another place of an annotation file."""
    place = f"line {line}" if isinstance(line, int) else line
    return UsageError(f"{os.fspath(file)}, {place}: {what}", hint="mend this line, or give the original file")


def class_index(text: str, num_classes: int, file: AnyPath, place: str, column: str = "label") -> int:
    """A class index from 0 on, written in digits. Raises `UsageError` if it is none of `num_classes`."""
    if not (text.isascii() and text.isdigit() and int(text) < num_classes):
        raise bad_line(file, place, f"{column} is {text!r}, not a class from 0 to {num_classes - 1}")
    return int(text)


def files_there(folder: AnyPath, names: Sequence[str]) -> list[Path]:
    """The files in a folder that have one of these names, or one with .gz."""
    candidates = [Path(folder, name + suffix) for name in names for suffix in ("", ".gz")]
    return [file for file in candidates if file.is_file()]


def one_of(folder: AnyPath, names: Sequence[str], *, what: str) -> Path:
    """The file in a folder that has one of these names (or one with .gz).

    Raises `UsageError` if there is none, or more than one, as they may differ.
    """
    found = files_there(folder, names)
    if not found:
        raise UsageError(
            f"{os.fspath(folder)} holds no {what}", hint=f"give the file itself, or a folder with {' or '.join(names)}"
        )
    if len(found) > 1:
        listed = ", ".join(file.name for file in found)
        raise UsageError(f"{os.fspath(folder)} holds more than one {what}: {listed}", hint="give the file itself")
    return found[0]


class SampleRows:
    """Takes the rows of an annotation file in their order: each becomes a sample, or is in `unused`."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.unused: list[UnusedRow] = []
        self._first: dict[str, tuple[str, Mapping[str, int]]] = {}

    def add(self, place: str, sample: Sample, *, split: str = "", wanted: str = "") -> None:
        """Take a row of a split, unless another one is wanted, or a row with the same id stands before it."""
        if split != wanted:
            self.refuse(place, sample.id, UnusedKind.OTHER_SPLIT, f"in another split ({split})")
            return
        first, labels = self._first.setdefault(sample.id, (place, sample.labels))
        if first == place:
            self.samples.append(sample)
        else:
            how = "repeats an earlier row" if labels == sample.labels else "contradicts an earlier row with the same id"
            self.refuse(place, sample.id, UnusedKind.REPEATED, how)

    def refuse(self, place: str, name: str, kind: UnusedKind, reason: str) -> None:
        """Take a row that can be no sample."""
        self.unused.append(UnusedRow(place, name, kind, reason))

    def dataset(self, name: str, heads: Mapping[str, tuple[str, ...]], remarks: tuple[Note, ...] = ()) -> Dataset:
        """The data set that the rows are."""
        return Dataset(name, heads, tuple(self.samples), tuple(self.unused), remarks)
