"""VIA, the VGG annotator, version 3: temporal segments of the files of a project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath

PROGRAM = "VIA"
_Key = str | int


@dataclass(frozen=True)
class _File:
    fname: str
    fid: _Key = ""


@dataclass(frozen=True)
class _Attribute:
    aname: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _View:
    fid_list: tuple[_Key, ...] = ()


@dataclass(frozen=True)
class _Metadata:
    vid: _Key
    z: tuple[float, ...] = ()
    av: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Project:
    file: Mapping[str, _File]
    metadata: Mapping[str, _Metadata]
    attribute: Mapping[str, _Attribute] = field(default_factory=dict)
    view: Mapping[str, _View] = field(default_factory=dict)


def is_via(content: Any) -> bool:
    """Whether a JSON value is a project of VIA 3."""
    return isinstance(content, dict) and all(isinstance(content.get(key), dict) for key in ("file", "metadata"))


def read_via(content: Any, file: AnyPath) -> Marks:
    """The temporal segments of a project; each attribute is a layer.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each value of each segment with a start and an end, in seconds.

    Raises:
        UsageError: The value is no project of VIA.
    """
    project = decoded(_Project, content, file, PROGRAM)
    marks = tuple(mark for name, entry in project.metadata.items() for mark in _marks(project, name, entry))
    others = sum(len(entry.z) != 2 for entry in project.metadata.values())
    remarks = [f"{others} of {len(project.metadata)} entries are no segments in time"] if others else []
    return Marks(marks, tuple(remarks))


def _marks(project: _Project, name: str, entry: _Metadata) -> Iterator[Mark]:
    if len(entry.z) != 2:
        return
    view = project.view.get(str(entry.vid))
    shown = [str(fid) for fid in view.fid_list] if view is not None else [str(entry.vid)]
    found = [project.file[fid].fname for fid in shown if fid in project.file]
    reason = "" if len(found) == 1 else f"its view shows {len(found)} files"
    for key, value in entry.av.items() or {"": ""}.items():
        attribute = project.attribute.get(key, _Attribute())
        for label in _labels(value, attribute.options):
            yield Mark(
                place=f"metadata {name}",
                video=found[0] if found else "",
                label=label,
                start=entry.z[0],
                end=entry.z[1],
                layer=attribute.aname or key,
                reason=reason,
            )


def _labels(value: str, options: Mapping[str, str]) -> list[str]:
    """What a value stands for: the text of an option, those of several, or the value itself."""
    if value in options:
        return [options[value].strip()]
    parts = [part for part in value.split(",") if part]
    return (
        [options[part].strip() for part in parts]
        if parts and all(part in options for part in parts)
        else [value.strip()]
    )
