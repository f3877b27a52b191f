"""Lists of videos: lines of text, or rows of Parquet, which may name a part of a video and give it an id."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from tadacli.errors import UsageError
from tadacli.strict_tables import in_one_line
from tadacli.video.stores import is_in_store, opened_store, store_errors
from tadacli.zoo.addresses import Address, address, credentials_of

if TYPE_CHECKING:
    from pyarrow import Schema

_ROWS_AT_ONCE = 4096
_LONGEST_ID = 256
_ID, _START, _END = "id", "start", "end"
_NO_PARTS = (
    "leave it out; tada classify and tada detect take it where they write rows, and without --start, --end, --report, "
    "--render and --save-scores"
)


class ListedPart(Address):
    """A video as a list names it: its path, with the span that is meant and an id.

    It is a path wherever one is asked for, but equal to another one only if span and id are equal, too. `refusal` says
    why there can be no result of it, empty if nothing is wrong with it.
    """

    start_seconds: float | None
    end_seconds: float | None
    id: str | None
    refusal: str

    @classmethod
    def of(
        cls, path: str, start: float | None = None, end: float | None = None, id: str | None = None, refusal: str = ""
    ) -> ListedPart:
        """The path with what a list says of it; None is the video's own start or end, or no id."""
        shown = address(path)
        part = cls(shown)
        part.credentials = credentials_of(shown)
        part.start_seconds, part.end_seconds, part.id, part.refusal = start, end, id, refusal
        return part

    @property
    def part(self) -> tuple[float | None, float | None, str | None]:
        """What tells it from other parts of the same video."""
        return self.start_seconds, self.end_seconds, self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListedPart) and str(self) == str(other) and self.part == other.part

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str(self), self.part))

    def __reduce__(self) -> tuple[Any, ...]:
        named = self.credentials and f"{str(self).replace('://', f'://{self.credentials}@', 1)}"
        return ListedPart.of, (named or str(self), *self.part, self.refusal)


def name_of(video: str) -> str:
    """What a result says that it is of: a part as it was listed, anything else as plain text."""
    return video if isinstance(video, ListedPart) else str(video)


class ListedRow(NamedTuple):
    """A row of a list in Parquet."""

    path: str
    start: float | None
    end: float | None
    id: str | None


def listed_lines(path: str) -> Iterator[str]:
    """The lines of a list, which end at line feeds alone: a file name may hold what else ends a line.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with _opened_list(path) as stream:
            for line in stream:
                yield line.decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"the list {path} cannot be read: {error.strerror or error}") from error


def listed_rows(path: str, *, parts: bool) -> Iterator[str | ListedPart]:
    """The rows of a list in Parquet, some thousand at a time in memory.

    Args:
        path: The file, or the URL of one in a store.
        parts: Whether rows may name a part of a video, or give it an id.

    Yields:
        The path of each row, as a `ListedPart` where the row says more of it.

    Raises:
        UsageError: It cannot be read, has no column path, or a column that holds no numbers of seconds; or it names
            parts of videos and may not.
    """
    seen: set[bytes] = set()
    for row in _rows(path, parts=parts):
        if (row.start, row.end, row.id) == (None, None, None):
            yield row.path
            continue
        yield ListedPart.of(row.path, row.start, row.end, row.id, _refusal(row, path, seen))


def _refusal(row: ListedRow, path: str, seen: set[bytes]) -> str:
    """What is wrong with a row; keeps a hash of its id in `seen`."""
    start, end = row.start, row.end
    if row.id is not None:
        digest = hashlib.blake2b(row.id.encode("utf-8", "surrogatepass"), digest_size=15).digest()
        if digest in seen:
            return f"the list {path} has another row with the id {row.id!r}"
        seen.add(digest)
    if (start is not None and start < 0) or (end is not None and end < 0):
        return f"the list {path} names a time before 0 s"
    if start is not None and end is not None and start >= end:
        return f"the span from {start:g} s to {end:g} s in the list {path} is empty or reversed"
    return ""


def _rows(path: str, *, parts: bool) -> Iterator[ListedRow]:
    if importlib.util.find_spec("pyarrow") is None:
        hint = "python -m pip install 'tadacli[parquet]'; or give a list of lines"
        raise UsageError(f"the list {path} needs a package that is not installed", hint=hint)
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with _opened_list(path) as stream:
            table = ParquetFile(stream)
            names = _columns(path, table.schema_arrow, parts=parts)
            number = 0
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
                columns = {name: batch.column(name).to_pylist() for name in names}
                nothing = [None] * batch.num_rows
                told = [columns.get(name, nothing) for name in ("path", _START, _END, _ID)]
                for values in zip(*told, strict=True):
                    number += 1
                    if values[0]:
                        yield _row(f"row {number} of the list {path}", *values)
    except OSError as error:
        raise UsageError(f"the list {path} cannot be read: {error.strerror or error}") from error
    except ArrowException as error:
        raise UsageError(f"the list {path} cannot be read as Parquet: {in_one_line(str(error), most=200)}") from error


def _columns(path: str, schema: Schema, *, parts: bool) -> list[str]:
    """The columns that are read."""
    from pyarrow import types

    there = list(schema.names)
    if "path" not in there:
        shown = ", ".join(map(str, there[:8])) or "none"
        raise UsageError(f"the list {path} has no column path", hint=f"its columns are {shown}")
    spans = [name for name in (_START, _END) if name in there]
    if spans and not parts:
        raise UsageError(f"the list {path} has a column {spans[0]}, and spans are not read here", hint=_NO_PARTS)
    for name in spans:
        kind = schema.field(name).type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)):
            raise UsageError(f"the column {name} of the list {path} holds {kind}", hint="give numbers of seconds")
    return ["path", *spans, *([_ID] if parts and _ID in there else [])]


def _row(where: str, path: object, start: Any, end: Any, id: object) -> ListedRow:
    """A row with values as they are used. Raises `UsageError` for a time or an id that is none."""
    first, last = (None if time is None else float(time) for time in (start, end))
    if not all(time is None or math.isfinite(time) for time in (first, last)):
        raise UsageError(f"{where} has a time that is no number of seconds", hint="leave it empty for the video's own")
    name = None if id is None or id == "" else str(id)
    if name is not None and len(name) > _LONGEST_ID:
        raise UsageError(f"{where} has an id of {len(name)} signs", hint=f"give up to {_LONGEST_ID}")
    return ListedRow(str(path), first, last, name)


@contextlib.contextmanager
def _opened_list(path: str) -> Iterator[BinaryIO]:
    if not is_in_store(path):
        with open(path, "rb") as stream:
            yield stream
        return
    system, name = opened_store(path)
    # A table is read in pieces from all over it: what is fetched besides is a tenth of what it is by default.
    with store_errors(path, UsageError), system.open(name, "rb", cache_type="blockcache", block_size=1 << 18) as stream:
        yield stream
