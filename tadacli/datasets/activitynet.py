"""ActivityNet-style annotations of long videos; HACS and others have the same form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tadacli.datasets.samples import GroundTruth, Sample
from tadacli.datasets.tables import AnyPath, bad_line, parse_json, read_text
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError

_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")


def load_activitynet(
    file: AnyPath,
    *,
    data_root: AnyPath | None = None,
    subset: str = "validation",
    labels: Sequence[str] | None = None,
) -> GroundTruth:
    """The segments of a subset, in the order of the file.

    As in the official evaluation, the classes are the labels that occur in the subset; here they are in alphabetical
    order. With `labels` they are these, and all that occur must be among them. A segment that ends before it
    starts is kept, as it is there. Raises `UsageError` for a file of another form or without the subset.
    """
    database = _database(file)
    chosen = {video: entry for video, entry in database.items() if entry.get("subset") == subset}
    if not chosen:
        there = sorted({str(entry.get("subset")) for entry in database.values()})
        raise UsageError(f"{file} has no video in the subset {subset!r}", hint=f"it has {', '.join(there) or 'none'}")
    rows = [row for video, entry in chosen.items() for row in _segments(video, entry, file)]
    names = tuple(labels) if labels is not None else tuple(sorted({label for _, label, _, _ in rows}))
    index_of = {name: index for index, name in enumerate(names)}
    for video, label, _, _ in rows:
        if label not in index_of:
            raise bad_line(file, f"video {video}", f"label {label!r} is not one of the {len(names)} classes")
    videos = VideoFiles(data_root)
    return GroundTruth(
        name="activitynet",
        heads={"": names},
        video_ids=np.array([video for video, _, _, _ in rows], dtype=np.str_),
        starts=np.array([start for _, _, start, _ in rows], dtype=np.float64),
        ends=np.array([end for _, _, _, end in rows], dtype=np.float64),
        classes={"": np.array([index_of[label] for _, label, _, _ in rows], dtype=np.int64)},
        videos=tuple(_video(video, videos, subset) for video in chosen),
    )


def _database(file: AnyPath) -> dict[str, Mapping[str, Any]]:
    content = parse_json(read_text(file), file)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise UsageError(f"{file} has no object 'database'", hint="give annotations in the form of ActivityNet")
    for video, entry in database.items():
        if not isinstance(entry, dict):
            raise bad_line(file, f"video {video}", "not an object")
    return database


def _segments(video: str, entry: Mapping[str, Any], file: AnyPath) -> list[tuple[str, str, float, float]]:
    annotations = entry.get("annotations")
    if not isinstance(annotations, list):
        raise bad_line(file, f"video {video}", "annotations is missing or not a list")
    rows = []
    for number, annotation in enumerate(annotations):
        place = f"video {video}, annotation {number}"
        if not isinstance(annotation, dict) or not isinstance(annotation.get("label"), str):
            raise bad_line(file, place, "no label")
        segment: Any = annotation.get("segment")
        if not is_span(segment):
            raise bad_line(file, place, f"segment is {segment!r}, not two times in seconds")
        rows.append((video, annotation["label"], float(segment[0]), float(segment[1])))
    return rows


def is_span(value: object) -> bool:
    """Whether a JSON value is a list of two finite numbers."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time) for time in value)
    )


def _video(video: str, videos: VideoFiles, subset: str) -> Sample:
    folders = ("", "videos", subset)
    found = videos.find_stem(folders, video, _SUFFIXES) or videos.find_stem(folders, f"v_{video}", _SUFFIXES)
    return Sample(video, found, video_id=video)
