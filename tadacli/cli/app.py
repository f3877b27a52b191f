"""Assembles the commands, and turns known errors into messages and exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from tadacli.cli import exits
from tadacli.cli.bench import bench_command
from tadacli.cli.classify import classify_command
from tadacli.cli.clip import clip_command
from tadacli.cli.collect import collect_command
from tadacli.cli.console import be_quiet, print_error
from tadacli.cli.convert import convert_command
from tadacli.cli.detect import detect_command
from tadacli.cli.doctor import doctor_command
from tadacli.cli.eval import eval_command
from tadacli.cli.examples import examples_text
from tadacli.cli.export import export_command
from tadacli.cli.features import features_command
from tadacli.cli.fetch import fetch_command
from tadacli.cli.finetune import finetune_command
from tadacli.cli.help import Command, Group
from tadacli.cli.models import models_command
from tadacli.cli.suggest import suggest_command
from tadacli.errors import TadaError
from tadacli.version import __version__

app = typer.Typer(
    name="tada",
    cls=Group,
    help="""Find out what happens in a video, and when.

    Exit codes: 0 done, 1 error, 2 usage, 3 some inputs failed, 130 interrupted.""",
    epilog=examples_text(""),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's help takes 1.5 times as long to start; ours goes through pipes and narrow windows
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Videos": {
        "classify": classify_command,
        "detect": detect_command,
        "features": features_command,
        "convert": convert_command,
        "clip": clip_command,
        "suggest": suggest_command,
        "collect": collect_command,
    },
    "Models": {
        "models": models_command,
        "fetch": fetch_command,
        "finetune": finetune_command,
        "eval": eval_command,
        "export": export_command,
    },
    "This machine": {"doctor": doctor_command, "bench": bench_command},
}
for _panel, _commands in _COMMANDS.items():
    for _name, _function in _commands.items():
        app.command(_name, cls=Command, epilog=examples_text(_name), rich_help_panel=_panel)(_function)


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
    """What stands before the command."""


def run() -> int:
    """Run the command that the process was started with; returns the exit code."""
    be_quiet(False)  # until the command knows its options
    try:
        app(prog_name="tada")
    except TadaError as error:
        if os.environ.get("TADA_DEBUG") == "1":
            raise
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except SystemExit as exit_request:
        return exit_request.code if isinstance(exit_request.code, int) else 1
    return 0
