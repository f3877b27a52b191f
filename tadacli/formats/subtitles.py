"""The segments of one video as subtitles: SubRip (SRT) and WebVTT. Segments that overlap are shown together."""

from __future__ import annotations

import html

from tadacli.formats.captions import caption, cues
from tadacli.formats.labelled import LabelledVideo


def srt(video: LabelledVideo) -> bytes:
    """A SubRip file. SubRip has no escapes: the text stands as it is.

    Args:
        video: One video.

    Returns:
        The file, empty without segments.
    """
    blocks = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{caption(segment)}\n"
        for number, (start, end, segment) in enumerate(cues(video), start=1)
    ]
    return "\n".join(blocks).encode()


def vtt(video: LabelledVideo) -> bytes:
    """A WebVTT file (https://www.w3.org/TR/webvtt1/). Its text has no tags, and no `-->`.

    Args:
        video: One video.

    Returns:
        The file, without segments only its header.
    """
    blocks = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(caption(segment), quote=False)}\n"
        for start, end, segment in cues(video)
    ]
    return "\n".join(["WEBVTT\n", *blocks]).encode()


def _clock(milliseconds: int, point: str) -> str:
    """HH:MM:SS and the milliseconds; the hours take more digits where they need them."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
