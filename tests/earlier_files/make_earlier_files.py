"""Makes the files that tests/cli/test_earlier_files.py reads: make_earlier_files.py FOLDER.

They were made by version 0.1.0 at commit df3992a (with its tree as PYTHONPATH), before modules were moved into
packages, and stay as they are: what users have on their disks must be read by all later versions. A later version makes
files of its own in a folder of its own. The runs that were stopped are stopped at a known place by way of names that
only that commit has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from tests import trees

LABELS = ("left", "right", "up")
MODEL = "model.safetensors"
STEPS = ("--epochs", "3", "--batch-size", "4", "--learning-rate", "0.01", "--workers", "0", "--device", "cpu")
TRAINING = ("finetune", "--data", "clips", "--model", MODEL, *STEPS, "--set", "warmup_epochs=0", "-o", "mine")
DETECTION = ("--model", MODEL, "--window", "0.4s", "--stride", "0.2s", "--threshold", "0.5")

# Runs `tada`, and leaves at once where a function of a class was called so many times.
STOPPED = """
import os, sys
from importlib import import_module
from tadacli.cli.app import run
module, name, method, count = sys.argv[1:5]
owner = getattr(import_module(module), name)
whole, calls = getattr(owner, method), []
def stopping(self, *given):
    whole(self, *given)
    calls.append(1)
    if len(calls) == int(count):
        os._exit(9)
setattr(owner, method, stopping)
sys.argv = ["tada", *sys.argv[5:]]
run()
"""


def tada(folder: Path, *arguments: str, stopped: tuple[str, ...] = ()) -> None:
    start = ["-c", STOPPED, *stopped] if stopped else ["-m", "tadacli"]
    done = subprocess.run([sys.executable, *start, *arguments], cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == (9 if stopped else 0), arguments


def cut(source: Path, target: Path, share: float) -> None:
    """The file as a run leaves it that is killed while it writes."""
    content = source.read_bytes()
    target.write_bytes(content[: round(len(content) * share)])


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    torch.set_num_threads(1)
    trees.write_model(folder / MODEL, {"": LABELS})
    for number in range(8):
        label = ("left", "up")[number % 2]
        trees.render(folder / "clips" / label / f"{label}{number}.mp4", number, 12)
    trees.render(folder / "long.mp4", 29, 60)

    videos = sorted(str(path.relative_to(folder)) for path in (folder / "clips" / "left").iterdir())
    for suffix in ("csv", "json", "jsonl"):
        file = f"classified.{suffix}"
        tada(folder, "classify", *videos, "--model", MODEL, "-o", file)
        cut(folder / file, folder / f"classified_begun.{suffix}", 0.6)
        tada(folder, "detect", "long.mp4", *DETECTION, "-o", f"found.{suffix}")
    tada(folder, "detect", "long.mp4", *DETECTION, "--save-scores", "scores.npz", "--format", "json")
    journal = ("tadacli.score_file", "ScoreJournal", "add", "4")
    tada(folder, "detect", "long.mp4", *DETECTION, "-o", "found_begun.jsonl", stopped=journal)

    told = ("--dataset", "folder", "--data-root", "clips", "--model", MODEL)
    tada(folder, "eval", *told, "--save-predictions", "predictions.jsonl", "-o", "report.json")
    cut(folder / "predictions.jsonl", folder / "predictions_begun.jsonl", 0.6)

    for name in ("whole", "stopped"):
        (folder / name).mkdir()
        shutil.copytree(folder / "clips", folder / name / "clips")
        shutil.copy(folder / MODEL, folder / name)
    tada(folder / "whole", *TRAINING)
    tada(folder / "stopped", *TRAINING, stopped=("tadacli.training", "Trainer", "save", "1"))
    for name in ("whole", "stopped"):
        shutil.rmtree(folder / name / "clips")
        (folder / name / MODEL).unlink()
        (folder / name / "mine").rename(folder / f"{name}_run")
        (folder / name).rmdir()
    for name in ("curves.png", "eval.html"):  # large, and read by people alone
        (folder / "whole_run" / name).unlink()


if __name__ == "__main__":
    main()
