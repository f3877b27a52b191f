"""Kinetics-400 (600, 700): the official csv, the 'path label' lists of training programs, a folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tadacli.datasets.folder import load_folder
from tadacli.datasets.path_lists import load_path_list
from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import AnyPath, FirstRows, TableRow, header_of, one_of, read_table
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.specs import label_list

LABELS = "kinetics400"
_COLUMNS = ("youtube_id", "time_start", "time_end")
_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
_SPLITS = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
_NAMES = (
    "kinetics-400_{}.csv",
    "kinetics400_{}.csv",
    "kinetics_{}.csv",
    "{}.csv",
    "kinetics400_{}_list.txt",
    "kinetics400_{}_list_videos.txt",
    "kinetics400_{}_list_rawframes.txt",
)


def load_kinetics(
    annotations: AnyPath | None,
    *,
    data_root: AnyPath | None = None,
    split: str = "val",
    labels: Sequence[str] | None = None,
) -> Dataset:
    """The samples of a split, by default with the 400 class names that ship with the package.

    `annotations` is the official csv, a 'path label' list, or a folder that holds one of either by its usual
    name; None takes the folders of `data_root` as the classes. Only the official csv says which split a row
    belongs to; any other file is taken as a whole. Raises `UsageError` for what is none of these.
    """
    if split not in _SPLITS:
        raise UsageError(f"there is no split {split!r}", hint=f"use {', '.join(_SPLITS)}")
    classes = tuple(labels) if labels is not None else label_list(LABELS)
    if annotations is None:
        if data_root is None:
            raise UsageError("neither annotations nor a folder of videos was given", hint="give at least one of them")
        return load_folder(data_root, labels=classes, name="kinetics")
    file = Path(annotations)
    if file.is_dir():
        names = [name.format(word) for name in _NAMES for word in _SPLITS[split]]
        file = one_of(file, names, what=f"Kinetics annotations of the split {split}")
    if "youtube_id" in header_of(file):
        return _official(file, VideoFiles(data_root), split, classes)
    return load_path_list(file, data_root=data_root, labels=classes, name="kinetics")


def _official(file: Path, videos: VideoFiles, split: str, labels: tuple[str, ...]) -> Dataset:
    index_of = {label: index for index, label in enumerate(labels)}
    samples, unused, first = [], [], FirstRows()
    folders: dict[str, list[str]] = {}
    for row in read_table(file, _COLUMNS, what="the official csv of Kinetics"):
        label = _label(row, index_of)
        if label not in folders:
            folders[label] = videos.with_files(_folders(label, split))
        sample = _sample(row, videos, folders[label], {"": index_of[label]} if label else {})
        place = f"line {row.line}"
        other = first.other(place, sample.id, _split_of(row, split), wanted=split)
        repeated = other or first.repeated(sample.id, place, sample.labels)
        if repeated is not None:
            unused.append(repeated)
        else:
            samples.append(sample)
    return Dataset("kinetics", {"": labels}, tuple(samples), tuple(unused))


def _split_of(row: TableRow, default: str) -> str:
    text = row.values.get("split", "").strip() or default
    return next((name for name, words in _SPLITS.items() if text in words), text)


def _label(row: TableRow, index_of: dict[str, int]) -> str:
    """The class name, without the quotes that some copies keep; empty if there is none."""
    label = row.values.get("label", "").strip().strip('"').strip()
    if label and label not in index_of:
        raise row.error(f"label {label!r} is not one of the {len(index_of)} classes")
    return label


def _sample(row: TableRow, videos: VideoFiles, folders: list[str], labels: dict[str, int]) -> Sample:
    video = row.text("youtube_id")
    # Some copies write the whole seconds as 12.0.
    start, end = int(row.number("time_start")), int(row.number("time_end"))
    if not 0 <= start < end:
        raise row.error(f"the clip from {start} s to {end} s is empty or reversed")
    name = f"{video}_{start:06d}_{end:06d}"
    return Sample(
        id=name,
        path=videos.find_stem(folders, name, _SUFFIXES),
        labels=labels,
        video_id=video,
    )


def _folders(label: str, split: str) -> Iterator[str]:
    """Where copies keep a clip of this class: in a folder of the class, as written by several programs, or flat."""
    plain = label.translate(str.maketrans("", "", "()'"))
    classes = dict.fromkeys([label, label.replace(" ", "_"), plain, plain.replace(" ", "_"), ""])
    for word in ("", *_SPLITS[split], *(f"videos_{word}" for word in _SPLITS[split])):
        yield from (os.path.join(word, name) for name in classes)
