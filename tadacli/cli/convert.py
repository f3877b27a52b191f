"""`tada convert`: the segments that were found, in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadacli.cli import exits
from tadacli.cli.console import say
from tadacli.cli.sinks import write_contents
from tadacli.formats.registry import SEGMENT_FORMATS, ConvertFormat


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
    from tadacli.formats.results import read_detections
    from tadacli.formats.segment_files import convert

    rows = read_detections(results)
    contents = convert(rows, to, output)
    write_contents(contents, named=output)
    # Our own formats say all of it themselves.
    failed = [row for row in rows if row["status"] == "error" and to in SEGMENT_FORMATS]
    if contents and output is not None:
        say(f"{_count(len(rows) - len(failed), 'video')} written to {output}")
    for row in rows if to in SEGMENT_FORMATS else ():
        if row["status"] == "error":
            say(f"left out: {row['path']}: {row['error']}")
        elif row["gaps"]:
            say(f"note: {row['path']}: {_count(len(row['gaps']), 'span')} could not be read, which {to} does not say")
    if failed:
        raise typer.Exit(exits.SOME_FAILED)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
