"""Planted actions as files: features of videos that are not there, and a table of their segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.planted_actions import Planted
from tadacli.detection.feature_file import write_features
from tadacli.detection.features import VideoFeatures

PLANTED = Planted(num_videos=24, num_classes=2, num_channels=8, steps=(100, 200), lengths=(4, 40), strength=4.2)
LABELS = ("jump", "run")
# So few steps that a test takes seconds.
SETTINGS = {
    "epochs": 24,
    "batch_size": 4,
    "members": 1,
    "width": 16,
    "num_blocks": 3,
    "evaluate_every_epochs": 12,
    "learning_rate": 5e-3,
}


def write_planted(folder: Path, *, planted: Planted = PLANTED) -> tuple[Path, Path]:
    """Writes a table of segments, a quarter of the videos for validation, and a folder of features; returns both."""
    table, features = folder / "segments.csv", folder / "features"
    features.mkdir(parents=True)
    videos = planted.videos(0)
    lines = ["video,start,end,label,split"]
    for number, video in enumerate(videos):
        grid, split = video.grid, "validation" if number % 4 == 3 else "train"
        half = grid.stride_seconds / 2
        spans = np.stack([grid.seconds - half, grid.seconds + half], axis=1)
        made = VideoFeatures(
            f"v{number}.mp4", grid.values, spans, grid.seconds, grid.stride_seconds, grid.duration_seconds, (), None
        )
        write_features(features / f"v{number}.npz", made)
        for (start, end), label in zip(video.spans.tolist(), video.classes[""].tolist(), strict=True):
            lines.append(f"v{number}.mp4,{start},{end},{LABELS[label]},{split}")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table, features


def write_negatives(folder: Path, features: Path, numbers: Sequence[int], *, planted: Planted = PLANTED) -> Path:
    """Writes videos that look like actions but for one channel, which says that they are none; returns their folder.

    The videos are files that nothing can read; their features lie beside those of the others.
    """
    folder.mkdir(exist_ok=True)
    more = replace(planted, num_videos=planted.num_videos + max(numbers) + 1).videos(0)[planted.num_videos :]
    for number in numbers:
        grid = more[number].grid
        values = grid.values.copy()
        values[:, 0] += 2.0
        half = grid.stride_seconds / 2
        spans = np.stack([grid.seconds - half, grid.seconds + half], axis=1)
        made = VideoFeatures(
            f"n{number}.mp4", values, spans, grid.seconds, grid.stride_seconds, grid.duration_seconds, (), None
        )
        write_features(features / f"n{number}.npz", made)
        (folder / f"n{number}.mp4").write_bytes(b"video %d" % number)
    return folder
