"""Kinetics-400 (600, 700): the official csv, the 'path label' lists of training programs, a folder per class.

The lists have one video a line, as TAdaConv, PySlowFast and mmaction2 read them. The names of such files say little:
PySlowFast's `val.csv` has blanks between its columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from tadacli.datasets.folder import load_folder
from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import (
    AnyPath,
    SampleRows,
    TableRow,
    bad_line,
    class_index,
    header_of,
    one_of,
    read_lines,
    read_table,
)
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind
from tadacli.specs import label_list
from tadacli.video.inputs import is_video_name

_Line = tuple[str, list[str]]
_Lines = list[tuple[int, str]]

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
) -> Dataset:
    """The samples of a split, with the 400 class names that ship with the package.

    `annotations` is the official csv, a 'path label' list, or a folder that holds one of either by its usual
    name; None takes the folders of `data_root` as the classes. Only the official csv says which split a row
    belongs to; any other file is taken as a whole. Raises `UsageError` for what is none of these.
    """
    if split not in _SPLITS:
        raise UsageError(f"there is no split {split!r}", hint=f"use {', '.join(_SPLITS)}")
    classes = label_list(LABELS)
    if annotations is None:
        if data_root is None:
            raise UsageError("neither annotations nor a folder of videos was given", hint="give at least one of them")
        return load_folder(data_root, labels=classes, name="kinetics")
    file = Path(annotations)
    if file.is_dir():
        names = [name.format(word) for name in _NAMES for word in _SPLITS[split]]
        file = one_of(file, names, what=f"Kinetics annotations of the split {split}")
    if "youtube_id" in header_of(file):
        return _official(file, VideoFiles(data_root), classes, split)
    return _path_list(file, VideoFiles(data_root), classes)


def _official(file: Path, videos: VideoFiles, labels: tuple[str, ...], split: str) -> Dataset:
    index_of = {label: index for index, label in enumerate(labels)}
    taken = SampleRows()
    folders: dict[str, list[str]] = {}
    for row in read_table(file, _COLUMNS, what="the official csv of Kinetics"):
        label = _label(row, index_of)
        if label not in folders:
            folders[label] = videos.with_files(_folders(label, split))
        sample = _sample(row, videos, folders[label], {"": index_of[label]} if label else {})
        taken.add(f"line {row.line}", sample, split=_split_of(row, split), wanted=split)
    return taken.dataset("kinetics", {"": labels})


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


# --- 'path label' lists -----------------------------------------------------------------------------


def _path_list(file: Path, videos: VideoFiles, labels: tuple[str, ...]) -> Dataset:
    """The samples of a list, in its order; paths are relative to the folder of the videos unless they are absolute.

    The label is the last column, so a path may hold blanks. Of three columns the middle one is a number of
    frames, which is not used. A file of paths alone has no labels (PySlowFast takes them all for class 0).
    Raises `UsageError` for a line that does not fit the others, for several labels, and for a class number that
    is not an index of `labels`.
    """
    lines = read_lines(file)
    if not lines:
        raise UsageError(f"{os.fspath(file)} names no video", hint="give a list of paths and labels, one a line")
    split, remarks = _layout(lines, file)
    taken = SampleRows()
    for number, line in lines:
        path, numbers = split(line)
        place = f"line {number}"
        index = {"": class_index(numbers[-1], len(labels), file, place)} if numbers else {}
        found = videos.find([path], folders=True)
        taken.add(place, Sample(id=path, path=found, labels=index, video_id=PurePath(path).stem))
    return taken.dataset("kinetics", {"": labels}, remarks)


def _layout(lines: _Lines, file: AnyPath) -> tuple[Callable[[str], _Line], tuple[Note, ...]]:
    """How all lines of a file are to be split, and what to say of it; the same way for each of them."""
    by_comma = [_split(line, ",") for _, line in lines]
    separator = "," if all(numbers for _, numbers in by_comma) else None
    parts = by_comma if separator else [_split(line, None) for _, line in lines]
    counts = [len(numbers) for _, numbers in parts]
    if not any(counts):
        if all(is_video_name(path) for path, _ in parts):
            return (lambda line: (line, [])), ()
        number, line = next(pair for pair, (path, _) in zip(lines, parts, strict=True) if not is_video_name(path))
        raise _bad(file, number, line)
    if all(count == 2 for count in counts):
        # Only a name can tell `a.mp4 300 7` from a folder called `a 300`, and the label is 7 in both.
        remark = Note(NoteKind.READING, "read as path, number of frames (not used), label")
        return (lambda line: _split(line, separator)), (remark,)
    if all(count >= 1 for count in counts) and not any(_is_multiple(path, numbers) for path, numbers in parts):
        return (lambda line: _split_once(line, separator)), ()
    for (number, line), (path, numbers) in zip(lines, parts, strict=True):
        if not numbers:
            raise _bad(file, number, line)
        if _is_multiple(path, numbers):
            raise bad_line(file, number, f"several labels, or more columns than the other lines have: {line!r}")
    raise AssertionError("a line that does not fit was not found")


def _split(line: str, separator: str | None) -> _Line:
    """The path, and the whole numbers after it."""
    numbers: list[str] = []
    while True:
        parts = line.rsplit(separator, 1)
        if len(parts) < 2 or not parts[1].strip().isdigit():
            return line, numbers
        line = parts[0].strip()
        numbers.insert(0, parts[1].strip())


def _split_once(line: str, separator: str | None) -> _Line:
    path, label = line.rsplit(separator, 1)
    return path.strip(), [label.strip()]


def _is_multiple(path: str, numbers: Sequence[str]) -> bool:
    """Whether there are more numbers than a name can account for."""
    return len(numbers) > 2 or (len(numbers) == 2 and is_video_name(path))


def _bad(file: AnyPath, number: int, line: str) -> UsageError:
    shown = line if len(line) <= 60 else line[:60] + "..."
    return UsageError(
        f"{Path(file)}, line {number}: {shown!r} is not a path and the number of a class",
        hint="give the official csv with its header, or a list with a path and a label on each line",
    )
