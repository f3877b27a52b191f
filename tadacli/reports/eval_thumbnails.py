"""Small pictures of the items an evaluation got most wrong, for its page."""

from __future__ import annotations

from tadacli.errors import VideoError
from tadacli.evaluation.report import EvalReport, ItemResult
from tadacli.reports.thumbnails import thumbnails
from tadacli.results import Segment
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource


def worst_thumbnails(report: EvalReport) -> dict[str, bytes]:
    """JPEG bytes by item id, of the worst items of each head: the frame on screen at the middle of the item's span.

    Each video is opened once, however many items it has. An item has no picture if its video is missing or that
    frame cannot be read.
    """
    by_path: dict[str, dict[str, ItemResult]] = {}
    for head in report.heads.values():
        for item in head.worst:
            if item.path:
                by_path.setdefault(item.path, {})[item.id] = item
    pictures: dict[str, bytes] = {}
    for path, items in by_path.items():
        pictures |= _pictures(path, list(items.values()))
    return pictures


def _pictures(path: str, items: list[ItemResult]) -> dict[str, bytes]:
    try:
        with open_video(path) as source:
            found = thumbnails(source, [_segment(item, source) for item in items], max_thumbnails=len(items))
    except (VideoError, OSError):
        return {}
    return {items[number].id: picture for number, picture in found.items()}


def _segment(item: ItemResult, source: VideoSource) -> Segment:
    first = source.info.start_seconds  # annotations count from the first frame
    start = first + (item.start_seconds or 0.0)
    end = first + (source.info.duration_seconds if item.end_seconds is None else item.end_seconds)
    return Segment(start, end, "", 0, 0.0)
