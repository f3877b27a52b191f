"""Rows that are too many for memory, in a file without a name."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import OutputError


class RowFile:
    """Keeps float32 rows in a temporary file, which is gone when it is closed, however the process ends.

    It lies in the system's folder for temporary files (TMPDIR), and is read, not mapped: mapped files count as memory.
    """

    def __init__(self) -> None:
        self._num_rows = self._num_columns = 0
        try:
            self._stream = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise _failed(error) from error

    def append(self, rows: NDArray[np.float32]) -> None:
        """Keep rows (n, C) after those that are there; C is that of the first ones.

        Raises:
            OutputError: They cannot be written.
        """
        self._num_columns = self._num_columns or rows.shape[1]
        if rows.shape[1] != self._num_columns:
            raise ValueError(f"{rows.shape} are not rows of {self._num_columns}")
        try:
            self._stream.seek(0, 2)
            self._stream.write(np.ascontiguousarray(rows, dtype=np.float32).data)
        except OSError as error:
            raise _failed(error) from error
        self._num_rows += len(rows)

    def pieces(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All rows in order, `size` at once, at the end those that are left."""
        for first in range(0, self._num_rows, size):
            yield self.rows(first, first + size)

    def __len__(self) -> int:
        return self._num_rows

    def rows(self, first: int, end: int) -> NDArray[np.float32]:
        """The rows from `first` to before `end`, as many of them as there are.

        Raises:
            OutputError: They cannot be read.
        """
        rows = np.empty((min(end, self._num_rows) - first, self._num_columns), dtype=np.float32)
        try:
            self._stream.seek(first * self._num_columns * rows.itemsize)
            is_whole = self._stream.readinto(rows.data.cast("B")) == rows.nbytes
        except OSError as error:
            raise _failed(error) from error
        if not is_whole:
            raise OutputError(f"a temporary file in {tempfile.gettempdir()} has lost what was written to it")
        return rows

    def close(self) -> None:
        """Give the file up."""
        with contextlib.suppress(OSError):  # of a full disk, for what nobody reads any more
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _failed(error: OSError) -> OutputError:
    return OutputError(
        f"{tempfile.gettempdir()} cannot hold what is worked out of a long video: {error.strerror or error}",
        hint="free some space there, or name another folder for temporary files in TMPDIR",
    )
