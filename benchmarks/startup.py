"""How long `tada` takes to start: to its first result, beside the import of torch; to its help, beside an empty Python;
and to answers that need no network.

    python -m benchmarks.startup [--rounds 9]

The video is four seconds of 340x256, rendered for the run. Each start is a process of its own, and they take turns.
The wall time of `tada classify` ends at the first line that comes through the pipe, that of the others at the end of
the process. CPU time is that of all threads of the whole process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.conditions import conditions, median_and_range
from tadacli.camera_motion.virtual_camera import render_sample

Times = tuple[float, float]  # wall, and CPU of all threads


@dataclass(frozen=True)
class Claim:
    """A start that may take so many times another one, and what it exits with."""

    ours: str
    beside: str
    goal: float
    code: int = 0


CLAIMS = (
    Claim("tada classify VIDEO", "import torch", 2.5),
    Claim("tada --help", "pass", 12),
    # What needs no PyTorch does not wait for it.
    Claim("tada models", "import torch", 0.5),
    Claim("tada detect", "import torch", 0.5, code=2),
    Claim("tada finetune --data none --dry-run", "import torch", 0.5, code=2),
)


def main() -> None:
    """Prints the ratios as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"{conditions('torch')}, {os.cpu_count()} cores, {options.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="tada-") as folder:
        video = Path(folder) / "video.mp4"
        render_sample(video, height=256, width=340)
        starts = {
            "import torch": ["-c", "import torch"],
            "pass": ["-c", "pass"],
            **{claim.ours: ["-m", "tadacli", *claim.ours.replace("VIDEO", str(video)).split()[1:]] for claim in CLAIMS},
        }
        times = _take_turns(starts, rounds=options.rounds)
    print("| start | beside | wall time: median (min to max) | CPU time | goal |")
    print("| --- | --- | --- | --- | --- |")
    for claim in CLAIMS:
        wall, cpu = (_ratios(times[claim.ours], times[claim.beside], which) for which in (0, 1))
        print(f'| `{claim.ours}` | `python -c "{claim.beside}"` | {wall} | {cpu} | {claim.goal:g} |')


def _take_turns(starts: Mapping[str, Sequence[str]], *, rounds: int) -> dict[str, list[Times]]:
    """The times of each start in every round; the first round fills the caches and does not count."""
    times: dict[str, list[Times]] = {name: [] for name in starts}
    for number in range(rounds + 1):
        # Who goes first changes from round to round.
        for name in list(starts) if number % 2 else reversed(starts):
            code = next((claim.code for claim in CLAIMS if claim.ours == name), 0)
            measured = _start(starts[name], to_first_line="classify" in starts[name], code=code)
            if number:
                times[name].append(measured)
    return times


def _start(arguments: Sequence[str], *, to_first_line: bool, code: int) -> Times:
    """Seconds of one process, on the clock up to its first line or to its end. Ends the run for another exit code."""
    # A checkout is to be compiled once, as torch was when it was installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first_line = time.perf_counter() - begun
        _, errors = process.communicate()
        whole = time.perf_counter() - begun
        if process.returncode != code:
            raise SystemExit(f"{' '.join(arguments)} failed; nothing was measured: {errors.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return first_line if to_first_line else whole, cpu


def _ratios(ours: Sequence[Times], others: Sequence[Times], which: int) -> str:
    return median_and_range([mine[which] / other[which] for mine, other in zip(ours, others, strict=True)])


if __name__ == "__main__":
    main()
