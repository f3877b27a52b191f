"""Text files with the segments of one class each, named after it, as THUMOS and MultiTHUMOS publish them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tadacli.datasets.foreign.marks import Mark, Marks
from tadacli.datasets.tables import bad_line, read_text
from tadacli.errors import UsageError

SUFFIX = ".txt"
# As THUMOS calls its files, and segments in them of which it cannot be said whether they show the class.
_PART = re.compile(r"_(val|test)$")
_AMBIGUOUS = "Ambiguous"
# Videos of the data set say which part they are of: the validation videos are those to train with.
_SPLITS = {"video_validation_": "train", "video_test_": "validation"}
_NUM_FIELDS, _MOST_FILES, _BEGINNING, _MOST_LINES = 3, 2000, 4096, 20


def is_class_list(text: str) -> bool:
    """Whether a text begins with lines of a video and two numbers, of which one has a decimal point.

    Lists of folders of frames have two whole numbers.
    """
    lines = [line for line in text[:_BEGINNING].split("\n")[:_MOST_LINES] if line.strip()]
    if len(text) >= _BEGINNING and len(lines) > 1:
        del lines[-1]  # it may be cut
    return bool(lines) and all(map(_fields, lines)) and any("." in "".join(line.split()[1:]) for line in lines)


def class_lists(folder: Path, *, all_texts: bool = False) -> list[Path]:
    """The lists in a folder, by name.

    Args:
        folder: The folder.
        all_texts: Whether every text is one, whatever it begins with.

    Returns:
        The files; texts that are something else are none of them.

    Raises:
        UsageError: The folder cannot be listed, or has thousands of texts.
    """
    try:
        files = sorted(each for each in folder.iterdir() if each.suffix.lower() == SUFFIX and each.name[0] != ".")
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error
    if len(files) > _MOST_FILES:
        raise UsageError(f"the folder {folder} has {len(files)} texts", hint=f"give one of {_MOST_FILES} at most")
    return [file for file in files if file.is_file() and (all_texts or is_class_list(_beginning(file)))]


def read_class_lists(files: Sequence[Path]) -> Marks:
    """The segments of some lists.

    Args:
        files: The lists. A line has a video, its start and its end in seconds; the name of the file is the class,
            without `_val` or `_test` at its end.

    Returns:
        A mark for each line. Where all videos are called as in THUMOS, the validation videos are the split to train
        with, and the test videos the one to validate with.

    Raises:
        UsageError: A line is not so.
    """
    marks = [mark for file in files for mark in _read(file)]
    splits = {mark.video: _split(mark.video) for mark in marks}
    remarks = ["classes are the names of the files"]
    if splits and all(splits.values()):
        marks = [replace(mark, split=splits[mark.video]) for mark in marks]
        remarks.append("videos called video_validation are the train split, those called video_test the validation one")
    return Marks(tuple(marks), tuple(remarks))


def _read(file: Path) -> list[Mark]:
    label = _PART.sub("", file.stem)
    reason = "it is ambiguous" if label == _AMBIGUOUS else ""
    found = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        fields = _fields(line)
        if fields is None:
            raise bad_line(file, number, "not a video, and its start and end in seconds")
        found.append(Mark(f"{file.name}, line {number}", fields[0], label, *fields[1:], reason=reason))
    return found


def _split(video: str) -> str:
    return next((split for begin, split in _SPLITS.items() if video.startswith(begin)), "")


def _fields(line: str) -> tuple[str, float, float] | None:
    fields = line.split()
    if len(fields) != _NUM_FIELDS:
        return None
    try:
        start, end = float(fields[1]), float(fields[2])
    except ValueError:
        return None
    return (fields[0], start, end) if math.isfinite(start) and math.isfinite(end) else None


def _beginning(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_BEGINNING).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
