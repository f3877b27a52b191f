"""Labels of any kind as one plain table, which the other commands read: path, label, times in seconds, split."""

from __future__ import annotations

from pathlib import Path

from tadacli.datasets.annotations import is_known_json
from tadacli.datasets.elan import eaf_files
from tadacli.datasets.foreign.boris import is_boris_table
from tadacli.datasets.spans import Annotations
from tadacli.datasets.tables import read_bytes
from tadacli.errors import UsageError
from tadacli.files import csv_line

_COLUMNS = ("path", "label", "start_seconds", "end_seconds")


def holds_labels(path: Path) -> bool:
    """Whether a path holds labels of a person, and not results of `tada detect`.

    Args:
        path: A file or folder.

    Returns:
        True for documents of ELAN, or a folder of them, for XML, and for JSON and tables of the programs and data sets
        that `read_annotations` knows.
    """
    if path.is_dir():
        return bool(eaf_files(path))
    try:
        content = read_bytes(path)
        begin = content.lstrip()[:1]
        return begin == b"<" or (is_known_json(content, path) if begin in (b"{", b"[") else is_boris_table(path))
    except UsageError:  # whoever reads it says what is wrong
        return False


def label_table(annotations: Annotations) -> bytes:
    """The labels that can be used, as a CSV.

    Args:
        annotations: What was read.

    Returns:
        The table in UTF-8, a line for each label in its order: the video's file, or its name where none was found,
        and times in seconds from its first frame. It has a column `split` if splits are named.
    """
    has_splits = bool(annotations.splits)
    lines = [csv_line([*_COLUMNS, *(["split"] if has_splits else [])])]
    for span in annotations.spans:
        if not span.reason:
            times = [_shown(span.start_seconds), _shown(span.end_seconds)]
            lines.append(csv_line([span.path or span.video, span.label, *times, *([span.split] if has_splits else [])]))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else repr(round(seconds, 6))
