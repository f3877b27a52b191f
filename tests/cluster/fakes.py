"""Work that needs no model, with inputs that end their worker, and workers that are no processes."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tadacli.cluster.driving import Done, Ended, Event, Ready
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Kind, Ledger
from tadacli.cluster.work import Assignment, Row, Seat, Work
from tadacli.cluster.worker import Worker
from tadacli.formats.rows import classification_row
from tadacli.results import Classification, Run

RUN = Run("1.0", "0" * 64, {"name": "fake", "task": "nothing", "heads": {"": 1}}, {"views": "1x1", "topk": 1}, "abc")


def abort() -> None:
    """What a decoder does that writes where it may not."""
    os.abort()


def hold() -> None:
    """Takes far longer than a worker's patience, and lets no other thread of Python run meanwhile."""
    ctypes.PyDLL(None).sleep(30)


def hog() -> None:
    """Takes all the memory that the process may have."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    taken = []
    while True:
        taken.append(bytes(1 << 26))


POISONS: dict[str, Callable[[], None]] = {"abort": abort, "hold": hold, "hog": hog}


@dataclass
class FakeProcessing:
    """Names each video "ok" after its path, but for those that are called after a poison."""

    run: Run = RUN
    notes: tuple[str, ...] = ()
    num_at_once: int = 2
    about: dict[str, str] = field(default_factory=dict)

    def begin(self, item: Item) -> Callable[[], Row]:
        poison = POISONS.get(Path(item.path).stem)
        if poison is not None:
            poison()
        return lambda: classification_row(
            Classification(path=item.path, status="ok", model="fake"), self.run, size_bytes=None
        )

    def failed(self, item: Item, reason: str) -> Row:
        result = Classification(path=item.path, status="error", model="fake", error=reason)
        return classification_row(result, self.run, size_bytes=None)


@dataclass(frozen=True)
class FakeWork:
    """Work of a second at most; it loads nothing heavy."""

    kind: Kind = "classify"
    run: Run = RUN
    divides: bool = False

    def ready(self, seat: Seat, on_step: Callable[[], object]) -> FakeProcessing:  # noqa: ARG002 - as it is called
        assert "torch" not in sys.modules or os.getpid() == DRIVER
        return FakeProcessing(self.run)


DRIVER = os.getpid()


class InlinePool:
    """Workers in this process, which may end at any moment of their work, as a seed says.

    Args:
        ledger: Where they keep what they do.
        num_workers: How many there are.
        num_ends: How many of them end, with each input once.
        told_to: Whether they were told to, which may come any number of times.
        twice: Whether some inputs are also given to another worker.
        seldom: How seldom a worker ends, 1 for three times out of four.
        work: What they do.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        num_workers: int = 3,
        num_ends: int = 0,
        told_to: bool = False,
        twice: bool = False,
        seldom: int = 1,
        work: Work | None = None,
    ) -> None:
        self.most = self.least = num_workers
        self._ledger, self._ends, self._told_to, self._twice = ledger, num_ends, told_to, twice
        self._random, self._seldom, self._work = random.Random(7), seldom, work or FakeWork()
        self._workers: dict[int, Worker] = {}
        self._given: dict[int, list[Assignment]] = {}
        self._new: list[Event] = []
        self._ended_with: set[str] = set()
        self.num_started, self.num_ended = 0, 0

    def start(self) -> int:
        self.num_started += 1
        worker = Worker(
            self._work, Seat(0, "cpu"), self._ledger, name=f"worker {self.num_started}", patience_seconds=None
        )
        self._workers[self.num_started], self._given[self.num_started] = worker, []
        self._new.append(Ready(self.num_started, worker.name, worker.processing.run))
        return self.num_started

    def give(self, worker: int, assignment: Assignment) -> None:
        self._given[worker].append(assignment)

    def has_work(self, worker: int) -> bool:
        return bool(self._given[worker])

    def events(self) -> list[Event]:
        new, self._new = self._new, []
        if new:
            return new
        number = self._random.choice([number for number, given in self._given.items() if given])
        assignment = self._given[number].pop(0)
        worker = self._workers[number]
        if self._twice and self._random.random() < 0.3:
            other = self._workers[self._random.choice(list(self._workers))]
            other.finish(other.begin(assignment))
        may_end = self.num_ended < self._ends and (self._told_to or assignment.id not in self._ended_with)
        stage = self._random.choice(["before", "within", "after", *["not"] * self._seldom]) if may_end else "not"
        if stage != "not":
            self._ended_with.add(assignment.id)
        if stage == "before":
            return [self._end(number)]
        work = worker.begin(assignment)
        if stage == "within":
            return [self._end(number)]
        outcome = worker.finish(work)
        return [self._end(number)] if stage == "after" else [Done(number, outcome)]

    def release(self, worker: int) -> None:
        del self._workers[worker], self._given[worker]

    def close(self) -> None:
        self._workers.clear()

    def _end(self, number: int) -> Ended:
        self.num_ended += 1
        self.release(number)
        return Ended(number, "killed by SIGKILL", told_to=self._told_to)
