"""Labelled segments of long videos as samples: tables, and the files of annotation programs and data sets.

What a file is, its content says, not its name. Times count from the first frame of a video, as players and annotation
programs show them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tadacli.datasets import AnnotationFormat
from tadacli.datasets.activitynet import load_activitynet
from tadacli.datasets.elan import eaf_files, read_elan
from tadacli.datasets.foreign.class_lists import class_lists, read_class_lists
from tadacli.datasets.foreign.families import Content, family_of
from tadacli.datasets.foreign.reading import placed
from tadacli.datasets.loading import usual_spelling
from tadacli.datasets.multi_label import MultiLabelSamples
from tadacli.datasets.samples import Dataset, Sample, UnusedKind
from tadacli.datasets.segment_table import read_segment_table
from tadacli.datasets.spans import Annotations, LabelledSpan, refuse_contradictions
from tadacli.datasets.tables import AnyPath, SampleRows, bad_line
from tadacli.datasets.video_search import FOLDERS, VideoSearch, without_suffix
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind

NAME = "segments"


def read_annotations(
    file: AnyPath,
    *,
    data_root: AnyPath | None = None,
    tiers: Sequence[str] | None = None,
    fps: float | None = None,
    kind: AnnotationFormat | None = None,
) -> Annotations:
    """The annotations of a file, which says by itself what it is, or of the .eaf files or class lists of a folder.

    Args:
        file: A table (see `read_segment_table`), annotations of ELAN, or a file of ActivityNet or of one of the
            programs and data sets of `datasets.foreign`.
        data_root: Where videos are looked for, also in its folder `videos` and in one named after the split; by
            default the folder of the annotations. Names may lack their suffix.
        tiers: The tiers (attributes, controls) that hold the labels, where the annotations have several.
        fps: The rate that frames are counted at where a program counts them; by default that of each video.
        kind: How the file is written; None: its content says it.

    Returns:
        The annotations, splits in their usual spelling.

    Raises:
        UsageError: The file is none of these, lacks what it needs, or names a video that could be several.
    """
    path = Path(file)
    if path.is_dir():
        if kind not in (None, "eaf", "multithumos"):
            raise UsageError(
                f"{path} is a folder, and {kind} is a file",
                hint="a folder holds documents of ELAN, or a list for each class of MultiTHUMOS",
            )
        return _folder(path, data_root, tiers, kind)
    content = Content(path)
    family = family_of(content, kind)
    if family is not None and family.read is not None:
        return placed(family.read(content), path, data_root=data_root, layers=tiers, fps=fps)
    if content.notation == "XML":
        return read_elan(path, data_root=data_root, tiers=tiers)
    _refuse_tiers(path, tiers)
    if content.notation == "JSON":
        return _activitynet(content.value, path, data_root)
    if content.notation == "pickle":
        raise UsageError(f"{path} is a pickle, and no predictions of ActionFormer", hint="give its annotations")
    table = read_segment_table(path, data_root=data_root)
    spans = [replace(span, split=usual_spelling(span.split)) for span in table.spans]
    return replace(table, spans=tuple(spans))


def _folder(
    path: Path, data_root: AnyPath | None, tiers: Sequence[str] | None, kind: AnnotationFormat | None
) -> Annotations:
    """The documents of ELAN in a folder, or else the lists of classes."""
    lists = class_lists(path, all_texts=kind is not None) if kind != "eaf" else []
    if kind == "eaf" or (kind is None and (eaf_files(path) or not lists)):
        return read_elan(path, data_root=data_root, tiers=tiers)
    if not lists:
        raise UsageError(f"the folder {path} holds no .txt", hint="give a folder with a list for each class")
    _refuse_tiers(path, tiers)
    return placed(read_class_lists(lists), path, data_root=path if data_root is None else data_root)


def is_annotations(path: Path) -> bool:
    """Whether a file is of a known family, or a folder has such. Raises `UsageError` if it cannot be read."""
    if path.is_dir():
        return bool(eaf_files(path) or class_lists(path))
    return family_of(Content(path)) is not None


def _refuse_tiers(path: Path, tiers: Sequence[str] | None) -> None:
    if tiers is not None:
        raise UsageError(f"{path} has no tiers", hint="name a tier only for annotations that have several")


def segment_datasets(
    annotations: Annotations, *, labels: Sequence[str] | None = None, multi_label: bool = False
) -> dict[str, Dataset]:
    """The annotations by split, in their order; a row that repeats an earlier one of its split is not used.

    Args:
        annotations: What was read.
        labels: The classes and their order; None: the labels that occur in any split, in alphabetical order.
        multi_label: Whether a span may have several labels, and samples carry all that hold during them.

    Returns:
        Samples by split, "" where none is named.

    Raises:
        UsageError: A label is none of `labels`, a span has two labels that may have one, or only some annotations name
            a split.
    """
    names = annotations.labels if labels is None else tuple(labels)
    index_of = {name: index for index, name in enumerate(names)}
    names_splits = bool(annotations.splits)
    for span in annotations.spans:
        if not span.split and names_splits:
            raise bad_line(annotations.shown, span.place, "no split is named here, but elsewhere")
        if not span.reason and span.label not in index_of:
            raise bad_line(
                annotations.shown, span.place, f"label {span.label!r} is not one of the {len(names)} classes"
            )
    usable = [span for span in annotations.spans if not span.reason]
    if not multi_label:
        refuse_contradictions(usable, annotations.shown)
    several = MultiLabelSamples(usable, index_of) if multi_label else None
    splits: dict[str, SampleRows] = {}
    for span in annotations.spans:
        taken = splits.setdefault(span.split, SampleRows())
        if span.reason:
            taken.refuse(span.place, span.id, UnusedKind.UNUSABLE, span.reason)
        elif several is not None:
            several.take(span, _sample(span, index_of[span.label]), taken)
        else:
            taken.add(span.place, _sample(span, index_of[span.label]))
    made = {split: taken.dataset(NAME, {"": names}, annotations.remarks) for split, taken in sorted(splits.items())}
    return {split: replace(dataset, multi_label=multi_label) for split, dataset in made.items()}


def _sample(span: LabelledSpan, index: int) -> Sample:
    return Sample(
        id=span.id,
        path=span.path,
        labels={"": index},
        start_seconds=span.start_seconds,
        end_seconds=span.end_seconds,
        video_id=span.video_id or without_suffix(span.video),
        participant=span.participant,
        place=span.place,
        missing=span.missing,
        fps=span.fps,
    )


# --- ActivityNet ----------------------------------------------------------------------------------------


def _activitynet(content: Any, file: Path, data_root: AnyPath | None) -> Annotations:
    database = content.get("database") if isinstance(content, dict) else None
    entries = [entry for entry in database.values() if isinstance(entry, dict)] if isinstance(database, dict) else []
    given = [entry.get("subset") for entry in entries]
    subsets = list(dict.fromkeys(subset for subset in given if isinstance(subset, str)))
    names_none = all(subset == "" for subset in given)  # as we write labels that name no split
    if not names_none and not all(isinstance(subset, str) and subset for subset in given):
        raise UsageError(f"{file} has a video without a subset", hint="name one for each: training or validation")
    root = file.parent if data_root is None else data_root
    search = VideoSearch(root)
    spans = []
    # Without a video, or a database, the reader says what is wrong.
    for subset in subsets or ["training"]:
        truth = load_activitynet(file, data_root=root, subset=subset)
        folders = tuple(dict.fromkeys((*FOLDERS, subset)))
        paths = {
            video.video_id: video.path or search.find(video.video_id, folders, also=[f"v_{video.video_id}"])
            for video in truth.videos
        }
        for row, video in enumerate(truth.video_ids.tolist()):
            start, end, path = float(truth.starts[row]), float(truth.ends[row]), paths[video]
            spans.append(
                LabelledSpan(
                    place=f"video {video}",
                    video=video,
                    label=truth.heads[""][int(truth.classes[""][row])],
                    start_seconds=start,
                    end_seconds=end,
                    path=path,
                    missing="" if path is not None else search.missing(video, folders, also=[f"v_{video}"]),
                    split=usual_spelling(subset),
                    reason="" if 0 <= start < end else "its span is empty, reversed, or begins before the video",
                )
            )
    return Annotations(
        os.fspath(file), tuple(spans), tuple(Note(NoteKind.READING, remark) for remark in search.remarks)
    )
