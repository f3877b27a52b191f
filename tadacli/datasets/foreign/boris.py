"""BORIS: its projects, and its tables, tabular (a row for each start and stop) and aggregated (one for each event)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath, TableRow, bad_line, has_columns, is_number, plain_rows, read_table
from tadacli.errors import UsageError

PROGRAM = "BORIS"
_TABULAR, _AGGREGATED = ("Observation id", "Behavior", "Time"), ("Observation id", "Behavior", "Start (s)", "Stop (s)")
_NOBODY = "No focal subject"
_MOST_FACTS = 1 << 16
_EARLIER = {"Time", "Behavior", "Status"}
_NUM_KEYS = 3  # before the modifiers
_PLAYER = re.compile(r"(player )?#?\d+ *: *", re.IGNORECASE)


class _Kind(StrEnum):
    START = "START"
    STOP = "STOP"
    POINT = "POINT"
    EITHER = "EITHER"  # the start if none is open, else the stop


@dataclass(frozen=True)
class _Event:
    """An event; those of one `key` begin and end each other: of an observation, subject, behavior and modifiers."""

    place: str
    key: tuple[str, ...]
    video: str
    label: str
    seconds: float
    kind: _Kind
    participant: str
    reason: str = ""


@dataclass(frozen=True)
class _Behavior:
    code: str
    type: str = ""


@dataclass(frozen=True)
class _Observation:
    file: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    events: tuple[tuple[object, ...], ...] = ()
    time_offset: float = 0.0


@dataclass(frozen=True)
class _Project:
    observations: Mapping[str, _Observation]
    behaviors_conf: Mapping[str, _Behavior] = field(default_factory=dict)


def is_boris_project(content: Any) -> bool:
    """Whether a JSON value is a project of BORIS."""
    return isinstance(content, dict) and isinstance(content.get("observations"), dict) and "behaviors_conf" in content


def read_boris_project(content: Any, file: AnyPath) -> Marks:
    """The state events of all observations, from each start to its stop.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each event; point events cannot be used, nor what is not of one video file.

    Raises:
        UsageError: The value is no project of BORIS, or an event is not as it writes them.
    """
    observations = {name: _underscored(each) for name, each in content["observations"].items()}
    project = decoded(_Project, {**content, "observations": observations}, file, PROGRAM)
    points = {each.code for each in project.behaviors_conf.values() if each.type.casefold().startswith("point")}
    events = [
        _event(name, number, event, observation, points, file)
        for name, observation in project.observations.items()
        for number, event in enumerate(observation.events, start=1)
    ]
    return _marks(events)


def is_boris_table(file: AnyPath) -> bool:
    """Whether a file is a table of events of BORIS."""
    return has_columns(file, _TABULAR) or has_columns(file, _AGGREGATED)


def read_boris_table(file: AnyPath) -> Marks:
    """The state events of a table of BORIS.

    Args:
        file: The table.

    Returns:
        A mark for each event; point events cannot be used.

    Raises:
        UsageError: The file is no such table, or a cell is not what it should be.
    """
    what = "a table of events of BORIS"
    if has_columns(file, _AGGREGATED):
        rows = read_table(file, _AGGREGATED, what=what)
        modified = sum(any(_modifiers(row)) for row in rows)
        return Marks(tuple(_aggregated(row) for row in rows), _told(modified))
    return _marks([_row_event(row) for row in read_table(file, _TABULAR, what=what)])


def is_earlier_table(text: str) -> bool:
    """Whether a text is a table of events of BORIS before version 8: facts of the observation, then the events."""
    return text.startswith("Observation id") and any(map(_is_earlier_header, text[:_MOST_FACTS].split("\n")))


def read_earlier_table(text: str, file: AnyPath) -> Marks:
    """The state events of a table of BORIS before version 8.

    Args:
        text: The table, of one observation.
        file: Its name, for errors.

    Returns:
        A mark for each event; point events cannot be used.

    Raises:
        UsageError: A row has not what the header names, or a cell is not what it should be.
    """
    separator = _separator(next(line for line in text.split("\n") if _is_earlier_header(line)))
    rows = plain_rows(text, file, separator=separator)
    start = next(number for number, (_, fields) in enumerate(rows) if {name.strip() for name in fields} >= _EARLIER)
    name, header = rows[0][1][-1].strip(), [name.strip() for name in rows[start][1]]
    events = []
    for number, fields in rows[start + 1 :]:
        if len(fields) < len(header):
            raise bad_line(file, number, f"{len(fields)} fields, where the header has {len(header)}")
        values = {"Observation id": name, **dict(zip(header, fields, strict=False))}
        values["Media file"] = values.get("Media file path", "")
        events.append(_row_event(TableRow(str(file), number, values, separator)))
    return _marks(events)


def _is_earlier_header(line: str) -> bool:
    return {name.strip().strip('"') for name in line.split(_separator(line))} >= _EARLIER


def _separator(line: str) -> str:
    return "\t" if "\t" in line else ","


# --- events ---------------------------------------------------------------------------------------------


def _underscored(observation: Any) -> Any:
    return (
        {key.replace(" ", "_"): value for key, value in observation.items()}
        if isinstance(observation, dict)
        else observation
    )


def _event(
    name: str, number: int, event: Sequence[object], observation: _Observation, points: set[str], file: AnyPath
) -> _Event:
    place = f"observation {name}, event {number}"
    texts = [each if isinstance(each, str) else "" for each in event[1:4]]
    if len(event) < 4 or not is_number(event[0]) or not texts[1]:
        raise UsageError(f"{file}, {place}: not an event with a time and a behavior", hint="export it again from BORIS")
    subject, code, modifiers = texts
    media = observation.file.get("1", ())
    reason = "" if media else "its observation has no video"
    if len(media) > 1:
        reason = "its observation plays several files, one after the other"
    if observation.time_offset:
        reason = f"its observation has a time offset of {observation.time_offset:g} s"
    return _Event(
        place=place,
        key=(name, subject, code, modifiers),
        video=media[0] if media else "",
        label=code,
        seconds=float(event[0]),  # type: ignore[arg-type]
        kind=_Kind.POINT if code in points else _Kind.EITHER,
        participant=subject,
        reason=reason,
    )


def _row_event(row: TableRow) -> _Event:
    kind = next((row.values[name].strip().upper() for name in ("Behavior type", "Status") if name in row.values), "")
    if kind not in (_Kind.START, _Kind.STOP, _Kind.POINT):
        raise row.error(f"the behavior type is {kind!r}, not START, STOP or POINT")
    return _Event(
        place=f"line {row.line}",
        key=(row.text("Observation id"), _subject(row), row.text("Behavior"), *_modifiers(row)),
        video=_media(row),
        label=row.text("Behavior"),
        seconds=row.seconds("Time"),
        kind=_Kind(kind),
        participant=_subject(row),
    )


def _aggregated(row: TableRow) -> Mark:
    start, stop = row.seconds("Start (s)"), row.seconds("Stop (s)")
    reason = "a point in time is no span" if start == stop else ""
    return Mark(
        place=f"line {row.line}",
        video=_media(row),
        label=row.text("Behavior"),
        start=start,
        end=stop,
        participant=_subject(row),
        reason=reason,
    )


def _modifiers(row: TableRow) -> list[str]:
    return [value.strip() for name, value in row.values.items() if name.startswith("Modifier")]


def _marks(events: Sequence[_Event]) -> Marks:
    return Marks(tuple(_paired(events)), _told(sum(any(event.key[_NUM_KEYS:]) for event in events)))


def _told(num_modified: int) -> tuple[str, ...]:
    return (f"{num_modified} events have modifiers, which are no part of their labels",) if num_modified else ()


def _subject(row: TableRow) -> str:
    subject = row.values.get("Subject", "").strip()
    return "" if subject == _NOBODY else subject


def _media(row: TableRow) -> str:
    names = (row.values.get(column, "").strip() for column in ("Media file name", "Media file"))
    return _PLAYER.sub("", next((name for name in names if name), row.text("Observation id")), count=1)


def _paired(events: Iterable[_Event]) -> list[Mark]:
    """A mark for each start with its stop, in the order of the starts, and for each event that has no other half."""
    found: dict[int, Mark] = {}
    open_at: dict[tuple[str, ...], tuple[int, _Event]] = {}
    ordered = sorted(enumerate(events), key=lambda pair: (pair[1].key[0], pair[1].seconds, pair[0]))
    for number, event in ordered:
        opened = open_at.get(event.key)
        if event.kind is _Kind.POINT:
            found[number] = _mark(event, event, "a point in time is no span")
        elif event.kind is _Kind.STOP and opened is None:
            found[number] = _mark(event, event, "it stops without having started")
        elif event.kind is not _Kind.START and opened is not None:
            del open_at[event.key]
            found[opened[0]] = _mark(opened[1], event, "")
        else:
            if opened is not None:
                found[opened[0]] = _mark(opened[1], opened[1], "it starts again before it stops")
            open_at[event.key] = (number, event)
    found |= {number: _mark(event, event, "it never stops") for number, event in open_at.values()}
    return [found[number] for number in sorted(found)]


def _mark(start: _Event, stop: _Event, reason: str) -> Mark:
    return Mark(
        place=start.place,
        video=start.video,
        label=start.label,
        start=start.seconds,
        end=stop.seconds,
        participant=start.participant,
        reason=start.reason or reason,
    )
