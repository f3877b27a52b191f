"""The page on which a person labels what `tada suggest` chose: that of `tada detect`, with the spans as segments."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tadacli.formats.rows import DetectionRow
from tadacli.reports.detection_files import first_small
from tadacli.reports.detection_page import detection_part, page_around, page_of
from tadacli.reports.video_links import MAX_INLINE_BYTES
from tadacli.results import Detection, Gap, Segment


def suggestion_page(
    rows: Sequence[DetectionRow], *, labels: Sequence[str], page_path: str | os.PathLike[str]
) -> tuple[bytes, tuple[str, ...]]:
    """The page of the videos that have spans to label.

    Args:
        rows: The videos, as `suggest` returns them.
        labels: Those of the model in index order, to choose from.
        page_path: The file that the page is for, to which links are relative.

    Returns:
        The page, and notes on what it lacks. The first videos are inside, as long as together they are small.
    """
    inside = set(first_small([row["path"] for row in rows]))
    parts: list[str] = []
    notes: list[str] = []
    for row in rows:
        room = MAX_INLINE_BYTES if row["path"] in inside else 0
        part, said = detection_part(_as_found(row), row, (), page_path=page_path, labels=labels, max_inline=room)
        parts.append(part)
        notes += said
    if len(rows) == 1:
        return page_of(parts[0], rows[0]), tuple(notes)
    before, after = page_around(len(parts))
    return before + "".join(parts).encode("utf-8", "replace") + after, tuple(notes)


def _as_found(row: DetectionRow) -> Detection:
    """What thumbnails and the player need to know of a row."""
    return Detection(
        row["path"],
        row["status"],
        row["model"],
        segments=tuple(
            Segment(each["start_seconds"], each["end_seconds"], each["label"], each["index"], each["score"])
            for each in row["segments"]
        ),
        gaps=tuple(Gap(gap["start_seconds"], gap["end_seconds"], gap["reason"]) for gap in row["gaps"]),
    )
