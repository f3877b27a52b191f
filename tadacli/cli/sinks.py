"""Where a command's rows go: a table for the person, a stream into a pipe, or a file that can be resumed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from tadacli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from tadacli.writers.rows import Row

OutputFormat = Literal["table", "csv", "json", "jsonl"]
FORMAT_BY_SUFFIX: dict[str, OutputFormat] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".txt": "table",
}
TABLE_FILE_WIDTH = 120


class Sink(Protocol):
    """Takes rows as they come; `done` are the videos it already holds, with their status."""

    @property
    def done(self) -> dict[str, str]: ...

    def add(self, row: Row) -> None: ...

    def finish(self, order: Sequence[str]) -> None: ...

    def close(self) -> None: ...


def choose_format(asked: OutputFormat | None, output: Path | None, *, resume: bool) -> OutputFormat:
    """The format asked for, or that of the output's name, or what suits a terminal or a pipe."""
    if asked is not None:
        chosen = asked
    elif output is None:
        chosen = "table" if sys.stdout.isatty() else "jsonl"
    elif output.suffix.lower() in FORMAT_BY_SUFFIX:
        chosen = FORMAT_BY_SUFFIX[output.suffix.lower()]
    else:
        raise UsageError(
            f"the format of {output} is not clear from its name",
            hint="add --format csv, json, jsonl or table",
        )
    if resume and (output is None or chosen == "table"):
        raise UsageError("--resume continues a file", hint="give --output FILE in csv, json or jsonl")
    return chosen


def open_sink(
    chosen: OutputFormat,
    output: Path | None,
    *,
    run_id: str,
    resume: bool,
    render_table: Callable[[Sequence[Row], int | None], str],
) -> Sink:
    """The sink for a format. Raises `OutputError` if the output cannot be written or is not to be."""
    if chosen == "table":
        return TableSink(output, render_table)
    from tadacli.writers.files import ResultFile, ResultStream
    from tadacli.writers.formats import FORMATS

    if output is None:
        return ResultStream(sys.stdout.buffer, FORMATS[chosen])
    return ResultFile(output, FORMATS[chosen], run_id=run_id, resume=resume, size_of=file_size)


def file_size(path: str) -> int | None:
    """Size of a file in bytes, None for what is no file; tells whether an input is still the same."""
    try:
        return os.stat(path).st_size if os.path.isfile(path) else None
    except OSError:
        return None


class TableSink:
    """Keeps the rows for one table, shown when they are all there or the command is interrupted."""

    done: dict[str, str] = {}  # noqa: RUF012 - a table is never resumed

    def __init__(self, output: Path | None, render: Callable[[Sequence[Row], int | None], str]) -> None:
        self._output, self._render = output, render
        self._rows: list[Row] = []
        if output is not None:
            if output.exists():
                raise OutputError(f"{output} exists and is not overwritten", hint="give another --output")
            self._write("")

    def add(self, row: Row) -> None:
        """Keep a row."""
        self._rows.append(row)

    def finish(self, order: Sequence[str]) -> None:  # noqa: ARG002 - rows came in this order
        """Show the table."""
        if self._output is None:
            print(self._render(self._rows, None), end="", flush=True)
        else:
            self._write(self._render(self._rows, TABLE_FILE_WIDTH))
        self._rows = []

    def close(self) -> None:
        """Show what there is if `finish` was not reached."""
        if self._rows:
            self.finish([])

    def _write(self, text: str) -> None:
        assert self._output is not None
        try:
            self._output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"{self._output} cannot be written: {error.strerror}", hint="give another --output"
            ) from error
