"""The log of a run: every way of being killed leads to the log of an uninterrupted run."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.errors import OutputError, UsageError
from tadacli.training.run_log import LogRow, RunLog, accuracy_columns, best_evaluation, read_log, tensorboard_writer

NUM_STEPS = 9
STEPS_PER_CHECKPOINT = 3
HEADS = accuracy_columns(("verb", "noun"))


def train_row(step: int, *, seconds: float = 0.0) -> LogRow:
    return LogRow(
        step,
        "train",
        step / 5,
        16 * step,
        step + seconds,
        train_loss=3 / step,
        learning_rate=0.1 / 3 * step,
        grad_norm=math.sqrt(step),
        seconds_per_step=0.25 + seconds,
    )


def evaluation_row(step: int, *, seconds: float = 0.0) -> LogRow:
    accuracies = {"verb_top1": 100 * step / 13, "noun_top1": 100 / step, "action_top1": 7.0 * step}
    return LogRow(
        step, "evaluation", step / 5, 16 * step, step + seconds, validation_loss=4 / step, accuracies=accuracies
    )


def run(folder: Path, *, first_step: int, seconds: float = 0.0, evaluate_first: bool = True) -> dict[int, int]:
    """Train from a checkpoint to the end; the size of the log at each checkpoint, by step.

    `evaluate_first`: whether a checkpoint is saved after the evaluation of its step, or before it.
    """
    resumed = {"resume_step": first_step} if first_step else {}
    sizes = {}
    with RunLog(folder, accuracies=HEADS, **resumed) as log:
        if first_step and not evaluate_first:
            log.add(evaluation_row(first_step, seconds=seconds))
        for step in range(first_step + 1, NUM_STEPS + 1):
            log.add(train_row(step, seconds=seconds))
            if step % STEPS_PER_CHECKPOINT == 0:
                if evaluate_first:
                    log.add(evaluation_row(step, seconds=seconds))
                log.sync()
                sizes[step] = (folder / "log.csv").stat().st_size
                if not evaluate_first:
                    log.add(evaluation_row(step, seconds=seconds))
    return sizes


def without_times(rows: list[LogRow]) -> list[LogRow]:
    return [replace(row, elapsed_seconds=0, seconds_per_step=None) for row in rows]


@pytest.mark.parametrize("evaluate_first", [True, False])
def test_a_log_cut_at_any_byte_resumes_to_that_of_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate_first: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and no power is cut here
    sizes = run(tmp_path, first_step=0, evaluate_first=evaluate_first)
    path = tmp_path / "log.csv"
    whole, rows = path.read_bytes(), read_log(path)
    assert [row.place for row in rows] == sorted({row.place for row in rows})
    assert len(rows) == NUM_STEPS + NUM_STEPS // STEPS_PER_CHECKPOINT
    for length in range(len(whole) + 1):
        # A killed run has the checkpoints whose rows were brought to the disk before it.
        checkpoints = [step for step, size in sizes.items() if size <= length]
        if not checkpoints:
            continue
        path.write_bytes(whole[:length])
        run(tmp_path, first_step=checkpoints[-1], evaluate_first=evaluate_first)
        assert path.read_bytes() == whole, length
        if length % 5:
            continue
        path.write_bytes(whole[:length])
        run(tmp_path, first_step=checkpoints[-1], seconds=1000.5, evaluate_first=evaluate_first)
        assert without_times(read_log(path)) == without_times(rows), length


def test_any_earlier_checkpoint_can_be_gone_back_to(tmp_path: Path) -> None:
    run(tmp_path, first_step=0)
    whole = (tmp_path / "log.csv").read_bytes()
    for step in (6, 3, 9):
        run(tmp_path, first_step=step)
        assert (tmp_path / "log.csv").read_bytes() == whole


def test_resumed_at_the_start_all_rows_are_made_again(tmp_path: Path) -> None:
    run(tmp_path, first_step=0)
    with RunLog(tmp_path, accuracies=HEADS, resume_step=0) as log:
        log.add(train_row(1))
    assert read_log(tmp_path / "log.csv") == [train_row(1)]


def test_a_killed_process_loses_no_row(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from tadacli.training.run_log import LogRow, RunLog\n"
        "log = RunLog(sys.argv[1])\n"
        "log.add(LogRow(1, 'train', 0.5, 16, 2.0, train_loss=0.1))\n"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [row.train_loss for row in read_log(tmp_path / "log.csv")] == [0.1]


def test_a_log_that_is_gone_starts_after_the_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, first_step=6)
    assert [row.step for row in read_log(tmp_path / "log.csv")] == [7, 8, 9, 9]


numbers = st.floats(allow_nan=False)


@given(
    values=st.lists(st.none() | numbers, min_size=5, max_size=5),
    epoch=numbers,
    step=st.integers(0, 10**15),
    accuracies=st.dictionaries(st.sampled_from(HEADS), numbers),
)
def test_every_number_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, values: list, epoch: float, step: int, accuracies: dict
) -> None:
    folder = tmp_path_factory.mktemp("run")
    loss, rate, norm, validation, seconds = values
    row = LogRow(step, "evaluation", epoch, step, epoch, loss, rate, norm, validation, accuracies, seconds)
    with RunLog(folder, accuracies=HEADS) as log:
        log.add(row)
    assert read_log(folder / "log.csv") == [row]


def test_a_loss_that_is_no_number_is_logged(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add(LogRow(1, "train", 0.1, 2, 3.0, train_loss=math.nan, grad_norm=math.inf))
    (row,) = read_log(tmp_path / "log.csv")
    assert (math.isnan(row.train_loss or 0), row.grad_norm) == (True, math.inf)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([train_row(2), train_row(1)], "step 1 .train. after one of step 2"),
        ([train_row(2), train_row(2)], "step 2 .train. after"),
        ([evaluation_row(2), train_row(2)], "after"),
        ([replace(train_row(1), accuracies={"top1": 1.0})], "no column for top1"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: list[LogRow], reason: str) -> None:
    with RunLog(tmp_path, accuracies=HEADS) as log:
        for row in rows[:-1]:
            log.add(row)
        with pytest.raises(ValueError, match=reason):
            log.add(rows[-1])
    assert read_log(tmp_path / "log.csv") == rows[:-1]


def test_a_log_is_neither_overwritten_nor_mixed(tmp_path: Path) -> None:
    run(tmp_path, first_step=0)
    path = tmp_path / "log.csv"
    whole = path.read_bytes()
    with pytest.raises(OutputError, match="exists and is not overwritten"):
        RunLog(tmp_path, accuracies=HEADS)
    with pytest.raises(OutputError, match="its columns are not"):
        RunLog(tmp_path, accuracies=("top1",), resume_step=6)
    lines = whole.splitlines(keepends=True)
    for damaged, line in (
        ([*lines[:3], b"\0" * 8 + b"\n", *lines[3:]], 4),
        ([*lines[:2], lines[1], *lines[2:]], 3),
    ):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(OutputError, match=f"line {line}"):
            RunLog(tmp_path, accuracies=HEADS, resume_step=6)
        assert path.read_bytes() == b"".join(damaged)


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    log = RunLog(tmp_path, accuracies=HEADS)
    log.add(train_row(1))
    path = tmp_path / "log.csv"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            log.add(train_row(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes().endswith(b"\n")
    assert read_log(path) == [train_row(1)]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        RunLog(tmp_path / "nowhere")


def test_what_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add(LogRow(1, "train", 0.5, 16, 2.0, train_loss=0.1))
        log.add(LogRow(2, "train", 1.0, 32, 4.0, train_loss=0.05))
    path = tmp_path / "log.csv"
    text = path.read_text()
    for old, new, reason in (
        ("0.05", "0_05", "line 3: train_loss is '0_05', expected a number"),
        ("0.05", " 0.05", "line 3: train_loss"),
        ("2,train", "2.0,train", "line 3: step is '2.0', expected a whole number"),
        ("2,train", "1,train", "line 3: step 1 .train. does not come after step 1"),
        ("2,train", "2,trained", "line 3: event is 'trained'"),
        (",1.0,32", ",,32", "line 3: epoch is missing"),
        ("0.05,", "0.05", "line 3: 10 values, expected 11"),
        ("train_loss", "loss", "line 1: the columns"),
        (text, "", "line 1: the columns"),
        (text, "\0\0\n", "line 1: the columns"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(UsageError, match=reason):
            read_log(path)
    path.write_bytes(text.encode().replace(b"0.05", b"\xff\xfe"))
    with pytest.raises(UsageError, match="line 3"):
        read_log(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_log(tmp_path / "other.csv")
    path.write_text(text.replace("\n", "\r\n"))
    assert len(read_log(path)) == 2


def test_columns_follow_the_heads() -> None:
    assert accuracy_columns([""]) == ("top1",)
    assert accuracy_columns(["verb", "noun"]) == ("verb_top1", "noun_top1", "action_top1")
    assert accuracy_columns(["scene", "sport"]) == ("scene_top1", "sport_top1")


def test_the_best_evaluation_is_the_first_of_equals() -> None:
    def row(step: int, accuracy: float | None, loss: float | None = None) -> LogRow:
        accuracies = {} if accuracy is None else {"verb_top1": 100.0 - accuracy, "action_top1": accuracy}
        return LogRow(step, "evaluation", step, step, 0.0, validation_loss=loss, accuracies=accuracies)

    assert best_evaluation([train_row(1)]) is None
    for rows, best in (
        ([row(1, 50.0), row(2, 60.0), row(3, 60.0), row(4, 55.0)], 2),
        ([row(1, 60.0, 0.5), row(2, 60.0, 0.4), row(3, 60.0, 0.4)], 2),
        ([row(1, None, 0.5), row(2, None, 0.4), row(3, None, math.nan)], 2),
        ([row(1, math.nan), row(2, 1.0)], 2),
    ):
        found = best_evaluation([train_row(1), *rows])
        assert found is not None
        assert found.step == best


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(os.fspath(folder))
    events.Reload()
    return [(each.step, each.value) for each in events.Scalars(tag)]


def test_tensorboard_shows_each_step_once_after_resuming(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    board = tensorboard_writer(tmp_path)
    for step in (1, 2, 3, 4):
        board.add(train_row(step))
    board.add(evaluation_row(4))
    board.sync()
    board.close()
    board = tensorboard_writer(tmp_path, resume_step=2)
    for step in (3, 4):
        board.add(train_row(step))
    board.add(evaluation_row(4))
    board.close()
    assert scalars(tmp_path, "loss/train") == [(step, pytest.approx(3 / step)) for step in (1, 2, 3, 4)]
    assert scalars(tmp_path, "accuracy_percent/action_top1") == [(4, 28.0)]


def test_without_tensorboard_a_hint_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    with pytest.raises(UsageError) as caught:
        tensorboard_writer(tmp_path)
    assert 'pip install "tadacli[tensorboard]"' in caught.value.hint
