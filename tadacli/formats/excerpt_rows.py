"""What `tada clip` says of one segment: one JSON-ready row."""

from __future__ import annotations

import os

from typing_extensions import TypedDict

from tadacli.formats.rows import SCHEMA_VERSION
from tadacli.results.excerpts import Excerpt, ExcerptStatus, How
from tadacli.results.json_ready import Count, Number


class ExcerptRow(TypedDict):
    """A segment and the files that were written of it; `error` is null unless it failed.

    `start_seconds` and `end_seconds` are those of the segment, as the results or labels say them; a video that could
    not be searched has a row without a label. `shown_from` and `shown_until` are the presentation times in the video
    at which the first frame of `file` appears and the last one ends.
    """

    video: str
    label: str | None
    start_seconds: Number | None
    end_seconds: Number | None
    score: Number | None
    status: ExcerptStatus
    error: str | None
    file: str | None
    how: How | None
    image: str | None
    shown_from: Number | None
    shown_until: Number | None
    num_frames: Count | None
    notes: list[str]
    schema_version: Count


def excerpt_row(excerpt: Excerpt) -> ExcerptRow:
    """The row of one segment.

    Args:
        excerpt: What became of it.

    Returns:
        The row, its keys in the order in which they are written.
    """
    return {
        "video": excerpt.video,
        "label": excerpt.label,
        "start_seconds": excerpt.start_seconds,
        "end_seconds": excerpt.end_seconds,
        "score": excerpt.score,
        "status": excerpt.status,
        "error": excerpt.error or None,
        "file": None if excerpt.file is None else os.fspath(excerpt.file),
        "how": excerpt.how,
        "image": None if excerpt.image is None else os.fspath(excerpt.image),
        "shown_from": excerpt.shown_from,
        "shown_until": excerpt.shown_until,
        "num_frames": excerpt.num_frames,
        "notes": list(excerpt.notes),
        "schema_version": SCHEMA_VERSION,
    }
