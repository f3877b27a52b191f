"""One self-contained HTML page about an evaluation: metrics, confusions, classes, and the items they come from."""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from tadacli.evaluation.detection_metrics import DetectionMetrics
from tadacli.evaluation.majority import MajorityClass
from tadacli.evaluation.metrics import Calibration
from tadacli.evaluation.multi_label import LabelPrecision
from tadacli.evaluation.report import (
    EvalReport,
    HeadResult,
    ItemResult,
    Metric,
    NamedPrecision,
    TaskParts,
    flat_metrics,
)
from tadacli.reports.eval_items import listed_items
from tadacli.reports.eval_json import ErrorsRow, errors_row
from tadacli.reports.eval_lanes import LanesData, lanes, shown_videos
from tadacli.reports.pages import facts, filled_page
from tadacli.reports.thumbnails import worst_thumbnails
from tadacli.reports.video_links import PlayedVideo, VideoLink, played_videos

# The page sorts and filters what is in it; four digits are what it shows.
_PART_DIGITS = 4
# One script, in this order.
_SCRIPTS = (
    "page.js",
    "clip_player.js",
    "eval_matrix.js",
    "eval_items.js",
    "eval_parts.js",
    "eval_lanes.js",
    "eval_page.js",
)
_NOT_LOOKED_FOR = PlayedVideo(VideoLink(), reason="this page was made without videos")

# A name, the number of its true segments, the mean of its precisions, and these by threshold.
PartData = tuple[str, int, float | None, list[float | None]]
# The edges of a bin, its items, their mean confidence and accuracy.
BinData = tuple[float, float, int, float | None, float | None]
# Of a listed item: id, video by number (-1: it has no file), true and predicted class by index, their scores, and the
# times of its span.
ListedData = tuple[str, int, int, int, float | None, float | None, float | None, float | None]
Facts = list[tuple[str, str]]


class MetricData(TypedDict):
    """A metric, as a card of the page shows it; `about` says in words what it is of, where its name does not."""

    task: str
    name: str
    value: float | None
    isPercent: bool
    low: float | None
    high: float | None
    about: NotRequired[str]


class TaskData(TypedDict):
    """A task of detection: its precisions by threshold, and its parts."""

    name: str
    tiou: list[float | None]
    mAP: list[float | None]
    average: float | None
    facts: Facts
    classes: list[PartData]
    videos: list[PartData]
    errors: list[ErrorsRow]
    lanes: LanesData | None


class CalibrationData(TypedDict):
    """The calibration of a head."""

    error: float | None
    bins: list[BinData]


class VideoData(TypedDict):
    """A video: at a `url`, in the page as its media number `inside`, or not to be played for a `reason`."""

    path: str
    url: str
    inside: int | None
    codec: str
    reason: str


class ItemData(TypedDict):
    """One of the worst items; its classes by index, its video by number, -1 if it has none."""

    id: str
    path: str
    video: int
    label: int
    predicted: int
    labelScore: float | None
    predictedScore: float | None
    rank: int
    start: float | None
    end: float | None


class HeadData(TypedDict):
    """A head of a recognition model; `rows` list, for each true class, (column, count) of the cells with items.

    `items` are those that cells list, wrong cells first.
    """

    name: str
    labels: list[str]
    rows: list[list[int]]
    worst: list[ItemData]
    items: list[ListedData]
    calibration: CalibrationData | None


class PageData(TypedDict):
    """All that the page shows; an item that is not scored names its reason by number, as reasons repeat.

    `classes` are those of a multi-label model, with average precisions as fractions.
    """

    title: str
    unit: str
    num_scored: int
    num_items: int
    metrics: list[MetricData]
    tasks: list[TaskData]
    classes: list[PartData]
    heads: list[HeadData]
    thumbnails: dict[str, str]
    videos: list[VideoData]
    reasons: list[tuple[str, int]]
    unscored: list[tuple[str, str, int]]
    notes: list[str]
    facts: Facts


def eval_page(report: EvalReport, page_path: str | os.PathLike[str]) -> bytes:
    """The page of a report, with pictures and videos of its items.

    Args:
        report: The report.
        page_path: The file that the page is for, to which links are relative.

    Returns:
        The page in UTF-8, see `encode_eval_page`. Small videos are inside, those of the worst items first.
    """
    videos = played_videos(filter(None, _paths_by_weight(report)), page_path)
    return encode_eval_page(report, worst_thumbnails(report), videos)


def encode_eval_page(
    report: EvalReport,
    thumbnails: Mapping[str, bytes] | None = None,
    videos: Mapping[str, PlayedVideo] | None = None,
) -> bytes:
    """The page of a report. It asks for nothing from outside but the files of videos that are too large to be inside.

    A content security policy holds it to that.

    Args:
        report: The report.
        thumbnails: JPEG files by item id, of the worst items; an item without one is shown without.
        videos: Where the page finds videos, by path; an item without one says so.

    Returns:
        The page in UTF-8; the same arguments give the same bytes.
    """
    videos = videos or {}
    inside = [video.link for video in videos.values() if video.link.content]
    title = f"{report.dataset}, {report.split}" if report.split else report.dataset
    return filled_page(
        "eval_page.html",
        title=title,
        styles=["page.css", "eval_page.css"],
        scripts=_SCRIPTS,
        data=_page_data(report, title, thumbnails or {}, videos),
        policy="media-src 'self' file: blob:",
        parts={"media": "".join(map(_media, inside))},
    )


def _paths_by_weight(report: EvalReport) -> Iterator[str]:
    """The files of what the page of a report shows, those of the worst items first; they repeat."""
    for head in report.heads.values():
        yield from (item.path for item in head.worst)
    for head in report.heads.values():
        yield from (item.path for item in listed_items(head))
    yield from shown_videos(report)


def _media(link: VideoLink) -> str:
    content = base64.b64encode(link.content).decode()
    return f'<script type="text/plain" class="media" data-type="{html.escape(link.media_type)}">{content}</script>\n'


class _Videos:
    """The videos that are shown, numbered as they are asked for."""

    def __init__(self, videos: Mapping[str, PlayedVideo]) -> None:
        self._videos = videos
        with_content = (path for path, video in videos.items() if video.link.content)
        self._inside = {path: number for number, path in enumerate(with_content)}
        self._numbers: dict[str, int] = {}

    def number(self, path: str) -> int:
        """The number of a video; -1 for an item without a file."""
        return self._numbers.setdefault(path, len(self._numbers)) if path else -1

    def data(self) -> list[VideoData]:
        """Those that have a number, in their order."""
        return [self._of(path, self._videos.get(path, _NOT_LOOKED_FOR)) for path in self._numbers]

    def _of(self, path: str, video: PlayedVideo) -> VideoData:
        return {
            "path": path,
            "url": video.link.url,
            "inside": self._inside.get(path),
            "codec": video.codec,
            "reason": video.reason,
        }


def _page_data(
    report: EvalReport, title: str, thumbnails: Mapping[str, bytes], videos: Mapping[str, PlayedVideo]
) -> PageData:
    reasons = list(report.reasons.items())
    place = {reason: number for number, (reason, _) in enumerate(reasons)}
    shown = {item.id for head in report.heads.values() for item in head.worst}
    numbered = _Videos(videos)
    heads = [_head(name, head, numbered) for name, head in report.heads.items()]
    tasks = [_task(name, value, report, numbered) for name, value in report.tasks.items()]
    return {
        "title": title,
        "unit": report.unit,
        "num_scored": report.num_scored,
        "num_items": report.num_items,
        "metrics": [
            *(_metric(metric) for metric in flat_metrics(report) if not metric.task),
            *(_majority(name, each) for name, each in report.majority.items()),
        ],
        "tasks": tasks,
        "classes": [_label(each) for each in report.classes],
        "heads": heads,
        "thumbnails": {
            item: base64.b64encode(thumbnails[item]).decode() for item in sorted(thumbnails) if item in shown
        },
        "videos": numbered.data(),
        "reasons": reasons,
        "unscored": [(item.id, item.path, place[item.reason]) for item in report.unscored],
        "notes": [note.text for note in report.notes],
        "facts": [*facts({"Data set": report.dataset, "Split": report.split}), *facts(report.run or {})],
    }


def _metric(metric: Metric) -> MetricData:
    low, high = metric.interval or (None, None)
    return {
        "task": metric.task,
        "name": metric.name,
        "value": _number(metric.value),
        "isPercent": metric.measure == "percent",
        "low": _number(low),
        "high": _number(high),
    }


def _majority(name: str, found: MajorityClass) -> MetricData:
    """What always answering the most frequent class reaches, as a metric."""
    return {
        "task": name,
        "name": "majority_class",
        "value": _number(found.percent),
        "isPercent": True,
        "low": None,
        "high": None,
        "about": found.text,
    }


def _task(name: str, measured: DetectionMetrics, report: EvalReport, videos: _Videos) -> TaskData:
    parts = report.parts.get(name, TaskParts((), ()))
    counts = {
        "classes": len(measured.classes),
        "detections": measured.num_detections,
        "scored": measured.num_scored,
    }
    return {
        "name": name,
        "tiou": [_number(value) for value in measured.tiou],
        "mAP": [_number(value) for value in measured.mean_average_precision],
        "average": _number(measured.average),
        "facts": facts(counts),
        "classes": _parts(parts.classes),
        "videos": _parts(parts.videos),
        "errors": [errors_row(each) for each in parts.errors],
        "lanes": lanes(report, parts, videos.number),
    }


def _parts(listed: Sequence[NamedPrecision]) -> list[PartData]:
    return [
        (
            each.name,
            each.num_truth,
            _number(each.average, _PART_DIGITS),
            [_number(value, _PART_DIGITS) for value in each.fractions],
        )
        for each in listed
    ]


def _label(label: LabelPrecision) -> PartData:
    fraction = None if label.percent is None else label.percent / 100
    return label.label, label.num_items, _number(fraction, _PART_DIGITS), []


def _head(name: str, head: HeadResult, videos: _Videos) -> HeadData:
    rows: list[list[int]] = [[] for _ in head.labels]
    # Most cells of a large matrix are empty: each row lists (column, count) of the others.
    for true, predicted in np.argwhere(head.confusion).tolist():
        rows[true] += (predicted, int(head.confusion[true, predicted]))
    return {
        "name": name,
        "labels": list(head.labels),
        "rows": rows,
        "worst": [_item(item, videos) for item in head.worst],
        "items": [_listed(item, videos) for item in listed_items(head)],
        "calibration": None if head.calibration is None else _calibration(head.calibration),
    }


def _calibration(calibration: Calibration) -> CalibrationData:
    return {
        "error": _number(calibration.error),
        "bins": [
            (each.low, each.high, each.num_items, _number(each.mean_confidence), _number(each.accuracy))
            for each in calibration.bins
        ],
    }


def _listed(item: ItemResult, videos: _Videos) -> ListedData:
    scores = _number(item.label_score, _PART_DIGITS), _number(item.predicted_score, _PART_DIGITS)
    span = _number(item.start_seconds), _number(item.end_seconds)
    return item.id, videos.number(item.path), item.label, item.predicted, *scores, *span


def _item(item: ItemResult, videos: _Videos) -> ItemData:
    return {
        "id": item.id,
        "path": item.path,
        "video": videos.number(item.path),
        "label": item.label,
        "predicted": item.predicted,
        "labelScore": _number(item.label_score),
        "predictedScore": _number(item.predicted_score),
        "rank": item.rank,
        "start": _number(item.start_seconds),
        "end": _number(item.end_seconds),
    }


def _number(value: float | None, digits: int = 6) -> float | None:
    """The number as JSON can say it: with the digits that a page shows, and null for one that is not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)
