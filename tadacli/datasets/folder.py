"""Videos of one's own in a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tadacli.datasets.samples import Dataset, Sample, UnusedKind
from tadacli.datasets.tables import AnyPath, SampleRows, bad_line
from tadacli.errors import UsageError
from tadacli.video.inputs import is_frames_folder, is_video_name


def load_folder(root: AnyPath, *, labels: Sequence[str] | None = None, name: str = "folder") -> Dataset:
    """The videos in the folders of `root`, each folder being a class, by name; a video may be a folder of frames.

    Args:
        root: A folder with a folder for each class.
        labels: The classes and their order, of which each folder must be one, with underscores for blanks if need be;
            None for the folders in alphabetical order.
        name: The name of the data set.

    Returns:
        A sample for each video; what is in a folder of a class and no video is in `unused`.

    Raises:
        UsageError: There is no folder, or one that is no class.
    """
    folders = subfolders(root)
    if not folders:
        raise UsageError(
            f"{os.fspath(root)} has no folders, which would be the classes",
            hint="put the videos of each class in a folder that has its name, or give a CSV of paths and labels",
        )
    classes = tuple(labels) if labels is not None else tuple(folders)
    taken = SampleRows()
    for folder in folders:
        index = _class_of(folder, classes, root)
        for entry in _entries(Path(root, folder)):
            place, path = f"{folder}/{entry.name}", Path(entry.path)
            if entry.is_file() and is_video_name(entry.name):
                taken.add(place, Sample(id=place, path=path, labels={"": index}, video_id=path.stem))
            elif entry.is_dir() and not entry.name.startswith(".") and is_frames_folder(entry.path):
                taken.add(place, Sample(id=place, path=path, labels={"": index}, video_id=entry.name))
            else:
                taken.refuse(place, place, UnusedKind.UNUSABLE, "not a video file")
    return taken.dataset(name, {"": classes})


def subfolders(root: AnyPath) -> list[str]:
    """The names of the folders in a folder, but hidden ones, sorted. Raises `UsageError` if it cannot be listed."""
    entries = _entries(root, hint="give a folder with a folder for each class")
    return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _entries(folder: AnyPath, *, hint: str = "") -> list[os.DirEntry[str]]:
    """What is in a folder, by name."""
    try:
        with os.scandir(os.fspath(folder)) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(
            f"the folder {os.fspath(folder)} cannot be listed: {error.strerror or error}", hint=hint
        ) from error


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
