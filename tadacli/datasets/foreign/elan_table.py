"""ELAN's tab-delimited text: a line for each annotation, with or without a header, or a column for each tier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath, PureWindowsPath

from tadacli.datasets.foreign.marks import Mark, Marks, score_of
from tadacli.datasets.tables import AnyPath, bad_line, plain_rows
from tadacli.errors import UsageError

PROGRAM = "ELAN in tab-delimited text"
_BEGIN, _END = "begin time", "end time"
# In the order in which they are taken: seconds and clocks say the same.
_UNITS = ("ss.msec", "hh:mm:ss.ms", "msec")
_FILE_COLUMNS = ("file path", "file name", "filepath", "filename", "media file")
_NO_LABELS = (_BEGIN, _END, "duration", "participant", "annotator", "language", "score", "tier", "utterance id")
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d(?:\.\d{1,6})?)")
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,6})?")


def is_elan_table(text: str) -> bool:
    """Whether a text is what ELAN exports: divided by tabs, and its first line names times, or has two clocks."""
    first = text.split("\n", 1)[0]
    cells = [cell.strip().casefold() for cell in first.split("\t")]
    if len(cells) < 3:
        return False
    has_header = any(cell.startswith(f"{_BEGIN} - ") for cell in cells)
    return has_header or sum(bool(_CLOCK.fullmatch(cell)) for cell in cells) >= 2


def read_elan_table(text: str, file: AnyPath) -> Marks:
    """The annotations of a text; each tier is a layer.

    Args:
        text: Its text.
        file: Its name, for errors; the video has the same, unless a column names files.

    Returns:
        A mark for each annotation that is not empty.

    Raises:
        UsageError: A line has no begin or end, or the header names none.
    """
    rows = plain_rows(text, file, separator="\t", quoted=False)
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if any(cell.casefold().startswith(_BEGIN) for cell in header):
        rows = rows[1:]
    else:
        header = _without_header(header, file)
    names = [name.casefold() for name in header]
    begin, end = _column(names, _BEGIN, file), _column(names, _END, file)
    labels = _label_columns(header)
    marks = []
    for number, fields in rows:
        row = [cell.strip() for cell in fields] + [""] * (len(header) - len(fields))
        cells = dict(zip(names, row, strict=False))
        times = [_seconds(row[column], names[column], file, number) for column in (begin, end)]
        video = next((cells[name] for name in _FILE_COLUMNS if cells.get(name)), PurePath(file).name)
        marks += [
            Mark(
                place=f"line {number}",
                video=PureWindowsPath(video).stem,
                label=row[column],
                start=times[0],
                end=times[1],
                participant=cells.get("participant", ""),
                layer=cells.get("tier", header[column]),
                score=score_of(cells["score"]) if cells.get("score") else None,
            )
            for column in labels
            if row[column]
        ]
    return Marks(tuple(marks))


def _without_header(first: Sequence[str], file: AnyPath) -> list[str]:
    """Names for the columns of a text without a header: tier, participant, begin, end, maybe durations, annotation."""
    clocks = [number for number, cell in enumerate(first) if _CLOCK.fullmatch(cell)]
    if len(clocks) < 2 or clocks[0] < 1 or clocks[-1] >= len(first) - 1:
        raise UsageError(
            f"{file}, line 1: no tier, begin, end and annotation, divided by tabs",
            hint="export it from ELAN with the names of tiers, times as hh:mm:ss.ms, and column headers",
        )
    names = [f"column {number}" for number in range(len(first))]
    names[0], names[-1] = "Tier", "Annotation"
    names[clocks[0]], names[clocks[1]] = f"{_BEGIN} - hh:mm:ss.ms", f"{_END} - hh:mm:ss.ms"
    for number in range(1, len(first) - 1):
        if number not in clocks[:2]:
            names[number] = "participant" if number == 1 else f"duration {number}"
    return names


def _column(names: Sequence[str], side: str, file: AnyPath) -> int:
    for unit in _UNITS:
        if f"{side} - {unit}" in names:
            return names.index(f"{side} - {unit}")
    there = [name for name in names if name.startswith(side)]
    raise UsageError(
        f"{file}, line 1: no column {side} in seconds, milliseconds or as a clock"
        + (f", but {', '.join(there)}" if there else ""),
        hint="export it from ELAN with times as hh:mm:ss.ms or ss.msec",
    )


def _label_columns(header: Sequence[str]) -> list[int]:
    """The columns that hold annotations; where a column names tiers, the first one alone."""
    names = [name.casefold() for name in header]
    left = [
        number
        for number, name in enumerate(names)
        if name and name not in _FILE_COLUMNS and not name.startswith(_NO_LABELS)
    ]
    return left[:1] if "tier" in names else left


def _seconds(text: str, column: str, file: AnyPath, line: int) -> float:
    clock = _CLOCK.fullmatch(text)
    if clock:
        hours, minutes, seconds = clock.groups()
        return round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 6)
    if not _NUMBER.fullmatch(text):
        raise bad_line(file, line, f"{column} is {text[:40]!r}, not a time")
    return float(text) / 1000 if column.endswith(" - msec") else float(text)
