"""Where a command's rows go: a table for the person, a stream into a pipe, or a file that can be resumed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

import typer

from tadacli.cli import exits
from tadacli.cli.console import detection_table, say
from tadacli.cli.exits import write_stdout
from tadacli.errors import TadaError, UsageError
from tadacli.files import check_new_files, held_file, write_new
from tadacli.formats.registry import SEGMENT_FORMATS, TABLES, SegmentFormat

if TYPE_CHECKING:
    from tadacli.cli.asked_output import AskedOutput
    from tadacli.detection.jobs import DetectionJob
    from tadacli.formats.derived_files import Wanted
    from tadacli.formats.labelled import LabelledVideo
    from tadacli.formats.rows import ClassificationRow, DetectionRow, Row
    from tadacli.results import Run

TABLE_FILE_WIDTH = 120
Name = TypeVar("Name", bound=str)
# As in `formats.rows`, which is not loaded before there are rows.
AnyRow = TypeVar("AnyRow", bound="Row")
RowTaken = TypeVar("RowTaken", bound="Row", contravariant=True)


class Sink(Protocol[RowTaken]):
    """Takes rows as they come; `done` are the videos it already holds, with their status."""

    @property
    def done(self) -> dict[str, str]:
        """Nothing, unless it can be resumed."""
        return {}

    def add(self, row: RowTaken) -> None:
        """Take a row."""

    def finish(self, order: Sequence[str]) -> None:
        """All rows are there; `order` is that of the inputs."""

    def close(self) -> None:
        """Leave what there is, whether it was finished or not."""
        return


def choose_format(
    asked: Name | None, output: Path | None, *, by_suffix: Mapping[str, Name], plain: tuple[Name, Name]
) -> Name:
    """The format asked for, or that of the output's name, or of `plain` what suits a terminal or a pipe."""
    if asked is not None:
        chosen = asked
    elif output is None:
        chosen = plain[0] if sys.stdout.isatty() else plain[1]
    elif output.suffix.lower() in by_suffix:
        chosen = by_suffix[output.suffix.lower()]
    else:
        *names, last = dict.fromkeys(by_suffix.values())
        known = f"{', '.join(names)} or {last}"
        raise UsageError(f"the format of {output} is not clear from its name", hint=f"add --format {known}")
    return chosen


def open_classification_sink(
    asked: AskedOutput,
    run: Run,
    videos: Sequence[str],
    render_table: Callable[[Sequence[ClassificationRow], int | None], str],
) -> Sink[ClassificationRow]:
    """The sink of `tada classify`. Raises `OutputError` if the output cannot be written or is not to be."""
    from tadacli.formats.derived_files import Wanted
    from tadacli.formats.row_formats import classification_formats
    from tadacli.formats.tables import CLASSIFICATIONS

    forms = classification_formats(columns=asked.columns)
    return _open_sink(asked, Wanted(asked.formats, forms, CLASSIFICATIONS, run, asked.columns), videos, render_table)


def open_detection_sink(asked: AskedOutput, job: DetectionJob) -> Sink[DetectionRow]:
    """The sink of `tada detect`. Raises `OutputError` as for `tada classify`, `UsageError` for an unfit model."""
    from tadacli.formats.derived_files import Wanted
    from tadacli.formats.epic_detection import require_action_heads
    from tadacli.formats.row_formats import detection_formats
    from tadacli.formats.tables import DETECTIONS

    if "epic" in asked.formats:
        require_action_heads(job.spec.heads)
    if asked.is_single and asked.format in SEGMENT_FORMATS:
        return SegmentSink(SEGMENT_FORMATS[asked.format], job.videos, asked.output)
    title = f"{job.spec.name}, {job.spec.task}, windows of {job.run.settings['window']}"

    def render_table(rows: Sequence[DetectionRow], width: int | None) -> str:
        return detection_table(rows, title=title, width=width, times=asked.times)

    forms = detection_formats(num_videos=len(job.videos), columns=asked.columns)
    wanted = Wanted(asked.formats, forms, DETECTIONS, job.run, asked.columns)
    return _open_sink(asked, wanted, job.videos, render_table)


def _open_sink(
    asked: AskedOutput,
    wanted: Wanted[AnyRow],
    videos: Sequence[str],
    render_table: Callable[[Sequence[AnyRow], int | None], str],
) -> Sink[AnyRow]:
    if asked.format == "table":
        return TableSink(asked.output, render_table)
    from tadacli.formats.derived_files import parquet_file, result_folder
    from tadacli.formats.growing_files import ResultFile, ResultStream
    from tadacli.video.inputs import file_size

    if asked.output is None:
        return ResultStream(write_stdout, wanted.forms[asked.format])
    if not asked.is_single:
        return result_folder(asked.output, wanted, videos, resume=asked.resume, size_of=file_size, on_loss=say)
    if asked.format == "parquet":
        return parquet_file(asked.output, wanted, resume=asked.resume, size_of=file_size)
    return ResultFile(
        asked.output,
        wanted.forms[asked.format],
        run_id=wanted.run.id,
        resume=asked.resume,
        size_of=file_size,
        companion=wanted.about if asked.format in TABLES else None,
    )


def write_results(rows: Generator[AnyRow, None, None], sink: Sink[AnyRow], videos: Sequence[str]) -> dict[str, str]:
    """Hand the sink the rows of the videos it does not hold yet, as they come; the status of every video by path.

    What the sink has is kept when the command is interrupted, or nobody reads its output any more; then it exits.
    """
    from tadacli.profiling import Stage, during
    from tadacli.results import out_of

    done = sink.done
    statuses = {path: done[path] for path in videos if path in done}
    if statuses:
        say(f"resuming: {out_of(len(statuses), len(videos), 'videos', 'are done')}")
    try:
        with closing(rows):
            for row in rows:
                with during(Stage.OUTPUT):
                    sink.add(row)
                statuses[row["path"]] = row["status"]
        with during(Stage.OUTPUT):
            sink.finish(videos)
    except KeyboardInterrupt:
        say(
            f"interrupted: {out_of(len(statuses), len(videos), 'videos', 'are done')}; "
            "--resume goes on, where --output is a file of our own formats or a folder for several",
            always=True,
        )
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        exits.leave_closed_pipe()
    finally:
        sink.close()
    return statuses


def summarise(statuses: Mapping[str, str], what: str, *, part: str, output: Path | None) -> None:
    """Say how many videos there were, and of how many it is not the whole: `part` says why."""
    summarise_counts(Counter(statuses.values()), what, part=part, output=output)


def summarise_counts(counts: Mapping[str, int], what: str, *, part: str, output: Path | str | None) -> None:
    """The same of the number of videos of each status."""
    from tadacli.results import out_of

    total, failed = sum(counts.values()), counts.get("error", 0)
    partial = counts.get("short", 0) + counts.get("partial", 0)
    parts = [out_of(total - failed, total, "videos", what)]
    parts += [f"{partial} {part}"] if partial else []
    parts += [f"{failed} failed"] if failed else []
    where = f", results in {output}" if output else ""
    say("; ".join(parts) + where)


class TableSink(Sink[AnyRow]):
    """Keeps the rows for one table, shown when they are all there or the command is interrupted."""

    def __init__(self, output: Path | None, render: Callable[[Sequence[AnyRow], int | None], str]) -> None:
        self._output, self._render = output, render
        self._rows: list[AnyRow] = []
        self._held: BinaryIO | None = None
        if output is not None:
            check_new_files([output])
            self._held = held_file(output, create=True, resume=False)  # the name is taken before the work is done

    def add(self, row: AnyRow) -> None:
        """Keep a row."""
        self._rows.append(row)

    def finish(self, order: Sequence[str]) -> None:  # noqa: ARG002 - rows came in this order
        """Show the table."""
        if self._output is None:
            write_stdout(self._render(self._rows, None).encode(), is_styled=True)
        else:
            write_new(self._output, self._render(self._rows, TABLE_FILE_WIDTH).encode(), replace=True)
            self._release()
        self._rows = []

    def close(self) -> None:
        """Show what there is if `finish` was not reached."""
        if self._rows:
            self.finish([])
        if self._output is not None and self._held is not None:
            self._output.unlink(missing_ok=True)
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
        self._held = None


class SegmentSink(Sink["DetectionRow"]):
    """Segments in a format that other programs take: a file for each video as it is done, or one for all."""

    def __init__(self, form: SegmentFormat, paths: Sequence[str], output: Path | None) -> None:
        from tadacli.formats.derived_files import rows_beside
        from tadacli.formats.segment_files import plan_files

        self._form, self._files = form, plan_files(form, paths, output)
        self._beside = None if output is None else rows_beside(output)
        check_new_files([] if self._beside is None else [self._beside])
        self._rows: list[DetectionRow] = []
        self._written: list[LabelledVideo] = []
        self._refused: list[tuple[DetectionRow, TadaError]] = []

    def add(self, row: DetectionRow) -> None:
        """Write the file of one video, or keep its row for the one of all.

        A video that the format has no place for is kept for the end: the others are searched first.
        """
        from tadacli.formats.labelled import labelled_video

        if not self._form.per_video:
            self._rows.append(row)
        elif (error := self._write([row])) is not None:
            self._refused.append((row, error))
            return
        self._written += [labelled_video(row)] if row["status"] != "error" else []

    def finish(self, order: Sequence[str]) -> None:  # noqa: ARG002 - rows came in this order
        """Write the file of all videos, and say what the format could not hold.

        Raises:
            TadaError: It had no place for what was found in some videos, which then is in a file beside the output.
        """
        from tadacli.formats.losses import losses

        refused = self._write(self._rows)
        for text in losses(self._form, self._written if refused is None else ()):
            say(text)
        self._refused += [(row, refused) for row in self._rows] if refused is not None else []
        if self._refused:
            raise self._kept_beside()

    def _write(self, rows: Sequence[DetectionRow]) -> TadaError | None:
        """Writes the files of some videos, or gives the reason why the format cannot hold what was found in them."""
        from tadacli.formats.segment_files import encode_files

        try:
            contents = encode_files(self._form, rows, self._files)
        except TadaError as error:
            return error
        write_contents(contents)
        return None

    def _kept_beside(self) -> TadaError:
        """Keeps what the format could not hold as rows, if there is an output to keep it beside; the error about it."""
        from tadacli.formats.row_formats import DETECTION_FORMATS, encode_all
        from tadacli.results import counted

        rows, error = [row for row, _ in self._refused], self._refused[0][1]
        if self._beside is None:
            return error
        write_new(self._beside, encode_all(DETECTION_FORMATS["jsonl"], rows))
        where = rows[0]["path"] if len(rows) == 1 else counted(len(rows), "videos")
        return type(error)(error.message, hint=f"what was found in {where} is in {self._beside}; {error.hint}")


def write_contents(contents: Mapping[Path | None, bytes], *, named: Path | None = None) -> None:
    """Write files whole, and what has no file to stdout. The folder of a file is made, unless it was `named` itself."""
    from tadacli.formats.segment_files import write_file

    for file, content in contents.items():
        if file is None:
            write_stdout(content)
        else:
            write_file(file, content, make_folder=file != named)
