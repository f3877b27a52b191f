"""One self-contained HTML page about what was detected in one video: player, timeline, curves, table.

The page is `detection_page.html` with its style, its script (in several files) and the data put in. A person can
correct on it what was found, and save that as a results file; the browser keeps what is not saved yet. The page asks
for nothing from outside but, where the video is too large to be inside, the file next to it; a content security policy
with the hashes of its own style and script holds it to that.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.curves import ClassCurve, thinned
from tadacli.errors import VideoError
from tadacli.evaluation.agreement import LabelledTime
from tadacli.formats.rows import DetectionRow
from tadacli.reports.pages import embedded, facts, filled_page
from tadacli.reports.score_data import ScoreData
from tadacli.reports.thumbnails import thumbnails
from tadacli.reports.video_links import MAX_INLINE_BYTES, VideoLink, video_link
from tadacli.results import Detection, counted
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, is_url, local_path
from tadacli.video.reading import open_video

# One script, in this order.
_SCRIPTS = (
    "page.js",
    "player.js",
    "timeline.js",
    "detection_page.js",
    "pictures.js",
    "time_budget.js",
    "segment_rule.js",
    "corrections.js",
    "agreement.js",
    "agreement_tables.js",
    "thresholds.js",
    "correcting.js",
)
_PARTS = "<!-- videos -->"  # no text of others gets into a page with a `<`
# A rate that a file's clock of milliseconds rounds is still a steady one.
_STEADY_SECONDS, _MOST_TIMES = 1e-3, 200_000


@dataclass(frozen=True)
class TruthOnPage:
    """What people labelled in the video, in presentation time, by a file called `name`; None: it says nothing."""

    name: str
    spans: Sequence[LabelledTime] | None


@dataclass(frozen=True)
class FrameGrid:
    """When the frames of a video are shown, in seconds: each `step` from `start` on, or, without a step, at `times`."""

    start: float
    step: float = 0.0
    times: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The grid as JSON-ready values."""
        return {"start": self.start, "step": self.step, "times": list(self.times)}


def frame_grid(times: NDArray[np.float64]) -> FrameGrid | None:
    """The grid of a video's frames.

    Args:
        times: When each frame appears on screen, in seconds, ascending (num_frames,).

    Returns:
        A grid with a step where each frame is within a millisecond of it, else with all times, rounded to the
        microsecond; None where there are too many of these, or too few to know a step.
    """
    if len(times) < 2:
        return None
    start, step = float(times[0]), float(times[-1] - times[0]) / (len(times) - 1)
    if step <= 0:
        return None
    if np.abs(start + step * np.arange(len(times)) - times).max() <= _STEADY_SECONDS:
        return FrameGrid(start, step)
    different = np.unique(np.round(times, 6))
    return FrameGrid(start, times=tuple(different.tolist())) if len(different) <= _MOST_TIMES else None


def video_part(
    row: DetectionRow,
    *,
    curves: Sequence[ClassCurve] = (),
    thumbnails: Mapping[int, bytes] | None = None,
    video: VideoLink | None = None,
    labels: Sequence[str] = (),
    frames: FrameGrid | None = None,
    scores: ScoreData | None = None,
    truth: TruthOnPage | None = None,
) -> str:
    """What a page holds of one video: its data, and the video itself where it is put inside.

    Args:
        row: What `detection_row` says of the video.
        curves: Drawn below the segments of their class, their levels as lines across them; a class without segments is
            shown if it has a curve. A class may have several curves, one for each window length.
        thumbnails: JPEG files by segment number.
        video: Where the page finds its video.
        labels: Those of the model in index order, to choose from in corrections.
        frames: When frames are shown, to which the ends of corrected segments snap; nowhere without it.
        scores: Of which segments can be made again by other thresholds (see `score_data`).
        truth: Shown under the segments, and compared with them.

    Returns:
        The elements as HTML; the same arguments give the same text.
    """
    video = video or VideoLink()
    data = {
        **_page_data(row, _title(row), curves, thumbnails or {}, video, _classes(row, curves, truth, labels)),
        "truth": None if truth is None else {"name": truth.name, "spans": truth.spans},
        "labels": list(labels),
        "frames": None if frames is None else frames.to_dict(),
        "thresholds": None if scores is None else scores.settings,
        "row": row,
    }
    found = "could not be read" if row["status"] == "error" else counted(len(row["segments"]), "segments")
    named = f'data-title="{html.escape(data["title"])}" data-found="{found}"'
    media = base64.b64encode(video.content).decode()
    kept = embedded(scores.content) if scores is not None and scores.content else ""
    return (
        f'<script type="application/json" class="video" {named}>{embedded(data)}</script>\n'
        f'<script type="text/plain" class="media" data-type="{html.escape(video.media_type)}">{media}</script>\n'
        f'<script type="application/json" class="scores">{kept}</script>\n'
    )


def page_around(num_videos: int) -> tuple[bytes, bytes]:
    """What stands before and after the parts of several videos, see `video_part`, on a page."""
    before, after = _page(counted(num_videos, "videos"), _PARTS).split(_PARTS.encode())
    return before, after


def _page(title: str, videos: str) -> bytes:
    return filled_page(
        "detection_page.html",
        title=title,
        styles=["page.css", "detection_page.css", "correcting.css"],
        scripts=_SCRIPTS,
        policy="media-src 'self' file: blob:",
        parts={"videos": videos},
    )


def _title(row: DetectionRow) -> str:
    return re.split(r"[/\\]", row["path"].rstrip("/\\"))[-1] or row["path"]


def detection_part(
    result: Detection,
    row: DetectionRow,
    curves: Sequence[ClassCurve],
    *,
    page_path: str | os.PathLike[str],
    labels: Sequence[str] = (),
    scores: ScoreData | None = None,
    truth: TruthOnPage | None = None,
    max_inline: int = MAX_INLINE_BYTES,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
) -> tuple[str, tuple[str, ...]]:
    """The part of a page about a video, with curves, thumbnails and player. For the latter two it is opened again.

    Args:
        result: What was found in the video.
        row: The same as `detection_row` says it.
        curves: What they were made of, over time.
        page_path: The file that the page is for, to which links are relative.
        labels: Those of the model in index order, to choose from in corrections.
        scores: Of which segments can be made again by other thresholds.
        truth: Shown under the segments, and compared with them.
        max_inline: A video of up to so many bytes is put inside.
        max_download: The largest file in bytes that is fetched for a URL.

    Returns:
        The part, see `video_part`, and notes on what it lacks: without the video it has neither pictures nor a player.
    """
    pictures: dict[int, bytes] = {}
    link = None
    frames = None
    notes: tuple[str, ...] = ()
    fps, codec = (result.video.fps, result.video.codec) if result.video else (None, "")
    if result.status == "error":
        return video_part(row, labels=labels), notes
    try:
        with VideoBoundary(result.path):
            fetched = local_path(result.path, max_bytes=max_download)
            with fetched as file, open_video(file, fps=fps) as source:
                pictures = thumbnails(source, result.segments, gaps=result.gaps)
                frames = frame_grid(source.times_shown)
            if not is_url(result.path):
                link = video_link(result.path, page_path, codec=codec, max_inline=max_inline)
    except VideoError as error:
        notes = (f"the report shows no pictures, as the video cannot be read: {error}",)
    part = video_part(
        row,
        curves=curves,
        thumbnails=pictures,
        video=link,
        labels=labels,
        frames=frames,
        scores=scores,
        truth=truth,
    )
    return part, notes


def page_of(part: str, row: DetectionRow) -> bytes:
    """The page of one video, of its part."""
    return _page(_title(row), part)


def _page_data(
    row: DetectionRow,
    title: str,
    curves: Sequence[ClassCurve],
    thumbnails: Mapping[int, bytes],
    video: VideoLink,
    classes: Sequence[tuple[int, str]],
) -> dict[str, Any]:
    start = row["start_seconds"] or 0.0
    place = {name: number for number, name in enumerate(classes)}
    thresholds = {(curve.index, curve.label): [round(each, 3) for each in curve.levels] for curve in curves}
    edges: dict[tuple[float, ...], int] = {}
    drawn = [thinned(curve.edges, curve.values) for curve in curves]
    return {
        "title": title,
        "status": row["status"],
        "error": row["error"] or "",
        "model": row["model"],
        "start": start,
        "end": start + (row["duration_seconds"] or 0.0),
        "windows": row["windows"],
        "unit": "snippet" if _is_by_head(row) else "window",
        "lines": _lines(row),
        "classes": [
            {"index": index, "label": label, "thresholds": thresholds.get((index, label), [])}
            for index, label in classes
        ],
        # Curves mostly share their edges.
        "curves": [
            {
                "class": place[curve.index, curve.label],
                "edges": edges.setdefault(tuple(np.round(cells, 3).tolist()), len(edges)),
                "values": [None if math.isnan(value) else round(value, 3) for value in values.tolist()],
            }
            for curve, (cells, values) in zip(curves, drawn, strict=True)
        ],
        "edges": list(edges),
        "segments": [
            {
                "start": each["start_seconds"],
                "end": each["end_seconds"],
                "class": place[each["index"], each["label"]],
                "score": each["score"],
                "peak": each.get("peak_score"),
            }
            for each in row["segments"]
        ],
        "thumbnails": {str(number): base64.b64encode(thumbnails[number]).decode() for number in sorted(thumbnails)},
        "gaps": [
            {"start": gap["start_seconds"], "end": gap["end_seconds"], "reason": gap["reason"]} for gap in row["gaps"]
        ],
        "cuts": row.get("cuts", []),
        "notes": row["notes"],
        "facts": _facts(row),
        "video": {"name": video.name, "url": video.url, "codec": row["info"]["codec"] if row["info"] else ""},
    }


def _classes(
    row: DetectionRow, curves: Sequence[ClassCurve], truth: TruthOnPage | None, labels: Sequence[str]
) -> list[tuple[int, str]]:
    """(index, label) of what has a lane; labels that only people know are numbered after all others."""
    found = {(each["index"], each["label"]) for each in row["segments"]}
    found |= {(curve.index, curve.label) for curve in curves}
    known = {label for _, label in found}
    index_of = {label: index for index, label in enumerate(labels)}
    true = {span.label for span in truth.spans} - known if truth is not None and truth.spans else set()
    found |= {(index_of[label], label) for label in true if label in index_of}
    after = max([len(labels), *(index + 1 for index, _ in found)])
    found |= {(after + number, label) for number, label in enumerate(sorted(true - index_of.keys()))}
    return sorted(found)


def _facts(row: DetectionRow) -> list[tuple[str, str]]:
    """What the page lists as made with, in words; settings in their own order."""
    info = row["info"]
    values: dict[str, object] = {
        "Video": row["path"],
        "Picture": f"{info['width']} x {info['height']}, {info['codec']}" if info else None,
        "Frames per second": row["fps"],
        "First frame at": f"{row['start_seconds']} s" if row["start_seconds"] else None,
        "Model": row["model"],
        "Task": row["task"],
        f"{'Snippets seen' if _is_by_head(row) else 'Windows scored'}": f"{row['windows']} of {row['windows_planned']}",
        "Segments": _way(row),
        "Version": row["tool_version"],
        "Run": row["run"],
        **{f"Setting: {key}": _on_one_line(value) for key, value in row["settings"].items()},
    }
    return facts(values)


def _is_by_head(row: DetectionRow) -> bool:
    """Whether a head found the segments in features of snippets, rather than windows were scored."""
    return "steps" in row["spec"]


def _lines(row: DetectionRow) -> str:
    """What the curves are, the beginning of a sentence."""
    if not _is_by_head(row):
        return "Lines show scores from 0 to 1"
    if row["spec"]["architecture"] == "temporal":
        return "Lines show the scores of steps in time, from 0 to 1, and scores of segments say how far these stand out"
    return "Lines show the best score, from 0 to 1, of any span that holds the moment"


def _way(row: DetectionRow) -> str | None:
    """How segments were found, None where nothing says it."""
    settings = row["settings"].get("segments")
    if settings is None:
        return None
    if _is_by_head(row):
        if row["spec"]["architecture"] == "temporal":
            return "what stands out in the scores of steps in time, each label by itself"
        return "spans that points of a pyramid reach for, the best of those that overlap, each label by itself"
    if settings.get("exclusive"):
        return "one label at a time: the most likely sequence of labels"
    if settings.get("contrast"):
        return "what stands out from its surroundings, each label by itself"
    return "where scores reach the threshold, each label by itself"


def _on_one_line(value: object) -> object:
    return json.dumps(value) if isinstance(value, Mapping) else value
