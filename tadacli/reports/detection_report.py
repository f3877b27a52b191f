"""The HTML report of one video: its segments, curves and thumbnails put together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tadacli.detection.scores import WindowScores
from tadacli.detection.segments import SegmentSettings, class_curves
from tadacli.errors import VideoError
from tadacli.reports.detection_page import Curve, report_html, video_link
from tadacli.reports.thumbnails import thumbnails
from tadacli.results import Detection
from tadacli.video.inputs import is_url, local_path
from tadacli.video.reading import open_video


def detection_report(
    result: Detection,
    row: Mapping[str, Any],
    scores: WindowScores,
    settings: SegmentSettings,
    *,
    page_path: str | os.PathLike[str],
) -> tuple[bytes, tuple[str, ...]]:
    """The page as bytes, for a file at `page_path`, and what it lacks.

    The video itself is looked at again for the thumbnails and the player; without it the page has neither.
    """
    curves = class_curves(
        scores.spans,
        scores.scale,
        scores.scores,
        scores.spec.heads,
        settings=settings,
        video_seconds=scores.range_seconds,
        segments=result.segments,
        thresholds=scores.spec.thresholds,
    )
    pictures: dict[int, bytes] = {}
    link = None
    notes: tuple[str, ...] = ()
    try:
        with local_path(result.path) as file, open_video(file) as source:
            pictures = thumbnails(source, result.segments, gaps=result.gaps)
        link = None if is_url(result.path) else video_link(result.path, page_path, codec=scores.info.codec)
    except (VideoError, OSError) as error:
        notes = (f"the report shows no pictures, as the video cannot be read: {error}",)
    page = report_html(
        row,
        curves=[Curve(each.label, each.index, each.edges, each.values, each.levels) for each in curves],
        thumbnails=pictures,
        video=link,
    )
    return page, notes
