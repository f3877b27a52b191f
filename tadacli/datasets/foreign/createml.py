"""Lists of labelled spans as Create ML takes them for action classifiers: a JSON object for each, times as mm:ss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath, bad_line
from tadacli.errors import UsageError
from tadacli.sampling.settings import parse_time

PROGRAM = "Create ML"
_VIDEO_KEYS = ("video", "path", "file", "filename")


@dataclass(frozen=True)
class _Entry:
    video: str
    label: str
    start: float | str | None = None
    end: float | str | None = None
    split: str = ""


def is_createml(content: Any) -> bool:
    """Whether a JSON value is a list of objects with a video and a label each."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(each, dict) and "label" in each and _video_key(each) for each in content)
    )


def read_createml(content: Any, file: AnyPath) -> Marks:
    """The labelled spans of a list.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each object; without a start or an end it begins or ends with its video.

    Raises:
        UsageError: An object is not so, or a time is none.
    """
    named = [{**each, "video": each[_video_key(each)]} for each in content]
    entries = decoded(tuple[_Entry, ...], named, file, PROGRAM)
    marks = []
    for number, entry in enumerate(entries):
        place = f"entry {number}"
        start, end = (_seconds(time, file, place) for time in (entry.start, entry.end))
        marks.append(Mark(place, entry.video, entry.label.strip(), start, end, split=entry.split))
    return Marks(tuple(marks))


def _video_key(entry: dict[str, object]) -> str:
    return next((key for key in _VIDEO_KEYS if key in entry), "")


def _seconds(time: float | str | None, file: AnyPath, place: str) -> float | None:
    if not isinstance(time, str):
        return time
    try:
        return parse_time(time)
    except UsageError as error:
        raise bad_line(file, place, f"{time[:40]!r} is not a time: write 90.5, 1:30 or 00:01:30.5") from error
