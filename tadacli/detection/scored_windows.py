"""The scores of a video's windows as a value: what segments are made of, now or later, without the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.actions import ScoresByHead
from tadacli.results import Gap, Note, NoteKind, RunSettings, VideoInfo
from tadacli.specs import ModelSpec


@dataclass(frozen=True)
class WindowScores:
    """The scores of a video's windows, and all that a result needs to know besides.

    `spans` and `used` are (W, 2) float64 in seconds, `scale` (W,) int64, `scores` (W, num_classes) float32 by
    head; only windows whose frames could all be read have a row. `settings` are those that the scores depend
    on. `range_seconds` is the part of the timeline that the windows were laid over, `cuts` are the times in it that
    none of them reaches across. Of windows with an adaptive stride `interpolated` (W,) bool says whose scores lie
    between those of others.
    """

    path: str
    size_bytes: int | None
    spec: ModelSpec
    weights_sha256: str
    tool_version: str
    settings: RunSettings
    info: VideoInfo
    range_seconds: tuple[float, float]
    spans: NDArray[np.float64]
    used: NDArray[np.float64]
    scale: NDArray[np.int64]
    scores: ScoresByHead
    gaps: tuple[Gap, ...]
    num_windows_planned: int
    num_frames_used: int
    cuts: tuple[float, ...] = ()
    interpolated: NDArray[np.bool_] | None = None


def video_notes(info: VideoInfo) -> tuple[Note, ...]:
    """What to know of a video whose windows were looked at: its own notes, and whether its end is missing."""
    text = "the file is cut short, and does not say how much is missing at its end"
    return (*info.notes, *(() if info.num_frames_known else (Note(NoteKind.CUT_SHORT, text),)))
