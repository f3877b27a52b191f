"""Epochs of `tada finetune` on real video, from the file to the weights, in several ways that take turns.

    python -m benchmarks.train_from_video [--epochs 5] [--rounds 3] [--workers 2] [--cache-frames 9] [--threads 2]

The built-in network is trained on the segments of `untrimmed_actions` (144 clips in an epoch, 49 held out, which are
evaluated after each) with the recipe that is the default. The ways are

- before: freed memory goes back to the system after each step, ReLU and means of frames take the passes over memory
  that PyTorch gives them, and each clip is decoded;
- memory: freed memory is kept, and passes are saved, as the command has it now;
- frames: and decoded frames are kept, `--cache-frames` in GB.

Each way is a process of its own, which is stopped after `--epochs` of the 20 that the recipe has: what is worth keeping
is told by these. All have to end with the same weights, to the byte. The CPU time of an epoch is that of the process
that trains, in steps and in evaluations, and of those that make clips. The first epoch is apart from the others, whose
median is taken. With all frames kept, what is left besides steps is the least that an epoch takes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.conditions import conditions, median_and_range
from benchmarks.detection_on_actions import DATA
from tadacli.allocator import keep_freed_memory
from tadacli.distributed import Resources
from tadacli.models import layers
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.training.data import load_finetune_data
from tadacli.training.frame_cache import CacheUse
from tadacli.training.loop import StepReport
from tadacli.training.plan import FinetuneJob, plan_finetuning
from tadacli.training.recipes import load_recipe
from tadacli.training.run import Evaluated, Listener, run_finetuning
from tadacli.training.run_folder import RunFolder
from tadacli.training.starting_point import starting_point
from tadacli.zoo import DEFAULT_MODEL

WAYS = ("before", "memory", "frames")
PARTS = ("steps", "evaluation", "clips")
Epoch = dict[str, float]


class _OverError(Exception):
    """Enough epochs are done."""


def main() -> None:
    """Run one way, or all of them in turns, and print the rows of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="2 or more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache-frames", type=float, default=9.0, metavar="GB")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run_one(options)))
        return
    rounds: dict[str, list[list[Epoch]]] = {way: [] for way in WAYS}
    ends: dict[str, str] = {}
    for number in range(options.rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):  # who goes first changes
            found = in_process(way)
            rounds[way].append(found["epochs"])
            ends[way] = found["weights"]
            if len(set(ends.values())) > 1:
                raise SystemExit(f"the weights differ: {ends}")
            print(f"{way}: {found['kept']}; {found['epochs']}", file=sys.stderr, flush=True)
    print(
        f"{conditions('torch', 'av')}, {options.threads} threads, {options.workers} workers, "
        f"{options.rounds} rounds of {options.epochs} epochs; all weights equal"
    )
    for line in table(rounds):
        print(line)


def in_process(way: str) -> dict:
    """What a way finds in a process of its own."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as the command has it
    command = [sys.executable, "-m", "benchmarks.train_from_video", *sys.argv[1:], "--way", way]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict = json.loads(done.stdout)
    return found


def table(rounds: dict[str, list[list[Epoch]]]) -> list[str]:
    """The rows: each way over the first one of the same round."""
    lines = [
        "| way | epoch | CPU time of before / it: median (min to max) | wall time | CPU: steps, evaluation, clips |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, part in (("first", slice(0, 1)), ("later", slice(1, None))):
        base = [of_epochs(epochs[part]) for epochs in rounds[WAYS[0]]]
        total = statistics.median(cpu(each) for each in base)
        for way in WAYS:
            own = [of_epochs(epochs[part]) for epochs in rounds[way]]
            pairs = list(zip(base, own, strict=True))
            shares = [statistics.median(each[key] for each in own) / total for key in PARTS]
            lines.append(
                f"| {way} | {name} | {median_and_range([cpu(one) / cpu(other) for one, other in pairs])} "
                f"| {median_and_range([one['wall'] / other['wall'] for one, other in pairs])} "
                f"| {', '.join(f'{share:.2f}' for share in shares)} |"
            )
    return lines


def of_epochs(epochs: Sequence[Epoch]) -> Epoch:
    """The median of each time."""
    return {key: statistics.median(epoch[key] for epoch in epochs) for key in epochs[0]}


def cpu(epoch: Epoch) -> float:
    """All CPU seconds of an epoch."""
    return sum(epoch[key] for key in PARTS)


# --- one way ------------------------------------------------------------------------------------------


def run_one(options: argparse.Namespace) -> dict[str, object]:
    """Train for some epochs: the seconds of each, a hash of the weights, and what was kept."""
    if options.way == "before":
        take_all_passes()
    else:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    job, epochs = job_of(), []
    kept = CacheUse(0, 0, 0)
    own, others, since_step, begun = (*times(), 0.0, time.perf_counter())
    since_step = own

    def on_step(_: StepReport) -> None:
        nonlocal since_step
        since_step = times()[0]

    def on_cache(use: CacheUse) -> None:
        nonlocal kept
        kept = use

    def on_evaluation(_: Evaluated) -> None:
        nonlocal own, others, begun
        now, elsewhere, wall = *times(), time.perf_counter()
        epochs.append(
            {"steps": since_step - own, "evaluation": now - since_step, "clips": elsewhere - others}
            | {"wall": wall - begun}
        )
        own, others, begun = now, elsewhere, wall
        if len(epochs) == options.epochs:
            raise _OverError

    listener = Listener(on_step=on_step, on_evaluation=on_evaluation, on_cache=on_cache)
    with tempfile.TemporaryDirectory() as folder, repeatable_arithmetic(), contextlib.suppress(_OverError):
        run_finetuning(
            job,
            RunFolder(Path(folder)),
            Resources(torch.device("cpu"), workers=options.workers),
            cache_bytes=int(options.cache_frames * 1e9) if options.way == "frames" else 0,
            listener=listener,
        )
    digest = hashlib.sha256()
    for name, tensor in job.start.network.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    text = f"{kept.num_samples} samples kept, {kept.used_bytes / 1e9:.1f} GB"
    return {"epochs": epochs, "weights": digest.hexdigest(), "kept": text}


def job_of() -> FinetuneJob:
    """The built-in network on the segments, by the recipe for small ones."""
    data = load_finetune_data(DATA / "segments.csv")
    start = starting_point(DEFAULT_MODEL, heads=data.heads, name="mine", dataset=data.name)
    return plan_finetuning(data, start, load_recipe("finetune_small"))


def take_all_passes() -> None:
    """Put the operations in the place of what saves passes over memory; the results are the same to the bit."""

    def with_relu(norm: layers.FrameBatchNorm, x: Tensor, *, residual: Tensor | None = None) -> Tensor:
        return layers.relu(norm.forward(x), residual=residual)

    layers.FrameBatchNorm.with_relu = with_relu  # type: ignore[method-assign]
    layers.frame_means = partial(F.adaptive_avg_pool2d, output_size=1)  # type: ignore[assignment]


def times() -> tuple[float, float]:
    """CPU seconds of this process, and of the processes that it has started and that are there."""
    others = 0.0
    for process in multiprocessing.active_children():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        others += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.process_time(), others


if __name__ == "__main__":
    main()
