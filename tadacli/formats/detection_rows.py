"""What the machine-readable formats say of one video's segments: one JSON-ready row, or flat ones for CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from tadacli.formats.labelled import labelled_video
from tadacli.formats.rows import DetectionRow, csv_text, flat_rows, whole_row
from tadacli.formats.segment_times import time_cells
from tadacli.results import Detection, Run
from tadacli.results.json_ready import detection_facts


def detection_row(result: Detection, run: Run, *, size_bytes: int | None) -> DetectionRow:
    """The row of one video.

    Args:
        result: What was found in the video.
        run: What the result was made with.
        size_bytes: The size of the video's file, by which a later run sees that it is still the same; None if unknown.

    Returns:
        The row, its keys in the order in which they are written.
    """
    return cast("DetectionRow", whole_row(detection_facts(result), run, size_bytes))


def detection_csv_rows(
    row: DetectionRow, *, fps: float | None = None, start_timecode: str | None = None
) -> list[dict[str, str]]:
    """The lines of CSV that one row becomes.

    Args:
        row: One video.
        fps: The rate to count frames at; None: that of the video.
        start_timecode: The timecode of the first frame; None: that of the video.

    Returns:
        A flat row for each segment, or a single one without a segment if there is none.
    """
    common = {
        "gaps": json.dumps(row["gaps"]),
        "duration_seconds": csv_text(row["duration_seconds"]),
        "video_start_seconds": csv_text(row["start_seconds"]),
        "fps": csv_text(row["fps"]),
        "windows": str(row["windows"]),
        "windows_planned": str(row["windows_planned"]),
    }
    keys = ("start_seconds", "end_seconds", "label", "index", "score", "verb", "noun", "action", "peak_score", "rank")
    segments: list[Mapping[str, object]] = [*row["segments"]]
    times = time_cells(labelled_video(row, fps=fps, start_timecode=start_timecode))
    return flat_rows(
        row,
        common,
        [
            {**{key: str(each[key]) for key in keys if key in each}, **more}
            for each, more in zip(segments, times, strict=True)
        ],
    )
