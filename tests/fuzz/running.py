"""Reading many damaged files, each in a child process with limits of time and memory, which reads on until it dies."""

from __future__ import annotations

import multiprocessing
import random
import resource
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.judging import FAULTS, Outcome, Verdict, Whole, judge, whole_of
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import Seed, all_seeds

_SECONDS = 120
_SECONDS_A_FILE = 20
_MAX_MEMORY = 3 << 30


class _Child:
    """A process that reads one file after another."""

    def __init__(self) -> None:
        self._pipe, end = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(end,), daemon=True)
        self._process.start()
        end.close()
        self._pipe.recv()  # until it has imported what it needs, no time is counted

    def judge(self, path: Path, whole: Whole, seed: int) -> Verdict | None:
        """What reading a file came to; None if the child is gone after it."""
        try:
            self._pipe.send((path, whole, seed))
            if self._pipe.poll(_SECONDS_A_FILE):
                answer: Verdict = self._pipe.recv()
                return answer
        except (EOFError, OSError):
            return None
        return Verdict(Outcome.HANG)

    def end(self) -> int | None:
        self._process.kill()
        self._process.join()
        return self._process.exitcode


def _serve(pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    pipe.send("ready")
    while True:
        path, whole, seed = pipe.recv()
        try:
            verdict = judge(path, whole, seed)
        except Exception:
            verdict = Verdict(Outcome.TRACEBACK, traceback.format_exc())
        pipe.send(verdict)


def _files(seeds: list[Seed], first_seed: int, num_files: int | None) -> Iterator[tuple[int, Seed, bytes, str]]:
    """(number, what it was, what became of it, how) of each file; without a number of files until the time is over."""
    end = time.monotonic() + _SECONDS
    number = 0
    while number < num_files if num_files is not None else time.monotonic() < end:
        seed = seeds[number % len(seeds)]
        data, how = mutated(seed.data, random.Random(f"{first_seed} {number}"))
        yield number, seed, data, how
        number += 1


def fuzz(*, seed: int = 0, num_files: int | None = None, only: str = "", keep: Path | None = None) -> Counter[str]:
    """Reads damaged files, prints every fault as it is found and the outcomes at the end.

    Args:
        seed: What the mutations are drawn from.
        num_files: How many files; by default as many as two minutes allow.
        only: A part of the names of the kinds to take; by default all.
        keep: Where files that show a fault are kept.

    Returns:
        How many files of each kind came to each outcome, by "kind: outcome".
    """
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="tada-fuzz-") as name:
        folder = Path(name)
        (folder / "whole").mkdir()
        seeds = [kind for kind in all_seeds(folder / "whole") if only in kind.name]
        whole = {kind.name: whole_of(_written(kind, kind.data, folder)) for kind in seeds}
        child = _Child()
        for number, kind, data, how in _files(seeds, seed, num_files):
            path = _written(kind, data, folder)
            verdict = child.judge(path, whole[kind.name], number)
            if verdict is None or verdict.outcome == Outcome.HANG:
                exit_code = child.end()
                verdict = verdict or Verdict(Outcome.DIED, f"exit code {exit_code}")
                child = _Child()
            counts[f"{kind.name}: {verdict.outcome}"] += 1
            if verdict.outcome in FAULTS:
                print(
                    f"{verdict.outcome}: {kind.name}, seed {seed}, file {number}, {how}: {verdict.detail}", flush=True
                )
                if keep is not None:
                    _keep(path, keep / f"{seed}_{number}_{kind.name.replace(' ', '_')}{kind.suffix}")
        child.end()
    return counts


def _written(kind: Seed, data: bytes, folder: Path) -> Path:
    place = folder / "file"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return kind.write(data, place)


def _keep(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copy(path, target)


def table(counts: Counter[str]) -> str:
    """The outcomes as a table, one kind a row."""
    kinds = list(dict.fromkeys(name.partition(": ")[0] for name in sorted(counts)))
    lines = ["| kind | " + " | ".join(Outcome) + " |", "| --- |" + " --- |" * len(Outcome)]
    for kind in kinds:
        lines.append(f"| {kind} | " + " | ".join(str(counts[f"{kind}: {outcome}"]) for outcome in Outcome) + " |")
    totals = [sum(counts[f"{kind}: {outcome}"] for kind in kinds) for outcome in Outcome]
    return "\n".join([*lines, "| all | " + " | ".join(map(str, totals)) + " |"])
