"""Listening to what FFmpeg logs in one thread, which PyAV drops otherwise.

PyAV's settings of the log are of the whole process, and a line that is on its way when they are set back shows a
traceback of PyAV's own. So whoever calls FFmpeg to do what it surely logs about must listen.
"""

from __future__ import annotations

import logging
import threading

import av

# What other threads do meanwhile is logged, too; whoever wants to see it sets up Python's logging.
logging.getLogger("libav").addHandler(logging.NullHandler())


class _Listeners:
    """Counts the threads that listen to FFmpeg's log; its settings are of the whole process, and theirs so long."""

    def __init__(self) -> None:
        self._lock, self._num_listeners = threading.Lock(), 0
        self._before: tuple[int | None, bool] = (None, True)

    def __enter__(self) -> None:
        with self._lock:
            self._num_listeners += 1
            if self._num_listeners == 1:
                level = av.logging.get_level()
                self._before = level, av.logging.get_skip_repeated()
                if level is None or level < av.logging.ERROR:
                    av.logging.set_level(av.logging.ERROR)
                av.logging.set_skip_repeated(False)  # one packet may be as bad as the one before it

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_listeners -= 1
            if self._num_listeners == 0:
                level, skips_repeated = self._before
                av.logging.set_level(level)
                av.logging.set_skip_repeated(skips_repeated)


_LISTENERS = _Listeners()


class Listening:
    """Hears what FFmpeg logs in this thread from `begin` to `end`, warnings of the caller's level included.

    The decoders here have no threads of their own, so that each logs in the thread that calls it. It goes on over
    several packets, since to begin takes longer than to decode a small one; it ends before others have their turn.
    """

    def __init__(self) -> None:
        self._capture: av.logging.Capture | None = None
        self._logs: list[tuple[int, str, str]] = []

    def begin(self) -> None:
        """Begins, unless it has begun."""
        if self._capture is None:
            _LISTENERS.__enter__()
            self._capture = av.logging.Capture()
            self._logs = self._capture.__enter__()

    def end(self) -> None:
        """Ends, if it has begun."""
        if self._capture is not None:
            self._capture.__exit__(None, None, None)
            self._capture = None
            _LISTENERS.__exit__()

    def forget(self) -> None:
        """What was logged so far is about something else."""
        if self._logs:
            self._logs.clear()

    @property
    def had_error(self) -> bool:
        """Whether an error was logged since."""
        return bool(self._logs) and any(level <= av.logging.ERROR for level, _, _ in self._logs)
