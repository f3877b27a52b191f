"""Where a run keeps what is done: small objects by name, there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from tadacli.errors import OutputError, UsageError
from tadacli.files import is_unfinished, not_written, remove_leftovers, write_if_absent, write_new
from tadacli.video.stores import is_in_store, opened_store, store_errors

_LOCK = ".lock"
# Stores of which fsspec puts an object on condition that there is none.
_CONDITIONAL = ("s3", "gs", "gcs")


class Store(Protocol):
    """Objects by name, such as "results/4f/4f09.json"; what is written is there as a whole or not at all."""

    place: str

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Write an object unless one of that name is there; whether it was written. One of several at once is."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write an object, over one that is there."""
        ...

    def get(self, name: str) -> bytes | None:
        """The content of an object, None where there is none."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        ...

    def names(self, folder: str) -> Iterator[str]:
        """The names of all objects below a folder, in no order."""
        ...

    def is_there(self, name: str) -> bool:
        """Whether an object of that name is there."""
        ...


class LocalStore:
    """A folder on a disk that all workers see.

    Args:
        folder: Its name; it is made with the first object, within a folder that is there.
    """

    def __init__(self, folder: Path) -> None:
        self.place, self._folder = str(folder), folder

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """As `Store` says it. Raises `OutputError` where nothing can be written."""
        file = self._file(name)
        if self.is_there(name):
            return False
        if file.exists():  # an empty one, as power that fails leaves it
            with FileLock(self._folder / _LOCK):  # by now another one may have put what is wanted
                if not self.is_there(name):
                    self.remove(name)
        return write_if_absent(file, content, by_way_of=self._folder)

    def put(self, name: str, content: bytes) -> None:
        """As `Store` says it. Raises `OutputError` where nothing can be written."""
        write_new(self._file(name), content, replace=True)

    def get(self, name: str) -> bytes | None:
        """As `Store` says it. Raises `OutputError` where it cannot be read."""
        file = self._folder / name
        try:
            return file.read_bytes() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{file} cannot be read: {error.strerror or error}") from error

    def remove(self, name: str) -> None:
        """As `Store` says it. Raises `OutputError` where it cannot be removed."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder / name} cannot be removed: {error.strerror or error}") from error

    def names(self, folder: str) -> Iterator[str]:
        """As `Store` says it."""
        try:
            entries = list(os.scandir(self._folder / folder))
        except FileNotFoundError:
            return
        for entry in entries:
            name = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self.names(name)
            elif not is_unfinished(entry.name) and entry.stat().st_size:
                yield name

    def is_there(self, name: str) -> bool:
        """As `Store` says it."""
        try:
            return os.stat(self._folder / name).st_size > 0
        except OSError:
            return False

    def tidy(self) -> None:
        """Remove what killed processes left unfinished."""
        if self._folder.is_dir():
            remove_leftovers(self._folder.absolute())

    def _file(self, name: str) -> Path:
        file = self._folder / name
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(exist_ok=True)
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_written(file, error) from error
        return file


class RemoteStore:
    """A folder of an object store, which keeps two from writing one object: S3 by If-None-Match, GCS by generation 0.

    Args:
        url: Its URL.
    """

    def __init__(self, url: str) -> None:
        self.place = url.rstrip("/")
        self._system, self._folder = opened_store(self.place)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """As `Store` says it. Raises `OutputError` where nothing can be written."""
        try:
            with store_errors(f"{self.place}/{name}", OutputError):
                self._system.pipe_file(f"{self._folder}/{name}", content, mode="create")
        except FileExistsError:
            return False
        except OutputError:
            if self.is_there(name):  # what a store says of a name that is taken differs
                return False
            raise
        return True

    def put(self, name: str, content: bytes) -> None:
        """As `Store` says it. Raises `OutputError` where nothing can be written."""
        with store_errors(f"{self.place}/{name}", OutputError):
            self._system.pipe_file(f"{self._folder}/{name}", content)

    def get(self, name: str) -> bytes | None:
        """As `Store` says it. Raises `OutputError` where it cannot be read."""
        try:
            with store_errors(f"{self.place}/{name}", OutputError):
                return bytes(self._system.cat_file(f"{self._folder}/{name}")) or None
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def remove(self, name: str) -> None:
        """As `Store` says it. Raises `OutputError` where it cannot be removed."""
        try:
            with store_errors(f"{self.place}/{name}", OutputError):
                self._system.rm_file(f"{self._folder}/{name}")
        except OutputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    def names(self, folder: str) -> Iterator[str]:
        """As `Store` says it; what lies in one folder is in memory at a time."""
        try:
            with store_errors(f"{self.place}/{folder}", OutputError):
                entries = self._system.ls(f"{self._folder}/{folder}", detail=True)
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return
            raise
        for entry in entries:
            name = f"{folder}/{entry['name'].rstrip('/').rpartition('/')[2]}"
            if entry["type"] == "directory":
                yield from self.names(name)
            else:
                yield name

    def is_there(self, name: str) -> bool:
        """As `Store` says it."""
        with store_errors(f"{self.place}/{name}", OutputError):
            return bool(self._system.exists(f"{self._folder}/{name}"))


def open_store(place: str) -> Store:
    """The store at a place, the name of a folder or the URL of one in an object store.

    Raises:
        UsageError: The object store does not keep two writers from one object, or a package is missing.
    """
    if not is_in_store(place):
        return LocalStore(Path(place))
    scheme = place.partition("://")[0].lower()
    if scheme not in _CONDITIONAL:
        hint = (
            f"keep the run in {', '.join(f'{name}://' for name in _CONDITIONAL)} or in a folder that all machines see"
        )
        raise UsageError(f"{scheme}:// does not keep two writers from one object, and no run can be in it", hint=hint)
    return RemoteStore(place)
