"""Assembles the commands, and turns known errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tadacli.cli import exits
from tadacli.cli.bench import bench_command
from tadacli.cli.classify import classify_command
from tadacli.cli.console import be_quiet, print_error, say
from tadacli.cli.convert import convert_command
from tadacli.cli.detect import detect_command
from tadacli.cli.doctor import doctor_command
from tadacli.cli.eval import eval_command
from tadacli.cli.features import features_command
from tadacli.cli.fetch import fetch_command
from tadacli.cli.finetune import finetune_command
from tadacli.cli.models import models_command
from tadacli.errors import TadaError
from tadacli.version import __version__

app = typer.Typer(
    name="tada",
    help="Find out what happens in a video, and when.",
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 some inputs failed, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts twice as fast, and goes through pipes and narrow windows
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("classify")(classify_command)
app.command("detect")(detect_command)
app.command("features")(features_command)
app.command("convert")(convert_command)
app.command("eval")(eval_command)
app.command("finetune")(finetune_command)
app.command("fetch")(fetch_command)
app.command("models")(models_command)
app.command("doctor")(doctor_command)
app.command("bench")(bench_command)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"tada {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Find out what happens in a video, and when."""


def run() -> int:
    """Run the command that the process was started with; returns the exit code."""
    be_quiet(False)  # until the command knows its options
    try:
        app()
    except TadaError as error:
        if os.environ.get("TADA_DEBUG") == "1":
            raise
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except SystemExit as exit_request:
        code = exit_request.code if isinstance(exit_request.code, int) else 1
        if code == exits.USAGE:
            _hint_at_files(sys.argv[1:])
        return code
    return 0


def _hint_at_files(arguments: Sequence[str]) -> None:
    """Says how to write the name of a file that begins like an option."""
    from tadacli.video.inputs import is_video_name

    end = arguments.index("--") if "--" in arguments else len(arguments)
    for argument in arguments[:end]:
        if len(argument) > 1 and argument.startswith("-") and (os.path.lexists(argument) or is_video_name(argument)):
            say(f"hint: for the file {argument} write ./{argument}", always=True)
