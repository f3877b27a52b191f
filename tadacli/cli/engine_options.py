"""Options of commands that can have several workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tadacli.cli.help import ENGINE
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.cluster.driving import Pool
    from tadacli.cluster.work import Seat, Work

EngineName = Literal["local"]

Engine = Annotated[
    EngineName | None,
    ENGINE.option("--engine", help="local: several processes of this machine, each with a model.", show_default=False),
]
EngineWorkers = Annotated[
    int | None, ENGINE.option(help="How many. Default: one, or one for each of --device a,b.", metavar="N")
]


@dataclass(frozen=True)
class AskedEngine:
    """An engine, and a place for each of its workers."""

    name: EngineName
    seats: tuple[Seat, ...]

    def pool(self, work: Work, place: str) -> Pool:
        """Workers for some work, whose results are kept at a place; none is started yet."""
        from tadacli.cluster.local import LocalPool
        from tadacli.cluster.work import PATIENCE_SECONDS

        return LocalPool(work, place, self.seats, patience_seconds=PATIENCE_SECONDS)


def asked_engine(
    engine: EngineName | None, workers: int | None, *, device: str, without: Mapping[str, object]
) -> AskedEngine | None:
    """What the options ask for; None for the command in one process.

    Args:
        engine: --engine.
        workers: --engine-workers.
        device: --device, of which there may be several with commas between.
        without: Options that mean nothing with an engine, and whether they are given.

    Raises:
        UsageError: They do not go together.
    """
    if engine is None:
        if workers is not None:
            raise UsageError("--engine-workers are those of an engine", hint="add --engine local")
        return None
    for name, value in without.items():
        if value:
            raise UsageError(f"{name} does not go with --engine", hint="leave one of them out")
    return AskedEngine(engine, _seats(device, workers))


def _seats(device: str, workers: int | None) -> tuple[Seat, ...]:
    """A place for each worker: they take the devices in turn, and share the cores of a CPU."""
    from tadacli.cluster.work import Seat

    devices = [name.strip() for name in device.split(",") if name.strip()] or ["auto"]
    count = len(devices) if workers is None else workers
    if count < 1:
        raise UsageError(f"{count} workers can do nothing", hint="give --engine-workers 1 or more")
    if count < len(devices):
        raise UsageError(f"{count} workers do not use {len(devices)} devices", hint="give as many workers, or more")
    threads = None
    if count > 1 and not os.environ.get("OMP_NUM_THREADS"):
        threads = max(1, (os.cpu_count() or 1) // count)
    return tuple(Seat(number, devices[number % len(devices)], threads) for number in range(count))


def run_folder(output: Path) -> Path:
    """The folder in which what workers have done is kept until it is collected, and after."""
    from tadacli.files import name_with

    return output.with_name(name_with(output.name, ".run"))
