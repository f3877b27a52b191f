"""Signals that ask a command to end: it ends as after Ctrl-C, with its processes and temporary files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.kill import end_of_group, processes_of
from tests.training.test_run import ONE_HEAD, write_base
from tests.trees import render

COMMAND = [sys.executable, "-m", "tadacli"]
NEEDS_PROC = pytest.mark.skipif(not os.path.isdir("/proc"), reason="reads /proc")
ENDS = [signal.SIGTERM, signal.SIGHUP]


def begin(temporary: Path, *words: object, ignored: bool = False) -> subprocess.Popen[str]:
    """A command in a group of its own, with one thread; `ignored` as nohup starts it."""

    def heed() -> None:
        for number in (signal.SIGINT, *ENDS):
            signal.signal(number, signal.SIG_DFL)
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed,
    )


def end(process: subprocess.Popen[str], begun: Callable[[], bool], send: Callable[[], None]) -> str:
    """Send a signal when the command has begun; what it says until all of its processes are gone."""
    while process.poll() is None and not begun():
        time.sleep(0.01)
    send()
    said = process.communicate()[1]
    assert end_of_group(process.pid) == ""
    return said


@NEEDS_PROC
@pytest.mark.parametrize("number", ENDS)
def test_what_is_done_is_kept(tmp_path: Path, videos: Path, untrained: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.jsonl"
    words = ("classify", videos, "--model", untrained, "--views", "10x3", "-o", out)
    process = begin(tmp_path / "tmp", *words)
    said = end(process, lambda: out.exists() and out.read_bytes().count(b"\n") > 1, lambda: process.send_signal(number))
    assert process.returncode == 130
    assert "interrupted: " in said
    assert "Traceback" not in said
    assert all(json.loads(line) for line in out.read_bytes().splitlines())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out.jsonl", "tmp"]


@NEEDS_PROC
def test_a_terminal_that_goes_away_does_not_end_a_command_under_nohup(
    tmp_path: Path, videos: Path, untrained: Path
) -> None:
    out = tmp_path / "out.jsonl"
    words = ("classify", videos, "--model", untrained, "--views", "1x1", "-o", out)
    process = begin(tmp_path / "tmp", *words, ignored=True)
    end(process, out.exists, lambda: process.send_signal(signal.SIGHUP))
    assert process.returncode == 3  # one of the files is no video
    assert out.read_bytes().count(b"\n") == 11


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: processes that share clips have sockets in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def begin_training(folder: Path, temporary: Path) -> tuple[subprocess.Popen[str], Callable[[], bool]]:
    """A training with two processes that make clips, and whether it has begun."""
    for number in range(8):
        label = ("left", "up")[number % 2]
        render(folder / "clips" / label / f"{number}.mp4", number, 8)
    base = write_base(folder / "base.safetensors", ONE_HEAD)
    settings = ("--epochs", 400, "--batch-size", 4, "--workers", 2, "--device", "cpu", "--learning-rate", 0.001)
    words = ("finetune", "--data", folder / "clips", "--model", base, *settings, "-o", folder / "mine")
    log = folder / "mine" / "log.csv"
    return begin(temporary, *words), lambda: log.exists() and log.read_bytes().count(b"\n") > 3


@NEEDS_PROC
@pytest.mark.parametrize("everyone", [False, True], ids=["the command", "its whole group"])
def test_the_processes_of_a_training_end_with_it(tmp_path: Path, temporary: Path, everyone: bool) -> None:
    process, has_begun = begin_training(tmp_path, temporary)

    def send() -> None:
        assert len(processes_of(process.pid)) >= 3
        if everyone:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.send_signal(signal.SIGTERM)

    said = end(process, has_begun, send)
    assert process.returncode == 130
    assert "interrupted; to go on: tada finetune" in said
    assert "Traceback" not in said
    assert list(temporary.iterdir()) == []
    assert [path.name for path in (tmp_path / "mine").iterdir() if path.name.startswith(".")] == []


@NEEDS_PROC
def test_a_worker_that_is_killed_is_said(tmp_path: Path, temporary: Path) -> None:
    process, has_begun = begin_training(tmp_path, temporary)

    def send() -> None:
        os.kill(max(processes_of(process.pid)), signal.SIGKILL)  # the process that was started last

    said = end(process, has_begun, send)
    assert process.returncode == 1
    assert "error: a process that makes training clips died: " in said
    assert "Traceback" not in said


def test_a_temporary_folder_whose_name_is_too_long_for_sockets_is_said(tmp_path: Path) -> None:
    process, _ = begin_training(tmp_path, tmp_path / ("t" * 100))
    said = process.communicate()[1]
    assert process.returncode == 1
    assert "error: the name of the temporary folder" in said
    assert "set TMPDIR to a shorter one, or use --workers 0" in said
