"""Where the report of `tada eval` goes: stdout or a file, a page, and what is said beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tadacli.cli import exits
from tadacli.cli.console import printable, say
from tadacli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from tadacli.evaluation.report import EvalReport

EvalFormat = Literal["table", "json", "csv"]


def choose_eval_format(asked: EvalFormat | None, output: Path | None) -> EvalFormat:
    """The format asked for, or that of the output's name, or what suits a terminal or a pipe."""
    if asked is not None:
        return asked
    if output is None:
        return "table" if sys.stdout.isatty() else "json"
    by_suffix: dict[str, EvalFormat] = {".json": "json", ".csv": "csv", ".txt": "table"}
    if output.suffix.lower() not in by_suffix:
        raise UsageError(f"the format of {output} is not clear from its name", hint="add --format json, csv or table")
    return by_suffix[output.suffix.lower()]


class Destination:
    """Takes a report, as text in one of the formats and as a page.

    A partial one goes to files with `.unfinished` in their names, which the final one removes.
    """

    def __init__(self, form: EvalFormat, output: Path | None, page: Path | None) -> None:
        self.form = form
        self._output, self._page = output, page

    def refuse_existing(self, *more: Path) -> None:
        """Raises `OutputError`, before anything is computed, for files that exist or have no folder to be in."""
        from tadacli.files import refuse_existing

        files = [path for path in (self._output, self._page, *more) if path is not None]
        if len({path.absolute() for path in files}) < len(files):
            raise UsageError("two outputs have the same name", hint="give each a name of its own")
        refuse_existing(files)
        for path in files:
            if not path.parent.is_dir():
                raise OutputError(f"there is no folder {path.parent}", hint="make it, or give another name")

    def publish(self, found: EvalReport, *, partial: bool = False) -> None:
        """Write a report, and say on how many items it is based."""
        from tadacli.files import write_new

        content = _encode(found, self.form)
        if self._output is None:
            write_stdout(content)
        else:
            write_new(_named(self._output, partial), content, replace=partial)
        if self._page is not None:
            from tadacli.reports.eval_page import encode_eval_page
            from tadacli.reports.eval_thumbnails import worst_thumbnails

            write_new(_named(self._page, partial), encode_eval_page(found, worst_thumbnails(found)), replace=partial)
        written = [path for path in (self._output, self._page) if path is not None]
        if not partial:
            for path in written:
                _named(path, partial=True).unlink(missing_ok=True)
        self._say(found, [_named(path, partial) for path in written])

    def _say(self, found: EvalReport, written: list[Path]) -> None:
        if self.form != "table" or self._output is not None:
            for note in found.notes:
                say(f"note: {note}")
            for reason, count in found.reasons.items():
                say(f"not scored: {count} of {found.num_items} {found.unit}: {reason}")
        where = "".join(f", {path}" for path in written)
        say(f"{found.num_scored} of {found.num_items} {found.unit} scored{where}")


def write_stdout(content: bytes) -> None:
    """UTF-8 to stdout; ends the command quietly if its reader has gone away."""
    try:
        sys.stdout.write(printable(content.decode("utf-8", "surrogateescape")))
        sys.stdout.flush()
    except BrokenPipeError:
        exits.leave_closed_pipe()


def _named(path: Path, partial: bool) -> Path:
    return path.with_name(f"{path.stem}.unfinished{path.suffix}") if partial else path


def _encode(found: EvalReport, form: EvalFormat) -> bytes:
    if form == "json":
        from tadacli.reports.eval_json import eval_json

        return eval_json(found)
    if form == "csv":
        from tadacli.reports.eval_csv import eval_csv

        return eval_csv(found)
    from tadacli.cli.eval_table import eval_table

    return eval_table(found).encode("utf-8", "surrogateescape")
