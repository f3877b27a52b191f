"""How rows become bytes, and how the rows of an unfinished file are found again.

A format's file is a head, items (all that is said of one video) and, when the file is done, a tail.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol

from tadacli.files import csv_line
from tadacli.formats.rows import AnyRow, Row, RowTaken, video_in, video_in_csv


@dataclass(frozen=True)
class Item:
    """One video's part of a file: its bytes, and what tells whether it still holds."""

    path: str
    status: str
    run: str
    size_bytes: int | None
    content: bytes


def _item(row: Row, content: bytes) -> Item:
    return Item(video_in(row), row["status"], row["run"], row["size_bytes"], content)


def _fits(content: bytes, lead: bytes) -> bool:
    """Whether `content` begins with `lead`, as far as it goes."""
    return content[: len(lead)] == lead[: len(content)]


class Format(Protocol[RowTaken]):
    """A way to write items one after the other, and to read back those that are whole."""

    head: bytes
    tail: bytes
    separator: bytes

    def encode(self, row: RowTaken) -> Item: ...

    def decode(self, content: bytes) -> list[Item]: ...

    def is_begun(self, content: bytes) -> bool:
        """Whether bytes that hold no whole item are the beginning of a file in this format."""
        ...

    def as_begun(self, content: bytes) -> Format[RowTaken]:
        """The format in which a file with this content goes on: this one, or that of an earlier version."""
        ...


def encode_text(text: str) -> bytes:
    """UTF-8, also of a file name that is not UTF-8.

    Args:
        text: A text, in which the bytes of such a name are lone surrogates.

    Returns:
        Its bytes; such a byte, say FF, stands as `\\udcff`, as it does in JSON.
    """
    return text.encode("utf-8", errors="backslashreplace")


def encode_json(row: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> bytes:
    """JSON in UTF-8, on one line unless it is indented.

    Args:
        row: JSON-ready values.
        indent: By how many blanks each level is indented, on lines of its own.

    Returns:
        Its bytes, without a line's end; a file name that is not UTF-8 is escaped, as JSON has no bytes for it.

    Raises:
        ValueError: A number is not finite.
    """
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent).encode()
    except UnicodeEncodeError:
        return json.dumps(row, allow_nan=False, indent=indent).encode()


class JsonLines:
    """A row of JSON on each line; `first_key` is the one that rows begin with."""

    head = b""
    tail = b""
    separator = b""

    def __init__(self, first_key: str) -> None:
        self._lead = f'{{"{first_key}": '.encode()

    def encode(self, row: Row) -> Item:
        return _item(row, encode_json(row) + b"\n")

    def decode(self, content: bytes) -> list[Item]:
        items = []
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                items.append(_item(json.loads(line), line))
            except (ValueError, KeyError, TypeError):
                break
        return items

    def is_begun(self, content: bytes) -> bool:
        return b"\n" not in content and _fits(content, self._lead)

    def as_begun(self, content: bytes) -> JsonLines:  # noqa: ARG002 - earlier versions wrote the same
        return self


class JsonDocument:
    """One JSON object whose `results` are the rows, a line each."""

    head = b'{"results": [\n'
    tail = b"\n]}\n"
    separator = b",\n"

    def __init__(self, first_key: str) -> None:
        self._lines = JsonLines(first_key)

    def encode(self, row: Row) -> Item:
        return _item(row, encode_json(row))

    def decode(self, content: bytes) -> list[Item]:
        if not content.startswith(self.head):
            return []
        lines = content[len(self.head) :].split(b"\n")
        whole = [line.removesuffix(b",") for line in lines]
        items = self._lines.decode(b"".join(line + b"\n" for line in whole if line != b"]}"))
        return [replace(item, content=item.content.removesuffix(b"\n")) for item in items]

    def is_begun(self, content: bytes) -> bool:
        rest = content[len(self.head) :]
        return _fits(content, self.head) and (self._lines.is_begun(rest) or self.tail.startswith(rest))

    def as_begun(self, content: bytes) -> JsonDocument:  # noqa: ARG002 - earlier versions wrote the same
        return self


class Csv(Generic[AnyRow]):
    """Lines of these columns, as many for each video as `flatten` makes of its row.

    The columns status, run, size_bytes and num_rows (how many lines the video has) must be among them, and the first
    of them is the path. The last `num_new` columns are missing in files of earlier versions, whose items are read with
    nothing in them. A file that was begun as `earlier` goes on so.
    """

    tail = b""
    separator = b""

    def __init__(
        self,
        columns: Sequence[str],
        flatten: Callable[[AnyRow], list[dict[str, str]]],
        *,
        num_new: int = 0,
        delimiter: str = ",",
        earlier: Csv[AnyRow] | None = None,
    ) -> None:
        self.columns, self._flatten, self._delimiter, self.earlier = list(columns), flatten, delimiter, earlier
        self.head, self._shorter = (
            encode_text(delimiter.join(each) + "\n") for each in (columns, columns[: len(columns) - num_new])
        )

    def encode(self, row: AnyRow) -> Item:
        return _item(row, self._encode_rows(self._flatten(row)))

    def decode(self, content: bytes) -> list[Item]:
        if not content.startswith((self.head, self._shorter)):
            return []
        items: list[Item] = []
        pending: list[dict[str, str]] = []
        for row in self._whole_rows(content):
            pending.append(row)
            if len(pending) == int(row["num_rows"]):
                size = int(row["size_bytes"]) if row["size_bytes"] else None
                items.append(
                    Item(
                        video_in_csv(row, row[self.columns[0]]),
                        row["status"],
                        row["run"],
                        size,
                        self._encode_rows(pending),
                    )
                )
                pending = []
        return items

    def is_begun(self, content: bytes) -> bool:
        return _fits(content, self.head) or _fits(content, self._shorter)

    def as_begun(self, content: bytes) -> Format[AnyRow]:
        if self.earlier is not None and not self.is_begun(content) and self.earlier.is_begun(content):
            return self.earlier
        return self

    def _whole_rows(self, content: bytes) -> list[dict[str, str]]:
        text = content.decode("utf-8", errors="surrogateescape")  # bytes of names as version 0.1.0 wrote them
        whole = text[: text.rfind("\n") + 1]
        csv.field_size_limit(max(csv.field_size_limit(), len(whole)))  # a field may list thousands of gaps
        rows = []
        for row in csv.DictReader(io.StringIO(whole, newline=""), delimiter=self._delimiter):
            if None in row or None in row.values() or not row["num_rows"].isdigit():
                break
            rows.append(row)
        return rows

    def _encode_rows(self, rows: list[dict[str, str]]) -> bytes:
        lines = (csv_line((row.get(name, "") for name in self.columns), delimiter=self._delimiter) for row in rows)
        return encode_text("".join(lines))
