"""A small picture of each segment: the frame on screen at its middle, as JPEG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tadacli.results import Gap, Segment, VideoInfo
from tadacli.sampling.plan import frames_on_screen
from tadacli.video.source import Frame, Pixels, VideoSource

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
    by_score = sorted(range(len(segments)), key=lambda number: (-segments[number].score, number))
    middles = {number: _middle(segments[number]) for number in by_score[:max_thumbnails]}
    frames = {
        number: int(frames_on_screen(source.times, np.array(middle)))
        for number, middle in middles.items()
        if not any(gap.start_seconds <= middle < gap.end_seconds for gap in gaps)
    }
    pictures = {
        frame.index: _jpeg(frame.pixels, source.info, width)
        for frame in source.iter_frames(frames.values(), skip_unreadable=True)
        if isinstance(frame, Frame)
    }
    return {number: pictures[frames[number]] for number in sorted(frames) if frames[number] in pictures}


def _middle(segment: Segment) -> float:
    return (segment.start_seconds + segment.end_seconds) / 2


def _jpeg(pixels: Pixels, info: VideoInfo, width: int) -> bytes:
    height = max(1, round(width * info.height / (info.width * info.sample_aspect_ratio)))
    data = io.BytesIO()
    # LANCZOS antialiases: a thumbnail of a large frame must not flicker with its fine texture.
    Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS).save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()
