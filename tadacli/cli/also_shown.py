"""A table on the screen of what goes to a file: the first lines of it, when all are there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tadacli.cli.console import is_quiet
from tadacli.cli.exits import write_stdout
from tadacli.cli.sinks import AnyRow, Sink

MOST_LINES = 20


def also_shown(sink: Sink[AnyRow], output: Path | None, render: Callable[..., str]) -> Sink[AnyRow]:
    """The sink; and where the results go to a file, and a person sits before a terminal, their table as well.

    Args:
        sink: Takes the rows.
        output: Where they go, None for stdout.
        render: Makes a table of rows, of which `most` leaves the first lines.

    Returns:
        A sink for the same rows.
    """
    return AlsoShown(sink, render) if output is not None and sys.stdout.isatty() and not is_quiet() else sink


class AlsoShown(Sink[AnyRow]):
    """Hands rows to another sink, and shows the first lines of their table when all are there."""

    def __init__(self, sink: Sink[AnyRow], render: Callable[..., str]) -> None:
        self._sink, self._render = sink, render
        self._rows: list[AnyRow] = []

    @property
    def done(self) -> dict[str, str]:
        """What the other one holds."""
        return self._sink.done

    def add(self, row: AnyRow) -> None:
        """Hand the row on. Each has a line at least, so that no more than so many are kept."""
        self._sink.add(row)
        if len(self._rows) <= MOST_LINES:
            self._rows.append(row)

    def finish(self, order: Sequence[str]) -> None:
        """Finish the other one, and show the lines."""
        self._sink.finish(order)
        if self._rows:
            write_stdout(self._render(self._rows, most=MOST_LINES).encode(), is_styled=True)

    def close(self) -> None:
        """Close the other one."""
        self._sink.close()
