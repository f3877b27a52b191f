"""Results that are kept as JSON lines while they come, and files in other formats that are made of them in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeAlias

from tadacli.errors import OutputError
from tadacli.files import companion_of, new_file, refuse_existing, require_folder, write_new, write_once
from tadacli.formats.growing_files import ResultFile
from tadacli.formats.labelled import LabelledVideo, labelled_video
from tadacli.formats.losses import losses
from tadacli.formats.parquet import require_parquet, write_parquet
from tadacli.formats.records import Format
from tadacli.formats.registry import SEGMENT_FORMATS, TABLES, SegmentFormat
from tadacli.formats.rows import AnyRow, DetectionRow
from tadacli.formats.tables import Table, companion, facts_of
from tadacli.formats.video_names import output_names, video_ids
from tadacli.results import Run

ROWS_FILE = "results.jsonl"
# Makes a file, or those of all videos, of the rows, which can be asked for more than once.
Make: TypeAlias = Callable[[Callable[[], Iterator[AnyRow]]], None]


@dataclass(frozen=True)
class Wanted(Generic[AnyRow]):
    """What is to be written: `formats` by name, of which our own are `forms`, with `columns` more than usual in tables.

    The rows are those of `run`; what makes lines of a table of them is `table`.
    """

    formats: Sequence[str]
    forms: Mapping[str, Format[AnyRow]]
    table: Table[AnyRow]
    run: Run
    columns: Sequence[str] = ()

    @property
    def about(self) -> bytes:
        """What the lines of tables have in common."""
        return companion(self.table, [facts_of(self.run)], more=self.columns)


class DerivedFiles(Generic[AnyRow]):
    """Results in JSON lines that grow and resume, of which the other files are made when all videos are done.

    A run that is killed at any time goes on with what the lines hold. With `keep` they stay when all is done.
    """

    def __init__(self, lines: Path, file: ResultFile[AnyRow], make: Sequence[Make[AnyRow]], *, keep: bool) -> None:
        self._lines, self._file, self._make = lines, file, make
        self._keep, self._is_done = keep, False

    @property
    def done(self) -> dict[str, str]:
        """The status of each video whose result is there, by path."""
        return self._file.done

    def add(self, row: AnyRow) -> None:
        """Keep one video's result."""
        self._file.add(row)

    def finish(self, order: Sequence[str]) -> None:
        """Make the files of all results, in the order of the inputs."""
        self._file.finish(order)
        for make in self._make:
            make(self._rows)
        self._is_done = True

    def close(self) -> None:
        """Close the lines; they can be taken up again unless all is done."""
        self._file.close()
        if self._is_done and not self._keep:
            self._lines.unlink(missing_ok=True)

    def _rows(self) -> Iterator[AnyRow]:
        with self._lines.open("rb") as stream:
            for line in stream:
                yield json.loads(line)


def parquet_file(
    file: Path, wanted: Wanted[AnyRow], *, resume: bool, size_of: Callable[[str], int | None]
) -> DerivedFiles[AnyRow]:
    """A Parquet file, whose rows lie beside it until all are there.

    Args:
        file: Its name.
        wanted: What is to be written.
        resume: Whether a run goes on.
        size_of: The size of a video's file by its path.

    Raises:
        OutputError: It is there already, or cannot be written.
        UsageError: pyarrow is not installed.
    """
    require_parquet()
    refuse_existing([file])
    require_folder(file)
    lines = rows_beside(file)
    rows = ResultFile(lines, wanted.forms["jsonl"], run_id=wanted.run.id, resume=resume, size_of=size_of)
    return DerivedFiles(lines, rows, [partial(_make_parquet, file, wanted, False)], keep=False)


def rows_beside(file: Path) -> Path:
    """Where the rows of a file are kept until it is made."""
    return file.with_name(file.name + ".rows.jsonl")


def result_folder(
    folder: Path,
    wanted: Wanted[AnyRow],
    videos: Sequence[str],
    *,
    resume: bool,
    size_of: Callable[[str], int | None],
    on_loss: Callable[[str], object] = str,
) -> DerivedFiles[AnyRow]:
    """A folder of results in several formats, beside `results.jsonl`, which has all that is known.

    Args:
        folder: It need not be there, but the folder that it is in.
        wanted: What is to be written. Formats of one video get a file for each, named after it, the others `results`.
        videos: The paths of all videos.
        resume: Whether a run goes on; files that it made are then made anew or found to be the same.
        size_of: The size of a video's file by its path.
        on_loss: Called in the end with what a format could not hold, in words.

    Raises:
        OutputError: A file is there already, cannot be written, or two videos would have one.
        UsageError: pyarrow is not installed, and Parquet is wanted.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder", hint="several formats make several files: --output FOLDER")
    planned, make = _plan(folder, wanted, videos, resume=resume, on_loss=on_loss)
    if not resume:
        refuse_existing(planned, hint="continue with --resume, give another --output, or remove it")
    if not folder.exists():
        require_folder(folder)
        try:
            folder.mkdir()
        except OSError as error:
            raise OutputError(f"{folder} cannot be made: {error.strerror}", hint="give another --output") from error
    lines = folder / ROWS_FILE
    rows = ResultFile(lines, wanted.forms["jsonl"], run_id=wanted.run.id, resume=resume, size_of=size_of)
    return DerivedFiles(lines, rows, make, keep=True)


def _plan(
    folder: Path,
    wanted: Wanted[AnyRow],
    videos: Sequence[str],
    *,
    resume: bool,
    on_loss: Callable[[str], object],
) -> tuple[list[Path], list[Make[AnyRow]]]:
    """The files there will be, and what makes them."""
    planned: list[Path] = []
    make: list[Make[AnyRow]] = []
    suffixes: set[str] = set()
    for name in wanted.formats:
        if name in SEGMENT_FORMATS:
            form = SEGMENT_FORMATS[name]
            suffix = f".{name}{form.suffix}" if form.suffix in suffixes else form.suffix
            suffixes.add(suffix)
            files = _segment_files(folder, form, suffix, videos)
            planned += dict.fromkeys(files.values())
            make.append(partial(_make_segments, form, files, on_loss))
            continue
        file = folder / f"results.{name}"
        if name == "parquet":
            require_parquet()
            make.append(partial(_make_parquet, file, wanted, resume))
        elif name != "jsonl":
            make.append(partial(_make_rows, file, name, wanted, resume))
        planned += [file, *([companion_of(file)] if name in TABLES else [])]
    return planned, make


def _segment_files(folder: Path, form: SegmentFormat, suffix: str, videos: Sequence[str]) -> dict[str, Path]:
    if form.per_video:
        return {path: folder / name for path, name in output_names(videos, suffix).items()}
    video_ids(videos)  # it could not tell two of one name apart
    return dict.fromkeys(videos, folder / f"results_{form.name}{form.suffix}")


def _make_segments(
    form: SegmentFormat,
    files: Mapping[str, Path],
    on_loss: Callable[[str], object],
    rows: Callable[[], Iterator[DetectionRow]],
) -> None:
    readable = (row for row in rows() if row["status"] != "error")
    groups: Iterator[list[DetectionRow]] = ([row] for row in readable) if form.per_video else iter([list(readable)])
    written: list[LabelledVideo] = []
    for group in groups:
        if group:
            file = files[group[0]["path"]]
            write_once(file, form.encode(group, folder=file.parent))
            written += map(labelled_video, group)
    for text in losses(form, written):
        on_loss(text)


def write_file(
    file: Path, name: str, wanted: Wanted[AnyRow], rows: Callable[[], Iterator[AnyRow]], *, replace: bool
) -> None:
    """Write rows to a file in one of our own formats, a few of them in memory at a time.

    Args:
        file: The file, which is never seen unfinished; a table gets its companion.
        name: The format.
        wanted: What the rows are.
        rows: Gives them, in order.
        replace: Whether the files may be there already.

    Raises:
        OutputError: They are and may not be, or cannot be written.
    """
    if name == "parquet":
        _make_parquet(file, wanted, replace, rows)
    else:
        _make_rows(file, name, wanted, replace, rows)


def _make_rows(
    file: Path, name: str, wanted: Wanted[AnyRow], resume: bool, rows: Callable[[], Iterator[AnyRow]]
) -> None:
    form = wanted.forms[name]
    if name in TABLES:
        write_new(companion_of(file), wanted.about, replace=resume)
    with new_file(file, replace=resume) as stream:
        stream.write(form.head)
        for number, row in enumerate(rows()):
            stream.write((form.separator if number else b"") + form.encode(row).content)
        stream.write(form.tail)


def _make_parquet(file: Path, wanted: Wanted[AnyRow], resume: bool, rows: Callable[[], Iterator[AnyRow]]) -> None:
    with new_file(file, replace=resume) as stream:
        write_parquet(stream, wanted.table, rows(), about=wanted.about, more=wanted.columns)
