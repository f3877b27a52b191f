"""Small pictures of segments, and of the items an evaluation got most wrong: the frame on screen at their middle."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from tadacli.encoding.thumbnail import thumbnail
from tadacli.errors import VideoError
from tadacli.evaluation.report import EvalReport, ItemResult
from tadacli.results import Gap, Segment
from tadacli.sampling.plan import frames_on_screen
from tadacli.video.boundary import VideoBoundary
from tadacli.video.reading import open_video
from tadacli.video.source import Frame, VideoSource

K = TypeVar("K", int, str)
_QUALITY = 72


def thumbnails(
    source: VideoSource,
    segments: Sequence[Segment],
    *,
    gaps: Sequence[Gap] = (),
    width: int = 240,
    max_thumbnails: int = 200,
) -> dict[int, bytes]:
    """JPEG bytes by segment number, of the `max_thumbnails` segments with the highest scores.

    Pictures are `width` pixels wide and have the shape the video is shown in. Each frame is decoded once,
    however many segments share it. A segment whose middle lies in one of `gaps`, or cannot be read for
    another reason, has no picture.
    """
    best = sorted(enumerate(segments), key=lambda numbered: -numbered[1].score)[:max_thumbnails]
    spans = {number: (segment.start_seconds, segment.end_seconds) for number, segment in best}
    return span_thumbnails(source, spans, gaps=gaps, width=width)


def span_thumbnails(
    source: VideoSource, spans: Mapping[K, tuple[float, float]], *, gaps: Sequence[Gap] = (), width: int = 240
) -> dict[K, bytes]:
    """JPEG bytes of the frame on screen at the middle of each span, start and end in seconds of presentation time.

    A span whose middle lies in one of `gaps`, or cannot be read for another reason, has no picture.
    """
    middles = {key: (start + end) / 2 for key, (start, end) in spans.items()}
    frames = {
        key: int(frames_on_screen(source.times, np.array(middle)))
        for key, middle in middles.items()
        if not any(gap.start_seconds <= middle < gap.end_seconds for gap in gaps)
    }
    pictures = {
        frame.index: thumbnail(frame.pixels, source.info, width=width, quality=_QUALITY)
        for frame in source.iter_frames(frames.values(), skip_unreadable=True)
        if isinstance(frame, Frame)
    }
    return {key: pictures[frames[key]] for key in sorted(frames) if frames[key] in pictures}


def worst_thumbnails(report: EvalReport) -> dict[str, bytes]:
    """JPEG bytes by item id, of the worst items of each head: the frame on screen at the middle of the item's span.

    Each video is opened once, however many items it has; a folder of frames once for each rate that it is given. An
    item has no picture if its video is missing or that frame cannot be read.
    """
    by_file: dict[tuple[str, float | None], dict[str, ItemResult]] = {}
    for head in report.heads.values():
        for item in head.worst:
            if item.path:
                by_file.setdefault((item.path, item.fps), {})[item.id] = item
    pictures: dict[str, bytes] = {}
    for (path, fps), items in by_file.items():
        with contextlib.suppress(VideoError), VideoBoundary(path), open_video(path, fps=fps) as source:
            first, duration = source.info.start_seconds, source.info.duration_seconds
            # Annotations count from the first frame.
            spans = {
                name: (
                    first + (item.start_seconds or 0.0),
                    first + (duration if item.end_seconds is None else item.end_seconds),
                )
                for name, item in items.items()
            }
            pictures |= span_thumbnails(source, spans)
    return pictures
