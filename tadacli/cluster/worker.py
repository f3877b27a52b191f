"""One worker: it looks whether an input is done, marks its attempt, works, and keeps the result."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import cast

from tadacli.cluster.items import DIVIDED, Item, share_id
from tadacli.cluster.ledger import MOST_ATTEMPTS, Attempt, Ledger
from tadacli.cluster.work import (
    PATIENCE_SECONDS,
    Assignment,
    Outcome,
    Processing,
    Row,
    Seat,
    SharedProcessing,
    Work,
)
from tadacli.errors import TadaError
from tadacli.sampling.shares import Share
from tadacli.strict_tables import in_one_line
from tadacli.video.inputs import version_of

GAVE_UP = 75  # the exit code of a worker that ended itself


def worker_name() -> str:
    """A name for this process that no other worker has."""
    return f"{socket.gethostname()}/{os.getpid()}/{time.time_ns():x}"


def why_of(error: Exception) -> str:
    """What nobody expected, in a line; where it comes from is shown with TADA_DEBUG=1."""
    if os.environ.get("TADA_DEBUG") == "1":
        traceback.print_exception(error)
    return in_one_line(f"{type(error).__name__}: {error}".removesuffix(": "), most=200)


class Watchdog:
    """Ends this process where nothing happens for too long while there is work: nothing else ends a native loop.

    Args:
        patience_seconds: How long nothing may happen.
        on_end: Called before, from a thread, with the reason.
    """

    def __init__(self, patience_seconds: float, on_end: Callable[[str], object]) -> None:
        self._patience, self._on_end = patience_seconds, on_end
        self._last: float | None = None
        threading.Thread(target=self._watch, name="tada-watchdog", daemon=True).start()

    def step(self) -> None:
        """Something happened."""
        self._last = time.monotonic()
        # It needs no interpreter, which a decoder may hold for ever; its words go nowhere.
        faulthandler.dump_traceback_later(1 + 1.1 * self._patience, file=_nowhere(), exit=True)

    def rest(self) -> None:
        """There is no work."""
        self._last = None
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._patience / 4))
            last = self._last
            if last is not None and time.monotonic() - last > self._patience:
                self._on_end(f"nothing happened for {self._patience:g} s")
                os._exit(GAVE_UP)


_NOWHERE: list[int] = []


def _nowhere() -> int:
    if not _NOWHERE:
        _NOWHERE.append(os.open(os.devnull, os.O_WRONLY))
    return _NOWHERE[0]


@dataclass(frozen=True)
class InWork:
    """An input in work: its attempt, and what gives its row; or its outcome, where there is nothing to do."""

    assignment: Assignment
    attempt: Attempt | None = None
    row: Callable[[], Row] | None = None
    outcome: Outcome | None = None


class Worker:
    """Works on inputs that it is given, in the order of their beginning.

    Args:
        work: What is to be done.
        seat: The worker's place.
        ledger: Where attempts and results are kept.
        name: The worker's name.
        patience_seconds: How long nothing may happen with an input before the process ends itself; None for ever.

    Raises:
        TadaError: The model cannot be loaded.
    """

    def __init__(
        self,
        work: Work,
        seat: Seat,
        ledger: Ledger,
        *,
        name: str,
        patience_seconds: float | None = PATIENCE_SECONDS,
    ) -> None:
        self.name, self._ledger = name, ledger
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._watchdog: Watchdog | None = None
        self._processing = work.ready(seat, self._step)
        if patience_seconds is not None:
            self._watchdog = Watchdog(patience_seconds, self.explain)

    @property
    def processing(self) -> Processing:
        """The loaded model."""
        return self._processing

    def begin(self, assignment: Assignment) -> InWork:
        """Begin with an input, unless it is done, or as many workers as may have ended with it."""
        row = self._ledger.row(assignment.id)
        if row is not None:
            return InWork(assignment, outcome=_outcome(assignment.id, row))
        attempt = self._ledger.attempt(assignment.id, self.name)
        if attempt is None:
            return InWork(assignment, outcome=self._commit(assignment, self._poisoned(assignment)))
        with self._lock:
            self._attempts[assignment.id] = attempt
        self._step()
        if _has_changed(assignment.item):
            return InWork(assignment, attempt, lambda: self._changed(assignment.item))
        return InWork(assignment, attempt, self._begun(assignment))

    def _changed(self, item: Item) -> Row:
        return self._processing.failed(
            item, f"{item.path} has changed since it was listed; --resume takes it as it is now"
        )

    def _begun(self, assignment: Assignment) -> Callable[[], Row]:
        """What gives the row of an input, or of a share of it."""
        item, shared = assignment.item, cast("SharedProcessing", self._processing)
        if assignment.share is not None:
            return shared.begin_share(item, assignment.share)
        if assignment.num_shares:
            kept = map(self._ledger.row, _shares(assignment))
            return shared.begin_whole(item, takewhile(lambda row: row is not None, kept))  # type: ignore[arg-type]
        return self._processing.begin(item)

    def finish(self, work: InWork) -> Outcome:
        """Keep the result of an input; when this returns, it is there.

        Raises:
            TadaError: What is no video's fault, such as broken weights or a full disk.
        """
        if work.outcome is not None:
            return work.outcome
        assert work.row is not None
        assert work.attempt is not None
        row, item = work.row(), work.assignment.item
        if row["status"] not in ("error", DIVIDED) and _has_changed(item):
            row = self._changed(item)  # while it was read
        outcome = self._kept(work.assignment, row)
        with self._lock:
            self._attempts.pop(outcome.id, None)
            is_idle = not self._attempts
        self._ledger.withdraw(work.attempt)
        if is_idle and self._watchdog is not None:
            self._watchdog.rest()
        else:
            self._step()
        return outcome

    def withdraw(self) -> None:
        """Take back the marks of what is in work: this worker is told to end, and no input is at fault."""
        with self._lock:
            attempts = list(self._attempts.values())
            self._attempts.clear()
        for attempt in attempts:
            self._ledger.withdraw(attempt)

    def explain(self, why: str) -> None:
        """Say of what is in work why the process is about to end."""
        for item_id, attempt in list(self._attempts.items()):
            try:
                self._ledger.explain(attempt, self.name, why)
            except TadaError as error:  # the process ends all the same
                print(f"error: {item_id}: {error}", file=sys.stderr)

    def _kept(self, assignment: Assignment, row: Row) -> Outcome:
        """Keep a row, unless it says that there is none yet; the shares of a whole are of no use after."""
        if row["status"] == DIVIDED:
            return Outcome(assignment.id, DIVIDED, num_shares=row["shares"])
        outcome = self._commit(assignment, row)
        for kept in _shares(assignment):
            self._ledger.discard(kept)
        return outcome

    def _commit(self, assignment: Assignment, row: Row) -> Outcome:
        if not self._ledger.commit(assignment.id, row):
            row = self._ledger.row(assignment.id) or row  # another worker was first
        return _outcome(assignment.id, row)

    def _poisoned(self, assignment: Assignment) -> Row:
        reasons = self._ledger.reasons(assignment.id)
        why = f": {', '.join(reasons)}" if reasons else ""
        text = f"{assignment.item.path}: {MOST_ATTEMPTS} workers ended while they worked on it{why}"
        return self._processing.failed(assignment.item, text)

    def _step(self) -> None:
        if self._watchdog is not None:
            self._watchdog.step()


def _has_changed(item: Item) -> bool:
    """Whether a video is another one than when it was listed."""
    return item.version is not None and version_of(item.path) != item.version


def _shares(assignment: Assignment) -> Iterator[str]:
    """The ids of the shares that are there of an input, in order."""
    count = assignment.num_shares
    return (share_id(assignment.id, Share(number, count)) for number in range(count))


def _outcome(item_id: str, row: Row) -> Outcome:
    video = row.get("video") if "path" in row and isinstance(row.get("video"), dict) else row.get("info")
    seconds = video.get("duration_seconds", 0.0) if isinstance(video, dict) else 0.0
    return Outcome(item_id, str(row.get("status", "ok")), str(row.get("error") or ""), float(seconds))
