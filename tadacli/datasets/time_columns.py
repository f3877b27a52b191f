"""Which columns of a table say when something begins and ends: seconds, milliseconds or numbers of frames.

A name is understood if one word of it says which side it means, and every other one which unit, or nothing of its own:
`start`, `end_time`, `Stop (s)`, `onset`, `startFrame`, `begin_ms`. `docs/finetune.md` has the list. A column that holds
only times and whose name speaks of a side in another way is refused, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tadacli.datasets.tables import TableRow, named
from tadacli.errors import UsageError

FRAME_RATE = "fps"
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TIME = re.compile(r"[+-]?\d*[.,]?\d+([.,]|e[+-]?\d+)?s?|(\d+:)?\d+:\d+([.,]\d*)?", re.IGNORECASE)


class Side(StrEnum):
    """What a column says of a span."""

    START = "start"
    END = "end"
    DURATION = "duration"


class Unit(StrEnum):
    """What a column counts in."""

    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    FRAMES = "frames"


_SIDES = {
    Side.START: ("start", "starts", "begin", "begins", "beginning", "onset"),
    Side.END: ("end", "ends", "stop", "stops", "finish", "offset"),
    Side.DURATION: ("duration", "dur"),
}
_UNITS = {
    Unit.SECONDS: ("s", "sec", "secs", "second", "seconds"),
    Unit.MILLISECONDS: ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    Unit.FRAMES: ("frame", "frames"),
}
_FILLERS = {
    *("time", "times", "timestamp", "t", "at", "of", "in", "the", "index", "idx", "number", "no", "nr"),
    *("segment", "event", "action", "annotation", "label"),
}
# Words that may mean a side: a column of times that has one, where no other says that side, is not passed over.
_MAYBE = {
    Side.START: {*_SIDES[Side.START], "from", "starting", "t0", "tmin", "in"},
    Side.END: {*_SIDES[Side.END], "to", "until", "till", "ending", "t1", "tmax", "out", "stopp"},
}
# As the columns were called before others were understood; they are asked first, in this order.
_USUAL = ("start", "start_seconds", "end", "end_seconds")


@dataclass(frozen=True)
class TimeColumn:
    """A column that is read as times: its name, the side of a span that it says, and its unit."""

    name: str
    side: Side
    unit: Unit

    def __str__(self) -> str:
        return f"{self.name!r} as {self.side} in {self.unit}"


@dataclass(frozen=True)
class TimeColumns:
    """The columns of a table that are read as times; of several for one side, the first that is filled in a row."""

    columns: tuple[TimeColumn, ...]
    unused: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """What to say of how the columns were read; nothing if all have their usual names."""
        if not self.unused and all(column.name in _USUAL for column in self.columns):
            return ""
        read = "columns read: " + ", ".join(map(str, self.columns)) if self.columns else "no column is read as times"
        return f"{read}; not read: {named([repr(name) for name in self.unused])}" if self.unused else read

    def counts_frames(self, row: TableRow) -> bool:
        """Whether the span of a row is given in frames, so that the rate of the video is needed."""
        filled = (self._filled(row, side) for side in Side)
        return any(column is not None and column.unit is Unit.FRAMES for column in filled)

    def span(
        self, row: TableRow, *, offset: float = 0.0, seconds_of: Callable[[float], float] | None = None
    ) -> tuple[float | None, float | None]:
        """The span that a row means.

        Args:
            row: A row of the table.
            offset: Seconds to take from each time.
            seconds_of: The time at which the frame of a number is shown; needed where `counts_frames`.

        Returns:
            Start and end in seconds; None for the video's own.

        Raises:
            UsageError: A cell is no time, or the span is empty, reversed, or begins before the video.
        """
        start, end = (self._seconds(row, side, offset, seconds_of) for side in (Side.START, Side.END))
        if end is None and start is not None:
            duration = self._seconds(row, Side.DURATION, 0.0, seconds_of)
            end = None if duration is None else start + duration
        if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
            raise row.error("the span is empty, reversed, or begins before the video")
        return start, end

    def _filled(self, row: TableRow, side: Side) -> TimeColumn | None:
        filled = (each for each in self.columns if each.side is side and row.values.get(each.name, "").strip())
        return next(filled, None)

    def _seconds(
        self, row: TableRow, side: Side, offset: float, seconds_of: Callable[[float], float] | None
    ) -> float | None:
        column = self._filled(row, side)
        if column is None:
            return None
        if column.unit is Unit.FRAMES:
            assert seconds_of is not None
            return seconds_of(row.number(column.name))
        seconds = row.seconds(column.name)
        seconds = seconds / 1000 if column.unit is Unit.MILLISECONDS else seconds
        return max(0.0, round(seconds - offset, 6)) if offset else seconds


def time_columns(rows: Sequence[TableRow], *, known: Collection[str]) -> TimeColumns:
    """The columns of a table that are read as times.

    Args:
        rows: All rows of the table.
        known: Columns that are something else.

    Returns:
        The columns.

    Raises:
        UsageError: A column holds times and its name speaks of a start or an end, but not in a way that is understood.
    """
    header = [name for name in rows[0].values if name not in known] if rows else []
    usual = [name for name in _USUAL if name in header]
    holding = {name: _holds_times(name, rows) for name in header if name not in usual}
    others = [column for name, held in holding.items() if any(held) and (column := _understood(name)) is not None]
    columns = [TimeColumn(name, Side(name.partition("_")[0]), Unit.SECONDS) for name in usual] + others
    columns.sort(key=lambda column: list(Unit).index(column.unit))
    if not any(column.side is Side.START and "onset" in _words(column.name) for column in columns):
        columns = [column for column in columns if "offset" not in _words(column.name)]
    sides = {column.side for column in columns}
    if Side.START not in sides or Side.END in sides:
        columns = [column for column in columns if column.side is not Side.DURATION]
    read = [column.name for column in columns]
    rest = [name for name, held in holding.items() if name not in read and held and all(held)]
    for name in rest:
        _refuse_unclear(name, sides, rows[0].file)
    # Of one other column of numbers beside whole videos nobody wonders.
    is_plain = (sides >= {Side.START, Side.END} or Side.DURATION in sides) or (not sides and len(rest) < 2)
    return TimeColumns(tuple(columns), () if is_plain else tuple(rest))


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORDS.findall(_HUMP.sub(" ", name))]


def _understood(name: str) -> TimeColumn | None:
    """The column of a name of which each word is known, and exactly one is a side."""
    words = _words(name)
    sides = [side for side, known in _SIDES.items() for word in words if word in known]
    units = [unit for unit, known in _UNITS.items() for word in words if word in known]
    num_fillers = sum(word in _FILLERS for word in words)
    if len(sides) != 1 or len(units) > 1 or 1 + len(units) + num_fillers != len(words):
        return None
    return TimeColumn(name, sides[0], units[0] if units else Unit.SECONDS)


def _holds_times(name: str, rows: Sequence[TableRow]) -> list[bool]:
    """Whether each cell that is not empty looks like a time."""
    return [_TIME.fullmatch(cell) is not None for row in rows if (cell := row.values[name].strip())]


def _refuse_unclear(name: str, sides: set[Side], file: str) -> None:
    words = {*_words(name), name.casefold()}
    for side, maybe in _MAYBE.items():
        if side not in sides and words & maybe:
            raise UsageError(
                f"{file}, line 1: the column {name!r} holds times, and it is not clear what it means",
                hint="call it start, end or duration, with _ms for milliseconds or _frame for numbers of frames; "
                "docs/finetune.md lists the names that are understood",
            )
