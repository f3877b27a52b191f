"""A function of many items, worked out ahead of its reader in several threads, with the results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tadacli.profiling import Profile, Stage, during

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    stop: threading.Event,
    profile: Profile | None = None,
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
                    waiting.append(pool.submit(function, next(coming)))
                except StopIteration:
                    more = False
            if not waiting:
                return
            with during(profile, Stage.WAITING):
                result = waiting.popleft().result()
            yield result
            del result
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
