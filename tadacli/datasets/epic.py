"""EPIC-KITCHENS-100: actions as samples (recognition) and as timed segments (detection)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tadacli.datasets.samples import Dataset, GroundTruth, Sample
from tadacli.datasets.tables import AnyPath, TableRow, bad_line, one_of, read_table
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.specs import label_list
from tadacli.video.frame_names import named_rate
from tadacli.video.inputs import is_pictures

Split = Literal["train", "validation", "test"]

_FILES = {
    "train": "EPIC_100_train.csv",
    "validation": "EPIC_100_validation.csv",
    "test": "EPIC_100_test_timestamps.csv",
}
_VIDEOS = "EPIC_100_video_info.csv"
_COLUMNS = ("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp")
_CLASSES = {"verb": "verb_class", "noun": "noun_class"}
_TIMESTAMP = re.compile(r"(\d{1,2}):([0-5]\d):([0-5]\d(?:\.\d+)?)", re.ASCII)
_VIDEO_ID = re.compile(r"P\d{2}_\d{2,3}", re.ASCII)
_VIDEO_SUFFIXES = (".MP4", ".mp4")


def epic_heads() -> dict[str, tuple[str, ...]]:
    """The 97 verb and 300 noun classes in index order."""
    return {"verb": label_list("ek100_verbs"), "noun": label_list("ek100_nouns")}


def load_epic(annotations: AnyPath, *, data_root: AnyPath | None = None, split: Split = "validation") -> Dataset:
    """The actions of a split as samples, in the order of the csv; their ids are the narration ids.

    Args:
        annotations: The csv, or the folder with it. The rate of frames is taken from the list of videos beside it.
        data_root: The folder with the videos, or with their frames.
        split: "train", "validation" or "test". Samples of the last, whose csv has no classes, have no labels.

    Returns:
        The samples, with times in seconds.

    Raises:
        UsageError: A row is not as published, or an action has no length.
    """
    rows, labelled = _read(annotations, split)
    finder = _EpicVideos(data_root)
    rates = _frame_rates(Path(annotations) if Path(annotations).is_dir() else Path(annotations).parent)
    samples = (_sample(row, finder, labelled=labelled) for row in rows)
    return Dataset("ek100", epic_heads(), tuple(_with_rate(sample, rates) for sample in samples))


def load_epic_detection(
    annotations: AnyPath, *, data_root: AnyPath | None = None, split: Split = "validation"
) -> GroundTruth:
    """The actions of a split as timed segments with the heads "verb" and "noun", in the order of the csv.

    Raises `UsageError` as `load_epic` does, and if the csv has no classes.
    """
    data = load_epic(annotations, data_root=data_root, split=split)
    samples = data.samples
    if not samples[0].labels:
        raise UsageError(
            f"{annotations} names no classes, so there is nothing to compare with",
            hint="give EPIC_100_train.csv or EPIC_100_validation.csv",
        )
    videos = {
        each.video_id: Sample(each.video_id, each.path, video_id=each.video_id, participant=each.participant)
        for each in samples
    }
    return GroundTruth(
        name="ek100-detection",
        heads=data.heads,
        video_ids=np.array([sample.video_id for sample in samples], dtype=np.str_),
        starts=np.array([sample.start_seconds for sample in samples], dtype=np.float64),
        ends=np.array([sample.end_seconds for sample in samples], dtype=np.float64),
        classes={head: np.array([sample.labels[head] for sample in samples], dtype=np.int64) for head in _CLASSES},
        videos=tuple(videos.values()),
        durations_seconds=_durations(annotations),
    )


@dataclass(frozen=True)
class EpicSubsets:
    """What the challenge evaluates apart: unseen participants, and the classes that are rare in training.

    None stands for a list that is not there.
    """

    unseen_participants: frozenset[str] | None
    tail_verbs: frozenset[int] | None
    tail_nouns: frozenset[int] | None


def load_epic_subsets(folder: AnyPath, *, split: Split = "validation") -> EpicSubsets:
    """The lists in the folder of the annotations. Raises `UsageError` for a list that is not as published."""
    participants = _column(folder, f"EPIC_100_unseen_participant_ids_{split}.csv", "participant_id")
    tail = {}
    for head, labels in epic_heads().items():
        rows = _column(folder, f"EPIC_100_tail_{head}s.csv", head)
        tail[head] = None if rows is None else frozenset(row.index(head, len(labels)) for row in rows)
    return EpicSubsets(
        unseen_participants=None
        if participants is None
        else frozenset(row.text("participant_id") for row in participants),
        tail_verbs=tail["verb"],
        tail_nouns=tail["noun"],
    )


def seconds_of(timestamp: str) -> float:
    """Seconds of a time written HH:MM:SS.ss; in double precision, term by term as the official evaluation does it.

    Raises `ValueError` for anything else.
    """
    match = _TIMESTAMP.fullmatch(timestamp)
    if match is None:
        raise ValueError(f"{timestamp!r} is not a time as HH:MM:SS.ss")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _read(annotations: AnyPath, split: Split) -> tuple[list[TableRow], bool]:
    """The rows of the csv, and whether they have classes."""
    if split not in _FILES:
        raise UsageError(f"there is no split {split!r}", hint=f"use {', '.join(_FILES)}")
    file = Path(annotations)
    if file.is_dir():
        file = one_of(file, (_FILES[split],), what=f"annotations of the split {split}")
    rows = read_table(file, _COLUMNS, what="annotations of EPIC-KITCHENS-100")
    if not rows:
        raise UsageError(f"{file} has no rows", hint="give the official csv")
    labelled = [column in rows[0].values for column in _CLASSES.values()]
    if any(labelled) != all(labelled):
        raise bad_line(file, 1, "verb_class or noun_class is there without the other")
    seen: set[str] = set()
    for row in rows:
        name = row.text("narration_id")
        if name in seen:
            raise row.error(f"narration_id {name!r} stands in an earlier line, too")
        seen.add(name)
    return rows, all(labelled)


def _sample(row: TableRow, finder: _EpicVideos, *, labelled: bool) -> Sample:
    video, participant = row.text("video_id"), row.text("participant_id")
    if _VIDEO_ID.fullmatch(video) is None or not video.startswith(participant + "_"):
        raise row.error(f"video_id {video!r} is not the id of a video of participant {participant!r}")
    start, stop = (_time(row, column) for column in ("start_timestamp", "stop_timestamp"))
    if start >= stop:
        raise row.error(f"the action from {start} s to {stop} s is empty or reversed")
    sizes = {head: len(labels) for head, labels in epic_heads().items()}
    labels = {head: row.index(column, sizes[head]) for head, column in _CLASSES.items()} if labelled else {}
    name = row.text("narration_id")
    return Sample(name, finder.find(video, participant), labels, start, stop, video, participant)


def _frame_rates(folder: Path) -> dict[str, float]:
    """Frames a second of the published frames, by video: 50 for videos of 50, else 60, whatever the video has."""
    file = folder / _VIDEOS
    if not file.is_file():
        return {}
    rows = read_table(file, ("video_id", "fps"), what="the list of the videos of EPIC-KITCHENS-100")
    return {row.text("video_id"): 50.0 if abs(row.number("fps") - 50) < 1 else 60.0 for row in rows}


def _with_rate(sample: Sample, rates: Mapping[str, float]) -> Sample:
    """The sample with the rate of its frames, where its video's name does not say it already."""
    rate = rates.get(sample.video_id)
    if rate is None or sample.path is None or not is_pictures(os.fspath(sample.path)):
        return sample
    return sample if named_rate(os.fspath(sample.path)) == rate else replace(sample, fps=rate)


def _time(row: TableRow, column: str) -> float:
    try:
        return seconds_of(row.text(column))
    except ValueError as error:
        raise row.error(f"{column}: {error}") from error


def _durations(annotations: AnyPath) -> dict[str, float]:
    """The lengths of videos in seconds, by id; none without their list beside the annotations."""
    rows = _column(_folder_of(annotations), "EPIC_100_video_info.csv", "duration") or ()
    return {row.text("video_id"): row.number("duration") for row in rows if "video_id" in row.values}


def _folder_of(annotations: AnyPath) -> Path:
    path = Path(annotations)
    return path if path.is_dir() else path.parent


def _column(folder: AnyPath, name: str, column: str) -> Sequence[TableRow] | None:
    file = Path(folder, name)
    return read_table(file, (column,), what=name) if file.is_file() else None


class _EpicVideos:
    """Finds videos as they are published or copied, and frames where there is no video."""

    def __init__(self, root: AnyPath | None) -> None:
        self._files = VideoFiles(root)
        self._found: dict[str, Path | None] = {}

    def find(self, video: str, participant: str) -> Path | None:
        """The video file, else a folder or tar of its frames; None if there is neither."""
        if video not in self._found:
            homes = _below_tops("videos", f"{participant}/videos", participant, "")
            frames = _below_tops(
                f"{participant}/rgb_frames", "rgb_frames", f"rgb_frames/{participant}", participant, ""
            )
            self._found[video] = (
                self._files.find_stem(homes, video, _VIDEO_SUFFIXES)
                or self._files.find([os.path.join(home, video) for home in frames], folders=True)
                or self._files.find_stem(frames, video, (".tar",))
            )
        return self._found[video]


def _below_tops(*homes: str) -> list[str]:
    return [os.path.join(top, home) for top in ("", "EPIC-KITCHENS") for home in homes]
