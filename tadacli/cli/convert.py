"""`tada convert`: the segments that were found, in the format of another program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tadacli.cli import exits
from tadacli.cli.console import say

if TYPE_CHECKING:
    from tadacli.formats.rows import DetectionRow

ConvertFormat = Literal["srt", "vtt", "audacity", "eaf", "activitynet", "epic", "csv", "json", "jsonl"]


def convert_command(
    results: Annotated[
        Path,
        typer.Argument(help="What tada detect wrote: .json or .jsonl.", metavar="RESULTS", show_default=False),
    ],
    to: Annotated[
        ConvertFormat,
        typer.Option(
            help="Subtitles (srt, vtt), Audacity labels, ELAN (eaf), ActivityNet or EPIC-KITCHENS predictions, "
            "or our own csv, json, jsonl.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write here, not to stdout; never overwrites. A folder for the subtitles, labels or "
            "annotations of several videos.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Convert detected segments, without the video or the model.

    Times in the formats of other programs count from the first
    frame of the video, as its player does.

    Videos that failed have no segments: they are left out, and the
    exit code is then 3. Only csv, json and jsonl keep them.
    """
    from tadacli.formats.records import DETECTION_FORMATS
    from tadacli.formats.results import read_detections

    rows = read_detections(results)
    if to in DETECTION_FORMATS:
        _write_rows(rows, to, output)
    else:
        _write_segments(rows, to, output)


def _write_rows(rows: list[DetectionRow], to: str, output: Path | None) -> None:
    """The same bytes as `tada detect` gives in this format."""
    from tadacli.files import write_new
    from tadacli.formats.records import DETECTION_FORMATS, ONE_DETECTION_JSON

    form = ONE_DETECTION_JSON if to == "json" and len(rows) == 1 else DETECTION_FORMATS[to]
    content = form.head + form.separator.join(form.encode(row).content for row in rows) + form.tail
    if output is None:
        _write_stdout(content)
    else:
        write_new(output, content)
        say(f"{_count(len(rows), 'video')} written to {output}")


def _write_segments(rows: list[DetectionRow], to: str, output: Path | None) -> None:
    """A format of another program; leaves with exit code 3 if a video has nothing to write."""
    from tadacli.formats.registry import SEGMENT_FORMATS, plan_files, write_segments

    form = SEGMENT_FORMATS[to]
    readable = [row for row in rows if row["status"] != "error"]
    if output is not None:
        if write_segments(form, rows, output):
            say(f"{_count(len(readable), 'video')} written to {output}")
    else:
        plan_files(form, [row["path"] for row in rows], None)
        if readable:
            _write_stdout(form.encode(readable))
    for row in rows:
        if row["status"] == "error":
            say(f"left out: {row['path']}: {row['error']}")
        elif row["gaps"]:
            say(f"note: {row['path']}: {_count(len(row['gaps']), 'span')} could not be read, which {to} does not say")
    if len(readable) < len(rows):
        raise typer.Exit(exits.SOME_FAILED)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _write_stdout(content: bytes) -> None:
    left = memoryview(content)
    try:
        while left:  # an unbuffered stdout takes what a pipe takes
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        exits.leave_closed_pipe()
