"""The results of a run as one file, in the order of its inputs: the bytes that one process writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tadacli.cluster.ledger import Begun, Ledger
from tadacli.cluster.listing import listed_ids
from tadacli.errors import OutputError
from tadacli.formats.derived_files import Wanted, write_file
from tadacli.formats.row_formats import classification_formats
from tadacli.formats.tables import CLASSIFICATIONS
from tadacli.results import out_of

Row = Mapping[str, Any]


def collect(
    ledger: Ledger,
    file: Path,
    *,
    form: str,
    columns: Sequence[str] = (),
    replace: bool = False,
    on_row: Callable[[Any], object] | None = None,
) -> dict[str, int]:
    """Write the results of a run that is done.

    Args:
        ledger: Where they are kept.
        file: Where to.
        form: One of our own formats: csv, tsv, json, jsonl or parquet.
        columns: What tables have besides the usual columns.
        replace: Whether the file may be there already.
        on_row: Called with each row.

    Returns:
        How many inputs there are of each status.

    Raises:
        OutputError: Nothing was begun there, results are missing, or the file cannot be written.
    """
    begun = require_begun(ledger)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Any]:
        for row in ordered_rows(ledger):
            counts[str(row.get("status"))] += 1
            if on_row is not None:
                on_row(row)
            yield row

    write_file(file, form, _wanted(begun, form, columns), rows, replace=replace)
    return dict(counts)


def require_begun(ledger: Ledger) -> Begun:
    """What a run folder is for. Raises `OutputError` where nothing was begun."""
    begun = ledger.begun()
    if begun is None:
        raise OutputError(f"{ledger.place} holds no run", hint="name the folder that a command with --engine made")
    return begun


def ordered_rows(ledger: Ledger) -> Iterator[Row]:
    """The result of each input, in order. Raises `OutputError` where one is missing, saying how many are."""
    for item_id, _ in listed_ids(ledger.store):
        row = ledger.row(item_id)
        if row is None:
            raise _unfinished(ledger)
        yield row


def _unfinished(ledger: Ledger) -> OutputError:
    done = set(ledger.committed())
    ids = [item_id for item_id, _ in listed_ids(ledger.store)]
    text = out_of(sum(item_id in done for item_id in ids), len(ids), "inputs", "are done")
    return OutputError(f"{ledger.place} is not finished: {text}", hint="go on with the same command and --resume")


def _wanted(begun: Begun, form: str, columns: Sequence[str]) -> Wanted[Any]:
    return Wanted((form,), classification_formats(columns=columns), CLASSIFICATIONS, begun.run, columns)
