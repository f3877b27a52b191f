"""Reads annotation files, plain or gzipped, and says which line of which file is not what it should be."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
import sys
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadacli import strict_tables
from tadacli.datasets.samples import Dataset, Sample, UnusedKind, UnusedRow
from tadacli.errors import UsageError
from tadacli.results import Note
from tadacli.sampling.settings import parse_time

AnyPath = str | os.PathLike[str]
_GZIP = b"\x1f\x8b"
_MOST_BYTES = 1 << 32
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# In the order in which they are tried; the first that gives the needed columns is the one.
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?[^\S\n]*\r?\n', re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# 12,500 may be twelve and a half or twelve thousand and five hundred, unless commas cannot be separators.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def read_bytes(path: AnyPath) -> bytes:
    """The content of a file, unpacked if it is gzipped. Raises `UsageError` if it cannot be read."""
    shown = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{shown} is larger than {_MOST_BYTES >> 30} GiB", hint="split it")
        return _unpacked(content, shown) if content.startswith(_GZIP) else content
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {shown}", hint="check the name") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{shown} is a damaged gzip file: {error}", hint="fetch or write it again") from error
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error


def _unpacked(content: bytes, shown: str) -> bytes:
    """The content of a gzip file, in bounded memory whatever it unpacks to."""
    most, parts, size = most_unpacked(len(content)), [], 0
    with gzip.open(io.BytesIO(content)) as stream:
        while part := stream.read(1 << 20):
            size += len(part)
            if size > most:
                raise UsageError(
                    f"{shown} unpacks to more than {most >> 20} MiB, {most / len(content):.0f} times its size",
                    hint="unpack it first, if it is what it should be",
                )
            parts.append(part)
    return b"".join(parts)


def most_unpacked(num_bytes: int) -> int:
    """How many bytes a packed file of this size may unpack to: text seldom shrinks more, a bomb does."""
    return max(1 << 25, 40 * num_bytes)


def read_text(path: AnyPath) -> str:
    """The text of a file in UTF-8, or in UTF-16 as Excel writes it.

    Args:
        path: The file, plain or gzipped, with or without a byte order mark (UTF-16 needs one).

    Returns:
        The text, without the mark.

    Raises:
        UsageError: The file cannot be read, or is text of another encoding, or no text.
    """
    content = read_bytes(path)
    encoding, name = ("utf-16", "UTF-16") if content.startswith(_UTF16) else ("utf-8-sig", "UTF-8")
    if encoding != "utf-16" and b"\0" in content[:1000]:
        raise UsageError(
            f"{os.fspath(path)} is not UTF-8 text: it holds zero bytes", hint="if it is UTF-16, save it as UTF-8"
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{os.fspath(path)} is not {name} text (byte {error.start}, line {line})",
            hint="save it as UTF-8: in Excel as 'CSV UTF-8', elsewhere iconv -f latin1 -t utf-8 FILE > NEW",
        ) from error


def parse_json(text: str | bytes, path: AnyPath) -> Any:
    """The value of a JSON text. Raises `UsageError`, which names `path`, if it is none or has a key twice."""
    try:
        return strict_tables.parse_json(text)
    except ValueError as error:
        raise UsageError(f"{os.fspath(path)} is not JSON: {error}", hint="it may be unfinished") from error


def read_lines(path: AnyPath) -> list[tuple[int, str]]:
    """(line number from 1, text) of each line that is not blank, without the blanks around it."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


@dataclass(frozen=True)
class TableRow:
    """A row of a table by column name; its readers raise `UsageError` naming file, line and column.

    `separator` stands between the cells of the file.
    """

    file: str
    line: int
    values: Mapping[str, str]
    separator: str = ","

    def text(self, column: str) -> str:
        """The cell without the blanks around it; it must not be empty."""
        value = self.values[column].strip()
        if not value:
            raise self.error(f"{column} is empty")
        return value

    def number(self, column: str) -> float:
        """The cell as a finite number, with a decimal point or comma."""
        return self._finite(column, self.text(column), "a number")

    def seconds(self, column: str) -> float:
        """The cell as a time: seconds, mm:ss or h:mm:ss.s."""
        text = self.text(column)
        if ":" not in text and not text.endswith("s"):
            return self._finite(column, text, "a time")
        try:
            return parse_time(text.replace(",", "."))
        except UsageError as error:
            raise self.error(f"{column} is {text!r}, not a time: write 90.5, 1:30 or 00:01:30.5") from error

    def _finite(self, column: str, text: str, what: str) -> float:
        if _DECIMAL_COMMA.fullmatch(text):
            if self.separator != ";" and _THOUSANDS.fullmatch(text):
                raise self.error(f"{column} is {text!r}, of which the comma may mean decimals or thousands")
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError as error:
            raise self.error(f"{column} is {text!r}, not {what}") from error
        if not math.isfinite(value):
            raise self.error(f"{column} is {text!r}, not a finite number")
        return value

    def index(self, column: str, num_classes: int) -> int:
        """The cell as a class index from 0 on."""
        return class_index(self.text(column), num_classes, self.file, f"line {self.line}", column)

    def error(self, what: str) -> UsageError:
        """The error to raise about this row."""
        return bad_line(self.file, self.line, what)


def read_table(
    path: AnyPath, required: Collection[str], *, what: str, any_case: Collection[str] = ()
) -> list[TableRow]:
    """The rows of a table with a header line, by column name.

    Cells are separated by commas, semicolons or tabs, or by what a first line `sep=;` says. Rows and columns that are
    empty throughout, as spreadsheets leave them at the end, are none.

    Args:
        path: The file, in UTF-8 or UTF-16, plain or gzipped.
        required: Columns that must be there.
        what: What the file should be, for errors.
        any_case: Names of columns that are known by these names in whatever case the header has them.

    Returns:
        The rows.

    Raises:
        UsageError: The file is no such table, lacks a required column, or a row has more or fewer fields than the
            header.
    """
    shown, rows = os.fspath(path), []
    text, separator, skipped = _dialect(read_text(path), required, any_case)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        header = _header(next(reader, []), any_case)
        while header and not header[-1]:
            header.pop()
        _check_header(shown, header, required, separator, what)
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            line = reader.line_num + skipped
            if any(field.strip() for field in fields[len(header) :]) or len(fields) < len(header):
                raise bad_line(shown, line, f"{len(fields)} fields, where the header has {len(header)}")
            rows.append(TableRow(shown, line, dict(zip(header, fields, strict=False)), separator))
    except csv.Error as error:
        raise bad_line(
            shown, reader.line_num + skipped, f"not {_SEPARATORS.get(separator, 'so')} separated values ({error})"
        ) from error
    return rows


def _dialect(text: str, required: Collection[str], any_case: Collection[str]) -> tuple[str, str, int]:
    """(the text from its header on, what separates its cells, number of lines before the header)."""
    told = _SEPARATOR_LINE.match(text)
    if told:
        return text[told.end() :], told[1], 1
    for separator in _SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        try:
            header = _header(next(reader, []), any_case)
        except csv.Error:
            continue
        if set(required) <= set(header):
            return text, separator, 0
    return text, ",", 0


def _header(names: Sequence[str], any_case: Collection[str]) -> list[str]:
    known = {name.casefold(): name for name in any_case}
    return [known.get(name.casefold(), name) for name in (name.strip() for name in names)]


def _check_header(shown: str, header: Sequence[str], required: Collection[str], separator: str, what: str) -> None:
    missing = [name for name in required if name not in header]
    if not missing and len(set(header)) == len(header):
        return
    reason = f"lacks the column {', '.join(missing)}" if missing else "names a column twice"
    names = (
        f"; read as {_SEPARATORS.get(separator, repr(separator))} separated it has {named([repr(n) for n in header])}"
    )
    raise UsageError(
        f"{shown}, line 1: the header {reason}{names if missing else ''}",
        hint=f"give {what}: separated by commas, semicolons or tabs, with a header line",
    )


def plain_rows(text: str, path: AnyPath, *, separator: str = ",", quoted: bool = True) -> list[tuple[int, list[str]]]:
    """The rows of a text that says nothing of its columns, or says it in a way of its own.

    Args:
        text: The text.
        path: Its file, for errors.
        separator: What is between cells.
        quoted: Whether cells may be in quotes.

    Returns:
        (number of the line, from 1, that a row ends at, its cells), without rows that are empty.

    Raises:
        UsageError: The text is not so separated.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    try:
        return [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except csv.Error as error:
        raise bad_line(path, reader.line_num, f"not {_SEPARATORS[separator]} separated values ({error})") from error


def has_columns(path: AnyPath, names: Collection[str], *, any_case: Collection[str] = ()) -> bool:
    """Whether a file is a table whose header has these columns, those of `any_case` in whatever case.

    Raises `UsageError` if it cannot be read as text.
    """
    text, separator, _ = _dialect(read_text(path), names, any_case)
    try:
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return False
    return set(names) <= set(_header(first, any_case))


def header_of(path: AnyPath) -> list[str]:
    """The comma separated names in a file's first line, which may be no header at all."""
    first = read_text(path).split("\n", 1)[0]
    return [name.strip().strip('"') for name in first.split(",")]


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # math.isfinite fails for whole numbers beyond it


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
