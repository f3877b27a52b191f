"""The segments of one video as annotations of ELAN (.eaf, EAF schema 3.0), which `datasets.elan` reads again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tadacli.formats.captions import cues, one_line
from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.video_names import file_name
from tadacli.version import __version__

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

_VOCABULARY, _SCORE_TYPE = "labels", "score"
_ASSOCIATION = "Symbolic_Association"
_LANGUAGE = "und"


@dataclass(frozen=True)
class _Annotation:
    """Milliseconds from the first frame, the label, and the score as text, empty if there is none."""

    start: int
    end: int
    label: str
    score: str


def eaf(video: LabelledVideo, *, folder: Path | None = None) -> bytes:
    """The annotation document: a tier for each label, whose annotations are the label, from a controlled vocabulary.

    Annotations of a tier may not overlap, so those that would go to further tiers, `label (2)` and so on. Scores are
    on child tiers, `label score`. The video is named by its way from the document, or as a file beside it.

    Args:
        video: One video.
        folder: Where the document will be; None where that is not known.

    Returns:
        The document, times in whole milliseconds from the first frame.
    """
    root = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": f"tada {__version__}",
            "DATE": _DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            _SCHEMA: "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    tiers = _tiers(video)
    annotations = [each for lane in tiers.values() for each in lane]
    has_scores = any(each.score for each in annotations)
    num_scores = sum(bool(each.score) for each in annotations)
    _add_header(root, video.path, folder, len(annotations) + num_scores)
    _add_tiers(root, tiers)
    _add_types(root, has_scores=has_scores)
    if has_scores:
        SubElement(
            root, "CONSTRAINT", {"STEREOTYPE": _ASSOCIATION, "DESCRIPTION": "One annotation for one of the parent"}
        )
    _add_vocabulary(root, list(dict.fromkeys(each.label for each in annotations)))
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document + b"\n"


def _add_header(root: Element, path: str, folder: Path | None, num_annotations: int) -> None:
    name = one_line(file_name(path))
    suffix = os.path.splitext(name)[1].lower()
    way = one_line(_way(path, folder)) or name
    header = SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        {
            "MEDIA_URL": way,
            "RELATIVE_MEDIA_URL": way if way.startswith("../") else f"./{way}",
            "MIME_TYPE": _MIME_TYPES.get(suffix, "unknown"),
        },
    )
    last = SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"})
    last.text = str(num_annotations)


def _way(path: str, folder: Path | None) -> str:
    """The way from a folder to a video that is there, with slashes; else nothing."""
    if folder is None or not os.path.exists(path):
        return ""
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # on another drive
        return ""


def _add_tiers(root: Element, tiers: Mapping[str, Sequence[_Annotation]]) -> None:
    """The annotations with time slots of their own, which the format wants in order of time."""
    order = SubElement(root, "TIME_ORDER")
    numbers = itertools.count(1)
    slots: list[tuple[int, int, Element, str]] = []
    taken = set(tiers)
    for name, lane in tiers.items():
        tier = SubElement(root, "TIER", {"TIER_ID": name, "LINGUISTIC_TYPE_REF": _LINGUISTIC_TYPE})
        scored: list[tuple[str, str]] = []
        for each in lane:
            number = next(numbers)
            aligned = SubElement(
                SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{number}"}
            )
            SubElement(aligned, "ANNOTATION_VALUE").text = each.label
            slots.append((each.start, 2 * number, aligned, "TIME_SLOT_REF1"))
            slots.append((each.end, 2 * number + 1, aligned, "TIME_SLOT_REF2"))
            scored += [(f"a{number}", each.score)] if each.score else []
        if scored:
            _add_scores(root, name, scored, numbers, taken)
    slots.sort(key=lambda slot: slot[:2])
    for number, (time, _, aligned, reference) in enumerate(slots, start=1):
        SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{number}", "TIME_VALUE": str(time)})
        aligned.set(reference, f"ts{number}")


def _add_scores(
    root: Element, parent: str, scored: Sequence[tuple[str, str]], numbers: Iterator[int], taken: set[str]
) -> None:
    """The child tier of a tier with the scores of its annotations."""
    names = itertools.chain([f"{parent} score"], (f"{parent} score ({number})" for number in itertools.count(2)))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    tier = SubElement(root, "TIER", {"TIER_ID": name, "PARENT_REF": parent, "LINGUISTIC_TYPE_REF": _SCORE_TYPE})
    for reference, score in scored:
        referring = SubElement(
            SubElement(tier, "ANNOTATION"),
            "REF_ANNOTATION",
            {"ANNOTATION_ID": f"a{next(numbers)}", "ANNOTATION_REF": reference},
        )
        SubElement(referring, "ANNOTATION_VALUE").text = score


def _add_types(root: Element, *, has_scores: bool) -> None:
    common = {"GRAPHIC_REFERENCES": "false"}
    SubElement(
        root,
        "LINGUISTIC_TYPE",
        {
            "LINGUISTIC_TYPE_ID": _LINGUISTIC_TYPE,
            "TIME_ALIGNABLE": "true",
            **common,
            "CONTROLLED_VOCABULARY_REF": _VOCABULARY,
        },
    )
    if has_scores:
        SubElement(
            root,
            "LINGUISTIC_TYPE",
            {"LINGUISTIC_TYPE_ID": _SCORE_TYPE, "TIME_ALIGNABLE": "false", **common, "CONSTRAINTS": _ASSOCIATION},
        )
    SubElement(root, "LANGUAGE", {"LANG_ID": _LANGUAGE, "LANG_DEF": "", "LANG_LABEL": "undetermined (und)"})


def _add_vocabulary(root: Element, labels: Sequence[str]) -> None:
    vocabulary = SubElement(root, "CONTROLLED_VOCABULARY", {"CV_ID": _VOCABULARY})
    SubElement(vocabulary, "DESCRIPTION", {"LANG_REF": _LANGUAGE})
    for number, label in enumerate(labels, start=1):
        entry = SubElement(vocabulary, "CV_ENTRY_ML", {"CVE_ID": f"cve{number}"})
        SubElement(entry, "CVE_VALUE", {"DESCRIPTION": "", "LANG_REF": _LANGUAGE}).text = label


def _tiers(video: LabelledVideo) -> dict[str, list[_Annotation]]:
    """The annotations of each tier, in order of time; the tiers in the order of the classes."""
    lanes: dict[tuple[int, str], list[list[_Annotation]]] = {}
    for start, end, segment in cues(video):
        of_label = lanes.setdefault((segment.index, segment.label), [])
        free = next((lane for lane in of_label if lane[-1].end <= start), None)
        if free is None:
            of_label.append(free := [])
        score = "" if segment.score is None else repr(segment.score)
        free.append(_Annotation(start, end, one_line(segment.label), score))
    labels = {one_line(label) for _, label in lanes}
    tiers: dict[str, list[_Annotation]] = {}
    for (_, label), of_label in sorted(lanes.items()):
        name, number = one_line(label), 1
        for lane in of_label:
            while name in tiers or (number > 1 and name in labels):
                number += 1
                name = f"{one_line(label)} ({number})"
            tiers[name] = lane
    return tiers
