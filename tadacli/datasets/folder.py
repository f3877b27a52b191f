"""Videos of one's own in a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tadacli.datasets.samples import Dataset, Sample, UnusedKind, UnusedRow
from tadacli.datasets.tables import AnyPath, bad_line
from tadacli.errors import UsageError
from tadacli.video.inputs import is_video_name


def load_folder(root: AnyPath, *, labels: Sequence[str] | None = None, name: str = "folder") -> Dataset:
    """The videos in the folders of `root`, each folder being a class, by name.

    Without `labels` the classes are the folders in alphabetical order. With them each folder must be one, with
    underscores for blanks if need be. What is in a folder and no video file is no sample and is in `unused`.
    Raises `UsageError` for a folder without classes, or one that is no class.
    """
    folders = subfolders(root)
    if not folders:
        raise UsageError(
            f"{os.fspath(root)} has no folders, which would be the classes",
            hint="put the videos of each class in a folder that has its name, or give a CSV of paths and labels",
        )
    classes = tuple(labels) if labels is not None else tuple(folders)
    samples, unused = [], []
    for folder in folders:
        index = _class_of(folder, classes, root)
        for path, is_video in _entries(Path(root, folder)):
            place = f"{folder}/{path.name}"
            if is_video:
                samples.append(Sample(id=place, path=path, labels={"": index}, video_id=path.stem))
            else:
                unused.append(UnusedRow(place, place, UnusedKind.UNUSABLE, "not a video file"))
    return Dataset(name, {"": classes}, tuple(samples), tuple(unused))


def subfolders(root: AnyPath) -> list[str]:
    """The names of the folders in a folder, but hidden ones, sorted. Raises `UsageError` if it cannot be listed."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UsageError(
            f"the folder {os.fspath(root)} cannot be listed: {error.strerror or error}",
            hint="give a folder with a folder for each class",
        ) from error


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """(path, whether it is a video file) of what is in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_file()) for entry in entries]
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error
    return [(folder / name, is_file and is_video_name(name)) for name, is_file in sorted(found)]


def _class_of(folder: str, classes: Sequence[str], root: AnyPath) -> int:
    matches = [index for index, name in enumerate(classes) if folder == name]
    matches = matches or [index for index, name in enumerate(classes) if plain_name(folder) == plain_name(name)]
    if len(matches) != 1:
        which = "is not one of" if not matches else "could be several of"
        raise bad_line(root, f"folder {folder}", f"its name {which} the {len(classes)} classes")
    return matches[0]


def plain_name(name: str) -> str:
    """A class name as programs write it into the name of a folder."""
    return name.translate(str.maketrans("_", " ", "()'"))
