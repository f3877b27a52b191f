"""Options of commands that can have several workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tadacli.cli.help import ENGINE
from tadacli.errors import UsageError
from tadacli.video.stores import is_in_store, place_of

if TYPE_CHECKING:
    from tadacli.cluster.driving import Pool
    from tadacli.cluster.work import Seat, Work

_WRITTEN_BY = "add --engine local, or write to this machine"
EngineName = Literal["local", "ray"]

Engine = Annotated[
    EngineName | None,
    ENGINE.option(
        "--engine",
        help="local: several processes of this machine, each with a model; ray: on all machines of a Ray cluster.",
        show_default=False,
    ),
]
EngineWorkers = Annotated[
    str | None,
    ENGINE.option(
        help="How many; of ray also the least and the most. Default: one, or one for each of --device a,b.",
        metavar="N|MIN:MAX",
    ),
]
Address = Annotated[
    str | None,
    ENGINE.option(
        help="Of ray: auto (the cluster of this machine), local (a new one), ray://HOST:PORT. Default: auto.",
        metavar="ADDRESS",
    ),
]
GpusPerWorker = Annotated[
    float | None,
    ENGINE.option(help="Of ray: GPUs of each, also a part: 0.5. Default: 1, or 0 where there are none.", metavar="N"),
]
CpusPerWorker = Annotated[
    int | None, ENGINE.option(help="Cores and threads of each. Default: of ray 1, of local an equal part.", metavar="N")
]
SplitVideos = Annotated[
    str | None,
    ENGINE.option(
        help="Have several workers search a video that is longer, each so much of it; the bytes stay.", metavar="LENGTH"
    ),
]


@dataclass(frozen=True)
class AskedEngine:
    """An engine and what its workers are to have; `seats` are the places of those on this machine."""

    name: EngineName
    least: int
    most: int
    device: str
    seats: tuple[Seat, ...] = ()
    address: str = "auto"
    gpus: float | None = None
    cpus: int = 1

    def pool(self, work: Work, place: str) -> Pool:
        """Workers for some work, whose results are kept at a place; none is started yet."""
        from tadacli.cluster.work import PATIENCE_SECONDS

        if self.name == "local":
            from tadacli.cluster.local import LocalPool

            return LocalPool(work, place, self.seats, patience_seconds=PATIENCE_SECONDS)
        from tadacli.cluster.on_ray import RayPool

        return RayPool(
            work,
            place if is_in_store(place) else os.path.abspath(place),
            address=self.address,
            least=self.least,
            most=self.most,
            device=self.device,
            gpus=self.gpus,
            cpus=self.cpus,
            patience_seconds=PATIENCE_SECONDS,
        )


def asked_engine(
    engine: EngineName | None,
    workers: str | None,
    *,
    address: str | None,
    gpus: float | None,
    cpus: int | None,
    device: str,
    output: Path | None,
    without: Mapping[str, object],
) -> AskedEngine | None:
    """What the options ask for; None for the command in one process.

    Args:
        engine: --engine.
        workers: --engine-workers.
        address: --address.
        gpus: --gpus-per-worker.
        cpus: --cpus-per-worker.
        device: --device, of which there may be several with commas between.
        output: --output; only workers write to an object store.
        without: Options that mean nothing with an engine, and whether they are given.

    Raises:
        UsageError: They do not go together, or Ray is not installed.
    """
    of_ray = {"--address": address, "--gpus-per-worker": gpus}
    if engine is None:
        of_all = {"--engine-workers": workers, **of_ray, "--cpus-per-worker": cpus}
        for option, given in of_all.items():
            if given is not None:
                raise UsageError(f"{option} says something of an engine", hint="add --engine local, or --engine ray")
        if output is not None and is_in_store(place_of(output)):
            raise UsageError(f"{place_of(output)} is in an object store, to which only workers write", hint=_WRITTEN_BY)
        return None
    for name, value in without.items():
        if value:
            raise UsageError(f"{name} does not go with --engine", hint="leave one of them out")
    if cpus is not None and cpus < 1:
        raise UsageError(f"{cpus} cores compute nothing", hint="give --cpus-per-worker 1 or more")
    if engine == "local":
        for option, given in of_ray.items():
            if given is not None:
                raise UsageError(f"{option} is for --engine ray", hint="--device cuda:0,cuda:1 names the GPUs here")
        seats = _seats(device, workers, cpus)
        return AskedEngine(engine, len(seats), len(seats), device, seats)
    from tadacli.cluster.on_ray import require_ray

    require_ray()
    if "," in device:
        raise UsageError("Ray chooses the GPUs of its workers", hint="leave --device out; see --gpus-per-worker")
    if gpus is not None and gpus < 0:
        raise UsageError(f"{gpus:g} GPUs cannot be", hint="give --gpus-per-worker 0 or more")
    least, most = _range_of(workers or "1")
    return AskedEngine(engine, least, most, device, (), address or "auto", gpus, cpus or 1)


def share_seconds(split_videos: str | None, engine: AskedEngine | None) -> float | None:
    """How much of a video a worker searches at most, None for all of it.

    Raises:
        UsageError: It is no length of time, or there are no workers.
    """
    from tadacli.sampling.settings import parse_length

    if split_videos is None:
        return None
    if engine is None:
        hint = "add --engine local, or --engine ray"
        raise UsageError("--split-videos says something of an engine", hint=hint)
    length = parse_length(split_videos)
    if length.unit != "seconds":
        raise UsageError(f"--split-videos {split_videos} is a number of frames", hint="give a time, such as 30m")
    return length.value


def _range_of(workers: str) -> tuple[int, int]:
    """The least and the most of "4" or "2:8". Raises `UsageError` for anything else."""
    least, colon, most = workers.partition(":")
    bounds = least, (most if colon else least)
    if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in bounds):
        raise UsageError(f"--engine-workers {workers} is no number of workers", hint="give 4, or 2:8")
    low, high = map(int, bounds)
    if low < 1 or high < low:
        raise UsageError(f"{workers} workers can do nothing", hint="give --engine-workers 1 or more, the least first")
    return low, high


def _seats(device: str, workers: str | None, cpus: int | None) -> tuple[Seat, ...]:
    """A place for each worker: they take the devices in turn, and share the cores of a CPU."""
    from tadacli.cluster.work import Seat

    devices = [name.strip() for name in device.split(",") if name.strip()] or ["auto"]
    count, most = (len(devices), len(devices)) if workers is None else _range_of(workers)
    if count != most:
        raise UsageError(f"--engine-workers {workers} is for --engine ray", hint="give one number")
    if count < len(devices):
        raise UsageError(f"{count} workers do not use {len(devices)} devices", hint="give as many workers, or more")
    threads = cpus
    if cpus is None and count > 1 and not os.environ.get("OMP_NUM_THREADS"):
        threads = max(1, (os.cpu_count() or 1) // count)
    return tuple(Seat(number, devices[number % len(devices)], threads) for number in range(count))


def run_folder(output: Path) -> Path:
    """The folder in which what workers have done is kept until it is collected, and after."""
    from tadacli.files import name_with

    return output.with_name(name_with(output.name, ".run"))
