"""Workers as plain processes of this machine, one model each; none is left when the driver ends, in whatever way."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from tadacli.cluster.driving import Done, Ended, Event, Failed, Ready
from tadacli.cluster.work import Assignment, Seat, Work
from tadacli.concurrency import WatchedContext, WatchedProcess
from tadacli.errors import TadaError

if TYPE_CHECKING:
    from tadacli.cluster.worker import InWork, Worker

_TO_END_SECONDS = 5.0
_POLL_SECONDS = 0.2


class LocalPool:
    """Workers in processes of their own.

    Args:
        work: What they do.
        place: The run folder.
        seats: A place for each worker.
        patience_seconds: How long nothing may happen with an input before its worker ends itself.
    """

    def __init__(self, work: Work, place: str, seats: Sequence[Seat], *, patience_seconds: float) -> None:
        self._work, self._place, self._patience = work, place, patience_seconds
        self._free = deque(seats)
        self.most = self.least = len(seats)
        self._processes: dict[int, tuple[WatchedProcess, Connection, Seat]] = {}
        self._num_started = 0
        self._context = WatchedContext()

    def start(self) -> int:
        """As `Pool` says it."""
        ours, theirs = self._context.Pipe()
        seat = self._free.popleft()
        arguments = (theirs, self._work, self._place, seat, self._patience)
        process = self._context.Process(target=work_in_process, args=arguments, name=f"tada-worker-{seat.number}")
        process.start()
        theirs.close()
        self._num_started += 1
        self._processes[self._num_started] = process, ours, seat
        return self._num_started

    def give(self, worker: int, assignment: Assignment) -> None:
        """As `Pool` says it."""
        with contextlib.suppress(OSError):  # its end is the next event
            self._processes[worker][1].send(assignment)

    def events(self) -> list[Event]:
        """As `Pool` says it."""
        connections = {connection: number for number, (_, connection, _) in self._processes.items()}
        found: list[Event] = []
        for connection in wait(list(connections)):
            number = connections[connection]  # type: ignore[index]
            try:
                while self._processes[number][1].poll():
                    found.append(replace(self._processes[number][1].recv(), worker=number))
            except (EOFError, OSError):
                found.append(self._end(number))
        return found

    def release(self, worker: int) -> None:
        """As `Pool` says it."""
        process, connection, _ = self._processes[worker]
        with contextlib.suppress(OSError):
            connection.send(None)
        process.join(_TO_END_SECONDS)
        self._end(worker)

    def close(self) -> None:
        """As `Pool` says it."""
        for process, _, _ in self._processes.values():
            process.terminate()
        for number in list(self._processes):
            self._processes[number][0].join(_TO_END_SECONDS)
            self._end(number)

    def _end(self, number: int) -> Ended:
        """Take a process for ended, and make it so."""
        process, connection, seat = self._processes.pop(number)
        connection.close()
        process.join(_TO_END_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        code = process.exitcode or 0
        process.close()
        self._free.append(seat)
        return Ended(number, _why(code), told_to=code in (-signal.SIGTERM, 128 + signal.SIGTERM))


def _why(code: int) -> str:
    """What an exit code says."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def work_in_process(connection: Connection, work: Work, place: str, seat: Seat, patience_seconds: float) -> None:
    """What the process of a worker does: inputs as they come, until there is a None.

    Args:
        connection: To the driver.
        work: What is to be done.
        place: The run folder.
        seat: The worker's place.
        patience_seconds: How long nothing may happen with an input.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver is told, too, and ends the workers
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # both are read when torch is imported
    if seat.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(seat.threads)
    from tadacli.allocator import keep_freed_memory
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.stores import open_store
    from tadacli.cluster.worker import Worker, why_of, worker_name

    keep_freed_memory()
    try:
        ledger = Ledger(open_store(place))
        worker = Worker(work, seat, ledger, name=worker_name(), patience_seconds=patience_seconds)
        _end_with_driver(worker)
        processing = worker.processing
        facts = processing.notes, processing.num_at_once, processing.about
        connection.send(Ready(0, worker.name, processing.run, *facts))
        try:
            _serve(connection, worker)
        except (TadaError, EOFError, OSError):
            worker.withdraw()
            raise
        except Exception as error:  # the model may be in any state: another process goes on, as after a crash
            worker.explain(why_of(error))
            os._exit(1)
    except TadaError as error:
        connection.send(Failed(0, error))
    except (EOFError, OSError):  # the driver is gone
        os._exit(1)


def _serve(connection: Connection, worker: Worker) -> None:
    """Inputs as they come; where the model reads ahead, others are begun while one is finished."""
    depth = worker.processing.num_at_once
    pending: deque[InWork] = deque()
    is_over = False
    while pending or not is_over:
        while not is_over and len(pending) < depth and (not pending or connection.poll()):
            assignment = connection.recv()
            if assignment is None:
                is_over = True
            else:
                pending.append(worker.begin(assignment))
        if pending:
            connection.send(Done(0, worker.finish(pending.popleft())))


def _end_with_driver(worker: Worker) -> None:
    """Take the marks of what is in work back when the process is told to end, or its driver is gone."""
    parent = os.getppid()

    def told_to(*_: object) -> None:
        worker.withdraw()
        os._exit(128 + signal.SIGTERM)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        told_to()

    signal.signal(signal.SIGTERM, told_to)
    threading.Thread(target=watch, name="tada-driver-watch", daemon=True).start()
