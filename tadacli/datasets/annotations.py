"""Labelled segments of long videos as samples: a CSV, ActivityNet-style JSON, or annotations of ELAN (.eaf).

Times count from the first frame of a video, as players and annotation programs show them.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tadacli.datasets.activitynet import load_activitynet
from tadacli.datasets.loading import usual_spelling
from tadacli.datasets.samples import Dataset, Sample, UnusedKind, span_id
from tadacli.datasets.tables import (
    AnyPath,
    SampleRows,
    TableRow,
    bad_line,
    parse_json,
    read_bytes,
    read_table,
    read_text,
)
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind
from tadacli.video.inputs import VIDEO_SUFFIXES, is_video_name

NAME = "segments"

_PARTICIPANT = ("participant", "participant_id")
_CSV = "a CSV with the columns path (or video) and label, and if wanted start, end and split"
# The CSV of `tada detect` has presentation times, and a row without a label for a video without a segment.
_DETECT_CSV_START = "video_start_seconds"
_SUFFIXES = tuple(sorted(VIDEO_SUFFIXES)) + tuple(sorted(suffix.upper() for suffix in VIDEO_SUFFIXES))
_OWN_AUTHOR = "tada "
_SCORE = re.compile(r" \([01]\.\d\d\)$")


@dataclass(frozen=True)
class LabelledSpan:
    """One annotation: a span of a video, or all of it, and its label, before labels become class indices.

    `video` is the video as the annotations name it, `video_id` the video that `video` is cut from, if another one
    is named. `place` is where the annotation stands, `reason` why it cannot be used; `columns` are all its cells, if
    it comes from a table.
    """

    place: str
    video: str
    label: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    path: Path | None = None
    split: str = ""
    video_id: str = ""
    participant: str = ""
    reason: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of its sample: the video, and the span if it is not all of it."""
        return span_id(self.video, self.start_seconds, self.end_seconds)


@dataclass(frozen=True)
class Annotations:
    """The annotations of a file (or folder) called `shown`, in its order; `remarks` say how it was read."""

    shown: str
    spans: tuple[LabelledSpan, ...]
    remarks: tuple[Note, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are named, in their usual spelling; nothing if none is."""
        return tuple(sorted({span.split for span in self.spans} - {""}))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, in alphabetical order."""
        return tuple(sorted({span.label for span in self.spans if not span.reason}))


def read_annotations(file: AnyPath, *, data_root: AnyPath | None = None, tier: str | None = None) -> Annotations:
    """The annotations of a .csv, a .json in the form of ActivityNet, an .eaf, or of the .eaf files of a folder.

    Videos are looked for in `data_root`, by default the folder of the annotations, in its folder `videos`, and in one
    named after the split; names may lack their suffix. Only .eaf files have tiers; `tier` says which one holds the
    labels, if several do. Raises `UsageError` for a file of another form, and for a name that two videos have.
    """
    path = Path(file)
    kind = "eaf" if path.is_dir() else path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if tier is not None and kind != "eaf":
        raise UsageError(f"{path} has no tiers", hint="name a tier only for .eaf files")
    if kind == "eaf":
        return _eafs(path, data_root, tier)
    if kind == "csv":
        return _csv(path, data_root)
    if kind == "json":
        return _activitynet(path, data_root)
    raise UsageError(f"{path} is not known to hold labelled segments", hint="give a .csv, .json or .eaf")


def segment_datasets(annotations: Annotations, *, labels: Sequence[str] | None = None) -> dict[str, Dataset]:
    """The annotations by split, in their order; a row that repeats an earlier one of its split is not used.

    The classes are `labels`, or else the labels that occur in any split, in alphabetical order. Raises `UsageError`
    for a label that is none of `labels`, and if only some of the annotations name a split.
    """
    names = annotations.labels if labels is None else tuple(labels)
    index_of = {name: index for index, name in enumerate(names)}
    splits: dict[str, SampleRows] = {}
    for span in annotations.spans:
        if not span.split and annotations.splits:
            raise bad_line(annotations.shown, span.place, "no split is named here, but elsewhere")
        taken = splits.setdefault(span.split, SampleRows())
        if span.reason:
            taken.refuse(span.place, span.id, UnusedKind.UNUSABLE, span.reason)
            continue
        if span.label not in index_of:
            raise bad_line(
                annotations.shown, span.place, f"label {span.label!r} is not one of the {len(names)} classes"
            )
        taken.add(span.place, _sample(span, index_of[span.label]))
    return {split: taken.dataset(NAME, {"": names}, annotations.remarks) for split, taken in sorted(splits.items())}


def without_suffix(video: str) -> str:
    """The name of a video, with its folders, but without the suffix of a video file."""
    return os.path.splitext(video)[0] if is_video_name(video) else video


def find_video(videos: VideoFiles, name: str, folders: Sequence[str]) -> Path | None:
    """The video of this name, which may lack its suffix, in the first folder that has it; None if none has.

    Raises `UsageError` if a name without a suffix could be several files.
    """
    for folder in folders:
        found = videos.find([os.path.join(folder, name)], folders=True)
        if found is not None:
            return found
        matches = [path for suffix in _SUFFIXES if (path := videos.find([os.path.join(folder, name + suffix)]))]
        if len(matches) > 1:
            raise UsageError(f"the video {name} could be {matches[0]} or {matches[1]}", hint="name it with its suffix")
        if matches:
            return matches[0]
    return None


def _sample(span: LabelledSpan, index: int) -> Sample:
    return Sample(
        id=span.id,
        path=span.path,
        labels={"": index},
        start_seconds=span.start_seconds,
        end_seconds=span.end_seconds,
        video_id=span.video_id or without_suffix(span.video),
        participant=span.participant,
    )


# --- tables ---------------------------------------------------------------------------------------------


def _csv(file: Path, data_root: AnyPath | None) -> Annotations:
    rows = read_table(file, ("label",), what=_CSV)
    if not rows:
        raise UsageError(f"{file} has no rows", hint="give a CSV with a row for each sample")
    column = next((name for name in ("path", "video") if name in rows[0].values), None)
    if column is None:
        raise UsageError(f"{file}, line 1: the header lacks the column path or video", hint=f"give {_CSV}")
    videos = VideoFiles(file.parent if data_root is None else data_root)
    found: dict[tuple[str, str], Path | None] = {}
    spans = []
    for row in rows:
        name, word = row.text(column), row.values.get("split", "").strip()
        if (name, word) not in found:
            found[name, word] = find_video(videos, name, tuple(dict.fromkeys(("", "videos", word))))
        spans.append(_row(row, name, column, found[name, word], word))
    return Annotations(os.fspath(file), tuple(spans))


def _row(row: TableRow, name: str, column: str, path: Path | None, split: str) -> LabelledSpan:
    offset = row.number(_DETECT_CSV_START) if row.values.get(_DETECT_CSV_START, "").strip() else 0.0
    label = row.values["label"].strip() if _DETECT_CSV_START in row.values else row.text("label")
    start, end = row.span(offset=offset)
    return LabelledSpan(
        place=f"line {row.line}",
        video=name,
        label=label,
        start_seconds=start,
        end_seconds=end,
        path=path,
        split=usual_spelling(split),
        video_id=row.values.get("video", "").strip() if column == "path" else "",
        participant=next((row.values[key].strip() for key in _PARTICIPANT if key in row.values), ""),
        reason="" if label else "no segment was found",
        columns=row.values,
    )


# --- ActivityNet ----------------------------------------------------------------------------------------


def _activitynet(file: Path, data_root: AnyPath | None) -> Annotations:
    content = parse_json(read_text(file), file)
    database = content.get("database") if isinstance(content, dict) else None
    entries = [entry for entry in database.values() if isinstance(entry, dict)] if isinstance(database, dict) else []
    given = dict.fromkeys(entry.get("subset") for entry in entries)
    subsets = [subset for subset in given if isinstance(subset, str) and subset]
    if len(subsets) < len(given):
        raise UsageError(f"{file} has a video without a subset", hint="name one for each: training or validation")
    spans = []
    # Without a video, or a database, the reader says what is wrong.
    for subset in subsets or ["training"]:
        truth = load_activitynet(file, data_root=file.parent if data_root is None else data_root, subset=subset)
        paths = {video.video_id: video.path for video in truth.videos}
        for row, video in enumerate(truth.video_ids.tolist()):
            start, end = float(truth.starts[row]), float(truth.ends[row])
            spans.append(
                LabelledSpan(
                    place=f"video {video}",
                    video=video,
                    label=truth.heads[""][int(truth.classes[""][row])],
                    start_seconds=start,
                    end_seconds=end,
                    path=paths[video],
                    split=usual_spelling(subset),
                    reason="" if 0 <= start < end else "its span is empty, reversed, or begins before the video",
                )
            )
    return Annotations(os.fspath(file), tuple(spans))


# --- ELAN -----------------------------------------------------------------------------------------------


class _DoctypeError(Exception):
    """A document declares a document type."""


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds the tree of a document that declares nothing: entities come from declarations alone."""

    def doctype(self, *_: object) -> None:
        raise _DoctypeError


def _eafs(path: Path, data_root: AnyPath | None, tier: str | None) -> Annotations:
    files = [path] if not path.is_dir() else eaf_files(path)
    if not files:
        raise UsageError(f"the folder {path} holds no .eaf", hint="give a folder with annotations of ELAN")
    roots = [(file, _parse(file)) for file in files]
    num_aligned = Counter[str]()
    for file, root in roots:
        if not _is_own(root):
            for each in root.iterfind("TIER"):
                num_aligned[_attribute(each, "TIER_ID", file)] += len(each.findall("ANNOTATION/ALIGNABLE_ANNOTATION"))
    named = {name: number for name, number in num_aligned.items() if number}
    if tier is None and len(named) > 1:
        listed = ", ".join(f"{name!r} ({number})" for name, number in sorted(named.items()))
        raise UsageError(
            f"{path} has several tiers with annotations in time: {listed}", hint="say which one: --tier NAME"
        )
    spans: list[LabelledSpan] = []
    remarks: list[str] = []
    there = False
    for file, root in roots:
        name, found, offset = _media(root, file, data_root)
        tiers = [each for each in root.iterfind("TIER") if tier is None or each.get("TIER_ID") == tier]
        there = there or bool(tiers)
        spans += _spans(root, file, tiers, LabelledSpan("", name, "", path=found), offset)
        remarks += [f"{file.name}: its media start at {offset} ms, which is added to all times"] if offset else []
        remarks += [f"{file.name} has no tier {tier!r}"] if tier is not None and not tiers else []
    if not there:
        hint = f"its tiers are {', '.join(map(repr, sorted(named)))}" if named else "annotate it on one tier"
        raise UsageError(f"{path} has no tier{'' if tier is None else f' {tier!r}'}", hint=hint)
    return Annotations(os.fspath(path), tuple(spans), tuple(Note(NoteKind.READING, remark) for remark in remarks))


def eaf_files(folder: Path) -> list[Path]:
    """The .eaf files in a folder, by name. Raises `UsageError` if it cannot be listed."""
    try:
        return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".eaf" and file.name[0] != ".")
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error


def _parse(file: Path) -> Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(read_bytes(file))
        root: Element = parser.close()
    except _DoctypeError as error:
        raise UsageError(
            f"{file} declares a document type, which no .eaf does", hint="save it again with ELAN"
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UsageError(f"{file} is not XML: {error}", hint="it may be unfinished") from error
    header = root.find("HEADER")
    if root.tag != "ANNOTATION_DOCUMENT" or header is None:
        raise UsageError(f"{file} is no annotation document of ELAN", hint="give an .eaf")
    units = header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise UsageError(f"{file} counts time in {units}", hint="save it with times in milliseconds")
    return root


def _is_own(root: Element) -> bool:
    """Whether `tada detect` wrote it: a tier for each label, and the score after the label."""
    return root.get("AUTHOR", "").startswith(_OWN_AUTHOR)


def _spans(
    root: Element, file: Path, tiers: Sequence[Element], video: LabelledSpan, offset: int
) -> Iterator[LabelledSpan]:
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
    for tier in tiers:
        for annotation in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
            place = f"{file.name}, annotation {_attribute(annotation, 'ANNOTATION_ID', file)}"
            slots = [times.get(annotation.get(f"TIME_SLOT_REF{number}")) for number in (1, 2)]
            start, end = (None if slot is None else _milliseconds(slot, file, place) + offset for slot in slots)
            label = " ".join((annotation.findtext("ANNOTATION_VALUE") or "").split())
            reason = "" if label else "its text is empty"
            if start is None or end is None:
                reason = "it has no time of its own"
            elif not 0 <= start < end:
                reason = "its span is empty, reversed, or begins before the video"
            yield LabelledSpan(
                place=place,
                video=video.video,
                label=_SCORE.sub("", label) if _is_own(root) else label,
                start_seconds=None if start is None else start / 1000,
                end_seconds=None if end is None else end / 1000,
                path=video.path,
                participant=tier.get("PARTICIPANT", ""),
                reason=reason,
            )


def _media(root: Element, file: Path, data_root: AnyPath | None) -> tuple[str, Path | None, int]:
    """(name, file, milliseconds at which its annotations start) of the first video that the header names.

    Programs write where it was on the computer of whoever annotated it, so its name is what counts.
    """
    described = [_urls(each) for each in root.iterfind("HEADER/MEDIA_DESCRIPTOR")]
    origins = [each.get("TIME_ORIGIN", "0") for each in root.iterfind("HEADER/MEDIA_DESCRIPTOR")]
    home = file.parent if data_root is None else Path(data_root)
    videos = VideoFiles(home)
    for urls, origin in zip(described, origins, strict=True):
        names = [PurePosixPath(url).name for url in urls]
        if not any(is_video_name(name) for name in names):
            continue
        tried = [*(urls if data_root is None else [url for url in urls if not url.startswith("/")]), *names]
        found = videos.find([joined for name in tried for joined in (name, f"videos/{name}")])
        found = found or find_video(videos, file.stem, ("", "videos"))
        return names[0] if found is None else _below(found, home), found, _milliseconds(origin, file, "TIME_ORIGIN")
    found = find_video(videos, file.stem, ("", "videos"))
    return file.stem if found is None else _below(found, home), found, 0


def _below(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else path.name


def _urls(descriptor: Element) -> list[str]:
    """The places where the media are said to be, as paths; the one beside the document first."""
    given = [descriptor.get(key, "") for key in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
    paths = [urllib.parse.unquote(url.removeprefix("file:")).replace("\\", "/") for url in given]
    return [re.sub("^/{2,}", "/", path).removeprefix("./") for path in paths if path]


def _attribute(element: Element, name: str, file: Path) -> str:
    value: Any = element.get(name)
    if value is None:
        raise UsageError(f"{file}: a {element.tag} lacks {name}", hint="save it again with ELAN")
    return str(value)


def _milliseconds(text: str, file: Path, place: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise bad_line(file, place, f"{text!r} is not a whole number of milliseconds") from error
