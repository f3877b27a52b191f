"""'path label' lists: one video a line, as TAdaConv, PySlowFast and mmaction2 read them.

The names of such files say little: PySlowFast's `val.csv` has blanks between its columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import AnyPath, FirstRows, bad_line, class_index, read_lines
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind
from tadacli.video.inputs import VIDEO_SUFFIXES

_Line = tuple[str, list[str]]
_Lines = list[tuple[int, str]]


def load_path_list(
    file: AnyPath, *, data_root: AnyPath | None = None, labels: Sequence[str], name: str = "list"
) -> Dataset:
    """The samples of a list, in its order; paths are relative to `data_root` unless they are absolute.

    The label is the last column, so a path may hold blanks. Of three columns the middle one is a number of
    frames, which is not used. A file of paths alone has no labels (PySlowFast takes them all for class 0).
    Raises `UsageError` for a line that does not fit the others, for several labels, and for a class number that
    is not an index of `labels`.
    """
    videos = VideoFiles(data_root)
    lines = read_lines(file)
    if not lines:
        raise UsageError(f"{os.fspath(file)} names no video", hint="give a list of paths and labels, one a line")
    split, remarks = _layout(lines, file)
    samples, unused, first = [], [], FirstRows()
    for number, line in lines:
        path, numbers = split(line)
        place = f"line {number}"
        index = {"": class_index(numbers[-1], len(labels), file, place)} if numbers else {}
        repeated = first.repeated(path, place, index)
        if repeated is not None:
            unused.append(repeated)
        else:
            found = videos.find([path], folders=True)
            samples.append(Sample(id=path, path=found, labels=index, video_id=PurePath(path).stem))
    return Dataset(name, {"": tuple(labels)}, tuple(samples), tuple(unused), remarks)


def _layout(lines: _Lines, file: AnyPath) -> tuple[Callable[[str], _Line], tuple[Note, ...]]:
    """How all lines of a file are to be split, and what to say of it; the same way for each of them."""
    by_comma = [_split(line, ",") for _, line in lines]
    separator = "," if all(numbers for _, numbers in by_comma) else None
    parts = by_comma if separator else [_split(line, None) for _, line in lines]
    counts = [len(numbers) for _, numbers in parts]
    if not any(counts):
        if all(_is_video(path) for path, _ in parts):
            return (lambda line: (line, [])), ()
        number, line = next(pair for pair, (path, _) in zip(lines, parts, strict=True) if not _is_video(path))
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
    """The path, and the whole numbers behind it."""
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
    return len(numbers) > 2 or (len(numbers) == 2 and _is_video(path))


def _is_video(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def _bad(file: AnyPath, number: int, line: str) -> UsageError:
    shown = line if len(line) <= 60 else line[:60] + "..."
    return UsageError(
        f"{Path(file)}, line {number}: {shown!r} is not a path and the number of a class",
        hint="give the official csv with its header, or a list with a path and a label on each line",
    )
