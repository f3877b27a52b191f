"""Segments as players and editors show them: one line of text each, on a clock that starts with the video."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tadacli.formats.rows import DetectionRow
from tadacli.results.json_ready import SegmentRow, rounded_seconds

if TYPE_CHECKING:
    from tadacli.formats.labelled import LabelledSegment, LabelledVideo

_LINE_BREAKERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NO_TEXT = re.compile("[\ud800-\udfff\ufffe\uffff]")  # no encoding and no XML holds these


def player_segments(row: DetectionRow) -> list[SegmentRow]:
    """The segments of a row on the clock of a player, which shows the first frame at 0.

    Args:
        row: One video; its presentation times may begin anywhere.

    Returns:
        Its segments, in its order, with times in seconds from the first frame.
    """
    first = row["start_seconds"] or 0.0
    return [
        {
            **segment,
            "start_seconds": max(0.0, rounded_seconds(segment["start_seconds"] - first)),
            "end_seconds": max(0.0, rounded_seconds(segment["end_seconds"] - first)),
        }
        for segment in row["segments"]
    ]


def cues(video: LabelledVideo) -> list[tuple[int, int, LabelledSegment]]:
    """The segments of a video as subtitles show them.

    Args:
        video: One video.

    Returns:
        (start, end, segment), ordered by time, in whole milliseconds of the player's clock. A cue lasts at least one
        millisecond, as players and editors drop or refuse those that last none.
    """
    timed = [
        (round(segment.start_seconds * 1000), round(segment.end_seconds * 1000), segment) for segment in video.segments
    ]
    return sorted(((start, max(end, start + 1), segment) for start, end, segment in timed), key=lambda cue: cue[:2])


def caption(segment: LabelledSegment) -> str:
    """The label of a segment on one line, and its score if it has one.

    Args:
        segment: The segment.

    Returns:
        Such as "pan left (0.75)".
    """
    score = "" if segment.score is None else f" ({segment.score:.2f})"
    return f"{one_line(segment.label)}{score}"


def audacity(video: LabelledVideo) -> bytes:
    """A label track of Audacity.

    Args:
        video: One video.

    Returns:
        A line for each segment in order of time: start, end and text divided by tabs, times in seconds.
    """
    segments = sorted(video.segments, key=lambda each: (each.start_seconds, each.end_seconds))
    return "".join(f"{each.start_seconds:.6f}\t{each.end_seconds:.6f}\t{caption(each)}\n" for each in segments).encode()


def one_line(text: str) -> str:
    """A text that stays on its line.

    Args:
        text: Any text.

    Returns:
        The text with a blank for each tab, line break or control character, and a mark for what is no text.
    """
    return _NO_TEXT.sub("\ufffd", _LINE_BREAKERS.sub(" ", text))
