"""The processes that train together, as `torchrun` starts them; one process is the usual case."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tadacli.errors import UsageError

# One process may read a whole data set while the others wait.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together; `rank` counts from 0, the first one writes files.

    `local_rank` and `local_count` are those of this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def are_many(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the processes, on its device; every process gets it."""
        if not self.are_many:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.count

    def gathered(self, values: Sequence[Any]) -> list[Any]:
        """What all processes hold, in the order of their ranks; every process gets it."""
        if not self.are_many:
            return list(values)
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, list(values))
        return [value for part in parts for value in part]

    def from_first(self, value: Any) -> Any:
        """What the first process holds."""
        if not self.are_many:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self.are_many:
            dist.barrier()


@dataclass(frozen=True)
class Resources:
    """What a run may use: the device of this process, the processes that train together, and how many make clips.

    In the folder `index`, if there is one, the frame tables of its videos are kept.
    """

    device: torch.device
    processes: Processes = Processes()
    workers: int = 2
    index: str | os.PathLike[str] | None = None


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes of this run while they work together, from the variables that `torchrun` sets.

    Where whoever started them has joined them already, as Ray Train does, they stay so.

    Args:
        device: What this process computes on; it decides how the processes talk.

    Returns:
        The processes, as a context.

    Raises:
        UsageError: The variables describe no such process.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if "WORLD_SIZE" not in given:
        yield Processes()
        return
    try:
        rank, count, local_rank = (int(given[name]) for name in names)
        local_count = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", count)))
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{', '.join(f'{name}={value}' for name, value in given.items())} describe no process of several",
            hint="start it with torchrun, or unset WORLD_SIZE",
        ) from error
    if count == 1:
        yield Processes()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank, count, local_rank, local_count)
    finally:
        dist.destroy_process_group()
