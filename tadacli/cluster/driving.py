"""The driver: gives inputs to workers, starts others for those that end, and raises what ends the run.

It knows no engine; a `Pool` starts workers and says what happens to them. It loads no model and no library that
computes, and keeps of each input no more than the hash of its id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tadacli.cluster.items import Item, share_id
from tadacli.cluster.ledger import Kind, Ledger, differences
from tadacli.cluster.listing import Listing
from tadacli.cluster.work import Assignment, Outcome
from tadacli.errors import TadaError
from tadacli.results import Run
from tadacli.sampling.shares import Share

_MOST_FALSE_STARTS = 3  # of the first workers; of those that come later, some more


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model, and has so many inputs in work; `name` is what it calls itself in the ledger.

    `about` is as of a `Processing`.
    """

    worker: int
    name: str
    run: Run
    notes: tuple[str, ...] = ()
    num_at_once: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """The result of an input is there."""

    worker: int
    outcome: Outcome


@dataclass(frozen=True)
class Failed:
    """What is no input's fault: the run ends with this error."""

    worker: int
    error: TadaError


@dataclass(frozen=True)
class Ended:
    """A worker's process is gone, and why; `told_to` says that it was to end, or its machine is gone."""

    worker: int
    why: str
    told_to: bool = False


@dataclass(frozen=True)
class Waiting:
    """No worker is ready yet, and what they wait for."""

    worker: int
    why: str


Event = Ready | Done | Failed | Ended | Waiting


class Pool(Protocol):
    """Workers of one engine, each known by a number.

    Attributes:
        most: How many there may be at a time.
        least: How many there are at least while there is work.
    """

    most: int
    least: int

    def start(self) -> int:
        """Start a worker; it is ready when that event comes."""
        ...

    def give(self, worker: int, assignment: Assignment) -> None:
        """Give a worker an input."""
        ...

    def events(self) -> list[Event]:
        """What has happened, perhaps nothing; waits for it."""
        ...

    def release(self, worker: int) -> None:
        """Let a worker end that has nothing to do."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


@dataclass
class _Worker:
    """What is known of a worker: its name in the ledger once it is ready, and the inputs that it has of `most`."""

    name: str = ""
    most: int = 0
    in_flight: dict[str, Assignment] = field(default_factory=dict)


@dataclass
class Watcher:
    """What a caller is told; each is a call.

    Attributes:
        on_model: With the notes of the model, once.
        on_done: With (inputs that are done, inputs in all or None while they are still read).
        on_error: With the error of an input that failed.
        on_end: With why a worker ended.
        on_wait: With what workers wait for, once for each reason.
    """

    on_model: Callable[[tuple[str, ...]], object] = str
    on_done: Callable[[int, int | None], object] = lambda *_: None
    on_error: Callable[[str], object] = str
    on_end: Callable[[str], object] = str
    on_wait: Callable[[str], object] = str


def drive(
    pool: Pool,
    items: Iterator[Item],
    ledger: Ledger,
    *,
    kind: Kind,
    divides: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Have the results of all inputs made that are not there yet.

    Args:
        pool: The workers, none of them started; they are ended in the end.
        items: The inputs, in order; read as they are needed.
        ledger: Where results are kept.
        kind: The command whose results they are.
        divides: Whether workers may find that an input is to be given out in shares, for which others are kept.
        watcher: What is told meanwhile.

    Raises:
        OutputError: The folder holds another run, or cannot be written.
        TadaError: The model cannot be loaded, or workers end without having begun.
    """
    driver = _Driver(pool, items, ledger, kind, divides, watcher or Watcher())
    try:
        driver.run()
    finally:
        pool.close()
        driver.withdraw_all()


class _Driver:
    def __init__(
        self, pool: Pool, items: Iterator[Item], ledger: Ledger, kind: Kind, divides: bool, watcher: Watcher
    ) -> None:
        self._pool, self._items, self._ledger, self._kind, self._watcher = pool, items, ledger, kind, watcher
        self._divides = divides
        self._workers: dict[int, _Worker] = {}
        self._again: deque[Assignment] = deque()
        self._shares: deque[Assignment] = deque()  # and the wholes of which all are there
        self._divided: dict[str, tuple[Assignment, set[str]]] = {}  # by id, with the shares that are not there yet
        self._listing = Listing(ledger.store)
        self._run: Run | None = None
        self._committed: set[bytes] = set()
        self._listed: set[bytes] = set()
        self._is_listed = False
        self._num_done, self._false_starts, self._ends = 0, 0, 0

    def run(self) -> None:
        """Until all inputs are done."""
        for _ in range(self._pool.least):
            self._start()
        while not self._is_over():
            for event in self._pool.events():
                self._take(event)
            self._feed()

    def withdraw_all(self) -> None:
        """Take back the marks of what is in work: no input is at fault."""
        for worker in self._workers.values():
            for item_id in worker.in_flight:
                attempt = self._ledger.attempt_of(item_id, worker.name)
                if attempt is not None:
                    self._ledger.withdraw(attempt)

    def _start(self) -> None:
        self._workers[self._pool.start()] = _Worker()

    def _is_over(self) -> bool:
        busy = any(worker.in_flight for worker in self._workers.values())
        return self._run is not None and self._is_given_out() and not busy

    def _is_given_out(self) -> bool:
        return self._is_listed and not self._again and not self._shares

    # --- events ---------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self._watcher.on_wait(event.why)
        if event.worker not in self._workers:
            return
        if isinstance(event, Ready):
            self._begin(event)
        elif isinstance(event, Done):
            self._ends = 0
            assignment = self._workers[event.worker].in_flight.pop(event.outcome.id, None)
            if assignment is not None:
                self._done(assignment, event.outcome)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Ended):
            self._ended(event)

    def _begin(self, event: Ready) -> None:
        worker = self._workers[event.worker]
        # The next input lies ready when one is done.
        worker.name, worker.most = event.name, max(2, event.num_at_once)
        self._false_starts = 0
        if self._run is None:
            self._ledger.claim(self._kind, event.run, event.about)
            self._run = event.run
            self._ledger.withdraw_unexplained()
            self._committed = {bytes.fromhex(name) for name in self._ledger.committed()}
            self._watcher.on_model(event.notes)
        elif event.run.id != self._run.id:
            differing = "; ".join(differences(vars(self._run), vars(event.run))) or "they load other weights"
            raise TadaError(
                f"workers would not make the same results: {differing}",
                hint="give all machines the same versions, device and weights",
            )

    def _ended(self, event: Ended) -> None:
        worker = self._workers.pop(event.worker)
        self._ends += 1
        self._false_starts += not worker.name
        most = _MOST_FALSE_STARTS * (1 if self._run is None else 4)
        if self._false_starts >= most or self._ends > 10 + 6 * self._pool.most:
            raise TadaError(f"workers end before they have done anything: {event.why}", hint="is there enough memory?")
        for assignment in worker.in_flight.values():
            attempt = self._ledger.attempt_of(assignment.id, worker.name)
            if attempt is not None and event.told_to:
                self._ledger.withdraw(attempt)
            elif attempt is not None:
                self._ledger.explain(attempt, worker.name, event.why)
            self._again.append(replace(assignment, alone=True))
        self._watcher.on_end(event.why)
        if len(self._workers) < self._pool.least:
            self._start()

    def _done(self, assignment: Assignment, outcome: Outcome) -> None:
        """An input is done, or a share of one, or it is known how many there are."""
        if outcome.num_shares:
            shares = [Share(number, outcome.num_shares) for number in range(outcome.num_shares)]
            ids = {share_id(assignment.id, share): share for share in shares}
            whole = replace(assignment, num_shares=outcome.num_shares)
            self._divided[assignment.id] = whole, set(ids)
            self._shares += [Assignment(each, whole.item, share=share, whole=whole.id) for each, share in ids.items()]
        elif assignment.share is not None:
            whole, left = self._divided[assignment.whole]
            left.discard(assignment.id)
            if not left:
                del self._divided[whole.id]
                self._shares.append(whole)
        else:
            self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        self._num_done += 1
        if outcome.status == "error":
            self._watcher.on_error(outcome.error)
        self._tell()

    def _tell(self) -> None:
        self._watcher.on_done(self._num_done, self._listing.count if self._is_listed else None)

    # --- inputs ---------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Give each worker what it has room for; those for whom there is nothing may go."""
        if self._run is None:
            return
        ready = {number: worker for number, worker in self._workers.items() if worker.name}
        for depth in range(1, 1 + max((worker.most for worker in ready.values()), default=0)):
            for number, worker in ready.items():
                while len(worker.in_flight) < depth and self._has_room(worker):
                    assignment = self._next()
                    if assignment is None:
                        break
                    worker.in_flight[assignment.id] = assignment
                    self._pool.give(number, assignment)
        if self._is_given_out():
            idle = [number for number, worker in ready.items() if not worker.in_flight]
            for number in [] if self._may_divide() else idle:
                del self._workers[number]
                self._pool.release(number)
        elif len(self._workers) < self._pool.most:
            self._start()

    def _may_divide(self) -> bool:
        """Whether shares may come that others are to work on."""
        in_flight = [each for worker in self._workers.values() for each in worker.in_flight.values()]
        return self._divides and any(each.share is None and not each.num_shares for each in in_flight)

    def _has_room(self, worker: _Worker) -> bool:
        """Whether a worker may have another input; one that is to be alone waits until there is no other."""
        if self._again or any(assignment.alone for assignment in worker.in_flight.values()):
            return not worker.in_flight
        return len(worker.in_flight) < worker.most

    def _next(self) -> Assignment | None:
        """The next input to be worked on, None where there is none at the moment."""
        for queue in (self._again, self._shares):
            if queue:
                return queue.popleft()
        assert self._run is not None
        for item in self._items:
            item_id = item.id_in(self._run.id)
            key = bytes.fromhex(item_id)
            if key in self._listed:
                continue
            self._listed.add(key)
            self._listing.add(item.path, item_id)
            if key in self._committed:
                self._num_done += 1
                continue
            return Assignment(item_id, item)
        if not self._is_listed:
            self._is_listed = True
            self._listing.close()
            self._committed = set()
            self._tell()
        return None
