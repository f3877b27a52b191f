"""The segments of one video as annotations of ELAN (.eaf, EAF schema 3.0)."""

from __future__ import annotations

import itertools
import os
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tadacli.formats.captions import caption, cues, one_line
from tadacli.formats.rows import DetectionRow
from tadacli.formats.video_names import file_name

# The format wants a date; ours is always the same, as equal results are equal files.
_DATE = "1970-01-01T00:00:00+00:00"
_SCHEMA = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
_LINGUISTIC_TYPE = "segments"
_MIME_TYPES = {
    ".avi": "video/x-msvideo",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}

Annotation = tuple[int, int, str]


def eaf(row: DetectionRow) -> bytes:
    """The annotation document: a tier for each label, whose annotations say the label and the score.

    Annotations of a tier may not overlap, so those that would go to further tiers, `label (2)` and so on. The
    video is named as a file beside the document.

    Args:
        row: One video.

    Returns:
        The document, times in whole milliseconds from the first frame.
    """
    root = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": f"tada {row['tool_version']}",
            "DATE": _DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            _SCHEMA: "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    tiers = _tiers(row)
    _add_header(root, row["path"], sum(map(len, tiers.values())))
    _add_tiers(root, tiers)
    SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": _LINGUISTIC_TYPE, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"},
    )
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def _add_header(root: Element, path: str, num_annotations: int) -> None:
    name = one_line(file_name(path))
    suffix = os.path.splitext(name)[1].lower()
    header = SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        {"MEDIA_URL": name, "RELATIVE_MEDIA_URL": f"./{name}", "MIME_TYPE": _MIME_TYPES.get(suffix, "unknown")},
    )
    last = SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"})
    last.text = str(num_annotations)


def _add_tiers(root: Element, tiers: dict[str, list[Annotation]]) -> None:
    """The annotations with time slots of their own, which the format wants in order of time."""
    order = SubElement(root, "TIME_ORDER")
    numbers = itertools.count(1)
    slots: list[tuple[int, int, Element, str]] = []
    for name, lane in tiers.items():
        tier = SubElement(root, "TIER", {"TIER_ID": name, "LINGUISTIC_TYPE_REF": _LINGUISTIC_TYPE})
        for start, end, text in lane:
            number = next(numbers)
            aligned = SubElement(
                SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{number}"}
            )
            SubElement(aligned, "ANNOTATION_VALUE").text = text
            slots.append((start, 2 * number, aligned, "TIME_SLOT_REF1"))
            slots.append((end, 2 * number + 1, aligned, "TIME_SLOT_REF2"))
    slots.sort(key=lambda slot: slot[:2])
    for number, (time, _, aligned, reference) in enumerate(slots, start=1):
        SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{number}", "TIME_VALUE": str(time)})
        aligned.set(reference, f"ts{number}")


def _tiers(row: DetectionRow) -> dict[str, list[Annotation]]:
    """The annotations of each tier, in order of time; the tiers in the order of the classes."""
    lanes: dict[tuple[int, str], list[list[Annotation]]] = {}
    for start, end, segment in cues(row):
        of_label = lanes.setdefault((segment["index"], segment["label"]), [])
        free = next((lane for lane in of_label if lane[-1][1] <= start), None)
        if free is None:
            of_label.append(free := [])
        free.append((start, end, caption(segment)))
    labels = {one_line(label) for _, label in lanes}
    tiers: dict[str, list[Annotation]] = {}
    for (_, label), of_label in sorted(lanes.items()):
        name, number = one_line(label), 1
        for lane in of_label:
            while name in tiers or (number > 1 and name in labels):
                number += 1
                name = f"{one_line(label)} ({number})"
            tiers[name] = lane
    return tiers
