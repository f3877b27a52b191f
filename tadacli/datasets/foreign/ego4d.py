"""Ego4D's moments queries: the moments that annotators found in the clips of each video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath

PROGRAM = "Ego4D"


@dataclass(frozen=True)
class _Label:
    label: str
    video_start_time: float
    video_end_time: float
    primary: bool = True


@dataclass(frozen=True)
class _Annotator:
    labels: tuple[_Label, ...] = ()
    annotator_uid: str = ""


@dataclass(frozen=True)
class _Clip:
    annotations: tuple[_Annotator, ...] = ()
    clip_uid: str = ""


@dataclass(frozen=True)
class _Video:
    video_uid: str
    clips: tuple[_Clip, ...]
    split: str = ""


@dataclass(frozen=True)
class _Moments:
    videos: tuple[_Video, ...]


def is_ego4d(content: Any) -> bool:
    """Whether a JSON value has videos with clips."""
    videos = content.get("videos") if isinstance(content, dict) else None
    return (
        isinstance(videos, list) and bool(videos) and all(isinstance(each, dict) and "clips" in each for each in videos)
    )


def read_ego4d(content: Any, file: AnyPath) -> Marks:
    """The moments of all videos, at their times in the whole video; those that are not primary are not used.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each moment.

    Raises:
        UsageError: The value is no file of moments.
    """
    moments = decoded(_Moments, content, file, PROGRAM)
    marks = tuple(
        Mark(
            place=f"video {video.video_uid}, clip {clip.clip_uid}, label {number}",
            video=video.video_uid,
            label=label.label.strip(),
            start=label.video_start_time,
            end=label.video_end_time,
            split=video.split,
            reason="" if label.primary else "it is not primary",
        )
        for video in moments.videos
        for clip in video.clips
        for annotator in clip.annotations
        for number, label in enumerate(annotator.labels)
    )
    return Marks(marks)
