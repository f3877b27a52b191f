"""The segments of one video as ELAN exports and imports them in tab-delimited text."""

from __future__ import annotations

from tadacli.formats.captions import cues, one_line
from tadacli.formats.labelled import LabelledVideo

_HEADER = ("Tier", "Begin Time - ss.msec", "End Time - ss.msec", "Duration - ss.msec", "Annotation", "Score")
_TIER = "action"


def elan_table(video: LabelledVideo) -> bytes:
    """A line for each segment, in order of time, after a header.

    Args:
        video: One video.

    Returns:
        The text; times in seconds from the first frame, to the millisecond. Labels are on one tier, the score of those
        that have one is in a column of its own.
    """
    lines = ["\t".join(_HEADER)]
    for start, end, segment in cues(video):
        times = [f"{time / 1000:.3f}" for time in (start, end, end - start)]
        score = "" if segment.score is None else repr(segment.score)
        lines.append("\t".join([_TIER, *times, one_line(segment.label), score]))
    return "".join(f"{line}\n" for line in lines).encode()
