"""Work in threads ahead of its reader, with the results in order: an iterator, or a function of many items."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from tadacli.profiling import Stage, during

T = TypeVar("T")
R = TypeVar("R")
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class _End:
    """What the thread leaves after its last item: nothing, or the error that ended it."""

    error: BaseException | None = None


@contextmanager
def read_ahead(items: Iterator[T], *, depth: int) -> Iterator[Iterator[T]]:
    """An iterator over `items`, at most `depth` of which are made before they are asked for.

    An error in `items` is raised where the item would have come. On leaving, the thread ends, and closes
    `items` if it is a generator. The number of torch's threads is left alone: a part of it holds for the whole
    process, and the model's sums would depend on when it is set.
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
    function: Callable[[T], R], items: Iterable[T], *, workers: int, stop: threading.Event
) -> Generator[R, None, None]:
    """`function(item)` of each item, in order; while the reader uses one result, `workers` more are in the making.

    An error of `function` is raised where its result would have come. Close the generator to end early: `stop` is
    set, and it ends when the calls have returned that were under way, which can look at `stop` and give up.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tada-decode")
    waiting: deque[Future[R]] = deque()
    coming = iter(items)
    more = True
    try:
        while True:
            while more and len(waiting) <= workers:
                try:
                    waiting.append(pool.submit(copy_context().run, function, next(coming)))
                except StopIteration:
                    more = False
            if not waiting:
                return
            with during(Stage.WAITING):
                result = waiting.popleft().result()
            yield result
            del result
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
