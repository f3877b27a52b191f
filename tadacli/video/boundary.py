"""The boundary around each video of a batch: whatever goes wrong with one is a `VideoError`, and the others go on."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from types import TracebackType

from tadacli.errors import TadaError, VideoError
from tadacli.strict_tables import in_one_line
from tadacli.video.source import VideoPath, shown
from tadacli.zoo.addresses import address

_LONGEST_TEXT = 200
_SURPRISE_HINT = "TADA_DEBUG=1 shows where it comes from"


class VideoBoundary:
    """What is inside is done for one video: any exception there leaves as a `VideoError` that names the video.

    Those that no video causes go through as they are: an interrupt, a `TadaError` about settings or output, and what
    comes out of `lifted`. With TADA_DEBUG=1 in the environment, what nobody expected shows its traceback on stderr.
    It can be entered more than once, one time after the other.
    """

    def __init__(self, path: VideoPath) -> None:
        self._path = self._file = address(path)
        self._passed: BaseException | None = None

    def reads(self, file: str) -> str:
        """The file itself; messages that name it name the video, since the name of a download says nothing."""
        self._file = file
        return file

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """What is inside is not about the video, such as a call of the caller's own: its exceptions go through."""
        try:
            yield
        except BaseException as error:
            self._passed = error
            raise

    def __enter__(self) -> VideoBoundary:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None or error is self._passed:
            return
        if isinstance(error, VideoError):
            if self._file != self._path:
                raise VideoError(error.message.replace(self._file, self._path), hint=error.hint) from error
        elif isinstance(error, Exception) and not isinstance(error, (TadaError, CancelledError)):
            if os.environ.get("TADA_DEBUG") == "1":
                traceback.print_exception(error)
            what = in_one_line(f"{type(error).__name__}: {error}".removesuffix(": "), most=_LONGEST_TEXT)
            message = f"{shown(self._path)} failed with {what.replace(self._file, self._path)}"
            raise VideoError(message, hint=_SURPRISE_HINT) from error
