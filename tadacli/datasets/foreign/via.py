"""VIA, the VGG annotator, version 3: temporal segments of the files of a project, and of its CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded, score_of
from tadacli.datasets.tables import AnyPath, bad_line, named, plain_rows
from tadacli.errors import UsageError
from tadacli.strict_tables import parse_json

PROGRAM = "VIA"
_Key = str | int
# How our own files call the attribute that holds the score, see `formats.via`.
_SCORE = "score"
_CSV_HEADER, _CSV_ATTRIBUTES = "# CSV_HEADER", ("# ATTRIBUTE =", "# ATTRIBUTES =")
_MOST_COMMENTS = 1 << 20
_CSV_COLUMNS = ("metadata_id", "file_list", "temporal_coordinates", "metadata")


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


def is_via_table(text: str) -> bool:
    """Whether a text is a CSV of VIA, which says its columns in a comment."""
    return text.startswith("#") and any(line.startswith(_CSV_HEADER) for line in text[:_MOST_COMMENTS].split("\n"))


def read_via_table(text: str, file: AnyPath) -> Marks:
    """The temporal segments of a CSV.

    Args:
        text: Its text.
        file: Its name, for errors.

    Returns:
        A mark for each value of each segment with a start and an end, in seconds.

    Raises:
        UsageError: A row is not as VIA writes it.
    """
    comments = [line.strip() for line in text.split("\n") if line.startswith("#")]
    told = next((line.partition("=")[2] for line in comments if line.startswith(_CSV_ATTRIBUTES)), "{}")
    header = next(line.partition("=")[2] for line in comments if line.startswith(_CSV_HEADER))
    names = [name.strip() for name in header.strip().strip(",").split(",")]
    missing = [name for name in _CSV_COLUMNS if name not in names]
    if missing:
        raise UsageError(f"{file}: the header of VIA lacks {named(missing)}", hint="export it again from VIA 3")
    attributes = {key: {"aname": value} if isinstance(value, str) else value for key, value in _object(told, file, 1)}
    metadata: dict[str, Any] = {}
    files: dict[str, dict[str, str]] = {}
    views: dict[str, Any] = {}
    for number, fields in plain_rows(text, file):
        if fields[0].startswith("#"):
            continue
        row = dict(zip(names, fields, strict=False))
        if len(row) < len(names):
            raise bad_line(file, number, f"{len(row)} fields, where VIA has {len(names)}")
        listed, times = (_value(row[name], file, number) for name in ("file_list", "temporal_coordinates"))
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise bad_line(file, number, "file_list is no list of files")
        fids = []
        for name in listed:
            fids.append(files.setdefault(name, {"fname": name, "fid": str(len(files) + 1)})["fid"])
        views[str(number)] = {"fid_list": fids}
        values = dict(_object(row["metadata"], file, number))
        metadata[f"{row['metadata_id']}, line {number}"] = {"vid": str(number), "z": times, "av": values}
    content = {
        "file": {each["fid"]: each for each in files.values()},
        "metadata": metadata,
        "attribute": attributes,
        "view": views,
    }
    return read_via(content, file)


def _value(text: str, file: AnyPath, line: int) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise bad_line(file, line, f"{text[:40]!r} is not JSON") from error


def _object(text: str, file: AnyPath, line: int) -> list[tuple[str, Any]]:
    value = _value(text, file, line)
    if not isinstance(value, dict):
        raise bad_line(file, line, f"{text[:40]!r} is not an object")
    return list(value.items())


def _marks(project: _Project, name: str, entry: _Metadata) -> Iterator[Mark]:
    if len(entry.z) != 2:
        return
    view = project.view.get(str(entry.vid))
    shown = [str(fid) for fid in view.fid_list] if view is not None else [str(entry.vid)]
    found = [project.file[fid].fname for fid in shown if fid in project.file]
    reason = "" if len(found) == 1 else f"its view shows {len(found)} files"
    named_by = {key: project.attribute.get(key, _Attribute()).aname or key for key in entry.av}
    scores = [entry.av[key] for key, aname in named_by.items() if aname == _SCORE]
    values = {key: value for key, value in entry.av.items() if named_by[key] != _SCORE}
    for key, value in values.items() or {"": ""}.items():
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
                score=score_of(scores[0]) if scores else None,
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
