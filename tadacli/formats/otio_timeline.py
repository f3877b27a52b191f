"""The segments of one video as a timeline of OpenTimelineIO, and through it as XML of Final Cut Pro 7.

These need the extra `editors`. What is ours of an item's metadata stands under `tada`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tadacli.formats.captions import one_line
from tadacli.formats.editing import Cut, EditedVideo, edited
from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.video_names import file_name, media_url, video_id

if TYPE_CHECKING:
    from opentimelineio.opentime import TimeRange
    from opentimelineio.schema import Clip, ExternalReference, Marker, Timeline

OURS = "tada"
_FCP = "fcp_xml"  # where the adapter looks for what OpenTimelineIO has no place for
_TRACK = "found"
# Their names in OpenTimelineIO; black and white are left out, as they are hard to see.
_COLOURS = "RED GREEN BLUE YELLOW CYAN MAGENTA ORANGE PURPLE PINK".split()


def otio(video: LabelledVideo) -> bytes:
    """The timeline of one video: its segments as clips, one after the other, each with its label as a marker.

    Args:
        video: The video; its rate is one that SMPTE timecode is defined for.

    Returns:
        The document (JSON). Clips and their media count from the timecode that the file begins with.

    Raises:
        UsageError: The rate is not known, or none of SMPTE's, or no frame has the start timecode at it.
    """
    cutting = edited(video)
    timeline = _cuts(cutting, media_url(video.path), first_marked=cutting.first_frame)
    document: str = timeline.to_json_string(indent=1)
    return document.encode() + b"\n"


def fcp7_xml(video: LabelledVideo) -> bytes:
    """The same timeline as XML of Final Cut Pro 7 (xmeml), which Premiere and DaVinci Resolve import.

    Args:
        video: As for `otio`.

    Returns:
        The document: a sequence of clips, each with its label as a marker.

    Raises:
        UsageError: As `otio`.
    """
    cutting = edited(video)
    # This XML counts markers from where the media begins.
    return _as_fcp7(_cuts(cutting, _fcp_url(video.path), first_marked=0), cutting)


def premiere_markers(video: LabelledVideo) -> bytes:
    """XML of Final Cut Pro 7 with the whole video on a sequence, and a marker on it for each segment.

    Args:
        video: As for `otio`.

    Returns:
        The document; the sequence begins at the timecode that the file begins with.

    Raises:
        UsageError: As `otio`.
    """
    from opentimelineio.opentime import RationalTime

    cutting = edited(video)
    timeline = _timeline(cutting, RationalTime(cutting.first_frame, float(cutting.rate.fps)))
    if cutting.cuts:
        whole = _clip(cutting, _media(cutting, _fcp_url(video.path)), 0, cutting.num_frames)
        whole.name = one_line(file_name(video.path))
        timeline.tracks[0].append(whole)
    timeline.tracks.markers.extend(_marker(cutting, cut, first=0) for cut in cutting.cuts)
    return _as_fcp7(timeline, cutting)


def _cuts(cutting: EditedVideo, url: str, *, first_marked: int) -> Timeline:
    """A clip for each segment; markers count from frame `first_marked` on."""
    from opentimelineio.opentime import RationalTime

    timeline = _timeline(cutting, RationalTime(0, float(cutting.rate.fps)))
    for cut in cutting.cuts:
        clip = _clip(cutting, _media(cutting, url), cut.start, cut.num_frames)
        clip.name = one_line(cut.segment.label)
        clip.metadata[OURS] = _facts(cut)
        clip.markers.append(_marker(cutting, cut, first=first_marked))
        timeline.tracks[0].append(clip)
    return timeline


def _timeline(cutting: EditedVideo, start: object) -> Timeline:
    from opentimelineio.schema import Timeline, Track, TrackKind

    timeline = Timeline(one_line(video_id(cutting.video.path)), global_start_time=start)
    timeline.metadata[OURS] = {"video": one_line(cutting.video.path), "made_with": one_line(cutting.video.made_with)}
    timeline.metadata[_FCP] = {"timecode": _display(cutting), "media": {"video": {"format": _picture(cutting)}}}
    timeline.tracks.append(Track(_TRACK, kind=TrackKind.Video))
    return timeline


def _media(cutting: EditedVideo, url: str) -> ExternalReference:
    from opentimelineio.schema import ExternalReference

    media = ExternalReference(url, _range(cutting, cutting.first_frame, cutting.num_frames))
    media.name = one_line(file_name(cutting.video.path))
    media.metadata[_FCP] = {"timecode": _display(cutting), "media": {"video": _picture(cutting)}}
    return media


def _clip(cutting: EditedVideo, media: ExternalReference, start: int, num_frames: int) -> Clip:
    from opentimelineio.schema import Clip

    return Clip("", media, _range(cutting, cutting.first_frame + start, num_frames))


def _marker(cutting: EditedVideo, cut: Cut, *, first: int) -> Marker:
    from opentimelineio.schema import Marker, MarkerColor

    colour = getattr(MarkerColor, _COLOURS[cut.segment.index % len(_COLOURS)])
    comment = "" if cut.segment.score is None else f"score {cut.segment.score:.2f}"
    marker = Marker(one_line(cut.segment.label), _range(cutting, first + cut.start, cut.num_frames), colour)
    marker.comment = comment
    marker.metadata[OURS] = _facts(cut)
    marker.metadata[_FCP] = {"comment": comment}
    return marker


def _range(cutting: EditedVideo, start: int, num_frames: int) -> TimeRange:
    from opentimelineio.opentime import RationalTime, TimeRange

    rate = float(cutting.rate.fps)
    return TimeRange(RationalTime(start, rate), RationalTime(num_frames, rate))


def _facts(cut: Cut) -> dict[str, object]:
    """What is known of a segment; times in seconds from the first frame, not rounded to frames."""
    segment = cut.segment
    facts = {
        "label": segment.label.encode("utf-8", "replace").decode(),
        "start_seconds": segment.start_seconds,
        "end_seconds": segment.end_seconds,
        "score": segment.score,
        "origin": segment.origin,
        "subject": one_line(segment.subject) or None,
    }
    return {key: value for key, value in facts.items() if value is not None}


# --- XML of Final Cut Pro 7 -------------------------------------------------------------------------


def _fcp_url(path: str) -> str:
    """The address of a video as Final Cut Pro writes it, with the name of a host."""
    return media_url(path).replace("file:///", "file://localhost/", 1)


def _display(cutting: EditedVideo) -> dict[str, str]:
    return {"displayformat": "DF" if cutting.rate.num_dropped else "NDF"}


def _picture(cutting: EditedVideo) -> dict[str, object]:
    """Size and rate of the pictures, as far as they are known."""
    video, rate = cutting.video, cutting.rate
    size = {"width": str(video.width), "height": str(video.height)} if video.width and video.height else {}
    ntsc = "FALSE" if rate.fps.denominator == 1 else "TRUE"
    return {"samplecharacteristics": {"rate": {"timebase": str(rate.base), "ntsc": ntsc}, **size}}


def _as_fcp7(timeline: Timeline, cutting: EditedVideo) -> bytes:
    from opentimelineio.adapters import write_to_string

    root = ElementTree.fromstring(write_to_string(timeline, "fcp_xml"))
    for item in root.iter("clipitem"):
        _mend(item, cutting.num_frames)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="UTF-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE xmeml>\n' + document + b"\n"


def _mend(item: Element, num_frames: int) -> None:
    """Takes away the second rate that the adapter gives a clip; its duration is that of its media, not of the cut."""
    for more in item.findall("rate")[1:]:
        item.remove(more)
    duration = item.find("duration")
    if duration is not None:
        duration.text = str(num_frames)
