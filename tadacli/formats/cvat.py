"""The segments of one video as tracks of CVAT ("CVAT for video 1.1"), each around the whole picture."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tadacli.formats.captions import one_line
from tadacli.formats.labelled import LabelledSegment, LabelledVideo, class_names
from tadacli.formats.video_names import file_name

_UNKNOWN_SIDE = 1


def cvat(video: LabelledVideo) -> bytes:
    """The annotation document: a track for each segment, in the order of the video's segments.

    A track ends with a shape that is outside, at the first frame after the segment; one that lasts until the video ends
    has none.

    Args:
        video: The video, of which the rate is known.

    Returns:
        The document; frames are counted from 0.

    Raises:
        UsageError: The rate of the video is not known.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    name = one_line(file_name(video.path))
    _fill(task, {"id": "1", "name": name, "size": video.num_frames, "mode": "interpolation", "start_frame": 0})
    _fill(task, {"stop_frame": None if not video.num_frames else video.num_frames - 1, "frame_filter": ""})
    labels = SubElement(task, "labels")
    for label in class_names([video]):
        SubElement(SubElement(labels, "label"), "name").text = one_line(label)
    size = SubElement(task, "original_size")
    _fill(size, {"width": video.width or None, "height": video.height or None})
    _fill(task, {"source": name})
    for number, segment in enumerate(video.segments):
        _add_track(root, number, segment, video)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def _fill(element: Element, texts: dict[str, object]) -> None:
    for name, text in texts.items():
        if text is not None:
            SubElement(element, name).text = str(text)


def _add_track(root: Element, number: int, segment: LabelledSegment, video: LabelledVideo) -> None:
    source = "manual" if segment.score is None else "auto"
    track = SubElement(root, "track", {"id": str(number), "label": one_line(segment.label), "source": source})
    start = video.frame(segment.start_seconds)
    end = max(video.frame(segment.end_seconds), start + 1)
    is_to_the_end = video.num_frames is not None and end >= video.num_frames
    for frame, outside in ((start, "0"), *([] if is_to_the_end else [(end, "1")])):
        sides = {"xtl": 0, "ytl": 0, "xbr": video.width or _UNKNOWN_SIDE, "ybr": video.height or _UNKNOWN_SIDE}
        SubElement(
            track,
            "box",
            {
                "frame": str(frame),
                "keyframe": "1",
                "outside": outside,
                "occluded": "0",
                **{key: f"{side:.2f}" for key, side in sides.items()},
                "z_order": "0",
            },
        )
