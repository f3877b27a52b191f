"""What `tada features` says of one video: one JSON-ready row."""

from __future__ import annotations

from collections.abc import Sequence

from tadacli.formats.rows import ResultRow, run_row
from tadacli.results import DetectionStatus, Gap, Note, Run
from tadacli.results.json_ready import Count, CutsRow, GapRow, Number, gap_rows, rounded_seconds


class FeatureRow(ResultRow, CutsRow):
    """The features of one video: where they are, how many, and when. Facts of a video that failed are null or 0."""

    status: DetectionStatus
    file: str | None
    snippets: Count
    snippets_planned: Count
    columns: Count
    stride_seconds: Number | None
    start_seconds: Number | None
    end_seconds: Number | None
    gaps: list[GapRow]


def feature_row(
    path: str,
    status: DetectionStatus,
    run: Run,
    *,
    error: str = "",
    file: str | None = None,
    size: tuple[int, int] = (0, 0),
    num_planned: int = 0,
    stride_seconds: float | None = None,
    span: tuple[float, float] | None = None,
    gaps: Sequence[Gap] = (),
    notes: Sequence[Note] = (),
    cuts: Sequence[float] | None = None,
    size_bytes: int | None = None,
) -> FeatureRow:
    """The row of one video.

    Args:
        path: The video, as it was given.
        status: "ok", "partial" or "error".
        run: What the features were made with.
        error: Why there are none.
        file: The file that holds or describes them.
        size: Snippets and columns.
        num_planned: Snippets that there would be without gaps.
        stride_seconds: From one snippet to the next.
        span: Where the video's timeline starts and ends, in seconds.
        gaps: What of it cannot be read.
        notes: What else to know.
        cuts: When shots begin across which no snippet reaches, where they were asked for.
        size_bytes: Size of the video's file.

    Returns:
        The row, its keys in the order in which they are written.
    """
    known: CutsRow = {} if cuts is None else {"cuts": [rounded_seconds(cut) for cut in cuts]}
    return {
        "path": path,
        "status": status,
        "error": error or None,
        "model": run.spec["name"],
        "task": run.spec["task"],
        "file": file,
        "snippets": size[0],
        "snippets_planned": num_planned,
        "columns": size[1],
        "stride_seconds": stride_seconds,
        "start_seconds": None if span is None else rounded_seconds(span[0]),
        "end_seconds": None if span is None else rounded_seconds(span[1]),
        "gaps": gap_rows(gaps),
        "notes": [note.text for note in notes],
        **run_row(run, size_bytes),
        **known,
    }
