"""Which family of files a content is of: the table of all families, and their marks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tadacli.datasets import AnnotationFormat
from tadacli.datasets.foreign import (
    boris,
    charades,
    class_lists,
    createml,
    cvat,
    ego4d,
    elan_table,
    labelstudio,
    numbered,
    plain_lists,
    results,
    via,
)
from tadacli.datasets.foreign.marks import Marks
from tadacli.datasets.tables import has_columns, parse_json, read_bytes, read_text
from tadacli.datasets.xml_files import parse_xml
from tadacli.errors import UsageError
from tadacli.video.inputs import is_video_name

_MARKS_OF_TEXT = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
_PICKLE = b"\x80"
_EAF_ROOT = "ANNOTATION_DOCUMENT"
Notation = Literal["JSON", "XML", "text", "pickle"]


class Content:
    """A file, and its content in its notation."""

    def __init__(self, file: Path) -> None:
        """Raises `UsageError` if the file cannot be read, or begins with nothing that annotations begin with."""
        self.file = file
        self.bytes = b"" if is_video_name(file.name) else read_bytes(file)
        begin = self.bytes[:1000].lstrip(_MARKS_OF_TEXT)[:1]
        if not begin:
            raise UsageError(
                f"{file} is not known to hold labelled segments", hint="give a table, annotations of ELAN, or a .json"
            )
        notations: dict[bytes, Notation] = {b"<": "XML", b"{": "JSON", b"[": "JSON"}
        self.notation = "pickle" if self.bytes.startswith(_PICKLE) else notations.get(begin, "text")
        self.value: Any = None
        if self.notation == "JSON":
            self.value = parse_json(read_text(file), file)
        elif self.notation == "XML":
            self.value = parse_xml(self.bytes, file)
        elif self.notation == "text":
            self.value = read_text(file)


@dataclass(frozen=True)
class Family:
    """A family of files: its name, None for those without labels in time, whether a file is one of it, and its marks.

    Both are asked only about files of its notation. Without `read` the file is read by a module of its own: documents
    of ELAN, labels of ActivityNet, and tables.
    """

    name: AnnotationFormat | None
    notation: Notation
    is_of: Callable[[Content], bool]
    read: Callable[[Content], Marks] | None = None


def _valued(
    name: AnnotationFormat,
    notation: Notation,
    is_of: Callable[[Any], bool],
    read: Callable[[Any, Path], Marks] | None = None,
) -> Family:
    """A family that is known and read by the value alone."""
    reading = None if read is None else lambda it: read(it.value, it.file)
    return Family(name, notation, lambda it: is_of(it.value), reading)


def _table(name: AnnotationFormat, is_of: Callable[[Path], bool], read: Callable[[Path], Marks]) -> Family:
    return Family(name, "text", lambda it: is_of(it.file), lambda it: read(it.file))


def _without_times(notation: Notation, keys: Collection[str], what: str, hint: str) -> Family:
    """A family of files that are known, and hold no labels in time."""

    def is_of(it: Content) -> bool:
        there = it.value if notation == "JSON" else (it.value.tag, *(each.tag for each in it.value))
        return not isinstance(there, list) and set(keys) <= set(there)

    def read(it: Content) -> Marks:
        raise UsageError(f"{it.file} is {what}", hint=hint)

    return Family(None, notation, is_of, read)


_NO_TIMES = "label spans of time, and export those"
# The first that knows a content reads it.
_FAMILIES: Sequence[Family] = (
    _valued("eaf", "XML", lambda root: root.tag == _EAF_ROOT),
    _valued("cvat", "XML", lambda root: root.tag == cvat.ROOT_TAG, cvat.read_cvat),
    _valued("labelstudio", "JSON", labelstudio.is_labelstudio, labelstudio.read_labelstudio),
    _valued("boris", "JSON", boris.is_boris_project, boris.read_boris_project),
    _valued("via", "JSON", via.is_via, via.read_via),
    _valued("ego4d", "JSON", ego4d.is_ego4d, ego4d.read_ego4d),
    _valued("charades", "JSON", charades.is_charades, charades.read_charades),
    _valued("captions", "JSON", results.is_captions, results.read_captions),
    _valued("createml", "JSON", createml.is_createml, createml.read_createml),
    _valued("activitynet", "JSON", lambda value: isinstance(value, dict) and "database" in value),
    _valued("activitynet", "JSON", results.is_predictions, results.read_predictions),
    _table("boris", boris.is_boris_table, boris.read_boris_table),
    _valued("via", "text", via.is_via_table, via.read_via_table),
    _table("charades", lambda file: has_columns(file, ("id", "actions")), plain_lists.read_charades_table),
    _valued("elan-txt", "text", elan_table.is_elan_table, elan_table.read_elan_table),
    *(
        Family(
            "thumos",
            notation,
            lambda it: numbered.is_numbered(it.bytes),
            lambda it: numbered.read_numbered_segments(it.bytes, it.file),
        )
        for notation in get_args(Notation)
        if notation in ("text", "pickle")
    ),
    Family(
        "multithumos",
        "text",
        lambda it: class_lists.is_class_list(it.value),
        lambda it: class_lists.read_class_lists([it.file]),
    ),
    _valued("ava", "text", plain_lists.is_ava, plain_lists.read_ava),
    _valued("tsm", "text", plain_lists.is_folder_list, plain_lists.read_folder_list),
    _without_times(
        "JSON", ["_via_img_metadata"], "a project of VIA 2, which labels regions of images", "label in VIA 3"
    ),
    _without_times("JSON", ["images", "annotations", "categories"], "a file of COCO, which labels images", _NO_TIMES),
    _without_times("JSON", ["shapes", "imagePath"], "a file of LabelMe, which labels images", _NO_TIMES),
    _without_times("XML", ["annotation", "filename"], "a file of Pascal VOC, which labels images", _NO_TIMES),
    _valued("boris", "text", boris.is_earlier_table, boris.read_earlier_table),
    Family("csv", "text", lambda it: has_columns(it.file, ("label",), any_case=("label",))),
)


def family_of(content: Content, name: AnnotationFormat | None = None) -> Family | None:
    """The family that a content is of.

    Args:
        content: The file.
        name: The family that it is said to be of; None: the content says it.

    Returns:
        The family; None if it is of none that is known. Of several of the name that is said, the one that the content
        says, else the first, which then tells what is wrong with it.

    Raises:
        UsageError: No family of the name has the notation of the content.
    """
    own = [family for family in _FAMILIES if family.notation == content.notation and name in (None, family.name)]
    known = next((family for family in own if family.is_of(content)), None)
    if known is not None or name is None:
        return known
    if not own:
        others: list[str] = sorted({family.notation for family in _FAMILIES if family.name == name})
        raise UsageError(
            f"{content.file} is {content.notation}, and files of {name} are {' or '.join(others)}",
            hint="leave out --from-format, or name another one",
        )
    return own[0]
