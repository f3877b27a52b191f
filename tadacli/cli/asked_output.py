"""What --format, --output, --columns and --resume ask for together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from tadacli.cli.sinks import choose_format
from tadacli.errors import UsageError
from tadacli.formats.registry import SEGMENT_FORMATS, TABLES, RowsName, TimesName

RESUMABLE = (*get_args(RowsName), "parquet")


@dataclass(frozen=True)
class AskedOutput:
    """Results in `formats`, to `output` or to stdout; `columns` are what tables have besides the usual ones.

    `output` is a folder for several formats. `times` are how a table on the screen shows them; those that files have
    are among the columns.
    """

    formats: tuple[str, ...]
    output: Path | None
    columns: tuple[str, ...]
    resume: bool
    times: TimesName = "seconds"

    @property
    def is_single(self) -> bool:
        """Whether there is one format."""
        return len(self.formats) == 1

    @property
    def format(self) -> str:
        """The first format, which is mostly the only one."""
        return self.formats[0]

    @property
    def growing_file(self) -> Path | None:
        """The file that grows with each result, and can be taken up again; None if there is none."""
        from tadacli.formats.derived_files import ROWS_FILE, rows_beside

        if self.output is None or not self.is_single:
            return None if self.output is None else self.output / ROWS_FILE
        if self.format == "parquet":
            return rows_beside(self.output)
        return self.output if self.format in RESUMABLE else None

    def of_videos(self, videos: Sequence[str]) -> AskedOutput:
        """The same for these videos: where a list says more of some than their path, tables say it, too."""
        from tadacli.formats.tables import PART_COLUMNS
        from tadacli.video.lists import ListedPart

        if not any(isinstance(video, ListedPart) for video in videos):
            return self
        return replace(self, columns=(*self.columns, *PART_COLUMNS))


def asked_output(
    formats: str | None,
    output: Path | None,
    columns: str | None,
    *,
    resume: bool,
    results: Literal["classifications", "detections"],
    known: Sequence[str],
    by_suffix: Mapping[str, str],
    times: TimesName = "seconds",
) -> AskedOutput:
    """What the options ask for.

    Args:
        formats: One or several, with commas between; None for that of the output's name, or else what suits a terminal
            or a pipe.
        output: The file, or for several formats the folder; None for stdout.
        columns: Names of columns with commas between.
        resume: Whether a file goes on.
        results: What is written.
        known: The formats that the command writes.
        by_suffix: The format that a file's name stands for.
        times: How tables say times.

    Returns:
        All of it.

    Raises:
        UsageError: A format or a column is not known, or the options do not go together.
    """
    if formats is not None and "," in formats:
        names = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    else:
        _check_known([formats] if formats is not None else [], known)
        names = (choose_format(formats, output, by_suffix=by_suffix, plain=("table", "jsonl")),)
    _check_known(names, known)
    _check_together(names, output, resume=resume)
    if "parquet" in names:
        from tadacli.formats.parquet import require_parquet

        require_parquet()
    for name in {*names} & SEGMENT_FORMATS.keys():
        SEGMENT_FORMATS[name].require()
    if times != "seconds" and not {*names} & {*TABLES, "parquet", "table"}:
        raise UsageError(f"--times are those of tables, and {names[0]} is none", hint="add --format csv")
    more = tuple(name.strip() for name in columns.split(",") if name.strip()) if columns is not None else ()
    if more:
        from tadacli.formats.tables import CLASSIFICATIONS, DETECTIONS

        if not {*names} & {*TABLES, "parquet"}:
            raise UsageError(f"--columns are those of tables, and {names[0]} is none", hint="add --format csv")
        (CLASSIFICATIONS if results == "classifications" else DETECTIONS).with_columns(more)
    if times != "seconds":
        from tadacli.formats.segment_times import TIME_COLUMNS

        more = (*more, *TIME_COLUMNS[times])
    return AskedOutput(names, output, more, resume, times)


def _check_known(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"choose among {', '.join(known)}"
            raise UsageError(f"there is no format {name!r}", hint=hint)


def _check_together(names: Sequence[str], output: Path | None, *, resume: bool) -> None:
    """Raises `UsageError` for formats that cannot go where they are to go."""
    if not names:
        raise UsageError("--format names no format", hint="give one, or several with commas between: csv,srt")
    if len(names) > 1:
        if "table" in names:
            raise UsageError("a table is for the screen, and several formats are files", hint="leave table out")
        if output is None:
            raise UsageError("several formats make several files", hint="name a folder for them: --output FOLDER")
        return
    if names[0] == "parquet" and output is None:
        raise UsageError("parquet is no text to be shown", hint="give --output FILE.parquet")
    if resume and (output is None or names[0] not in RESUMABLE):
        raise UsageError(
            "--resume continues a file",
            hint=f"give --output FILE in {', '.join(RESUMABLE)}, or several formats and a folder",
        )
