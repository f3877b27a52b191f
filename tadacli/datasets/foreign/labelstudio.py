"""Label Studio: JSON and JSON-MIN exports with timeline labels, which count frames."""

from __future__ import annotations

import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath
from tadacli.video.inputs import is_video_name

PROGRAM = "Label Studio"
_TIMELINE = "timelinelabels"
# What an upload gets before its name.
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


@dataclass(frozen=True)
class _Range:
    start: float
    end: float


@dataclass(frozen=True)
class _Value:
    ranges: tuple[_Range, ...] = ()
    timelinelabels: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Result:
    type: str
    from_name: str = ""
    value: _Value = field(default_factory=_Value)


@dataclass(frozen=True)
class _Annotation:
    result: tuple[_Result, ...] = ()
    was_cancelled: bool = False


@dataclass(frozen=True)
class _Task:
    data: Mapping[str, object]
    annotations: tuple[_Annotation, ...] = ()
    id: int | str | None = None


def is_labelstudio(content: Any) -> bool:
    """Whether a JSON value is a list of tasks, in full or in the short form."""
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    first = content[0]
    return (isinstance(first.get("data"), dict) and "annotations" in first) or any(map(_short_results, content))


def read_labelstudio(content: Any, file: AnyPath) -> Marks:
    """The timeline labels of all annotations that were not cancelled.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each range and label; times are numbers of frames.

    Raises:
        UsageError: The value is no export of Label Studio.
    """
    tasks = decoded(tuple[_Task, ...], [_in_full(task) for task in content], file, PROGRAM)
    marks = tuple(mark for number, task in enumerate(tasks) for mark in _marks(task, number))
    others = Counter(
        result.type
        for task in tasks
        for annotation in task.annotations
        for result in annotation.result
        if result.type != _TIMELINE
    )
    remarks = [f"{number} results of type {name!r} are no labels in time" for name, number in sorted(others.items())]
    cancelled = sum(annotation.was_cancelled for task in tasks for annotation in task.annotations)
    remarks += [f"{cancelled} annotations are not read: they were cancelled"] if cancelled else []
    several = sum(len([each for each in task.annotations if not each.was_cancelled]) > 1 for task in tasks)
    remarks += [f"{several} tasks have several annotations, and all are taken"] if several else []
    return Marks(marks, tuple(remarks))


def _marks(task: _Task, number: int) -> Iterator[Mark]:
    place = f"task {number if task.id is None else task.id}"
    video, also = _video(task.data)
    for annotation in task.annotations:
        for count, result in enumerate(annotation.result):
            if result.type != _TIMELINE or annotation.was_cancelled:
                continue
            for span in result.value.ranges:
                for label in result.value.timelinelabels or ("",):
                    yield Mark(
                        place=f"{place}, result {count}",
                        video=video,
                        also=also,
                        label=label.strip(),
                        start=span.start,
                        end=span.end,
                        in_frames=True,
                        layer=result.from_name,
                        reason="" if video else "its task names no video",
                    )


def _video(data: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """(path of the task's video, further names of its file)."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    paths = {key: _path(value) for key, value in texts.items()}
    path = paths.get("video") or next((path for path in paths.values() if is_video_name(path)), "")
    last = path.rsplit("/", 1)[-1]
    return path, tuple(name for name in [_UPLOAD.sub("", last, count=1)] if name != last)


def _path(url: str) -> str:
    """The path that a URL of a task stands for; files on the server's disk are named in its query."""
    parts = urllib.parse.urlsplit(url)
    stored = urllib.parse.parse_qs(parts.query).get("d")
    return "/" + stored[0].lstrip("/") if stored else urllib.parse.unquote(parts.path)


def _in_full(task: Any) -> Any:
    """A task of the short form as one of the full form."""
    if not isinstance(task, dict) or isinstance(task.get("data"), dict):
        return task
    results = [
        {"type": _TIMELINE, "from_name": name, "value": value}
        for name, values in _short_results(task).items()
        for value in values
    ]
    return {"id": task.get("id"), "data": task, "annotations": [{"result": results}]}


def _short_results(task: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: value
        for name, value in task.items()
        if isinstance(value, list) and any(isinstance(each, dict) and _TIMELINE in each for each in value)
    }
