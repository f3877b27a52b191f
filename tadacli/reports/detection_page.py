"""One self-contained HTML page about what was detected in one video: player, timeline, curves, table.

The page is `detection_page.html` with its style, its script (in two files) and the data put in. It asks for nothing
from outside but, where the video is too large to be inside, the file next to it; a content security policy with the
hashes of its own style and script holds it to that.
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
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from tadacli.reports.pages import filled_page

MAX_INLINE_BYTES = 24_000_000
MAX_CURVE_POINTS = 1500

_PLAYED_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
_PLAYED_CODECS = ("", "h264", "vp8", "vp9", "av1")


@dataclass(frozen=True, eq=False)
class Curve:
    """The score of one class over time: `values` (N,) hold in the cells of `edges_seconds` (N + 1,), ascending.

    Values are in 0..1, NaN where nothing was scored. A class may have several, one for each window length.
    `thresholds` are the scores at which a segment of the class begins and ends.
    """

    label: str
    index: int
    edges_seconds: NDArray[np.float64]
    values: NDArray[np.float64]
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class VideoLink:
    """Where the page finds its video: inside itself (`content`), at a relative `url`, or nowhere (neither)."""

    name: str = ""
    url: str = ""
    content: bytes = b""
    media_type: str = ""


def video_link(path: str | os.PathLike[str], page_path: str | os.PathLike[str], *, codec: str = "") -> VideoLink:
    """How a page at `page_path` shows the video: inside if browsers play it and it is small, else by its file.

    `codec` is FFmpeg's name of the video's codec, if known. A folder or archive of frames, or a path that is
    no file, gives an empty link. Raises `OSError` if the file cannot be read.
    """
    file = Path(path)
    if not file.is_file() or file.suffix.lower() in (".tar", ".zip"):
        return VideoLink()
    name = os.fsencode(file.name).decode("utf-8", "replace")
    media_type = _PLAYED_TYPES.get(file.suffix.lower(), "")
    if media_type and codec in _PLAYED_CODECS and file.stat().st_size <= MAX_INLINE_BYTES:
        return VideoLink(name=name, content=file.read_bytes(), media_type=media_type)
    try:
        # Browsers resolve ".." in the address itself, so symbolic links are left as they are.
        relative = os.path.relpath(os.path.abspath(file), os.path.dirname(os.path.abspath(page_path)))
    except ValueError:  # another drive
        return VideoLink(name=name, url=file.absolute().as_uri())
    return VideoLink(name=name, url=quote(os.fsencode(relative.replace(os.sep, "/"))))


def report_html(
    row: Mapping[str, Any],
    *,
    curves: Sequence[Curve] = (),
    thumbnails: Mapping[int, bytes] | None = None,
    video: VideoLink | None = None,
) -> bytes:
    """The page of one detection row (see `detection_row`), UTF-8; the same arguments give the same bytes.

    `curves` are drawn behind the segments of their class, their thresholds as lines across them; a class without
    segments is shown if it has a curve. `thumbnails` are JPEG files by segment number.
    """
    video = video or VideoLink()
    title = _name(row)
    return filled_page(
        "detection_page.html",
        title=title,
        styles=["page.css", "detection_page.css"],
        scripts=["page.js", "player.js", "detection_page.js"],
        data=_page_data(row, title, curves, thumbnails or {}, video),
        policy="media-src 'self' file: blob:",
        parts={"media_type": html.escape(video.media_type), "media": base64.b64encode(video.content).decode()},
    )


def _page_data(
    row: Mapping[str, Any],
    title: str,
    curves: Sequence[Curve],
    thumbnails: Mapping[int, bytes],
    video: VideoLink,
) -> dict[str, Any]:
    start = row.get("start_seconds") or 0.0
    names = {(each["index"], each["label"]) for each in row["segments"]}
    classes = sorted(names | {(curve.index, curve.label) for curve in curves})
    place = {name: number for number, name in enumerate(classes)}
    thresholds = {(curve.index, curve.label): [round(each, 3) for each in curve.thresholds] for curve in curves}
    edges: dict[tuple[float, ...], int] = {}
    drawn = [_thinned(curve) for curve in curves]
    return {
        "title": title,
        "status": row["status"],
        "error": row.get("error") or "",
        "model": row["model"],
        "start": start,
        "end": start + (row.get("duration_seconds") or 0.0),
        "windows": row.get("windows") or 0,
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
            }
            for each in row["segments"]
        ],
        "thumbnails": {str(number): base64.b64encode(thumbnails[number]).decode() for number in sorted(thumbnails)},
        "gaps": [
            {"start": gap["start_seconds"], "end": gap["end_seconds"], "reason": gap["reason"]} for gap in row["gaps"]
        ],
        "notes": list(row.get("notes") or ()),
        "facts": _facts(row),
        "video": {
            "name": video.name,
            "url": video.url,
            "codec": (row.get("info") or {}).get("codec", ""),
        },
    }


def _thinned(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(edges, values) with at most `MAX_CURVE_POINTS` cells, each as high as the highest it stands for."""
    num_cells = len(curve.values)
    group = -(-num_cells // MAX_CURVE_POINTS)
    if group <= 1:
        return curve.edges_seconds, curve.values
    starts = np.arange(0, num_cells, group)
    edges = curve.edges_seconds[np.append(starts, num_cells)]
    return edges, np.fmax.reduceat(curve.values, starts)  # fmax passes NaN over


def _name(row: Mapping[str, Any]) -> str:
    path = str(row["path"])
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def _facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the page lists as made with, in words; settings in their own order."""
    info = row.get("info") or {}
    size = f"{info['width']} x {info['height']}" if {"width", "height"} <= info.keys() else ""
    windows, planned = row.get("windows"), row.get("windows_planned")
    facts = {
        "Video": row["path"],
        "Picture": ", ".join(filter(None, (size, info.get("codec", "")))),
        "Frames per second": row.get("fps"),
        "First frame at": f"{row['start_seconds']} s" if row.get("start_seconds") else None,
        "Model": row["model"],
        "Task": row.get("task"),
        "Windows scored": None if windows is None else f"{windows} of {windows if planned is None else planned}",
        "Version": row.get("tool_version"),
        "Run": row.get("run"),
    }
    facts |= {f"Setting: {key}": value for key, value in (row.get("settings") or {}).items()}
    return [
        (key, value if isinstance(value, str) else json.dumps(value))
        for key, value in facts.items()
        if value is not None and value != ""
    ]
