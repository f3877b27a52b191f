"""Work ahead of its reader, in threads with the results in order, or in processes that end with this one."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from tadacli.profiling import Stage, during

T = TypeVar("T")
R = TypeVar("R")
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0


def default_workers() -> int:
    """Threads that decode: half the cores, since the network wants them too, but at least two and at most eight."""
    return max(2, min(8, (os.cpu_count() or 1) // 2))


@dataclass(frozen=True)
class _End:
    """What the thread leaves after its last item: nothing, or the error that ended it."""

    error: BaseException | None = None


@contextmanager
def read_ahead(items: Iterator[T], *, depth: int) -> Iterator[Iterator[T]]:
    """An iterator over `items`, made in a thread before they are asked for.

    The number of torch's threads is left alone: half of that setting holds for the whole process, and the model's
    sums would depend on when it is made.

    Args:
        items: Made in the thread, which closes them in the end if they are a generator.
        depth: How many items at most are made before they are asked for.

    Returns:
        The iterator; the thread ends on leaving.

    Raises:
        Exception: An error in `items`, where the item would have come.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        end = _End()
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        put(end)

    def read() -> Iterator[T]:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    worker = threading.Thread(target=copy_context().run, args=(work,), name="tada-read-ahead", daemon=True)
    worker.start()
    try:
        yield read()
    finally:
        stop.set()
        worker.join()


def map_ahead(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    stop: threading.Event,
    num_ahead: int | None = None,
) -> Generator[R, None, None]:
    """`function(item)` of each item, in order; while the reader uses one result, `workers` more are in the making.

    Args:
        function: Called in threads.
        items: What it is called with; one is taken when there is room.
        workers: How many threads there are.
        stop: Set when nothing more is wanted, so that calls under way can ask it and give up.
        num_ahead: How many results may be made before they are asked for, which lets the others pass a slow one; by
            default as many as there are workers.

    Returns:
        An iterator over the results. Close it to end early: it ends when the calls have returned that were under way.

    Raises:
        Exception: An error of `function`, where its result would have come.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tada-decode")
    coming = iter(items)

    def submit(item: T) -> Future[R]:
        return pool.submit(copy_context().run, function, item)

    try:
        waiting = deque(map(submit, islice(coming, num_ahead or workers)))
        while True:
            waiting.extend(map(submit, islice(coming, 1)))
            if not waiting:
                return
            with during(Stage.WAITING):
                result = waiting.popleft().result()
            yield result
            del result
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


class WatchedProcess(SpawnProcess):
    """A spawned process that ends when the one that started it has ended, in whatever way, from its beginning on."""

    def __reduce__(self) -> tuple[Any, ...]:
        # What is called to make the copy over there comes before the rest is read, and with it torch imported.
        return _copy_over_there, (os.getpid(),), self.__dict__


class WatchedContext(SpawnContext):
    """The way to start a `WatchedProcess`, as `multiprocessing` and torch's `DataLoader` take it."""

    Process = WatchedProcess


def _copy_over_there(parent: int) -> WatchedProcess:
    threading.Thread(target=_end_with, args=(parent,), name="tada-watch", daemon=True).start()
    return WatchedProcess.__new__(WatchedProcess)


def _end_with(parent: int) -> None:
    """Ends this process when its parent is another one: in an orderly way, or if that takes too long, at once."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)
