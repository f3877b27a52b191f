"""Options of commands that can have several workers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tadacli.cli.help import ENGINE
from tadacli.errors import UsageError

EngineName = Literal["local"]

Engine = Annotated[
    EngineName | None,
    ENGINE.option("--engine", help="local: several processes of this machine, each with a model.", show_default=False),
]
EngineWorkers = Annotated[
    int | None, ENGINE.option(help="How many. Default: one, or one for each of --device a,b.", metavar="N")
]


def run_folder(output: Path) -> Path:
    """The folder in which what workers have done is kept until it is collected, and after."""
    from tadacli.files import name_with

    return output.with_name(name_with(output.name, ".run"))


def refuse_engine_options(engine: EngineName | None, workers: int | None) -> None:
    """Raises `UsageError` for options of an engine without one."""
    if engine is None and workers is not None:
        raise UsageError("--engine-workers are those of an engine", hint="add --engine local")
