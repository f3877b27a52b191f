"""Tars of numbered pictures, plain or compressed, read within bounds whatever their headers say.

A header can name any size, and a few kilobytes can unpack to terabytes: no more is read or kept than pictures need.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tadacli.errors import VideoError
from tadacli.video.source import DAMAGED_HINT, MAX_PICTURE_BYTES, Indices, shown

# What goes wrong with an archive that is damaged or was made to do harm; tarfile reads headers one within the other.
ARCHIVE_ERRORS = (
    *(tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError),
    *(ValueError, OverflowError, RecursionError, MemoryError),
)
_MAX_HEADER_BYTES = 1 << 20  # of long names and the like, read at once
# Pictures hardly shrink: what unpacks to more than this was made to fill the disk or the memory.
_MAX_UNPACKED_BYTES, _MAX_RATIO = 1 << 29, 200
_OPENERS: dict[bytes, Callable[[str], object]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}

# The number of the picture that a member is, by its name; None for what is none.
NumberOf = Callable[[str], int | None]


class PlainTar:
    """A tar whose pictures are read from where they lie in it, in any order; `numbers` ascend."""

    numbers: Indices

    def __init__(self, path: str, number_of: NumberOf) -> None:
        self._path = path
        rows = array("q")
        with Path(path).open("rb") as file:
            for number, member in _members(_Forward(file), number_of):
                rows.extend((number, member.offset_data, member.size))
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        self._table = table[np.argsort(table[:, 0], kind="stable")]
        self.numbers = self._table[:, 0]

    def read(self, wanted: Indices) -> Iterator[tuple[int, bytes]]:
        """(position, content) of the wanted positions in `numbers`, which ascend."""
        with Path(self._path).open("rb") as file:
            for position in wanted:
                _, offset, size = (int(v) for v in self._table[position])
                file.seek(offset)
                yield int(position), file.read(size)


class PackedTar:
    """A compressed tar, which can only be read from its start: for the numbers, and for each reading."""

    numbers: Indices

    def __init__(self, path: str, number_of: NumberOf) -> None:
        self._path, self._number_of = path, number_of
        with self._unpacked() as file:
            self.numbers = np.fromiter((number for number, _ in _members(file, number_of)), dtype=np.int64)
        if np.any(np.diff(self.numbers) < 0):
            raise VideoError(
                f"the frames in {shown(path)} do not lie in order of their numbers", hint="unpack it first"
            )

    def read(self, wanted: Indices) -> Iterator[tuple[int, bytes]]:
        """(position, content) of the wanted positions in `numbers`, which ascend."""
        with self._unpacked() as file:
            position = 0
            for at, (_, member) in enumerate(_members(file, self._number_of)):
                if position == len(wanted):
                    return
                if at == wanted[position]:
                    yield at, file.content(member.offset_data, member.size)
                    position += 1

    @contextmanager
    def _unpacked(self) -> Iterator[_Forward]:
        with Path(self._path).open("rb") as file:
            packing = file.read(2)
            size = os.fstat(file.fileno()).st_size
        with cast("BinaryIO", _OPENERS[packing](self._path)) as unpacked:
            yield _Forward(unpacked, end=max(_MAX_UNPACKED_BYTES, _MAX_RATIO * size))


def open_archive(path: str, number_of: NumberOf) -> PlainTar | PackedTar:
    """A tar of numbered pictures.

    Args:
        path: Of the tar, plain or packed by gzip, bzip2 or xz.
        number_of: The number of a picture by the name of its member.

    Raises:
        VideoError: It is no tar, damaged, or asks for more than pictures need.
    """
    try:
        with Path(path).open("rb") as file:
            is_packed = file.read(2) in _OPENERS
        return PackedTar(path, number_of) if is_packed else PlainTar(path, number_of)
    except ARCHIVE_ERRORS as error:
        raise VideoError(f"{shown(path)} is not a whole tar archive: {error}", hint=DAMAGED_HINT) from error


class _Forward(io.RawIOBase):
    """A file for `tarfile`, which goes through it once, in reads of bounded size, and no further than `end`."""

    def __init__(self, file: BinaryIO, *, end: int | None = None) -> None:
        self._file, self._end, self._position = file, end, 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"it has a header of {size} bytes")
        return self._read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        if whence != os.SEEK_SET or position < self._position:
            raise tarfile.ReadError("a member has a negative size")
        self._check(position)
        self._position = self._file.seek(position)
        return self._position

    def content(self, offset: int, size: int) -> bytes:
        """So many bytes from there on."""
        self.seek(offset)
        return self._read(size)

    def _read(self, size: int) -> bytes:
        self._check(self._position + size)
        data = self._file.read(size)
        self._position += len(data)
        return data

    def _check(self, position: int) -> None:
        if self._end is not None and position > self._end:
            raise tarfile.ReadError(f"it unpacks to more than {self._end} bytes")


def _members(file: _Forward, number_of: NumberOf) -> Iterator[tuple[int, tarfile.TarInfo]]:
    """(number, member) of the pictures in a tar, in its order, without keeping the members."""
    with tarfile.open(fileobj=cast("BinaryIO", file), mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            number = number_of(member.name.rpartition("/")[2])
            if number is None or not member.isreg():
                continue
            if member.issparse():
                raise tarfile.ReadError(f"frame {number} is stored as a sparse file")
            if not 0 <= member.size <= MAX_PICTURE_BYTES:
                raise tarfile.ReadError(f"frame {number} has {member.size} bytes")
            yield number, member
