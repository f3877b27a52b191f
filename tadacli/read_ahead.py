"""Running an iterator ahead of its reader, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class _End:
    """What the thread leaves behind its last item: nothing, or the error that ended it."""

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

    worker = threading.Thread(target=work, name="tada-read-ahead", daemon=True)
    worker.start()
    try:
        yield read()
    finally:
        stop.set()
        worker.join()
