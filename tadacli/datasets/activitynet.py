"""ActivityNet-style annotations of long videos; HACS and others have the same form."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tadacli.datasets.loading import is_same_split
from tadacli.datasets.samples import GroundTruth, Sample
from tadacli.datasets.tables import AnyPath, bad_line, is_number, parse_json, read_bytes, read_text
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import OutputError, UsageError
from tadacli.formats.captions import player_segments
from tadacli.formats.results import is_detect_results, is_guess, parse_corrected
from tadacli.formats.video_names import video_ids
from tadacli.results import counted

_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")


def load_activitynet(
    file: AnyPath,
    *,
    data_root: AnyPath | None = None,
    subset: str = "validation",
) -> GroundTruth:
    """The segments of a subset, in the order of the file.

    As in the official evaluation, the classes are the labels that occur in the subset; here they are in alphabetical
    order. A segment that ends before it starts is kept, as it is there.

    Args:
        file: The annotations, plain or gzipped; or what `tada detect` found once a person corrected it, all of whose
            videos are then in the subset.
        data_root: The folder with the videos; None: none is looked for.
        subset: The subset, as the file spells it; else in whatever case, and "val" for "validation" and the like.

    Returns:
        The segments, times in seconds.

    Raises:
        UsageError: The file has another form, or no video in the subset.
    """
    database = _database(file, subset)
    counts = Counter(str(entry.get("subset")) for entry in database.values())
    spelled = {subset} if subset in counts else {each for each in counts if is_same_split(each, subset)}
    chosen = {video: entry for video, entry in database.items() if str(entry.get("subset")) in spelled}
    if not chosen:
        there = ", ".join(sorted(counts)) or "none"
        raise UsageError(f"{file} has no video in the subset {subset!r}", hint=f"it has {there}")
    rows = [row for video, entry in chosen.items() for row in _segments(video, entry, file)]
    names = tuple(sorted({label for _, label, _, _ in rows}))
    index_of = {name: index for index, name in enumerate(names)}
    videos = VideoFiles(data_root)
    return GroundTruth(
        name="activitynet",
        heads={"": names},
        video_ids=np.array([video for video, _, _, _ in rows], dtype=np.str_),
        starts=np.array([start for _, _, start, _ in rows], dtype=np.float64),
        ends=np.array([end for _, _, _, end in rows], dtype=np.float64),
        classes={"": np.array([index_of[label] for _, label, _, _ in rows], dtype=np.int64)},
        videos=tuple(_video(video, videos, subset) for video in chosen),
        durations_seconds={
            video: float(entry["duration"])
            for video, entry in chosen.items()
            if is_number(entry.get("duration")) and entry["duration"] > 0
        },
        class_numbers=_class_numbers(database),
    )


def _database(file: AnyPath, subset: str) -> dict[str, Mapping[str, Any]]:
    found = read_bytes(file)
    if is_detect_results(found):
        return _of_results(found, os.fspath(file), subset)
    content = parse_json(read_text(file), file)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise UsageError(f"{file} has no object 'database'", hint="give annotations in the form of ActivityNet")
    for video, entry in database.items():
        if not isinstance(entry, dict):
            raise bad_line(file, f"video {video}", "not an object")
    return database


def _of_results(content: bytes, shown: str, subset: str) -> dict[str, Mapping[str, Any]]:
    """The segments of a results file of `tada detect` as annotations, on the clock of players."""
    rows = parse_corrected(content, shown)
    guesses = sum(is_guess(each) for row in rows for each in row["segments"])
    if guesses:
        raise UsageError(
            f"{shown} holds {counted(guesses, 'labels')} that tada suggest guessed and nobody checked",
            hint="check or remove them on its page",
        )
    failed = [row["path"] for row in rows if row["status"] == "error"]
    if failed:
        raise UsageError(
            f"{shown}: nothing is known of {failed[0]}, which could not be read", hint="leave its result out"
        )
    try:
        ids = video_ids([row["path"] for row in rows])
    except OutputError as error:
        raise UsageError(f"{shown}: {error.message}", hint="keep the results of one of them") from error
    return {
        ids[row["path"]]: {
            "subset": subset,
            "duration": row["duration_seconds"],
            "annotations": [
                {"label": each["label"], "segment": [each["start_seconds"], each["end_seconds"]]}
                for each in player_segments(row)
            ],
        }
        for row in rows
    }


def _segments(video: str, entry: Mapping[str, Any], file: AnyPath) -> list[tuple[str, str, float, float]]:
    annotations = entry.get("annotations")
    if not isinstance(annotations, list):
        raise bad_line(file, f"video {video}", "annotations is missing or not a list")
    rows = []
    for number, annotation in enumerate(annotations):
        check_segment(annotation, file, f"video {video}, annotation {number}")
        start, end = annotation["segment"]
        rows.append((video, annotation["label"], float(start), float(end)))
    return rows


def _class_numbers(database: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """The names of the classes of all subsets by their `label_id`; empty unless each has one of its own throughout."""
    names: dict[int, str] = {}
    for entry in database.values():
        listed = entry.get("annotations")
        for annotation in listed if isinstance(listed, list) else ():
            if not isinstance(annotation, dict):
                return {}
            number, name = annotation.get("label_id"), annotation.get("label")
            if type(number) is not int or not isinstance(name, str) or names.setdefault(number, name) != name:
                return {}
    return names if len(set(names.values())) == len(names) else {}


def check_segment(entry: Any, file: AnyPath, place: str) -> None:
    """Check that a JSON value is an object with a label and a segment of two finite numbers.

    Args:
        entry: The value.
        file: The file it is from.
        place: Where it stands there.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise bad_line(file, place, "no label")
    segment = entry.get("segment")
    if not isinstance(segment, list) or len(segment) != 2 or not all(is_number(time) for time in segment):
        raise bad_line(file, place, f"segment is {segment!r}, not two times in seconds")


def _video(video: str, videos: VideoFiles, subset: str) -> Sample:
    folders = ("", "videos", subset)
    found = videos.find_stem(folders, video, _SUFFIXES) or videos.find_stem(folders, f"v_{video}", _SUFFIXES)
    return Sample(video, found, video_id=video)
