"""The segments of one video as FCPXML 1.10, which Final Cut Pro and DaVinci Resolve import: a project of clips."""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tadacli.formats.captions import one_line
from tadacli.formats.editing import Cut, EditedVideo, edited
from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.video_names import file_name, media_url, video_id

_FORMAT, _ASSET = "r1", "r2"
_EVENT = "tada"
_KEY = "tada."  # what our own keys of metadata begin with


def fcpxml(video: LabelledVideo) -> bytes:
    """The document of one video: its segments as clips, one after the other, each with its label as a marker.

    All times are fractions of seconds, whole numbers of frames. Clips count from the timecode that the file begins
    with, and keep counting after 24 hours, where timecode begins again.

    Args:
        video: The video; its rate is one that SMPTE timecode is defined for.

    Returns:
        The document.

    Raises:
        UsageError: The rate is not known, or none of SMPTE's, or no frame has the start timecode at it.
    """
    cutting = edited(video)
    root = Element("fcpxml", {"version": "1.10"})
    _add_resources(SubElement(root, "resources"), cutting)
    event = SubElement(SubElement(root, "library"), "event", {"name": _EVENT})
    name = one_line(video_id(video.path))
    total = sum(cut.num_frames for cut in cutting.cuts)
    sequence = SubElement(
        SubElement(event, "project", {"name": name}),
        "sequence",
        {"format": _FORMAT, "duration": _time(cutting, total), "tcStart": "0s", "tcFormat": _counting(cutting)},
    )
    if video.made_with:
        SubElement(sequence, "note").text = one_line(video.made_with)
    spine, offset = SubElement(sequence, "spine"), 0
    for cut in cutting.cuts:
        _add_clip(spine, cutting, cut, offset)
        offset += cut.num_frames
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="UTF-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n' + document + b"\n"


def _add_resources(resources: Element, cutting: EditedVideo) -> None:
    video = cutting.video
    size = {"width": str(video.width), "height": str(video.height)} if video.width and video.height else {}
    SubElement(resources, "format", {"id": _FORMAT, "frameDuration": _time(cutting, 1), **size})
    asset = SubElement(
        resources,
        "asset",
        {
            "id": _ASSET,
            "name": one_line(file_name(video.path)),
            "start": _time(cutting, cutting.first_frame),
            "duration": _time(cutting, cutting.num_frames),
            "hasVideo": "1",
            "format": _FORMAT,
        },
    )
    SubElement(asset, "media-rep", {"kind": "original-media", "src": media_url(video.path)})


def _add_clip(spine: Element, cutting: EditedVideo, cut: Cut, offset: int) -> None:
    segment, label = cut.segment, one_line(cut.segment.label)
    start, duration = _time(cutting, cutting.first_frame + cut.start), _time(cutting, cut.num_frames)
    clip = SubElement(
        spine,
        "asset-clip",
        {
            "ref": _ASSET,
            "name": label,
            "offset": _time(cutting, offset),
            "start": start,
            "duration": duration,
            "tcFormat": _counting(cutting),
        },
    )
    marker = SubElement(clip, "marker", {"start": start, "duration": duration, "value": label})
    if segment.score is not None:
        marker.set("note", f"score {segment.score:.2f}")
    facts = {"label": label, "score": segment.score, "origin": segment.origin, "subject": one_line(segment.subject)}
    metadata = SubElement(clip, "metadata")
    for key, value in facts.items():
        if value not in (None, ""):
            SubElement(metadata, "md", {"key": f"{_KEY}{key}", "value": str(value)})


def _counting(cutting: EditedVideo) -> str:
    return "DF" if cutting.rate.num_dropped else "NDF"


def _time(cutting: EditedVideo, num_frames: int) -> str:
    """How long so many frames last, as a fraction of seconds."""
    seconds: Fraction = cutting.seconds(num_frames)
    return f"{seconds}s"
