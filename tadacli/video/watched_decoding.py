"""Decoding one packet, and hearing what the decoder has against it.

A decoder that meets damage often fills it in and gives a frame without any flag; only FFmpeg's log tells. PyAV drops
that log, so it is listened to while a packet is decoded.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from tadacli.video.container import VideoPacket

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


def open_watched(decoder: VideoCodecContext) -> bool:
    """Opens a decoder; whether it has nothing against the headers of the file."""
    listening = Listening()
    listening.begin()
    try:
        decoder.open(strict=False)
        return not listening.had_error
    except av.error.FFmpegError:
        return False
    finally:
        listening.end()


def decode_watched(
    decoder: VideoCodecContext, packet: VideoPacket | None, listening: Listening
) -> tuple[list[VideoFrame] | None, bool]:
    """What one packet decodes to, and whether the decoder had an error with it.

    Args:
        decoder: A decoder without threads of its own.
        packet: The next packet; None after the last one.
        listening: Has begun afterwards, and goes on.

    Returns:
        The frames that come out, None if the packet was refused; and whether an error was logged.
    """
    if not decoder.is_open:
        # What it has against the headers of the file is not about this packet, and not said again by an open decoder.
        with suppress(av.error.FFmpegError):
            decoder.open(strict=False)
    listening.begin()
    listening.forget()
    try:
        frames: list[VideoFrame] | None = decoder.decode(packet)
    except av.error.FFmpegError:
        frames = None
    return frames, frames is None or listening.had_error
