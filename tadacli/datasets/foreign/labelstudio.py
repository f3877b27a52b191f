"""Label Studio: JSON and JSON-MIN with timeline labels, which count frames, and with regions of audio, in seconds."""

from __future__ import annotations

import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath, is_number
from tadacli.video.inputs import is_video_name

PROGRAM = "Label Studio"
_TIMELINE, _REGION = "timelinelabels", "labels"
# What an upload gets before its name.
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


@dataclass(frozen=True)
class _Range:
    start: float
    end: float


@dataclass(frozen=True)
class _Value:
    """What is labelled: ranges of frames, or a region in seconds; the regions of texts are none of them."""

    ranges: tuple[_Range, ...] = ()
    timelinelabels: tuple[str, ...] = ()
    start: float | str | None = None
    end: float | str | None = None
    labels: tuple[str, ...] = ()
    text: object = None


@dataclass(frozen=True)
class _Result:
    type: str
    from_name: str = ""
    value: _Value = field(default_factory=_Value)
    score: float | None = None

    @property
    def is_in_time(self) -> bool:
        """Whether it is a label in time."""
        if self.type == _REGION:
            times = (self.value.start, self.value.end)
            return self.value.text is None and all(isinstance(time, int | float) for time in times)
        return self.type == _TIMELINE


@dataclass(frozen=True)
class _Annotation:
    """What a person labelled, or, among predictions, a model."""

    result: tuple[_Result, ...] = ()
    was_cancelled: bool = False
    score: float | None = None


@dataclass(frozen=True)
class _Task:
    data: Mapping[str, object]
    annotations: tuple[_Annotation, ...] = ()
    predictions: tuple[_Annotation | int, ...] = ()
    id: int | str | None = None

    @property
    def found(self) -> tuple[_Annotation, ...]:
        """The predictions in full; some exports have their numbers alone."""
        return tuple(each for each in self.predictions if isinstance(each, _Annotation))


def is_labelstudio(content: Any) -> bool:
    """Whether a JSON value is a list of tasks, in full or in the short form."""
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    first = content[0]
    has_labels = "annotations" in first or "predictions" in first
    return (isinstance(first.get("data"), dict) and has_labels) or any(map(_short_results, content))


def read_labelstudio(content: Any, file: AnyPath) -> Marks:
    """The labels of all annotations that were not cancelled; of predictions where no task has an annotation.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each range and label, in numbers of frames, and for each region, in seconds.

    Raises:
        UsageError: The value is no export of Label Studio.
    """
    tasks = decoded(tuple[_Task, ...], [_in_full(task) for task in content], file, PROGRAM)
    is_found = not any(each.result for task in tasks for each in task.annotations)
    read = [(task, task.found if is_found else task.annotations) for task in tasks]
    marks = tuple(mark for number, (task, given) in enumerate(read) for mark in _marks(task, given, number))
    results = [result for _, given in read for each in given for result in each.result]
    others = Counter(result.type for result in results if not result.is_in_time)
    remarks = [f"{number} results of type {name!r} are no labels in time" for name, number in sorted(others.items())]
    cancelled = sum(annotation.was_cancelled for _, given in read for annotation in given)
    remarks += [f"{cancelled} annotations are not read: they were cancelled"] if cancelled else []
    several = sum(len([each for each in given if not each.was_cancelled]) > 1 for _, given in read)
    what = "predictions" if is_found else "annotations"
    remarks += [f"{several} tasks have several {what}, and all are taken"] if several else []
    remarks += ["the labels are predictions: no task has an annotation"] if is_found and results else []
    return Marks(marks, tuple(remarks))


def _marks(task: _Task, given: Sequence[_Annotation], number: int) -> Iterator[Mark]:
    place = f"task {number if task.id is None else task.id}"
    video, also = _video(task.data)
    fps = task.data.get("fps")
    for annotation in given:
        for count, result in enumerate(annotation.result):
            if not result.is_in_time or annotation.was_cancelled:
                continue
            common = Mark(
                place=f"{place}, result {count}",
                video=video,
                also=also,
                label="",
                start=None,
                end=None,
                layer=result.from_name,
                reason="" if video else "its task names no video",
                score=annotation.score if result.score is None else result.score,
                fps=float(fps) if is_number(fps) and isinstance(fps, int | float) and fps > 0 else None,
            )
            for label, span in _labelled(result.value):
                yield replace(common, label=label.strip(), **span)


def _labelled(value: _Value) -> Iterator[tuple[str, dict[str, Any]]]:
    """(label, its times) of each range with each label, or of a region."""
    if value.timelinelabels or value.ranges:
        for span in value.ranges:
            for label in value.timelinelabels or ("",):
                yield label, {"start": span.start, "end": span.end, "in_frames": True}
        return
    for label in value.labels or ("",):
        yield label, {"start": value.start, "end": value.end}


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
        {"type": _TIMELINE if _TIMELINE in value else _REGION, "from_name": name, "value": value}
        for name, values in _short_results(task).items()
        for value in values
    ]
    return {"id": task.get("id"), "data": task, "annotations": [{"result": results}]}


def _short_results(task: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: value
        for name, value in task.items()
        if isinstance(value, list) and value and all(isinstance(each, dict) and _is_short(each) for each in value)
    }


def _is_short(value: Mapping[str, Any]) -> bool:
    """Whether a value of the short form is a label in time."""
    return _TIMELINE in value or ({"start", "end", _REGION} <= value.keys() and "text" not in value)
