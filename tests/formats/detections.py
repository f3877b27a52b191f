"""Detection results made up for tests of what is written of them."""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec

import pytest

from tadacli.formats.detection_rows import detection_row
from tadacli.formats.labelled import LabelledVideo, labelled_video
from tadacli.formats.registry import SEGMENT_FORMATS
from tadacli.results import Detection, Gap, Note, NoteKind, Prediction, Run, Segment, VideoInfo

RUN = Run("0.1", "ab" * 32, {"name": "m", "task": "action", "heads": {"": 3}}, {"window": "2s"}, "run1")
ACTION_RUN = Run("0.1", "cd" * 32, {"name": "a", "task": "action", "heads": {"verb": 97, "noun": 300}}, {}, "run2")


def video(path: str, *, start_seconds: float = 0.0) -> VideoInfo:
    """A video of a minute."""
    return VideoInfo(path, 1798, Fraction(30000, 1001), 59.9933333, 96, 160, 0, "h264", start_seconds=start_seconds)


def segment(start: float, end: float, label: str = "pan left", *, index: int = 1, score: float = 0.75) -> Segment:
    return Segment(start, end, label, index, score)


def action(start: float, end: float, verb: int, noun: int, *, score: float = 0.5) -> Segment:
    parts = Prediction(f"verb {verb}", verb, 0.9), Prediction(f"noun {noun}", noun, 0.8)
    return Segment(start, end, f"verb {verb} noun {noun}", verb * 300 + noun, score, *parts)


def detection(
    path: str = "a.mp4", *segments: Segment, start_seconds: float = 0.0, gaps: tuple[Gap, ...] = ()
) -> Detection:
    return Detection(
        path=path,
        status="partial" if gaps else "ok",
        model="m",
        segments=segments,
        gaps=gaps,
        num_windows=58,
        num_windows_planned=59,
        num_frames_used=464,
        video=video(path, start_seconds=start_seconds),
        notes=(Note(NoteKind.MODEL, "a note"), Note(NoteKind.CUT_SHORT, "another")),
    )


def failure(path: str) -> Detection:
    return Detection(path=path, status="error", model="m", error="no, such; file", num_windows_planned=0)


def row(path: str = "a.mp4", *segments: Segment, run: Run = RUN, size_bytes: int | None = 7, **options) -> dict:
    """The row of a video with these segments."""
    return detection_row(detection(path, *segments, **options), run, size_bytes=size_bytes)


def labelled(path: str = "a.mp4", *segments: Segment, **options) -> LabelledVideo:
    """The video with these segments, as the formats of other programs take it."""
    return labelled_video(row(path, *segments, **options))


def action_row(path: str, *segments: Segment) -> dict:
    """The row of a video that a model with verb and noun heads has seen."""
    return row(path, *segments, run=ACTION_RUN)


def failed_row(path: str) -> dict:
    """The row of a video that could not be read."""
    return detection_row(failure(path), RUN, size_bytes=None)


def is_installed(name: str) -> bool:
    """Whether what writes a format is there; some of it has no packages for the newest Python."""
    return name not in SEGMENT_FORMATS or all(map(find_spec, SEGMENT_FORMATS[name].needs))


def require_installed(name: str) -> None:
    """Skips the test where what writes a format is not there."""
    if not is_installed(name):
        pytest.skip(f"what writes {name} is not installed")
