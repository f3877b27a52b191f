"""Finds the files of tens of thousands of samples: each folder is listed once, and nothing is asked per sample."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from tadacli.errors import UsageError
from tadacli.video.inputs import is_video_name


class VideoFiles:
    """The files below the folder of a data set; without a folder, there are none."""

    def __init__(self, root: str | os.PathLike[str] | None) -> None:
        """Raises `UsageError` if `root` is no folder."""
        if root is not None and not os.path.isdir(root):
            raise UsageError(f"there is no folder {os.fspath(root)}", hint="give the folder that holds the videos")
        self._root = None if root is None else os.fspath(root)
        self._listings: dict[str, dict[str, bool]] = {}

    def find(self, names: Iterable[str], *, folders: bool = False) -> Path | None:
        """The first of these names, relative to the root or absolute, that is a file (or folder, if asked for)."""
        if self._root is None:
            return None
        for name in names:
            path = _joined(self._root, name)
            folder, last = os.path.split(path)
            is_file = self._list(folder).get(last)
            if is_file or (folders and is_file is not None):
                return Path(path)
        return None

    def with_files(self, folders: Iterable[str]) -> list[str]:
        """Those of the folders that hold any file, each once."""
        if self._root is None:
            return []
        return [name for name in dict.fromkeys(folders) if any(self._list(_joined(self._root, name)).values())]

    def find_stem(self, folders: Iterable[str], stem: str, suffixes: Sequence[str]) -> Path | None:
        """The first file `folder/stem` with one of the suffixes, in the order of the folders, then the suffixes.

        Suffixes may be in upper case, too; ids are not folded, as some differ in case alone.
        """
        spelled = dict.fromkeys([*suffixes, *(suffix.upper() for suffix in suffixes)])
        return self.find(os.path.join(folder, stem + suffix) for folder in folders for suffix in spelled)

    def find_alike(self, name: str) -> list[Path]:
        """The files and folders of this name but for case, the way accents are composed, and the suffix of a video.

        Args:
            name: Relative to the root, or absolute.

        Returns:
            All that match, sorted.

        Raises:
            UsageError: A folder on the way cannot be listed.
        """
        if self._root is None:
            return []
        parts = PurePosixPath(name).parts
        places = ["/" if name.startswith("/") else self._root]
        *folders, last = [part for part in parts if part != "/"] or [""]
        for part in folders:
            places = [os.path.join(place, entry) for place in places for entry in self._folders_alike(place, part)]
        return sorted(Path(place, entry) for place in places for entry in self._alike(place, last))

    def _folders_alike(self, place: str, name: str) -> list[str]:
        """The folders of this name in a folder: that of this very name, if it holds anything."""
        if name == ".." or self._list(os.path.join(place, name)):
            return [name]
        found = [
            entry for entry, is_file in self._list(place).items() if not is_file and _folded(entry) == _folded(name)
        ]
        return _composed_as(name, found)

    def _alike(self, place: str, name: str) -> list[str]:
        """The entries of a folder that have this name, maybe without the suffix of a video."""
        wanted = _folded(name)
        found = [
            entry
            for entry, is_file in self._list(place).items()
            if _folded(entry) == wanted
            or (is_file and is_video_name(entry) and _folded(os.path.splitext(entry)[0]) == wanted)
        ]
        return _composed_as(name, found)

    def _list(self, folder: str) -> dict[str, bool]:
        if folder not in self._listings:
            self._listings[folder] = _list_folder(folder)
        return self._listings[folder]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _composed_as(name: str, found: list[str]) -> list[str]:
    """Those that differ from the name in nothing but how accents are composed, or else all."""
    composed = unicodedata.normalize("NFC", name)
    return [entry for entry in found if unicodedata.normalize("NFC", entry) == composed] or found


def _joined(root: str, name: str) -> str:
    """A path below the root; the root itself has one spelling, so that it is listed once."""
    return os.path.join(root, name).rstrip("/") or "/"


def _list_folder(folder: str) -> dict[str, bool]:
    """Whether each file or folder in a folder is a file, by name."""
    try:
        with os.scandir(folder) as entries:
            # The folder's own entry tells what each one is; only links cost a look at what they point to.
            return {entry.name: entry.is_file() for entry in entries if entry.is_file() or entry.is_dir()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error
