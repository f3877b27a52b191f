"""The log of a training run: one line of CSV for each logged step and each evaluation, and TensorBoard beside it.

The log survives being killed. Taken up again at a step, it loses the line that was not written to its end and the
lines of later steps, which are made again; so it ends as that of an uninterrupted run, but for the times.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, get_args

from tadacli.errors import OutputError, TadaError, UsageError

LOG_NAME = "log.csv"
Event = Literal["train", "evaluation"]

_LEADING = ("step", "event", "epoch", "num_examples", "train_loss", "learning_rate", "grad_norm", "validation_loss")
_TRAILING = ("elapsed_seconds", "seconds_per_step")
_COUNTS = ("step", "num_examples")
_ALWAYS = ("step", "event", "epoch", "num_examples", "elapsed_seconds")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|[+-]?inf")


@dataclass(frozen=True)
class LogRow:
    """A logged step (`event` "train") or an evaluation on the validation split ("evaluation"), after `step` updates.

    `epoch` are passes over the training data, `num_examples` the clips seen, both since the start of the run.
    `accuracies` are in percent, by column: `top1`, or `verb_top1`, `noun_top1` and `action_top1`, or `hit1` and `mAP`.
    None is a number that this row does not have. `elapsed_seconds` counts the time of training, before the run was
    resumed, too.
    """

    step: int
    event: Event
    epoch: float
    num_examples: int
    elapsed_seconds: float
    train_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    validation_loss: float | None = None
    accuracies: Mapping[str, float] = field(default_factory=dict)
    seconds_per_step: float | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Where the row stands in a log: by step, an evaluation after the training step it follows."""
        return self.step, get_args(Event).index(self.event)


def accuracy_columns(heads: Sequence[str], *, multi_label: bool = False) -> tuple[str, ...]:
    """The columns for the accuracies of a model with these heads; "" is the name of a single one.

    Of a multi-label one they are the share of items whose best class is one that they show, and the mAP.
    """
    if multi_label:
        return ("hit1", "mAP")
    if list(heads) == [""]:
        return ("top1",)
    actions = ("action_top1",) if set(heads) == {"verb", "noun"} else ()
    return (*(f"{name}_top1" for name in heads), *actions)


def best_evaluation(rows: Sequence[LogRow]) -> LogRow | None:
    """The evaluation with the highest accuracy, then the lowest loss, then the first; None without evaluations.

    The accuracy is the last column that is there: of actions where there are verbs and nouns.
    """
    evaluations = [row for row in rows if row.event == "evaluation"]
    return max(evaluations, key=_rank, default=None)  # of equals max takes the first


def _rank(row: LogRow) -> tuple[float, float]:
    accuracy = list(row.accuracies.values())[-1] if row.accuracies else -math.inf
    loss = math.inf if row.validation_loss is None else row.validation_loss
    return (-math.inf if math.isnan(accuracy) else accuracy), (-math.inf if math.isnan(loss) else -loss)


class RunLog:
    """The growing `log.csv` of a run in `folder`; its columns are settled when it is begun.

    Without `resume_step` there must be no log yet. With it, the log is taken up where `resume_step` updates were done
    (a checkpoint's step); one that is gone is begun anew and starts after that step. Raises `OutputError` for a log
    that is there unasked, has other columns, is damaged or cannot be written.

    Call `sync` before a checkpoint is saved: then no checkpoint is ever ahead of its log, not after a power cut either.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, accuracies: Sequence[str] = ("top1",), resume_step: int | None = None
    ) -> None:
        wrong = [name for name in accuracies if not _NAME.fullmatch(name)]
        if wrong or len(set(accuracies)) != len(accuracies):
            raise ValueError(f"the columns {', '.join(accuracies)} are no different plain names")
        self._path = Path(folder) / LOG_NAME
        self._accuracies = tuple(accuracies)
        self._head = ",".join((*_LEADING, *self._accuracies, *_TRAILING)).encode() + b"\n"
        self._last = (-1, 0)
        self._resume_step = resume_step
        try:
            self._stream = self._opened()
        except OSError as error:
            raise self._failed(error) from error

    def add(self, row: LogRow) -> None:
        """Append a row; when this returns, a killed process does not lose it.

        A row of the step that was resumed from, made once more, is left out: the log has it. Raises `ValueError` for
        any other row that does not come after the last, and for accuracies without a column.
        """
        if row.place <= self._last:
            if row.step == self._resume_step:
                return
            raise ValueError(f"a row of step {row.step} ({row.event}) after one of step {self._last[0]}")
        unknown = sorted(set(row.accuracies) - set(self._accuracies))
        if unknown:
            raise ValueError(f"the log has no column for {', '.join(unknown)}")
        position = self._stream.tell()
        try:
            self._stream.write(self._line(row))
            self._stream.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # the buffered half cannot be written; what was is removed next
                self._stream.close()
            os.truncate(self._path, position)
            raise self._failed(error) from error
        self._last = row.place

    def sync(self) -> None:
        """Bring all rows to the disk itself."""
        try:
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Leave the log as it is; it can be resumed."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> BinaryIO:
        """The file positioned after the last row that is kept, without what came after."""
        kept = self._kept()
        stream = self._path.open("r+b" if self._path.exists() else "x+b")
        stream.truncate(len(kept))
        stream.seek(0, os.SEEK_END)
        if not kept:
            stream.write(self._head)
            stream.flush()
        return stream

    def _kept(self) -> bytes:
        """The part of the file that stays: nothing, or the head and the rows up to the step resumed from."""
        content = self._path.read_bytes() if self._path.exists() else b""
        if self._resume_step is None and content:
            raise OutputError(
                f"{self._path} exists and is not overwritten",
                hint="continue the run with --resume, or give another --output",
            )
        if not content.startswith(self._head):
            if self._head.startswith(content):
                return b""
            raise OutputError(
                f"{self._path} is no log of this run: its columns are not {self._head.decode().strip()}",
                hint="resume with the data and heads of the run, or move this file away",
            )
        kept = self._head
        damaged = partial(OutputError, hint="the run can be resumed without its log: move this file away")
        for line, row in _rows(_whole_lines(content)[1:], self._accuracies, path=self._path, error=damaged):
            if self._resume_step is None or row.step > self._resume_step:
                break
            kept, self._last = kept + line, row.place
        return kept

    def _line(self, row: LogRow) -> bytes:
        values = [getattr(row, name) for name in _LEADING]
        values += [row.accuracies.get(name) for name in self._accuracies]
        values += [getattr(row, name) for name in _TRAILING]
        return ",".join(map(_text, values)).encode() + b"\n"

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path} cannot be written: {error.strerror or error}",
            hint="what it holds is whole; free some space, then use --resume",
        )


def read_log(path: str | os.PathLike[str]) -> list[LogRow]:
    """The rows of a log, in order; a last line that was not written to its end is left out.

    Raises `UsageError` for a file that cannot be read and, naming the line, for one that is no such log.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    unreadable = partial(UsageError, hint="give the log.csv of a run")
    head, *lines = _whole_lines(content) or [b""]
    try:
        accuracies = _accuracy_names(_cells(head))
    except ValueError as error:
        raise unreadable(f"{path}, line 1: {error}") from error
    return [row for _, row in _rows(lines, accuracies, path=path, error=unreadable)]


def _rows(
    lines: Iterable[bytes],
    accuracies: Sequence[str],
    *,
    path: str | os.PathLike[str],
    error: Callable[[str], TadaError],
) -> Iterator[tuple[bytes, LogRow]]:
    """Each line after the head, and its row; raises an `error` that names the line."""
    last = (-1, 0)
    for number, line in enumerate(lines, start=2):
        try:
            row = _row(_cells(line), accuracies)
            if row.place <= last:
                raise ValueError(f"step {row.step} ({row.event}) does not come after step {last[0]}")
        except ValueError as problem:
            raise error(f"{path}, line {number}: {problem}") from problem
        last = row.place
        yield line, row


def _cells(line: bytes) -> list[str]:
    return line.decode().removesuffix("\n").removesuffix("\r").split(",")


def _whole_lines(content: bytes) -> list[bytes]:
    # Not splitlines: only a line feed ends a line.
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _accuracy_names(head: Sequence[str]) -> tuple[str, ...]:
    inner = tuple(head[len(_LEADING) : len(head) - len(_TRAILING)])
    if tuple(head) != (*_LEADING, *inner, *_TRAILING) or not all(map(_NAME.fullmatch, inner)):
        raise ValueError(f"the columns of a log are {', '.join((*_LEADING, '...', *_TRAILING))}")
    return inner


def _row(cells: Sequence[str], accuracies: Sequence[str]) -> LogRow:
    """The row of a line's cells. Raises `ValueError` naming the column."""
    columns = (*_LEADING, *accuracies, *_TRAILING)
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} values, expected {len(columns)}")
    values = {name: _value(name, cell) for name, cell in zip(columns, cells, strict=True)}
    measured = {name: values.pop(name) for name in accuracies}
    return LogRow(**values, accuracies={name: value for name, value in measured.items() if value is not None})


def _value(name: str, cell: str) -> Any:
    if not cell:
        if name in _ALWAYS:
            raise ValueError(f"{name} is missing")
        return None
    if name == "event":
        if cell not in get_args(Event):
            raise ValueError(f"event is {cell!r}, expected one of {', '.join(get_args(Event))}")
        return cell
    pattern = re.compile(r"\d+") if name in _COUNTS else _NUMBER
    if not cell.isascii() or not pattern.fullmatch(cell):
        raise ValueError(f"{name} is {cell!r}, expected a {'whole number' if name in _COUNTS else 'number'}")
    return int(cell) if name in _COUNTS else float(cell)


def _text(value: str | float | None) -> str:
    """A cell; the digits of a number give it back exactly."""
    if value is None:
        return ""
    if isinstance(value, str | int):
        return str(value)
    return repr(float(value))


class TensorBoardLog:
    """The same rows as curves for TensorBoard."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, row: LogRow) -> None:
        """Write the numbers of a row at its step."""
        numbers = {
            "loss/train": row.train_loss,
            "loss/validation": row.validation_loss,
            "learning_rate": row.learning_rate,
            "grad_norm": row.grad_norm,
            "seconds_per_step": row.seconds_per_step,
            **{f"accuracy_percent/{name}": value for name, value in row.accuracies.items()},
        }
        for name, value in numbers.items():
            if value is not None:
                self._writer.add_scalar(name, float(value), row.step)

    def sync(self) -> None:
        """Bring all rows to the file."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def require_tensorboard() -> None:
    """Raises `UsageError` if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError("TensorBoard is not installed", hint='install it with pip install "tadacli[tensorboard]"')


def tensorboard_writer(folder: str | os.PathLike[str], *, resume_step: int | None = None) -> TensorBoardLog:
    """A TensorBoard log in `folder`; with `resume_step`, TensorBoard no longer shows what was logged after that step.

    Raises as `require_tensorboard` does.
    """
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    purge = None if resume_step is None else resume_step + 1
    return TensorBoardLog(SummaryWriter(os.fspath(folder), purge_step=purge))
