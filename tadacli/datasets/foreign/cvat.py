"""CVAT: the tracks of its XML for videos, from where each appears to where it leaves, and tags of frames in a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from tadacli.datasets.foreign.marks import Mark, Marks
from tadacli.datasets.tables import AnyPath
from tadacli.errors import UsageError

PROGRAM = "CVAT"
ROOT_TAG = "annotations"
_NO_VIDEO = "the document does not name its video"


@dataclass(frozen=True)
class _Task:
    """A task: its video, the number of its last frame, and of how many frames, if it is all of a video."""

    video: str
    last_frame: int | None
    num_frames: int | None = None


def read_cvat(root: Element, file: AnyPath) -> Marks:
    """The spans in which objects are seen, and those whose frames all have a tag, with their labels.

    Args:
        root: The document.
        file: Its name, for errors.

    Returns:
        A mark for each stretch of each track and tag; times are numbers of frames, the end is the first frame without
        it.

    Raises:
        UsageError: The document has neither tracks nor tags, or a frame has no number.
    """
    tracks, images = root.findall("track"), root.findall("image")
    if not tracks and not any(image.find("tag") is not None for image in images):
        raise UsageError(
            f"{file} has no tracks: labels of single images have no length in time",
            hint="annotate the video with tracks, and export it as 'CVAT for video'",
        )
    source = root.findtext("meta/source", "")
    tasks = {task.findtext("id", "").strip(): _task(task, source, file) for task in root.iterfind("meta//task")}
    jobs = [_task(job, source, file) for job in root.iterfind("meta/job")]
    only = [*tasks.values(), *jobs][0] if len(tasks) + len(jobs) == 1 else _Task(source.strip(), None)
    marks = [mark for track in tracks for mark in _marks(track, tasks.get(track.get("task_id", ""), only), file)]
    starts = {start for each in root.iter("start_frame") if (start := (each.text or "").strip()) not in ("", "0")}
    remarks = ["frames are counted from the start of the video, not of the task"] if starts else []
    tagged = [mark for of_task in _by_task(images).values() for mark in _tagged(of_task, tasks, only, file)]
    remarks += ["tags of frames in a row are one span"] if tagged else []
    return Marks((*marks, *tagged), tuple(remarks))


def _by_task(images: Sequence[Element]) -> dict[str, list[Element]]:
    grouped: dict[str, list[Element]] = defaultdict(list)
    for image in images:
        grouped[image.get("task_id", "")].append(image)
    return grouped


def _tagged(images: Sequence[Element], tasks: Mapping[str, _Task], only: _Task, file: AnyPath) -> Iterator[Mark]:
    """A mark for each run of frames of a task that have the same tag."""
    task = tasks.get(images[0].get("task_id", ""), only)
    frames: dict[str, set[int]] = defaultdict(set)
    for image in images:
        for tag in image.findall("tag"):
            frames[tag.get("label", "").strip()].add(_number(image.get("id"), file, "image"))
    reason = "" if task.video else _NO_VIDEO
    for label, numbers in frames.items():
        for frame in sorted(numbers):
            if frame - 1 not in numbers:
                end = frame + 1
                while end in numbers:
                    end += 1
                yield Mark(
                    f"tag {label!r}, frame {frame}",
                    task.video,
                    label,
                    frame,
                    end,
                    in_frames=True,
                    reason=reason,
                    num_frames=task.num_frames,
                )


def _task(element: Element, source: str, file: AnyPath) -> _Task:
    """A task or a job; `source` is its video if it does not name one itself."""
    last = element.findtext("stop_frame")
    video = element.findtext("source") or source
    last_frame = _number(last, file, "stop_frame") if last else None
    # A job or a part of a video says nothing of all its frames.
    is_part = element.tag != "task" or (element.findtext("start_frame") or "0").strip() != "0"
    has_steps = bool((element.findtext("frame_filter") or "").strip())
    size = (element.findtext("size") or "").strip()
    is_whole = size.isdigit() and last_frame is not None and int(size[:12]) == last_frame + 1
    return _Task(video.strip(), last_frame, int(size[:12]) if is_whole and not is_part and not has_steps else None)


def _marks(track: Element, task: _Task, file: AnyPath) -> Iterator[Mark]:
    name = f"track {track.get('id', '?')}"
    shapes = sorted(
        (_number(shape.get("frame"), file, name), shape.get("outside") == "1")
        for shape in track
        if shape.get("frame") is not None
    )
    video, num_frames = task.video, task.num_frames
    reason = "" if video else _NO_VIDEO
    start: int | None = None
    last = 0
    for frame, is_outside in shapes:
        if is_outside and start is not None:
            yield _mark(name, video, track, start, frame, reason, num_frames)
            start = None
        elif not is_outside and start is None:
            start = frame
        last = frame
    if start is not None:
        end = last if task.last_frame is None else max(last, task.last_frame)
        yield _mark(name, video, track, start, end + 1, reason, num_frames)


def _mark(place: str, video: str, track: Element, start: int, end: int, reason: str, num_frames: int | None) -> Mark:
    label = track.get("label", "").strip()
    where = f"{place}, frame {start}"
    return Mark(where, video, label, start, end, in_frames=True, reason=reason, num_frames=num_frames)


def _number(text: str | None, file: AnyPath, place: str) -> int:
    if text is None or not text.strip().isdigit() or len(text.strip()) > 12:
        raise UsageError(f"{file}, {place}: {(text or '')[:40]!r} is not the number of a frame", hint="export it again")
    return int(text)
