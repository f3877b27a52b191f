"""What --format, --output, --columns and --resume ask for together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from tadacli.cli.sinks import choose_format
from tadacli.errors import UsageError
from tadacli.formats.registry import TABLES, RowsName

RESUMABLE = get_args(RowsName)


@dataclass(frozen=True)
class AskedOutput:
    """Results in `formats`, to `output` or to stdout; `columns` are what tables have besides the usual ones."""

    formats: tuple[str, ...]
    output: Path | None
    columns: tuple[str, ...]
    resume: bool

    @property
    def format(self) -> str:
        """The only format."""
        return self.formats[0]

    @property
    def growing_file(self) -> Path | None:
        """The file that grows with each result, and can be taken up again; None if there is none."""
        return self.output if self.format in RESUMABLE else None


def asked_output(
    formats: str | None,
    output: Path | None,
    columns: str | None,
    *,
    resume: bool,
    results: Literal["classifications", "detections"],
    known: Sequence[str],
    by_suffix: Mapping[str, str],
) -> AskedOutput:
    """What the options ask for.

    Args:
        formats: The format, None for that of the output's name, or else what suits a terminal or a pipe.
        output: The file, None for stdout.
        columns: Names of columns with commas between.
        resume: Whether a file goes on.
        results: What is written.
        known: The formats that the command writes.
        by_suffix: The format that a file's name stands for.

    Returns:
        All of it.

    Raises:
        UsageError: A format or a column is not known, or the options do not go together.
    """
    if formats is not None and formats not in known:
        close = get_close_matches(formats, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose among {', '.join(known)}"
        raise UsageError(f"there is no format {formats!r}", hint=hint)
    chosen = choose_format(formats, output, by_suffix=by_suffix, plain=("table", "jsonl"))
    if resume and (output is None or chosen not in RESUMABLE):
        raise UsageError("--resume continues a file", hint=f"give --output FILE in {', '.join(RESUMABLE)}")
    names = tuple(name.strip() for name in columns.split(",") if name.strip()) if columns is not None else ()
    if names and chosen not in TABLES:
        raise UsageError(f"--columns are those of tables, and {chosen} is none", hint="add --format csv")
    if names:
        from tadacli.formats.tables import CLASSIFICATIONS, DETECTIONS

        (CLASSIFICATIONS if results == "classifications" else DETECTIONS).with_columns(names)
    return AskedOutput((chosen,), output, names, resume)
