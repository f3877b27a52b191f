"""`tada finetune`: from a folder of clips to a model that the other commands take, and what bad input gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli.training.run_log import read_log
from tadacli.zoo.checkpoints import read_checkpoint
from tests.cli.conftest import Tada
from tests.training.test_run import ONE_HEAD, write_base
from tests.trees import render

ROOT = Path(__file__).parents[2]
STEPS = ("--epochs", "2", "--batch-size", "4", "--learning-rate", "0.01", "--workers", "0", "--device", "cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two classes, with five short videos each."""
    root = tmp_path_factory.mktemp("data") / "clips"
    for number in range(10):
        label = ("left", "up")[number % 2]
        render(root / label / f"{label}{number}.mp4", number, 8)
    return root


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "base.safetensors", ONE_HEAD)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


# --- a run, and what it is good for -------------------------------------------------------------------------


def test_a_run_is_a_model_for_the_other_commands(tada: Tada, clips: Path, base: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    keeping = ("--profile", "--cache-frames", "100MB")
    code, out, err = tada("finetune", "--data", clips, "--model", base, *STEPS, *keeping, "-o", mine)
    assert (code, out) == (0, b""), err
    said = [line.split("  ")[0] for line in err.splitlines()]
    for stage in ("looking at the videos", "decode and RGB", "augmentation", "training steps", "evaluation"):
        assert said.count(stage) == 1, stage
    assert re.search(r"\d+ frames decoded, \d+ of them used; 16 clips", err)
    assert re.search(r"the frames of [1-8] of 8 training samples were kept, in \d+ MB of 100 MB", err)
    assert "the head is REPLACED: 2 kept (left, up); 1 dropped (right)" in err
    assert "top1" in err
    always = json.loads((mine / "eval.json").read_text())["majority"][""]
    said = f"always {always['label']!r}: {always['percent']:.1f} %"
    assert len([line for line in err.splitlines() if said in line and ("step 2" in line or "the best" in line)]) >= 2
    assert "one view each, as in the log: top-1 " in err
    for name in ("model.safetensors", "last.safetensors", "eval.html", "README.md", "recipe.toml", "run.json"):
        assert (mine / name).stat().st_size > 0, name
    card = (mine / "README.md").read_text()
    assert "left" in card
    assert "finetune_small, chosen for a network of" in card

    video = next(clips.rglob("*.mp4"))
    code, out, _ = tada("classify", "--model", mine, video, "--format", "jsonl")
    assert code == 0
    assert {each["label"] for each in json.loads(out)["topk"]} == {"left", "up"}
    assert tada("detect", "--model", mine, video, "--format", "jsonl")[0] == 0

    held_out = [line.split(",") for line in (mine / "splits.csv").read_text().splitlines() if "validation" in line[:10]]
    rows = ["path,label", *(f"{row[2]},{row[5]}" for row in held_out)]
    (tmp_path / "held_out.csv").write_text("\n".join(rows) + "\n")
    told = ("--dataset", "csv", "--annotations", tmp_path / "held_out.csv", "--data-root", "/")
    code, out, err = tada("eval", *told, "--model", mine, "--format", "json")
    assert code == 0, err
    found, kept = json.loads(out), json.loads((mine / "eval.json").read_text())
    assert found["num_scored"] == kept["num_scored"] == len(held_out)
    assert found["metrics"]["top1"] == kept["metrics"]["top1"]

    again = tmp_path / "again"
    code, _, err = tada("finetune", "--data", clips, "--model", mine, *STEPS, "-o", again)
    assert code == 0
    assert "the head is as it was: 2 kept (left, up)" in err
    assert read_checkpoint(mine / "model.safetensors").sha256[:12] in err


def test_a_dry_run_tells_and_leaves_a_picture(
    tada: Tada, clips: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--data", clips, "--model", base, *STEPS, "--balance", "--dry-run", "-o", "runs/mine")
    for picture in ("mine.batch.jpg", "mine.batch-2.jpg"):
        code, out, err = tada("finetune", *options)
        assert code == 0, err
        told = out.decode()
        for words in (
            "recipe: finetune_small, chosen for",
            "every class drawn equally often",
            "2 classes",
            "train  validation",
            "steps: 4 of 4 clips",
            "time: about",
            "memory: about",
            picture,
        ):
            assert words in told
        assert "flip: none" in told  # "left" without "right"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.batch-2.jpg", "mine.batch.jpg"]
    assert (tmp_path / "mine.batch.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_size_that_is_asked_for_holds_in_training_and_in_use(
    tada: Tada, clips: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published recipe has a size of its own, that of its own model."""
    monkeypatch.chdir(tmp_path)
    options = ("--recipe", "tada2d_r50.k400_8x8", "--set", "warmup_epochs=0", "--short-side", 32, "--crop-size", 24)
    code, out, err = tada("finetune", "--data", clips, "--model", base, *STEPS, *options, "--dry-run")
    assert code == 0, err
    assert "24x24" in out.decode()


# --- bad input ----------------------------------------------------------------------------------------------


def copied(clips: Path, root: Path) -> Path:
    shutil.copytree(clips, root)
    return root


def one_class(root: Path) -> list[Any]:
    shutil.rmtree(root / "up")
    return []


def empty_class(root: Path) -> list[Any]:
    (root / "down").mkdir()
    return []


def unknown_label(root: Path) -> list[Any]:
    (root.parent / "labels.txt").write_text("left\ndown\n")
    return ["--labels", root.parent / "labels.txt"]


def in_two_splits(root: Path) -> list[Any]:
    for label in ("left", "up"):
        files = sorted((root / label).iterdir())
        for split, own in (("train", files), ("val", files[:1])):
            (root / split / label).mkdir(parents=True)
            for file in own:
                shutil.copy(file, root / split / label)
        shutil.rmtree(root / label)
    return []


def unreadable(root: Path) -> list[Any]:
    (root / "up" / "broken.mp4").write_text("not a video")
    return []


def options(*given: object) -> Any:
    return lambda _: list(given)


BAD = [
    pytest.param(one_class, 2, "one class", id="one class"),
    pytest.param(empty_class, 2, "down", id="an empty class"),
    pytest.param(unknown_label, 2, "up", id="a label that is not in the list"),
    pytest.param(in_two_splits, 2, "are in training, too", id="a file in two splits"),
    pytest.param(unreadable, 2, "1 video, 1 of 11 samples, cannot be used", id="an unreadable video"),
    pytest.param(options("--recipe", "fintune"), 2, "unknown recipe 'fintune'", id="an unknown recipe"),
    pytest.param(options("--set", "epoch=3"), 2, "unknown key 'epoch'", id="an unknown setting"),
    pytest.param(options("--set", "epochs"), 2, "changes nothing", id="a setting without a value"),
    pytest.param(options("--views", "3x2"), 2, "views '3x2'", id="views"),
    pytest.param(options("--crop-size", 64), 2, "does not fit into frames", id="a crop"),
    pytest.param(options("--model", "r2plus1d_tinny"), 1, "unknown model", id="an unknown model"),
    pytest.param(options("--dataset", "csv"), 2, "either", id="two sources"),
]


@pytest.mark.parametrize(("spoil", "expected", "said"), BAD)
def test_bad_input_is_one_line_and_a_hint_before_anything_is_made(
    tada: Tada, clips: Path, base: Path, tmp_path: Path, spoil: Any, expected: int, said: str
) -> None:
    more = spoil(copied(clips, tmp_path / "clips"))
    output = tmp_path / "mine"
    code, out, err = tada("finetune", "--data", tmp_path / "clips", "--model", base, *STEPS, "-o", output, *more)
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert (code, out) == (expected, b""), err
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert lines[1].startswith("hint: ")
    assert not output.exists()


def test_an_unreadable_video_is_left_out_if_that_is_allowed(
    tada: Tada, clips: Path, base: Path, tmp_path: Path
) -> None:
    unreadable(copied(clips, tmp_path / "clips"))
    told = ("--data", tmp_path / "clips", "--model", base, *STEPS, "--allow-bad", 1, "-o", tmp_path / "mine")
    code, _, err = tada("finetune", *told)
    assert code == 0, err
    assert "note: 1 of 11 samples are left out: up/broken.mp4" in err
    assert "broken.mp4" not in (tmp_path / "mine" / "splits.csv").read_text()
    assert "broken.mp4" in (tmp_path / "mine" / "README.md").read_text()


def test_a_folder_with_something_else_is_not_touched(tada: Tada, clips: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    told = ("finetune", "--data", clips, "--model", base, *STEPS)
    for output, more, said in (
        (tmp_path / "notes", (), "is not empty"),
        (tmp_path / "notes", ("--resume",), "is not the folder of a run"),
        (tmp_path / "notes" / "diary.txt", (), "is a file"),
    ):
        code, _, err = tada(*told, "-o", output, *more)
        assert code == 1
        assert said in err.splitlines()[0]
        assert len(err.splitlines()) == 2
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["diary.txt"]


def test_a_run_is_only_continued_when_asked_and_as_it_was(tada: Tada, clips: Path, base: Path, tmp_path: Path) -> None:
    told = ("finetune", "--data", clips, "--model", base, *STEPS, "-o", tmp_path / "mine")
    assert tada(*told)[0] == 0
    kept = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    code, _, err = tada(*told)
    assert (code, "--resume continues this run" in err) == (1, True)
    code, _, err = tada(*told, "--resume", "--set", "mixup=0.5")
    assert code == 1
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-2:-1]
    assert "recipe.mixup was 0.0, is 0.5" in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == kept
    assert tada(*told, "--resume")[0] == 0
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == kept["model.safetensors"]
    assert (tmp_path / "mine" / "eval.json").read_bytes() == kept["eval.json"]


def test_a_run_on_overlapping_labels_that_was_begun_with_one_label_a_span_goes_on(
    tada: Tada, clips: Path, base: Path, tmp_path: Path
) -> None:
    """As runs of earlier versions, which knew of nothing else."""
    table = tmp_path / "mine.csv"
    videos = sorted(clips.glob("*/*.mp4"))
    spans = (("sit", 0.0, 0.2), ("talk", 0.01, 0.21))
    rows = [f"{video},{label},{start},{end}" for video in videos for label, start, end in spans]
    table.write_text("\n".join(["path,label,start,end", *rows]) + "\n")
    told = ("finetune", "--data", table, "--model", base, *STEPS, "-o", tmp_path / "mine")
    assert tada(*told, "--no-multi-label")[0] == 0
    checkpoint = torch.load(tmp_path / "mine" / "checkpoint.pt", weights_only=True)
    assert "multi_label" not in checkpoint["identity"]
    code, _, err = tada(*told, "--resume")
    assert (code, "it learns one label a span: add --no-multi-label" in err) == (1, True)
    kept = (tmp_path / "mine" / "model.safetensors").read_bytes()
    assert tada(*told, "--resume", "--no-multi-label")[0] == 0
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == kept


def test_bad_numbers_end_with_one_line_and_the_last_good_checkpoint(
    tada: Tada, clips: Path, base: Path, tmp_path: Path
) -> None:
    wild = (
        "--learning-rate",
        "1e30",
        "--set",
        "max_grad_norm=0",
        "--set",
        "optimizer=sgd",
        "--set",
        "warmup_epochs=1.5",
    )
    told = ("--data", clips, "--model", base, *STEPS, *wild, "-o", tmp_path / "mine")
    code, _, err = tada("finetune", *told, "--set", "warmup_start_rate=0", "--set", "weight_decay=0")
    assert code == 1
    assert err.splitlines()[-2].startswith("error: training stopped at step ")
    assert err.splitlines()[-1].startswith("hint: ")


def test_out_of_memory_is_said_with_what_fits(
    tada: Tada, clips: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tadacli.training.loop import Trainer

    run_step = Trainer.run_step

    def limited(self: Trainer, batches: Any) -> Any:
        if len(batches[0].clips) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run_step(self, batches)

    monkeypatch.setattr(Trainer, "run_step", limited)
    code, _, err = tada("finetune", "--data", clips, "--model", base, *STEPS, "-o", tmp_path / "mine")
    assert code == 1
    assert err.splitlines()[-2] == "error: out of memory on cpu: 4 clips at once are too many"
    assert "--set accumulate=" in err.splitlines()[-1]


# --- other processes ----------------------------------------------------------------------------------------


def without_times(folder: Path) -> list[Any]:
    rows = [(row.place, row.train_loss, row.validation_loss, row.accuracies) for row in read_log(folder / "log.csv")]
    return [rows, *((folder / name).read_bytes() for name in ("model.safetensors", "last.safetensors", "eval.json"))]


def test_a_killed_run_goes_on_to_the_same_end(
    tada: Tada, clips: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "tadacli", "finetune", "--data", str(clips), "--model", str(base), *STEPS]
    command += ["--set", "mixup=0.5", "--set", "evaluate_every_epochs=0.5", "--epochs", "8", "-o", "mine", "--resume"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    log = tmp_path / "killed" / "mine" / "log.csv"
    for num_rows in (1, 9):
        process = subprocess.Popen(command, cwd=tmp_path / "killed", env=environment(), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (log.is_file() and len(log.read_bytes().splitlines()) > num_rows):
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -9
    for name in ("whole", "killed"):
        monkeypatch.chdir(tmp_path / name)
        code, _, err = tada(*command[3:])
        assert code == 0, err
    assert without_times(tmp_path / "killed" / "mine") == without_times(tmp_path / "whole" / "mine")


@pytest.mark.parametrize(
    ("norms", "alone"), [("frozen", ()), ("trained", ("--set", "accumulate=2"))], ids=["frozen norms", "trained norms"]
)
def test_two_processes_end_as_one(
    tada: Tada, clips: Path, base: Path, tmp_path: Path, norms: str, alone: tuple[str, ...]
) -> None:
    told = [
        "finetune",
        "--data",
        str(clips),
        "--model",
        str(base),
        *STEPS,
        "--set",
        "mixup=0.5",
        "--set",
        "dropout=0.3",
    ]
    told += ["--set", f"freeze_norms={str(norms == 'frozen').lower()}"]
    code, _, whole = tada(*told, *alone, "-o", tmp_path / "one")
    assert code == 0, whole
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "-m", "tadacli", *told, "-o", str(tmp_path / "two")]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [line.partition(":")[0] for line in done.stderr.splitlines() if line.startswith(("step ", "data:"))]
    assert said == [line.partition(":")[0] for line in whole.splitlines() if line.startswith(("step ", "data:"))]
    for name in ("model.safetensors", "last.safetensors"):
        one, two = (read_checkpoint(tmp_path / folder / name).state_dict for folder in ("one", "two"))
        for key, tensor in one.items():
            assert torch.allclose(tensor.double(), two[key].double(), rtol=0, atol=1e-4), (name, key)
    moved = read_checkpoint(tmp_path / "one" / "last.safetensors").state_dict
    assert not torch.equal(
        moved["backbone.0.spatial.weight"], read_checkpoint(base).state_dict["backbone.0.spatial.weight"]
    )
