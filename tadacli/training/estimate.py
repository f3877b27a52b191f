"""What a fine-tuning run will take, measured on a few clips: before it begins, or when memory did not do."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from tadacli.distributed import Resources
from tadacli.errors import TadaError
from tadacli.training.loop import Trainer, TrainingBatch
from tadacli.training.plan import FinetuneJob
from tadacli.training.sample_frames import MAX_OPENED

# Of the memory that is there; pieces that are too small to be used take some of it.
_USABLE = 0.95


@dataclass(frozen=True, eq=False)
class Estimate:
    """`seconds_per_step` and `memory_bytes` of one process; `available_bytes` of its device, None if unknown.

    The time is that of the network, and that of making the clips where it is longer; evaluations come on top.
    `clips_at_once` is how many clips its memory does for, None if unknown. `batch` are the first clips of the run.
    """

    seconds_per_step: float
    memory_bytes: int
    available_bytes: int | None
    clips_at_once: int | None
    batch: TrainingBatch

    @property
    def is_too_large(self) -> bool:
        """Whether the memory will most likely not do."""
        return self.available_bytes is not None and self.memory_bytes > self.available_bytes


def clips_that_fit(total_bytes: int, *, base_bytes: int, bytes_per_clip: int) -> int:
    """How many clips a process can take at once, if each needs so much on top of the base."""
    return max(0, (total_bytes - base_bytes) // max(1, bytes_per_clip))


def estimate(job: FinetuneJob, resources: Resources, *, num_shown: int = 8) -> Estimate:
    """What a run will take: steps of one and of two clips on a copy of the network, and from there in a line.

    Args:
        job: What is to be trained.
        resources: What it may use.
        num_shown: At most so many clips are in the estimate's batch.

    Returns:
        Seconds and bytes, and the first clips of the run.
    """
    clips, places = job.clips(resources.index), range(max(2, min(num_shown, job.recipe.batch_size)))
    if len({sample.path for sample in job.data.train.samples}) <= MAX_OPENED:
        clips.batch(places)  # then a run opens each video once only, which is not what its steps take
    started = time.monotonic()
    batch = clips.batch(places)
    seconds_per_clip = (time.monotonic() - started) / len(batch.clips)
    measure = _measured_steps(job, batch, resources.device)
    (one_bytes, one_seconds), (two_bytes, two_seconds) = measure(1), measure(2)
    at_once = job.clips_at_once(resources.processes.count)
    per_process = at_once * job.recipe.accumulate
    network_seconds = max(two_seconds / 2, two_seconds - one_seconds) * per_process
    making_seconds = seconds_per_clip * per_process / max(1, resources.workers)
    available = available_memory(resources.device)
    return Estimate(
        max(network_seconds, making_seconds) if resources.workers else network_seconds + making_seconds,
        one_bytes + (two_bytes - one_bytes) * (at_once - 1),
        available,
        _clips_in(available, one_bytes, two_bytes),
        batch,
    )


def out_of_memory(
    job: FinetuneJob,
    resources: Resources,
    *,
    peak_bytes_of: Callable[[int], int] | None = None,
    total_bytes: int | None = None,
) -> TadaError:
    """The error to raise when a step did not fit into memory; its hint says how many clips at once do.

    Everything of the failed run must have been let go; what its network still holds goes back to the CPU.

    Args:
        job: What was trained.
        resources: What it used.
        peak_bytes_of: Gives the memory of a step by its number of clips; None: steps of one and two are measured.
        total_bytes: That there are; None: what the device has.

    Returns:
        The error.
    """
    device, num_processes = resources.device, resources.processes.count
    at_once = job.clips_at_once(num_processes)
    job.start.network.zero_grad(set_to_none=True)
    job.start.network.to("cpu")
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    total = available_memory(device) if total_bytes is None else total_bytes
    try:
        if peak_bytes_of is None:
            measure = _measured_steps(job, job.clips(resources.index).batch(range(2)), device)
            fit = _clips_in(total, measure(1)[0], measure(2)[0])
        else:
            fit = _clips_in(total, peak_bytes_of(1), peak_bytes_of(2))
    except torch.OutOfMemoryError:
        fit = 0
    hint = smaller(job, None if fit is None else min(fit, at_once - 1), num_processes=num_processes)
    return TadaError(f"out of memory on {device}: {at_once} clips at once are too many", hint=hint)


def _clips_in(total_bytes: int | None, one_bytes: int, two_bytes: int) -> int | None:
    """How many clips fit, by what steps of one and of two take; None if that cannot be told."""
    per_clip = two_bytes - one_bytes
    if total_bytes is None or per_clip <= 0:
        return None
    return clips_that_fit(int(_USABLE * total_bytes), base_bytes=one_bytes - per_clip, bytes_per_clip=per_clip)


def smaller(job: FinetuneJob, fit: int | None, *, num_processes: int = 1) -> str:
    """What to change so that no more than `fit` clips are taken at once, by each process; None: not known."""
    share = job.recipe.batch_size // num_processes
    if fit == 0:
        return "not even one clip at once fits: use --set checkpoint_activations=true, or smaller clips (--crop-size)"
    if fit is None:
        fit = share // job.recipe.accumulate // 2 or 1
        known = f"take {fit}"
    else:
        known = f"{fit} fit" if fit > 1 else "1 fits"
    parts = next(count for count in range(1, share + 1) if share % count == 0 and share // count <= fit)
    return (
        f"{known}: --set accumulate={parts} takes the {job.recipe.batch_size} of a step in parts, and "
        f"--batch-size {fit * num_processes} fewer; --set checkpoint_activations=true needs less for each"
    )


def _measured_steps(job: FinetuneJob, batch: TrainingBatch, device: torch.device) -> Callable[[int], tuple[int, float]]:
    """Peak memory in bytes and time in seconds of a step by its number of clips, on a copy of the network."""
    trainer = Trainer(copy.deepcopy(job.start.network), job.settings, device=device, loss=job.loss)
    trainer.run_step([_first(batch, 1)])  # what is loaded on first use is not part of a step

    def measure(count: int) -> tuple[int, float]:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        started = time.monotonic()
        trainer.run_step([_first(batch, count)])
        elapsed = time.monotonic() - started
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()
        return int(peak), elapsed

    return measure


def available_memory(device: torch.device) -> int | None:
    """Bytes that this process can have on the device, those it has included; None if that cannot be told."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + peak_resident_bytes()
    except (ValueError, OSError, AttributeError):
        return None


def peak_resident_bytes() -> int:
    """The most memory this process has had so far.

    Linux says so of the process alone; what getrusage gives is never less than the peak of the process that started it.
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _first(batch: TrainingBatch, count: int) -> TrainingBatch:
    assert batch.noise_seeds is not None
    targets = {head: target[:count] for head, target in batch.targets.items()}
    return TrainingBatch(batch.clips[:count], targets, batch.noise_seeds[:count])
