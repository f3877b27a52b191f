"""Videos of one's own: a folder for each class, or a CSV of paths and labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from tadacli.datasets.samples import Dataset, Sample, UnusedKind, UnusedRow
from tadacli.datasets.tables import AnyPath, FirstRows, TableRow, bad_line, read_table
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.video.inputs import VIDEO_SUFFIXES

_START, _END = ("start", "start_seconds"), ("end", "end_seconds")


def load_folder(root: AnyPath, *, labels: Sequence[str] | None = None, name: str = "folder") -> Dataset:
    """The videos in the folders of `root`, each folder being a class, by name.

    Without `labels` the classes are the folders in alphabetical order. With them each folder must be one, with
    underscores for blanks if need be. What is in a folder and no video file is no sample and is in `unused`.
    Raises `UsageError` for a folder without classes, or one that is no class.
    """
    folders = _subfolders(root)
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


def load_csv(
    file: AnyPath,
    *,
    data_root: AnyPath | None = None,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    name: str = "csv",
) -> Dataset:
    """The samples of a CSV with the columns path and label, and if wanted start, end (seconds) and split.

    Paths are relative to `data_root`, by default the folder of the CSV, or absolute. A label is a class name; without
    `labels` the classes are the names that occur, in all splits, in alphabetical order. With `split`, rows of other
    splits are not used. Raises `UsageError` for a row that is not so.
    """
    rows = read_table(file, ("path", "label"), what="a CSV with the columns path and label")
    if not rows:
        raise UsageError(f"{os.fspath(file)} has no rows", hint="give a CSV with a row for each sample")
    if split is not None and "split" not in rows[0].values:
        raise UsageError(f"{os.fspath(file)} has no column split", hint="add it, or ask for no split")
    names = tuple(labels) if labels is not None else tuple(sorted({row.text("label") for row in rows}))
    index_of = {label: index for index, label in enumerate(names)}
    videos = VideoFiles(Path(file).parent if data_root is None else data_root)
    samples, unused, first = [], [], FirstRows()
    for row in rows:
        sample, place = _sample(row, videos, index_of), f"line {row.line}"
        other = None if split is None else first.other(place, sample.id, row.values["split"].strip(), wanted=split)
        repeated = other or first.repeated(sample.id, place, sample.labels)
        if repeated is not None:
            unused.append(repeated)
        else:
            samples.append(sample)
    return Dataset(name, {"": names}, tuple(samples), tuple(unused))


def _sample(row: TableRow, videos: VideoFiles, index_of: dict[str, int]) -> Sample:
    path, label = row.text("path"), row.text("label")
    if label not in index_of:
        raise row.error(f"label {label!r} is not one of the {len(index_of)} classes")
    start, end = _time(row, _START), _time(row, _END)
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        raise row.error("the span is empty, reversed, or begins before the video")
    span = "" if start is None and end is None else f"@{start or 0.0!r}-{'' if end is None else repr(end)}"
    found = videos.find([path], folders=True)
    return Sample(path + span, found, {"": index_of[label]}, start, end, video_id=PurePath(path).stem)


def _time(row: TableRow, columns: Sequence[str]) -> float | None:
    """Seconds from the one of these columns that is there and not empty."""
    column = next((name for name in columns if row.values.get(name, "").strip()), None)
    return None if column is None else row.number(column)


def _subfolders(root: AnyPath) -> list[str]:
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
    return [
        (folder / name, is_file and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES)
        for name, is_file in sorted(found)
    ]


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
