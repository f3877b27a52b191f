"""The segments of one video as an edit decision list (CMX 3600), which Premiere, DaVinci Resolve and Avid import.

Each segment is a cut of the video, one after the other on the record side. Timecode counts from the video's first
frame.
"""

from __future__ import annotations

from tadacli.errors import OutputError
from tadacli.formats.captions import caption, one_line
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.timecode import timecode, timecode_rate
from tadacli.formats.video_names import file_name, video_id

_MOST_EVENTS = 999
_REEL = "AX"  # a file, in the place of a tape


def edl(video: LabelledVideo) -> bytes:
    """The list of one video, an event for each segment, in order of time.

    Args:
        video: The video; its rate is one that SMPTE timecode is defined for.

    Returns:
        The list. The name of the file, and label and score stand in comments below each event; the label is a marker
        where the event begins, too.

    Raises:
        UsageError: The rate is not known, or none of SMPTE's.
        OutputError: There are more segments than a list can number.
    """
    segments = sorted(video.segments, key=lambda each: (each.start_seconds, each.end_seconds))
    if len(segments) > _MOST_EVENTS:
        raise OutputError(
            f"{video.path} has {len(segments)} segments, and an edit decision list numbers up to {_MOST_EVENTS}",
            hint="take fewer: a higher --threshold, or --labels",
        )
    if segments and not video.fps:
        video.frame(0.0)  # says what is missing
    rate = timecode_rate(video.fps or 25.0)
    lines = [f"TITLE: {one_line(video_id(video.path))}", f"FCM: {'' if rate.num_dropped else 'NON-'}DROP FRAME", ""]
    record = 0
    for number, segment in enumerate(segments, start=1):
        start, end = _frames(segment, video)
        times = [timecode(frame, rate) for frame in (start, end, record, record + end - start)]
        lines += [
            f"{number:03d}  {_REEL:<8} V     C        {' '.join(times)}",
            f"* FROM CLIP NAME: {one_line(file_name(video.path))}",
            f"* LOC: {times[2]} RED     {one_line(segment.label)}",
            f"* COMMENT: {caption(segment)}",
            "",
        ]
        record += end - start
    return "".join(f"{line}\n" for line in lines).encode()


def _frames(segment: LabelledSegment, video: LabelledVideo) -> tuple[int, int]:
    """The first frame of a segment and the first one after it; a cut has at least one."""
    start = video.frame(segment.start_seconds)
    return start, max(video.frame(segment.end_seconds), start + 1)
