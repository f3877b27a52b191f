"""`tada collect`: what workers have done, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tadacli.cli import exits, options
from tadacli.cli.asked_output import RESUMABLE, asked_output
from tadacli.cli.console import be_quiet, say
from tadacli.cli.help import INPUT, OUTPUT
from tadacli.errors import UsageError
from tadacli.formats.registry import CLASSIFY_SUFFIXES
from tadacli.video.stores import place_of

Run = Annotated[Path, INPUT.argument(help="The folder beside the output of a command with --engine.", metavar="RUN")]
Format = Annotated[
    str | None,
    OUTPUT.option(
        "--format",
        help=f"{', '.join(RESUMABLE)}. Default: by the name of --output.",
        metavar="FORMAT",
    ),
]


def collect_command(
    run: Run,
    output: options.Output = None,
    output_format: Format = None,
    columns: options.Columns = None,
    quiet: options.Quiet = False,
) -> None:
    """Write what the workers of an engine have done as one file.

    The file is that of a command without an engine, to the byte: inputs in
    their order, each once. The command does this itself in the end; here
    it is done again in another format, or on another machine.

    The exit code is 3 if some inputs failed, as it is of the command.
    """
    be_quiet(quiet)
    if output is None:
        raise UsageError("tada collect writes a file", hint="name it: --output FILE")
    from tadacli.cluster.collecting import collect, require_begun
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.stores import open_store
    from tadacli.results import counted

    ledger = Ledger(open_store(place_of(run)))
    results: Literal["classifications", "detections"] = (
        "detections" if require_begun(ledger).kind == "detect" else "classifications"
    )
    to = asked_output(
        output_format,
        output,
        columns,
        resume=False,
        results=results,
        known=RESUMABLE,
        by_suffix=CLASSIFY_SUFFIXES,
    )
    counts = collect(ledger, output, form=to.format, columns=to.columns)
    say(f"{counted(sum(counts.values()), 'results')} in {place_of(output)}")
    if counts.get("error") or counts.get("partial"):
        raise typer.Exit(exits.SOME_FAILED)
