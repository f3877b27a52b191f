"""One side of a comparison in a process of its own, where memory is allocated as if the other side were not there."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

Times = tuple[float, float]  # wall, and CPU of all threads


def timed(call: Callable[[], Any]) -> tuple[Any, Times]:
    """What a call returns, and the seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, (time.perf_counter() - wall, time.process_time() - cpu)


class OwnProcess:
    """Calls of `make(*arguments)` in a process that is started for them and ends with this one.

    What goes there and what comes back is pickled, outside of the time that is measured. Ends the program with the
    other's traceback if a call fails.
    """

    def __init__(self, make: Callable[..., Callable[..., Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, *arguments: Any) -> tuple[Any, Times]:
        """What one call there returns, and the seconds that it took there."""
        try:
            self._pipe.send(arguments)
            failed, found, times = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise SystemExit("the process of the other side has ended") from None
        if failed:
            raise SystemExit(found)
        return found, times


def _serve(pipe: Connection, make: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    try:
        call = make(*arguments)
        while True:
            given = pipe.recv()
            found, times = timed(partial(call, *given))
            pipe.send((False, found, times))
    except EOFError:
        return
    except BaseException:
        pipe.send((True, traceback.format_exc(), (0.0, 0.0)))
