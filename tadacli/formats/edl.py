"""The segments of one video as edit decision lists (CMX 3600): cuts of the video, or markers of DaVinci Resolve.

Timecode counts from the timecode that the video's file begins with, or from 00:00:00:00.
"""

from __future__ import annotations

from tadacli.errors import OutputError
from tadacli.formats.captions import caption, one_line
from tadacli.formats.editing import EditedVideo, edited
from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.timecode import timecode
from tadacli.formats.video_names import file_name, video_id

_MOST_EVENTS = 999
_REEL = "AX"  # a file, in the place of a tape
_MARKER_REEL = "001"  # as Resolve calls it
# What Resolve calls the colours of markers, its first one first.
_COLOURS = "Blue Cyan Green Yellow Red Pink Purple Fuchsia Rose Lavender Sky Mint Lemon Sand Cocoa Cream".split()


def edl(video: LabelledVideo) -> bytes:
    """The list of one video, an event for each segment, in order of time, one after the other on the record side.

    Args:
        video: The video; its rate is one that SMPTE timecode is defined for.

    Returns:
        The list. The name of the file, and label and score stand in comments below each event; the label is a marker
        where the event begins, too.

    Raises:
        UsageError: The rate is not known, or none of SMPTE's, or no frame has the start timecode at it.
        OutputError: There are more segments than a list can number.
    """
    cutting = _numbered(video)
    lines = _head(cutting)
    record = 0
    for number, cut in enumerate(cutting.cuts, start=1):
        source = [cutting.timecode(frame) for frame in (cut.start, cut.end)]
        target = [timecode(frame, cutting.rate) for frame in (record, record + cut.num_frames)]
        lines += [
            f"{number:03d}  {_REEL:<8} V     C        {' '.join((*source, *target))}",
            f"* FROM CLIP NAME: {one_line(file_name(video.path))}",
            f"* LOC: {target[0]} RED     {one_line(cut.segment.label)}",
            f"* COMMENT: {caption(cut.segment)}",
            "",
        ]
        record += cut.num_frames
    return "".join(f"{line}\n" for line in lines).encode()


def resolve_markers(video: LabelledVideo) -> bytes:
    """A list of markers, which DaVinci Resolve puts on the timeline that the whole video is on.

    Args:
        video: The video; its rate is one that SMPTE timecode is defined for.

    Returns:
        An event of one frame for each segment, in order of time, and below it colour, label and duration in frames;
        each label has a colour of its own, as far as there are colours. A score stands before them, as the note.

    Raises:
        UsageError: As `edl`.
        OutputError: As `edl`.
    """
    cutting = _numbered(video)
    lines = _head(cutting)
    for number, cut in enumerate(cutting.cuts, start=1):
        span = " ".join(cutting.timecode(frame) for frame in (cut.start, cut.start + 1))
        segment = cut.segment
        note = "" if segment.score is None else f"score {segment.score:.2f}"
        colour = _COLOURS[segment.index % len(_COLOURS)]
        lines += [
            f"{number:03d}  {_MARKER_REEL:<8} V     C        {span} {span}  ",
            f"{note} |C:ResolveColor{colour} |M:{without_bars(segment.label)} |D:{cut.num_frames}",
            "",
        ]
    return "".join(f"{line}\n" for line in lines).encode()


def without_bars(label: str) -> str:
    """A label as it stands in a line of fields that are divided by bars: on one line, with slashes for bars."""
    return one_line(label).replace("|", "/")


def _numbered(video: LabelledVideo) -> EditedVideo:
    if len(video.segments) > _MOST_EVENTS:
        raise OutputError(
            f"{video.path} has {len(video.segments)} segments, and an edit decision list numbers up to {_MOST_EVENTS}",
            hint="take fewer: a higher --threshold, or --label",
        )
    return edited(video)


def _head(cutting: EditedVideo) -> list[str]:
    name = one_line(video_id(cutting.video.path))
    return [f"TITLE: {name}", f"FCM: {'' if cutting.rate.num_dropped else 'NON-'}DROP FRAME", ""]
