"""Finds out what the data are that a person gives to train on: class folders, tables, annotations, known data sets."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import cast, get_args

from tadacli.datasets import DatasetName, FinetuneDatasetName
from tadacli.datasets.annotations import is_annotations, read_annotations, segment_datasets
from tadacli.datasets.folder import load_folder, plain_name, subfolders
from tadacli.datasets.loading import DatasetSource, is_same_split, load_dataset, usual_spelling
from tadacli.datasets.multi_label import Together, labels_together
from tadacli.datasets.own_path import require_data
from tadacli.datasets.samples import Dataset
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.datasets.tables import AnyPath, named, parse_json, read_bytes, read_lines, read_text
from tadacli.datasets.video_search import VideoSearch
from tadacli.errors import UsageError
from tadacli.formats.captions import player_segments
from tadacli.formats.results import NOT_CHECKED, is_detect_results, is_guess, parse_detections
from tadacli.formats.rows import DetectionRow
from tadacli.results import Note, NoteKind, counted
from tadacli.video.inputs import is_frames_folder, is_video_name

_TABLES = ("csv", "activitynet", "segments")
# Their lists name no validation split; what is published for them is measured on the test split.
_VALIDATED_ON_TEST = ("ucf101", "hmdb51")


@dataclass(frozen=True)
class Source:
    """The data as they were found: `parts` by split, "" where none is named; `spans` by sample id, if they have any."""

    name: str
    parts: Mapping[str, Dataset]
    spans: Mapping[str, LabelledSpan] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    published: bool = False
    in_class_folders: bool = False


@dataclass(frozen=True)
class WantedSplits:
    """Which splits of the data a person wants to train and to validate with; None where nothing was said."""

    train: str | None = None
    validation: str | None = None

    @property
    def any(self) -> bool:
        """Whether anything was said."""
        return self.train is not None or self.validation is not None

    def of(self, there: Sequence[str], where: AnyPath) -> tuple[str, str | None]:
        """The splits to train and to validate with.

        Args:
            there: The splits that the data name, in their usual spelling.
            where: The data, for errors.

        Returns:
            Their names; None where a part is to be held out for validation.

        Raises:
            UsageError: A split is not there, or it is not clear which one is meant.
        """
        listed = named(there, most=20) or "none"
        if self.train is None and "train" in there:
            train = "train"
        elif self.train is not None:
            train = _one_split(self.train, there, where)
        else:
            raise UsageError(
                f"{os.fspath(where)} names the splits {listed}, and none for training",
                hint="say which one: --train-split NAME; or call it train, or name no split",
            )
        if self.validation is not None:
            validation = _one_split(self.validation, there, where)
            if validation == train:
                raise UsageError(f"the split {train!r} is to train and to validate with", hint="name two splits")
            return train, validation
        others = [split for split in there if split != train]
        if "validation" in others or self.train is None:
            return train, "validation" if "validation" in others else None
        if len(others) > 1:
            raise UsageError(
                f"{os.fspath(where)} has the splits {listed}: which is to validate with?",
                hint="say which one: --validation-split NAME",
            )
        return train, others[0] if others else None

    def remarks(self, train: str, validation: str | None) -> list[str]:
        """What to say of the splits that are taken; nothing where nothing was asked for."""
        held = "a part of it is held out" if validation is None else f"{validation!r} is the one to validate with"
        return [f"the split {train!r} is the one to train with, {held}"] if self.any else []


def _one_split(split: str, there: Sequence[str], where: AnyPath) -> str:
    found = [each for each in there if is_same_split(each, split)]
    if len(found) != 1:
        listed = named([repr(each) for each in there], most=20) or "none"
        raise UsageError(f"{os.fspath(where)} has no split {split!r} with samples", hint=f"its splits are {listed}")
    return found[0]


def own_data(
    data: Path,
    data_root: AnyPath | None,
    labels: tuple[str, ...] | None,
    tiers: Sequence[str] | None,
    splits: WantedSplits,
    multi_label: bool | None = False,
) -> Source:
    """The data of a path, which says by itself what it is: class folders, annotations, or what `tada detect` wrote.

    Args:
        data: A folder or a file.
        data_root: Where videos of annotations are looked for; None: beside them.
        labels: The classes and their order; None: those that occur, in alphabetical order.
        tiers: Of ELAN files, the tiers with the labels.
        splits: The splits to train and to validate with.
        multi_label: Whether samples may have several labels; None: as the spans say (see `datasets.multi_label`).

    Returns:
        Samples by split.

    Raises:
        UsageError: The path is not there, an option does not belong to what it is, or its classes are not in `labels`.
    """
    require_data(data, None)
    name = Path(os.path.abspath(data)).name
    if data.is_dir() and not is_annotations(data):
        if data_root is not None or tiers is not None:
            unused = "the folder of the videos" if data_root is not None else "a tier"
            raise UsageError(f"{data} is a folder of classes, and {unused} was given, too", hint="leave it out")
        return with_several(_class_folders(data, name, labels, splits), multi_label)
    suffix = data.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix == "jsonl" or (suffix == "json" and is_detect_results(read_bytes(data))):
        if tiers is not None:
            raise UsageError(f"{data} has no tiers", hint="name a tier only for .eaf files")
        found = _detected(data, data_root)
    else:
        found = read_annotations(data, data_root=data_root, tiers=tiers)
    return _annotated(found, name.partition(".")[0], labels, splits, multi_label)


def known_dataset(
    dataset: FinetuneDatasetName,
    annotations: AnyPath | None,
    data_root: AnyPath | None,
    labels: tuple[str, ...] | None,
    tiers: Sequence[str] | None,
    splits: WantedSplits,
    multi_label: bool | None = False,
) -> Source:
    """The data of a data set by name.

    Args:
        dataset: The name.
        annotations: Its annotations, as published.
        data_root: The folder with its videos.
        labels: The classes and their order; None: the official ones.
        tiers: Of ELAN files, the tiers with the labels.
        splits: The splits to train and to validate with.
        multi_label: As for `own_data`.

    Returns:
        Samples by split.

    Raises:
        UsageError: The name is not known, annotations are missing, or an option does not belong to the data set.
    """
    known = get_args(FinetuneDatasetName)
    if dataset not in known:
        raise UsageError(f"unknown dataset {dataset!r}", hint="one of: " + ", ".join(known))
    if dataset in _TABLES or dataset == "folder":
        given = annotations if annotations is not None else data_root if dataset == "folder" else None
        if given is None:
            raise UsageError(f"the dataset {dataset} needs its annotations", hint="give --annotations")
        root = None if dataset == "folder" and _same(given, data_root) else data_root
        return replace(own_data(Path(given), root, labels, tiers, splits, multi_label), name=dataset)
    if tiers is not None:
        raise UsageError(f"the dataset {dataset} has no tiers", hint="name a tier only for .eaf files")
    return with_several(_published(cast("DatasetName", dataset), annotations, data_root, labels, splits), multi_label)


def with_several(source: Source, multi_label: bool | None) -> Source:
    """Data of which each sample has one label, as those of which it may have several, if that is asked for.

    Raises:
        UsageError: It is, and the data have several heads.
    """
    if not multi_label:
        return source
    if any(set(dataset.heads) != {""} for dataset in source.parts.values()):
        raise UsageError(
            f"{source.name} has several heads, whose labels hold together already", hint="leave out --multi-label"
        )
    remark = "several labels may hold at a time, as asked for; no sample has more than one"
    parts = {split: replace(dataset, multi_label=True) for split, dataset in source.parts.items()}
    return replace(source, parts=parts, remarks=(*source.remarks, remark))


def _same(first: AnyPath, second: AnyPath | None) -> bool:
    return second is None or os.path.realpath(first) == os.path.realpath(second)


def _published(
    name: DatasetName,
    annotations: AnyPath | None,
    data_root: AnyPath | None,
    labels: tuple[str, ...] | None,
    splits: WantedSplits,
) -> Source:
    """A published data set; a single file of annotations may be that of the training split."""
    other = splits.validation or ("test" if name in _VALIDATED_ON_TEST else "validation")

    def load(split: str) -> Dataset:
        return load_dataset(DatasetSource(name, annotations, data_root, split), labels=labels)

    train = load(splits.train or "train")
    folders = _splits_in(Path(data_root)) if annotations is None and data_root is not None else {other: ""}
    if splits.validation is None and usual_spelling(other) not in folders:
        return Source(name, {"": train}, published=True)
    validation = load(other)
    if not validation.samples or validation.samples == train.samples:
        return Source(name, {"": train}, published=True)
    remarks = ["the published test split is used for validation"] if other == "test" and not splits.any else []
    return Source(
        name,
        {"train": train, "validation": validation},
        remarks=(*remarks, *splits.remarks(splits.train or "train", other)),
        published=True,
    )


def _class_folders(root: Path, name: str, labels: tuple[str, ...] | None, splits: WantedSplits) -> Source:
    there, remarks = _splits_in(root), []
    if (
        "train" not in there
        and not splits.any
        and there
        and all(usual_spelling(each) in there for each in subfolders(root))
    ):
        raise UsageError(
            f"{root} has no folder for training", hint="name it train, or say which it is: --train-split NAME"
        )
    roots = {"": root}
    if "train" in there or splits.any:
        train, validation = splits.of(list(there), root)
        roots = {"train": root / there[train]} | (
            {} if validation is None else {"validation": root / there[validation]}
        )
        rest = [each for each in subfolders(root) if root / each not in roots.values()]
        remarks += [f"folders that are not used: {named(rest)}"] if rest else []
        remarks += splits.remarks(train, validation)
    own = sorted({each for part in roots.values() for each in load_folder(part).heads[""]})
    _refuse_twins(own, root)
    if labels is not None:
        known = {plain_name(label): label for label in labels}
        _refuse_unknown([each for each in own if plain_name(each) not in known], labels, root)
    parts = {split: load_folder(part, labels=labels or own) for split, part in roots.items()}
    return Source(name, parts, remarks=tuple(remarks), in_class_folders=True)


def _splits_in(root: Path) -> dict[str, str]:
    """The folders of a root that are splits, by usual name: they hold folders, and no videos as a class does."""
    found: dict[str, str] = {}
    for name in subfolders(root):
        split = usual_spelling(name)
        if split not in ("train", "validation", "test"):
            continue
        with os.scandir(root / name) as entries:
            inside = [(entry.name, entry.is_dir(), entry.path) for entry in entries]
        videos = [path for each, is_dir, path in inside if (is_frames_folder(path) if is_dir else is_video_name(each))]
        if videos or not any(is_dir for _, is_dir, _ in inside):
            continue
        if split in found:
            raise UsageError(f"{root} has several folders for {split}: {found[split]} and {name}", hint="keep one")
        found[split] = name
    return found


def _annotated(
    annotations: Annotations,
    name: str,
    labels: tuple[str, ...] | None,
    splits: WantedSplits,
    multi_label: bool | None,
) -> Source:
    """Labelled spans, by split if they name any."""
    remarks = []
    if not annotations.labels:
        _refuse_unusable(annotations)
    if annotations.splits or splits.any:
        there = sorted({span.split for span in annotations.spans if not span.reason} - {""})
        train, validation = splits.of(there, annotations.shown)
        counts = Counter(span.split for span in annotations.spans)
        unused = [split for split in annotations.splits if split not in (train, validation)]
        remarks += [f"{counts[each]} of {len(annotations.spans)} rows are not used: split {each!r}" for each in unused]
        remarks += splits.remarks(train, validation)
        parts_of = {train: "train", validation: "validation"}
        kept = [span for span in annotations.spans if span.split not in unused]
        spans = tuple(replace(span, split=parts_of.get(span.split, "")) for span in kept)
        annotations = replace(annotations, spans=spans)
    _refuse_twins(annotations.labels, annotations.shown)
    if labels is not None:
        _refuse_unknown([each for each in annotations.labels if each not in labels], labels, annotations.shown)
    several = False
    if multi_label is not False:
        together = labels_together(annotations.spans)
        several = multi_label or together.is_multi_label
        remarks += _decision(together, asked=multi_label is not None)
    parts = segment_datasets(annotations, labels=labels, multi_label=several)
    return Source(name, parts, {span.id: span for span in annotations.spans}, tuple(remarks))


def _decision(together: Together, *, asked: bool) -> list[str]:
    """What to say of the labels that hold together; nothing where none do and nothing was asked for."""
    if asked:
        return [f"{together}; all of them are learned, as asked for"]
    if not together.num_same + together.num_overlapping:
        return []
    if together.is_multi_label:
        return [f"{together}: all of them are learned; --no-multi-label learns one label a span"]
    return [f"{together}, too few to tell from slips: one label a span is learned; --multi-label learns all of them"]


def _refuse_unusable(annotations: Annotations) -> None:
    """Raise `UsageError` for annotations without a label."""
    if not annotations.spans:
        raise UsageError(f"{annotations.shown} has no annotations", hint="give a file with labelled segments")
    reasons = Counter(span.reason for span in annotations.spans)
    first = {span.reason: span.place for span in reversed(annotations.spans)}
    listed = [f"{number}: {reason} ({first[reason]})" for reason, number in sorted(reasons.items())]
    raise UsageError(
        f"none of the {len(annotations.spans)} annotations of {annotations.shown} can be used: {named(listed)}",
        hint="give a file with labelled segments",
    )


def _detected(file: Path, data_root: AnyPath | None) -> Annotations:
    """What `tada detect` found, each segment as if a person had labelled it."""
    spans = []
    rows = parse_detections(read_bytes(file), os.fspath(file))
    videos = VideoSearch("." if data_root is None else data_root, [row["path"] for row in rows])
    for row in rows:
        also = [PurePath(row["path"]).name]
        path = videos.find(row["path"], ("",), also=also)
        missing = "" if path is not None else videos.missing(row["path"], ("",), also=also)
        for number, segment in enumerate(player_segments(row), start=1):
            start, end = segment["start_seconds"], segment["end_seconds"]
            reason = "" if start < end else "its span is empty"
            reason = NOT_CHECKED if is_guess(segment) else reason
            place = f"{row['path']}, segment {number}"
            spans.append(
                LabelledSpan(place, row["path"], segment["label"], start, end, path, reason=reason, missing=missing)
            )
    remark = _origins(rows)
    notes = tuple(Note(NoteKind.READING, text) for text in (remark, *videos.remarks))
    return Annotations(os.fspath(file), tuple(spans), notes)


def _origins(rows: Sequence[DetectionRow]) -> str:
    """Whose the labels of results are, in words."""
    segments = [each for row in rows for each in row["segments"]]
    counts = Counter(each.get("origin", "machine") for each in segments)
    if not any("removed" in row for row in rows):
        return f"{len(segments)} labels are what a model found in {len(rows)} videos, unless a person mended them"
    checked = sum(each.get("checked", False) for each in segments)
    parts = [f"{counts[name]} {name}" for name in ("corrected", "added") if counts[name]]
    removed = sum(len(row.get("removed", ())) for row in rows)
    parts += [f"{removed} removed"] if removed else []
    found = f"{counted(len(segments), 'labels')} in {counted(len(rows), 'videos')}"
    again = sum("made_again" in row for row in rows)
    people = f"{', '.join(parts) or 'none corrected'} by a person, {checked} checked"
    where = f", in {counted(again, 'videos')} by thresholds chosen on the page" if again else ""
    return f"{found}: {people}, the others as found{where}"


# --- classes ----------------------------------------------------------------------------------------------


def label_file(file: AnyPath) -> tuple[str, ...]:
    """Class names of a file, in its order."""
    text = read_text(file)
    names = parse_json(text, file) if text.lstrip().startswith("[") else [line for _, line in read_lines(file)]
    if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) != len(names):
        raise UsageError(f"{file} is no list of classes", hint="give different names, one a line or as a JSON list")
    return tuple(names)


def _refuse_unknown(unknown: Sequence[str], labels: Sequence[str], where: AnyPath) -> None:
    if unknown:
        close = difflib.get_close_matches(unknown[0], labels, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"{os.fspath(where)} has classes that are not in the list of {len(labels)} labels: "
            f"{named([repr(name) for name in unknown])}{meant}",
            hint="name them as the list does, or add them to it",
        )


def _refuse_twins(names: Iterable[str], where: AnyPath) -> None:
    """Two names that a person takes for the same."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(plain_name(name).casefold(), name)
        if other != name:
            raise UsageError(
                f"{os.fspath(where)} has the classes {other!r} and {name!r}, which differ in spelling alone",
                hint="name them alike if they are one class, and quite differently if not",
            )
