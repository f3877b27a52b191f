"""Finds the files of tens of thousands of samples: each folder is listed once, and nothing is asked per sample."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.errors import UsageError


@dataclass(frozen=True)
class _Listing:
    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()


class VideoFiles:
    """The files below the folder of a data set; without a folder, there are none."""

    def __init__(self, root: str | os.PathLike[str] | None) -> None:
        """Raises `UsageError` if `root` is no folder."""
        if root is not None and not os.path.isdir(root):
            raise UsageError(f"there is no folder {os.fspath(root)}", hint="give the folder that holds the videos")
        self._root = None if root is None else os.fspath(root)
        self._listings: dict[str, _Listing] = {}

    def find(self, names: Iterable[str], *, folders: bool = False) -> Path | None:
        """The first of these names, relative to the root or absolute, that is a file (or folder, if asked for)."""
        if self._root is None:
            return None
        for name in names:
            path = _joined(self._root, name)
            folder, last = os.path.split(path)
            listing = self._list(folder)
            if last in listing.files or (folders and last in listing.folders):
                return Path(path)
        return None

    def with_files(self, folders: Iterable[str]) -> list[str]:
        """Those of the folders that hold any file, each once."""
        if self._root is None:
            return []
        return [name for name in dict.fromkeys(folders) if self._list(_joined(self._root, name)).files]

    def find_stem(self, folders: Iterable[str], stem: str, suffixes: Sequence[str]) -> Path | None:
        """The first file `folder/stem` with one of the suffixes, in the order of the folders, then the suffixes."""
        return self.find(os.path.join(folder, stem + suffix) for folder in folders for suffix in suffixes)

    def _list(self, folder: str) -> _Listing:
        listing = self._listings.get(folder)
        if listing is None:
            listing = self._listings[folder] = _list_folder(folder)
        return listing


def _joined(root: str, name: str) -> str:
    """A path below the root; the root itself has one spelling, so that it is listed once."""
    return os.path.join(root, name).rstrip("/") or "/"


def _list_folder(folder: str) -> _Listing:
    files, folders = set(), set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # The folder's own entry tells what each one is; only links cost a look at what they point to.
                if entry.is_file():
                    files.add(entry.name)
                elif entry.is_dir():
                    folders.add(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return _Listing()
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error
    return _Listing(frozenset(files), frozenset(folders))
