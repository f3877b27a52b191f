"""What the machine-readable formats say of one video's segments: one JSON-ready row, or flat ones for CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tadacli.formats.rows import (
    CutsRow,
    DetectionRow,
    SegmentRow,
    csv_text,
    flat_rows,
    rounded_seconds,
    run_row,
    video_facts,
)
from tadacli.results import Detection, Run, Segment

DETECTION_CSV_COLUMNS = (
    "path status error model task start_seconds end_seconds label index score verb noun action gaps notes "
    "duration_seconds video_start_seconds fps windows windows_planned weights_sha256 tool_version spec settings run "
    "size_bytes num_rows peak_score"
).split()


def detection_row(result: Detection, run: Run, *, size_bytes: int | None) -> DetectionRow:
    """The row of one video.

    Args:
        result: What was found in the video.
        run: What the result was made with.
        size_bytes: The size of the video's file, by which a later run sees that it is still the same; None if unknown.

    Returns:
        The row, its keys in the order in which they are written. Its times are presentation times in seconds. `video`
        and `path` are both the input as it was named; `duration_seconds`, `start_seconds`, `fps` and `info` are null
        for a video that could not be opened.
    """
    facts = None if result.video is None else video_facts(result.video)
    start, duration = None, None
    if facts is not None:
        start, duration = facts["start_seconds"], facts["duration_seconds"]
    elif result.timeline is not None:
        start, end = result.timeline
        start, duration = rounded_seconds(start), rounded_seconds(end - start)
    cuts: CutsRow = {} if result.cuts is None else {"cuts": [rounded_seconds(cut) for cut in result.cuts]}
    return {
        "video": result.path,
        "path": result.path,
        "status": result.status,
        "error": result.error or None,
        "model": result.model,
        "task": run.spec["task"],
        "duration_seconds": duration,
        "start_seconds": start,
        "fps": facts and facts["fps"],
        "windows": result.num_windows,
        "windows_planned": result.num_windows_planned,
        "segments": [_segment(each) for each in result.segments],
        "gaps": [
            {
                "start_seconds": rounded_seconds(gap.start_seconds),
                "end_seconds": rounded_seconds(gap.end_seconds),
                "reason": gap.reason,
            }
            for gap in result.gaps
        ],
        "frames": {"used": result.num_frames_used},
        "notes": [note.text for note in result.notes],
        "info": facts,
        **run_row(run, size_bytes),
        **cuts,
    }


def detection_csv_rows(row: DetectionRow) -> list[dict[str, str]]:
    """The lines of CSV that one row becomes.

    Args:
        row: One video.

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
        "settings": json.dumps(row["settings"]),
    }
    keys = ("start_seconds", "end_seconds", "label", "index", "score", "verb", "noun", "action", "peak_score")
    segments: list[Mapping[str, object]] = [*row["segments"]]
    return flat_rows(row, common, [{key: str(each[key]) for key in keys if key in each} for each in segments])


def _segment(segment: Segment) -> SegmentRow:
    row: SegmentRow = {
        "start_seconds": rounded_seconds(segment.start_seconds),
        "end_seconds": rounded_seconds(segment.end_seconds),
        "label": segment.label,
        "index": segment.index,
        "score": segment.score,
    }
    if segment.peak_score is not None:
        row["peak_score"] = segment.peak_score
    if segment.verb is not None and segment.noun is not None and segment.action is not None:
        row |= {
            "verb": segment.verb.index,
            "noun": segment.noun.index,
            "action": segment.action,
            "verb_label": segment.verb.label,
            "noun_label": segment.noun.label,
            "verb_score": segment.verb.score,
            "noun_score": segment.noun.score,
        }
    return row
