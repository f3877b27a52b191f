"""`tada convert`: the segments that were found in the format of another program, or its labels as a table of ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import say, say_note
from tadacli.cli.help import INPUT, OUTPUT
from tadacli.cli.sinks import write_contents
from tadacli.datasets import AnnotationFormat
from tadacli.errors import UsageError
from tadacli.files import refuse_existing
from tadacli.formats.registry import SEGMENT_FORMATS, TABLES, ConvertFormat, TimesName

if TYPE_CHECKING:
    from tadacli.formats.labelled import LabelledVideo


def convert_command(
    results: Annotated[
        Path,
        INPUT.argument(
            help="What tada detect wrote: .json or .jsonl. Or labels or predictions of another program.",
            metavar="RESULTS",
            show_default=False,
        ),
    ],
    to: Annotated[
        ConvertFormat,
        OUTPUT.option(
            help="Subtitles (srt, vtt), a program of editors or annotators, a form of a data set, or our own csv, "
            "json, jsonl. What each can hold: docs/annotation_formats.md.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        OUTPUT.option(
            "--output",
            "-o",
            help="Write here, not to stdout; never overwrites. A folder for the subtitles, labels or "
            "annotations of several videos.",
            metavar="FILE",
            callback=options.file_or_stdout,
        ),
    ] = None,
    data_root: options.LabelsRoot = None,
    tier: options.LabelsTier = None,
    fps: options.LabelsFps = None,
    start_timecode: Annotated[
        str | None,
        INPUT.option(
            help="Timecode of a video's first frame, 01:00:00:00, or 01:00:00;00 in drop-frame form. Default: as its "
            "file says.",
            metavar="TIMECODE",
        ),
    ] = None,
    times: options.Times = "seconds",
    from_format: options.LabelsFormat = None,
) -> None:
    """Convert detected segments, without the video or the model.

    Times in the formats of other programs count from the first
    frame of the video, as its player does.

    Videos that failed have no segments: they are left out, and the
    exit code is then 3. Only csv, json and jsonl keep them.

    Labels of ELAN, BORIS, CVAT, VIA, Label Studio, ActivityNet and others
    go to any of these formats, or with --to csv to a table for finetune.
    What a format cannot hold is counted.
    """
    from tadacli.datasets.recognising import are_labels
    from tadacli.formats.labelled import labelled_video
    from tadacli.formats.results import read_detections
    from tadacli.formats.segment_files import convert
    from tadacli.results import counted

    if to == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("parquet is no text to be shown", hint="give --output FILE.parquet")
    _check_times(to, times=times, start_timecode=start_timecode)
    counting = Counting(fps, start_timecode, times)
    if from_format is not None or are_labels(results):
        _convert_labels(results, to, output, data_root, tier or None, counting, from_format)
        return
    if data_root is not None or tier or (fps is not None and times == "seconds" and not _counts_frames(to)):
        raise UsageError(
            f"{results} is what tada detect wrote", hint="leave out --data-root, --tier and --fps, which are for labels"
        )
    rows = read_detections(results)
    contents = convert(rows, to, output, fps=fps, start_timecode=start_timecode, times=times)
    write_contents(contents, named=output)
    # Our own formats say all of it themselves.
    failed = [row for row in rows if row["status"] == "error" and to in SEGMENT_FORMATS]
    videos = [labelled_video(row, fps=fps, start_timecode=start_timecode) for row in rows if row["status"] != "error"]
    _say_losses(to, videos)
    _say_clock(videos, times)
    if contents and output is not None:
        say(f"{counted(len(rows) - len(failed), 'videos')} written to {output}")
    for row in rows if to in SEGMENT_FORMATS else ():
        if row["status"] == "error":
            say(f"left out: {row['path']}: {row['error']}")
        elif row["gaps"]:
            say_note(f"{row['path']}: {counted(len(row['gaps']), 'spans')} could not be read, which {to} does not say")
    if failed:
        raise typer.Exit(exits.SOME_FAILED)


@dataclass(frozen=True)
class Counting:
    """How frames are counted: at which rate and from which timecode, None for those of each video, and where."""

    fps: float | None
    start_timecode: str | None
    times: TimesName


def _check_times(to: ConvertFormat, *, times: TimesName, start_timecode: str | None) -> None:
    """Raises `UsageError` for options that mean nothing in this format."""
    if times != "seconds" and to not in (*TABLES, "parquet"):
        raise UsageError(f"--times are those of tables, and {to} is none", hint="leave it out, or take --to csv")
    if start_timecode is None:
        return
    if times != "timecode" and not (to in SEGMENT_FORMATS and SEGMENT_FORMATS[to].holds.timecode):
        raise UsageError(f"{to} has no timecode", hint="leave --start-timecode out, or add --times timecode to a table")


def _counts_frames(to: ConvertFormat) -> bool:
    return to in SEGMENT_FORMATS and SEGMENT_FORMATS[to].holds.frames


def _convert_labels(
    file: Path,
    to: ConvertFormat,
    output: Path | None,
    data_root: Path | None,
    tiers: list[str] | None,
    counting: Counting,
    kind: AnnotationFormat | None,
) -> None:
    from tadacli.datasets.annotations import read_annotations
    from tadacli.datasets.label_table import label_table
    from tadacli.datasets.label_videos import label_videos
    from tadacli.formats.segment_files import convert_labels

    if to != "csv" and to not in SEGMENT_FORMATS:
        raise UsageError(
            f"{file} holds labels, and {to} is what tada detect writes", hint="--to csv makes a table of labels"
        )
    if output is not None and to == "csv":
        refuse_existing([output])
    fps = counting.fps
    read = read_annotations(file, data_root=data_root, tiers=tiers, fps=fps, kind=kind)
    found = label_videos(read, fps=fps, start_timecode=counting.start_timecode, keep_open=to == "csv")
    if to == "csv":
        columns = found.time_columns(counting.times)
        contents: dict[Path | None, bytes] = {output: label_table(read, left_out=found.left_out, times=columns)}
    else:
        contents = convert_labels(found.videos, SEGMENT_FORMATS[to], output)
    write_contents(contents, named=output)
    for remark in (*map(str, read.remarks), *found.remarks):
        say_note(remark)
    for span in found.left_out:
        say(f"left out: {span.place}: {span.reason}")
    _say_losses(to, found.videos)
    _say_clock(found.videos, counting.times)
    where = f" to {output}" if output else ""
    say(f"{len(read.spans) - len(found.left_out)} of {len(read.spans)} labels written{where}")
    if found.left_out:
        raise typer.Exit(exits.SOME_FAILED)


def _say_clock(videos: Sequence[LabelledVideo], times: TimesName) -> None:
    from tadacli.formats.segment_times import times_note

    for video in videos:
        if note := times_note(video, times):
            say_note(note)


def _say_losses(to: ConvertFormat, videos: Sequence[LabelledVideo]) -> None:
    from tadacli.formats.losses import losses

    for text in losses(SEGMENT_FORMATS[to], videos) if to in SEGMENT_FORMATS else ():
        say(text)
