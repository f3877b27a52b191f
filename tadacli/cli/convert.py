"""`tada convert`: the segments that were found in the format of another program, or its labels as a table of ours."""

from __future__ import annotations

from collections.abc import Sequence
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
from tadacli.formats.registry import SEGMENT_FORMATS, ConvertFormat

if TYPE_CHECKING:
    from tadacli.formats.labelled import LabelledVideo

_BEGINNING = 4096


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
            help="Subtitles (srt, vtt), a program of annotators, a form of a data set, or our own csv, json, jsonl. "
            "What each can hold: docs/annotation_formats.md.",
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
    data_root: Annotated[
        Path | None, INPUT.option(help="Of labels: the folder with the videos. Default: theirs.", metavar="FOLDER")
    ] = None,
    tier: Annotated[
        list[str] | None, INPUT.option(help="Of labels: the tier that counts; may be repeated.", metavar="NAME")
    ] = None,
    fps: Annotated[
        float | None,
        INPUT.option(help="Where frames are counted: at this rate. Default: each video's own.", metavar="RATE"),
    ] = None,
    from_format: Annotated[
        AnnotationFormat | None,
        INPUT.option(help="Of labels: how they are written. Default: as their content says.", show_default=False),
    ] = None,
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
    from tadacli.formats.labelled import labelled_video
    from tadacli.formats.results import read_detections
    from tadacli.formats.segment_files import convert
    from tadacli.results import counted

    if from_format is not None or _holds_labels(results):
        _convert_labels(results, to, output, data_root, tier or None, fps, from_format)
        return
    if data_root is not None or tier or (fps is not None and not _counts_frames(to)):
        raise UsageError(
            f"{results} is what tada detect wrote", hint="leave out --data-root, --tier and --fps, which are for labels"
        )
    rows = read_detections(results)
    contents = convert(rows, to, output, fps=fps)
    write_contents(contents, named=output)
    # Our own formats say all of it themselves.
    failed = [row for row in rows if row["status"] == "error" and to in SEGMENT_FORMATS]
    _say_losses(to, [labelled_video(row, fps=fps) for row in rows if row["status"] != "error"])
    if contents and output is not None:
        say(f"{counted(len(rows) - len(failed), 'videos')} written to {output}")
    for row in rows if to in SEGMENT_FORMATS else ():
        if row["status"] == "error":
            say(f"left out: {row['path']}: {row['error']}")
        elif row["gaps"]:
            say_note(f"{row['path']}: {counted(len(row['gaps']), 'spans')} could not be read, which {to} does not say")
    if failed:
        raise typer.Exit(exits.SOME_FAILED)


def _counts_frames(to: ConvertFormat) -> bool:
    return to in SEGMENT_FORMATS and SEGMENT_FORMATS[to].holds.frames


def _holds_labels(path: Path) -> bool:
    """Whether it is not what `tada detect` wrote but labels; for the former nothing heavy is loaded."""
    from tadacli.formats.results import is_detect_results

    try:
        with path.open("rb") as file:
            if is_detect_results(file.read(_BEGINNING)):
                return False
    except OSError:  # a folder, or a file of which the reader says what is wrong
        pass
    from tadacli.datasets.label_table import holds_labels

    return holds_labels(path)


def _convert_labels(
    file: Path,
    to: ConvertFormat,
    output: Path | None,
    data_root: Path | None,
    tiers: list[str] | None,
    fps: float | None,
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
    read = read_annotations(file, data_root=data_root, tiers=tiers, fps=fps, kind=kind)
    found = label_videos(read, fps=fps, keep_open=to == "csv")
    if to == "csv":
        contents: dict[Path | None, bytes] = {output: label_table(read, left_out=found.left_out)}
    else:
        contents = convert_labels(found.videos, SEGMENT_FORMATS[to], output)
    write_contents(contents, named=output)
    for remark in (*map(str, read.remarks), *found.remarks):
        say_note(remark)
    for span in found.left_out:
        say(f"left out: {span.place}: {span.reason}")
    _say_losses(to, found.videos)
    where = f" to {output}" if output else ""
    say(f"{len(read.spans) - len(found.left_out)} of {len(read.spans)} labels written{where}")
    if found.left_out:
        raise typer.Exit(exits.SOME_FAILED)


def _say_losses(to: ConvertFormat, videos: Sequence[LabelledVideo]) -> None:
    from tadacli.formats.losses import losses

    for text in losses(SEGMENT_FORMATS[to], videos) if to in SEGMENT_FORMATS else ():
        say(text)
