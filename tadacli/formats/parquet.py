"""Tables of results as Apache Parquet: the columns of CSV with types, for programs that read many of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

from tadacli.errors import UsageError
from tadacli.formats.records import encode_text
from tadacli.formats.rows import AnyRow
from tadacli.formats.tables import COUNTS, SECONDS_AND_SCORES, Table

_VIDEOS_AT_ONCE = 500


def require_parquet() -> None:
    """Raises `UsageError` where the package that writes Parquet is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "parquet needs a package that is not installed",
            hint="python -m pip install 'tadacli[parquet]'; or give --format csv",
        )


def write_parquet(
    stream: BinaryIO, table: Table[AnyRow], rows: Iterable[AnyRow], *, about: bytes, more: Sequence[str] = ()
) -> None:
    """Write the lines of a table.

    Args:
        stream: Where to; it need not be seekable.
        table: What the table can have.
        rows: The videos; a few hundred at a time are in memory.
        about: What lines have in common, see `tables.companion`; it stands in the file's metadata as `tada`.
        more: Columns besides the usual ones.

    Raises:
        UsageError: A column is not known, or pyarrow is not installed.
    """
    require_parquet()
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    names = list(table.with_columns(more))
    kinds = {name: _kind(name) for name in names}
    types = {"count": pyarrow.int64(), "number": pyarrow.float64(), "text": pyarrow.string()}
    schema = pyarrow.schema([(name, types[kinds[name]]) for name in names], metadata={"tada": about})
    with ParquetWriter(stream, schema) as writer:
        for lines in _batches(table, rows):
            columns = {name: [_value(line.get(name, ""), kinds[name]) for line in lines] for name in names}
            writer.write_table(pyarrow.table(columns, schema=schema))


def _batches(table: Table[AnyRow], rows: Iterable[AnyRow]) -> Iterator[list[dict[str, str]]]:
    coming = iter(rows)
    while some := list(islice(coming, _VIDEOS_AT_ONCE)):
        yield list(chain.from_iterable(map(table.flatten, some)))


def _kind(column: str) -> str:
    return "count" if column in COUNTS else "number" if column in SECONDS_AND_SCORES else "text"


def _value(cell: str, kind: str) -> str | int | float | None:
    """What a cell of CSV says; an empty one says nothing."""
    if cell == "":
        return None
    return int(cell) if kind == "count" else float(cell) if kind == "number" else encode_text(cell).decode()
