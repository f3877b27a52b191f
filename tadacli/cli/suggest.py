"""`tada suggest`: which spans of videos a person should label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from tadacli.cli import exits, options
from tadacli.cli.asked_output import AskedOutput, asked_output
from tadacli.cli.console import be_quiet, say, say_note, suggestion_table
from tadacli.cli.help import INPUT, OUTPUT, SEGMENTS
from tadacli.cli.sinks import TableSink, write_contents
from tadacli.errors import UsageError
from tadacli.files import check_new_files
from tadacli.formats.registry import DETECT_SUFFIXES, DetectFormat

if TYPE_CHECKING:
    from tadacli.detection.suggesting import Suggestions
    from tadacli.formats.registry import ConvertFormat
    from tadacli.formats.rows import DetectionRow


def suggest_command(
    sources: Annotated[
        list[Path],
        INPUT.argument(
            help="What tada detect --save-scores kept, .npz; or one file of its results, .json or .jsonl.",
            metavar="SCORES|RESULTS",
            show_default=False,
        ),
    ],
    budget: Annotated[int, SEGMENTS.option(help="How many spans you would label.", metavar="N")] = 20,
    span: Annotated[
        str | None, SEGMENTS.option(help="How long a span of scores is. Default: 4s.", metavar="LENGTH")
    ] = None,
    labelled: Annotated[
        Path | None,
        INPUT.option(help="What is labelled already, as for tada finetune --data.", metavar="FILE"),
    ] = None,
    data_root: Annotated[
        Path | None, INPUT.option(help="Of --labelled: the folder with the videos. Default: its own.", metavar="FOLDER")
    ] = None,
    report: Annotated[
        Path | None, OUTPUT.option(help="Also write a page to label the spans in.", metavar="FILE.html")
    ] = None,
    output_format: Annotated[
        str | None,
        OUTPUT.option(
            "--format",
            help="One of those of tada detect. Default: by the name of --output, else table on a terminal, jsonl in a "
            "pipe.",
            metavar="FORMAT",
        ),
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Say which spans of videos to label next, so that a model learns most.

    Those count that the model is in doubt about; more, the fewer examples
    of their labels there are; less, the more of their video are chosen.
    Labels in the output are guesses; training leaves them out until a
    person has checked or corrected them on the page.

    With scores, spans in which nothing was found count, too. A video that
    could not be searched has none, and the exit code is then 3.
    """
    be_quiet(quiet)
    asked = asked_output(
        output_format,
        output,
        None,
        resume=False,
        results="detections",
        known=get_args(DetectFormat),
        by_suffix=DETECT_SUFFIXES,
    )
    if not asked.is_single:
        raise UsageError("suggestions are written in one format", hint="tada convert turns them into others")
    if report is not None and report.suffix.lower() != ".html":
        raise UsageError(f"--report {report} has another ending", hint=f"name it {report.with_suffix('.html')}")
    check_new_files([file for file in (report, output) if file is not None and not file.is_dir()])
    from tadacli.detection.suggesting import suggest

    found = suggest(
        sources,
        budget=budget,
        span_seconds=None if span is None else options.length_seconds("--span", span),
        labelled=labelled,
        data_root=data_root,
    )
    _write(found, asked)
    if report is not None:
        from tadacli.files import write_new
        from tadacli.reports.suggestion_page import suggestion_page

        page, notes = suggestion_page(found.rows, labels=found.labels, page_path=report)
        write_new(report, page)
        for note in notes:
            say_note(note)
    _summarise(found, budget)
    if found.failed:
        raise typer.Exit(exits.SOME_FAILED)


def _write(found: Suggestions, asked: AskedOutput) -> None:
    if asked.format == "table":
        sink: TableSink[DetectionRow] = TableSink(asked.output, lambda rows, width: suggestion_table(rows, width=width))
        for row in found.rows:
            sink.add(row)
        sink.finish([])
        return
    from tadacli.formats.segment_files import convert

    to = cast("ConvertFormat", asked.format)
    write_contents(convert(found.rows, to, asked.output), named=asked.output)


def _summarise(found: Suggestions, budget: int) -> None:
    from tadacli.results import counted

    for path, error in found.failed:
        say(f"error: {path}: {error}", always=True)
    for remark in found.remarks:
        say_note(remark)
    videos = f"{len(found.rows)} of {counted(found.num_videos, 'videos')}"
    less = "" if len(found.choices) == budget else f"; there is no more to be had of {budget}"
    say(f"{counted(len(found.choices), 'spans')} to label, in {videos}{less}")
