"""Kills the long commands at random moments, takes them up again, and compares with a run that nobody disturbed.

`python -m benchmarks.kill --kills 100 --seed 0`

Each command works on small videos that are rendered here. It is killed with SIGKILL at a moment drawn from the time
that an undisturbed run takes, started again with `--resume`, killed again, and so on; whenever a run ends by itself,
its files must have the bytes of the undisturbed one, and then it begins anew. After every kill no process may be left,
and after every end no file or folder that is not among the results, neither beside them nor where temporary files go.
Reads /proc.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.conditions import conditions
from tadacli.camera_motion.virtual_camera import render_sample

# A worker that has to end with the process it works for looks after it a few times a second, or is at work.
PATIENCE_SECONDS = 20.0
MOTIONS = ("pan left", "pan right", "zoom in")
NUM_CLIPS = 4  # of each motion

Content = bytes | list[dict[str, str]]


@dataclass(frozen=True)
class Command:
    """A long command: its words, after `tada`; it is run in a folder of its own beside the folder `data`."""

    name: str
    words: Sequence[str]


MODEL = ("--device", "cpu")
TRAINING = "--epochs 3 --batch-size 4 --workers 2 --short-side 64 --crop-size 56 --clip-frames 4"
COMMANDS = (
    Command("classify", ("classify", "../data", "-r", *MODEL, "--views", "3x1", "-o", "out.jsonl")),
    Command(
        "detect",
        ("detect", "../long", *MODEL, *"--window 0.5s --stride 100ms --save-scores scores -o out.csv".split()),
    ),
    Command(
        "eval",
        (
            *("eval", "--dataset", "folder", "--data-root", "../data", *MODEL),
            *"--views 3x1 --save-predictions kept.jsonl --report page.html -o report.json".split(),
        ),
    ),
    Command("finetune", ("finetune", "--data", "../data", *MODEL, *TRAINING.split(), "-o", "mine")),
)


@dataclass
class Outcome:
    """What came of the kills of one command."""

    num_kills: int = 0
    num_ended: int = 0
    num_before_results: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    """Prints a line for each command; exits with 1 if anything was not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(command.name for command in COMMANDS))
    options = parser.parse_args()
    chosen = [command for command in COMMANDS if command.name in options.commands.split(",")]
    print(f"{conditions('torch', 'av')}, seed {options.seed}")
    print("| command | kills | before there was a result | ended by itself, with the same bytes | problems |")
    print("| --- | --- | --- | --- | --- |")
    problems = []
    with tempfile.TemporaryDirectory(prefix="tada-kill-") as folder:
        make_data(Path(folder))
        for command in chosen:
            found = try_command(command, Path(folder), num_kills=options.kills, seed=options.seed)
            counts = f"{found.num_kills} | {found.num_before_results} | {found.num_ended} | {len(found.problems)}"
            print(f"| {command.name} | {counts} |", flush=True)
            problems += [f"{command.name}: {problem}" for problem in found.problems]
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


def make_data(folder: Path) -> None:
    """Short clips in a folder for each motion, and two longer videos."""
    for number, motion in enumerate(MOTIONS):
        (folder / "data" / motion).mkdir(parents=True)
        for clip in range(NUM_CLIPS):
            path = folder / "data" / motion / f"{clip}.mp4"
            render_sample(path, motion=motion, seconds=1, height=72, width=128, seed=NUM_CLIPS * number + clip)
    (folder / "long").mkdir()
    for number, motion in enumerate(MOTIONS[:2]):
        render_sample(folder / "long" / f"{number}.mp4", motion=motion, seconds=6, height=72, width=128, seed=number)


def try_command(command: Command, folder: Path, *, num_kills: int, seed: int) -> Outcome:
    """Kill a command so many times, and let it end in between."""
    moments, found = random.Random(f"{seed} {command.name}"), Outcome()
    whole, begun = Place(folder, f"{command.name}-whole"), time.monotonic()
    _, problem = whole.run(command, kill_after_seconds=None)
    seconds, expected = time.monotonic() - begun, contents(whole.path)
    if problem:
        found.problems.append(f"undisturbed: {problem}")
        return found
    place = Place(folder, command.name)
    while True:
        is_last = found.num_kills >= num_kills
        was_killed, problem = place.run(command, kill_after_seconds=None if is_last else moments.uniform(0, seconds))
        problems = [problem] if problem else []
        if not was_killed:
            problems += differences(contents(place.path), expected)
            # torch makes an empty folder for its cache there, in any run.
            left = [name for name in place.temporary_files() if name not in whole.temporary_files()]
            problems += [f"{name} is left where temporary files go" for name in left]
        found.problems += [f"after {found.num_kills} kills: {each}" for each in problems]
        if was_killed:
            found.num_kills += 1
            found.num_before_results += not any(place.path.iterdir())
            continue
        found.num_ended += not problems
        place.remove()
        if is_last:
            return found
        place = Place(folder, command.name)


class Place:
    """A folder that a command is run in, and one for its temporary files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self._temporary = folder / name, folder / f"{name}-tmp"
        self.path.mkdir()
        self._temporary.mkdir()

    def run(self, command: Command, *, kill_after_seconds: float | None) -> tuple[bool, str]:
        """Run the command, and kill it unless it has ended by then; whether it was killed, and what went wrong."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tadacli", *command.words, "--resume", "-q"],
            cwd=self.path,
            env={**os.environ, "TMPDIR": str(self._temporary), "TADA_HOME": str(self._temporary / "store")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, said = process.communicate(timeout=kill_after_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            problem = end_of_group(process.pid)
            process.communicate()
            return True, problem
        problem = end_of_group(process.pid)
        return False, problem or (f"exit code {process.returncode}: {said[-2000:]}" if process.returncode else "")

    def temporary_files(self) -> list[str]:
        """What is left where temporary files go."""
        return sorted(os.listdir(self._temporary))

    def remove(self) -> None:
        """Remove both folders."""
        for path in (self.path, self._temporary):
            shutil.rmtree(path)


def end_of_group(group: int) -> str:
    """Wait until no process of a group is left; says which are after all, and ends them."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while left := processes_of(group):
        if time.monotonic() > limit:
            os.killpg(group, signal.SIGKILL)
            return f"processes are left: {left}"
        time.sleep(0.05)
    return ""


def processes_of(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, _, of_group, *_ = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if int(of_group) == group and state != "Z":
                found.append(int(entry))
    return found


def contents(folder: Path) -> dict[str, Content]:
    """What the files of a folder hold, but for what tells how long a run took."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): READERS.get(path.name, Path.read_bytes)(path) for path in files}


def _log(path: Path) -> Content:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]


def _nothing(_: Path) -> Content:
    return b""


# Beside the weights a checkpoint holds how long training took.
READERS: dict[str, Callable[[Path], Content]] = {"log.csv": _log, "checkpoint.pt": _nothing}


def differences(found: dict[str, Content], expected: dict[str, Content]) -> list[str]:
    """Files that are missing, too many, or other ones."""
    lines = [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} is left" for name in found if name not in expected]
    return lines + [f"{name} is another one" for name in found if name in expected and found[name] != expected[name]]


if __name__ == "__main__":
    main()
