"""What a fine-tuning run will take, measured on a few clips before it begins."""

from __future__ import annotations

import copy
import os
import resource
import sys
import time
from dataclasses import dataclass

import torch

from tadacli.finetuning import FinetuneJob
from tadacli.training import Trainer, TrainingBatch
from tadacli.training_clips import TrainingClips


@dataclass(frozen=True, eq=False)
class Estimate:
    """`seconds_per_step` and `memory_bytes` of one process; `available_bytes` of its device, None if unknown.

    The time is that of the network, and that of making the clips where it is longer; evaluations come on top.
    `batch` are the first clips of the run.
    """

    seconds_per_step: float
    memory_bytes: int
    available_bytes: int | None
    batch: TrainingBatch

    @property
    def is_too_large(self) -> bool:
        """Whether the memory will most likely not do."""
        return self.available_bytes is not None and self.memory_bytes > self.available_bytes


def clips_that_fit(total_bytes: int, *, base_bytes: int, bytes_per_clip: int) -> int:
    """How many clips a process can take at once, if each needs so much on top of the base."""
    return max(0, (total_bytes - base_bytes) // max(1, bytes_per_clip))


def estimate(
    job: FinetuneJob, *, device: torch.device, num_processes: int = 1, workers: int = 2, num_shown: int = 8
) -> Estimate:
    """Measures steps of one and of two clips on a copy of the network, and goes on from there in a line."""
    clips = TrainingClips(
        job.data.train.samples,
        heads=job.data.heads,
        input=job.start.spec.input,
        augmentation=job.recipe.augmentation,
        seed=job.recipe.seed,
    )
    started = time.monotonic()
    batch = clips.batch(range(max(2, min(num_shown, job.recipe.batch_size))))
    seconds_per_clip = (time.monotonic() - started) / len(batch.clips)
    trainer = Trainer(copy.deepcopy(job.start.network), job.settings, device=device)
    trainer.run_step([_first(batch, 1)])  # what is loaded on first use is not part of a step
    one_bytes, one_seconds = _measured(trainer, _first(batch, 1), device)
    two_bytes, two_seconds = _measured(trainer, _first(batch, 2), device)
    at_once = job.recipe.batch_size // (num_processes * job.recipe.accumulate)
    per_process = at_once * job.recipe.accumulate
    network_seconds = max(two_seconds / 2, two_seconds - one_seconds) * per_process
    making_seconds = seconds_per_clip * per_process / max(1, workers)
    return Estimate(
        max(network_seconds, making_seconds) if workers else network_seconds + making_seconds,
        one_bytes + (two_bytes - one_bytes) * (at_once - 1),
        available_memory(device),
        batch,
    )


def available_memory(device: torch.device) -> int | None:
    """Bytes that this process can have on the device, those it has included; None if that cannot be told."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _resident_bytes()
    except (ValueError, OSError, AttributeError):
        return None


def _measured(trainer: Trainer, batch: TrainingBatch, device: torch.device) -> tuple[int, float]:
    """Peak memory in bytes and time in seconds of a step."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.monotonic()
    trainer.run_step([batch])
    elapsed = time.monotonic() - started
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_bytes()
    return int(peak), elapsed


def _resident_bytes() -> int:
    """The most memory this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _first(batch: TrainingBatch, count: int) -> TrainingBatch:
    assert batch.noise_seeds is not None
    targets = {head: target[:count] for head, target in batch.targets.items()}
    return TrainingBatch(batch.clips[:count], targets, batch.noise_seeds[:count])
