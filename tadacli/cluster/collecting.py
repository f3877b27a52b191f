"""The results of a run as one file, in the order of its inputs: the bytes that one process writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tadacli.cluster.ledger import Begun, Ledger
from tadacli.cluster.listing import listed_ids, read_facts
from tadacli.errors import OutputError, UsageError
from tadacli.formats.derived_files import Wanted, write_file
from tadacli.formats.records import Item, JsonLines
from tadacli.formats.row_formats import classification_formats, detection_formats
from tadacli.formats.tables import CLASSIFICATIONS, DETECTIONS
from tadacli.results import out_of
from tadacli.video.stores import place_of, whole_files

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
        file: Where to, on this machine or in an object store.
        form: One of our own formats: csv, tsv, json, jsonl or parquet.
        columns: What tables have besides the usual columns.
        replace: Whether the file may be there already.
        on_row: Called with each row.

    Returns:
        How many inputs there are of each status.

    Raises:
        OutputError: Nothing was begun there, results are missing, or the file cannot be written.
        UsageError: The format or a column says nothing of these results.
    """
    begun = require_begun(ledger)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Any]:
        for row in ordered_rows(ledger):
            counts[str(row.get("status"))] += 1
            if on_row is not None:
                on_row(row)
            yield row

    wanted = _wanted(ledger, begun, form, columns)
    with whole_files(place_of(file), replace=replace) as here:
        write_file(here, form, wanted, rows, replace=replace)
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


def _wanted(ledger: Ledger, begun: Begun, form: str, columns: Sequence[str]) -> Wanted[Any]:
    """What is to be written; raises `UsageError` for a format that says nothing of these results."""
    facts = read_facts(ledger.store)
    columns = (*columns, *(facts.columns if facts is not None else ()))
    if begun.kind == "features":
        if form != "jsonl":
            raise UsageError("what is said of features is written as JSON lines", hint="give --output FILE.jsonl")
        return Wanted((form,), {form: JsonLines("path")}, CLASSIFICATIONS, begun.run)
    if begun.kind == "eval":
        if form != "jsonl":
            raise UsageError("scores of a data set are written as JSON lines", hint="give --output FILE.jsonl")
        return Wanted((form,), {form: _Predictions(str(begun.about.get("header", "")))}, CLASSIFICATIONS, begun.run)
    if begun.kind == "detect":
        count = None if facts is None else facts.num_inputs
        return Wanted((form,), detection_formats(num_videos=count, columns=columns), DETECTIONS, begun.run, columns)
    return Wanted((form,), classification_formats(columns=columns), CLASSIFICATIONS, begun.run, columns)


class _Predictions:
    """The lines of `tada eval --save-predictions`, after a first one that says what made them."""

    tail = separator = b""

    def __init__(self, header: str) -> None:
        self.head = header.encode()

    def encode(self, row: Row) -> Item:
        """The line of one sample."""
        return Item(row["path"], row["status"], "", row["size_bytes"], json.dumps(row).encode() + b"\n")

    def decode(self, content: bytes) -> list[Item]:  # noqa: ARG002 - as formats have it
        """Nothing: these are only written, whole."""
        return []

    def is_begun(self, content: bytes) -> bool:
        """Whether these are lines after that header."""
        return content.startswith(self.head)

    def as_begun(self, content: bytes) -> _Predictions:  # noqa: ARG002 - as formats have it
        """This, as there is no earlier version of it."""
        return self
