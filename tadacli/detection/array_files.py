"""Files of NumPy arrays, and what is known besides as JSON: written whole and alike, read without trust."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import UsageError
from tadacli.strict_tables import in_one_line, parse_json

ABOUT = "about"  # the array that holds the JSON
# What is read of a file may unpack to so much, and so many times its size.
_MOST_BYTES, _MOST_RATIO = 1 << 28, 50
_LONGEST_REASON = 200


def shown(path: str | os.PathLike[str]) -> str:
    """A path in one line, as messages have it."""
    return in_one_line(os.fspath(path), most=_LONGEST_REASON)


class Arrays:
    """The arrays of a file by name: none is read but those that are asked for, and none that claims too much."""

    def __init__(self, archive: zipfile.ZipFile, *, content: str, num_bytes: int) -> None:
        self._archive, self._content = archive, content
        self._num_left = _MOST_BYTES + _MOST_RATIO * num_bytes

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._archive.getinfo(f"{name}.npy")
        self._num_left -= member.file_size
        if self._num_left < 0:
            raise ValueError(f"it unpacks to more than {self._content} need")
        with self._archive.open(member) as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        return array

    def pieces_of(self, name: str, size: int) -> Iterator[NDArray[Any]]:
        """An array of rows (N, C), `size` of them at once; no more is in memory.

        Raises:
            ValueError: It is no such array, or is cut short.
        """
        with self._archive.open(f"{name}.npy") as stream:
            shape, is_transposed, dtype = _header(stream)
            if len(shape) != 2 or is_transposed or dtype.kind != "f":
                raise ValueError(f"{name} are no rows of numbers")
            width = shape[1] * dtype.itemsize
            for first in range(0, shape[0], size):
                count = min(size, shape[0] - first)
                content = stream.read(count * width)
                if len(content) != count * width:
                    raise ValueError(f"{name} end too early")
                yield np.frombuffer(content, dtype).reshape(count, shape[1])
            if stream.read(1):
                raise ValueError(f"{name} go on too long")

    def shape_of(self, name: str) -> tuple[int, ...]:
        """What an array says its shape is; it is not read."""
        with self._archive.open(f"{name}.npy") as stream:
            return _header(stream)[0]

    def get(self, name: str) -> NDArray[Any] | None:
        """An array; None if the file has none of this name."""
        if name not in self:
            return None
        return self[name]

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.NameToInfo

    @property
    def about(self) -> Any:
        """What the JSON says, whatever it is."""
        return parse_json(str(self[ABOUT]))


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type of an array, as its file says."""
    np.lib.format.read_magic(stream)
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(stream)
    return header


@contextmanager
def read_arrays(path: str | os.PathLike[str], *, content: str, made_by: str) -> Iterator[Arrays]:
    """The arrays of a file, to be decoded inside the context, where any error counts as one of the file.

    Args:
        path: The file.
        content: What is in it, for errors: "scores" of a score file.
        made_by: What makes such a file, for the hint.

    Raises:
        UsageError: The file is missing, cannot be read, or is no such file.
    """
    what = f"{content.removesuffix('s')} file"
    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            yield Arrays(archive, content=content, num_bytes=os.fstat(stream.fileno()).st_size)
    except FileNotFoundError as error:
        raise UsageError(f"there is no {what} {shown(path)}", hint=f"make one with {made_by}") from error
    except OSError as error:
        raise UsageError(f"the {what} {shown(path)} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # bytes from anywhere fail in any way
        reason = in_one_line(f"{error}" or type(error).__name__, most=_LONGEST_REASON)
        raise UsageError(
            f"{shown(path)} is not a {what} of this tool, or is damaged: {reason}", hint=f"make one with {made_by}"
        ) from error


def about_array(facts: Mapping[str, object]) -> NDArray[Any]:
    """The array that holds JSON-ready facts."""
    return np.array(json.dumps(facts))
