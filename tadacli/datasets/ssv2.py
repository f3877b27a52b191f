"""Something-Something V2: the official label and split files, and TAdaConv's variant with the label written in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import (
    AnyPath,
    SampleRows,
    bad_line,
    files_there,
    one_of,
    parse_json,
    read_lines,
    read_text,
)
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tadacli.specs import label_list

LABELS = "ssv2"
_LABEL_FILES = ("something-something-v2-labels.json", "labels.json")
_SPLITS = ("train", "validation", "test")
_SUFFIXES = (".webm", ".mp4")
_FOLDERS = ("", "videos", "20bn-something-something-v2")


def load_ssv2(annotations: AnyPath, *, data_root: AnyPath | None = None, split: str = "validation") -> Dataset:
    """The samples of a split ("train", "validation" or "test"), in the order of its file.

    `annotations` is the split's JSON or the folder with it, under its first or its later name, plain or "with
    label". The class is found by the template; a `label_idx` must agree with it, and so must those of a second
    file "with label" in the folder. Without the official label file beside it, the classes are those that ship
    with the package. The test split has no labels, unless its answers are there. Raises `UsageError`.
    """
    if split not in _SPLITS:
        raise UsageError(f"there is no split {split!r}", hint=f"use {', '.join(_SPLITS)}")
    file, variant = _files(Path(annotations), split)
    labels = _labels(file.parent)
    index_of = {label: index for index, label in enumerate(labels)}
    videos = VideoFiles(data_root)
    answers = _answers(file.parent, index_of) if split == "test" else {}
    taken = SampleRows()
    for place, entry in _entries(file):
        video, index = _id(entry, file, place), _index(entry, index_of, file, place)
        index = answers.get(video) if index is None else index
        found = videos.find_stem(_FOLDERS, video, _SUFFIXES)
        taken.add(place, Sample(video, found, {} if index is None else {"": index}, video_id=video))
    if variant is not None:
        _check_variant(variant, taken.samples, index_of)
    return taken.dataset("ssv2", {"": labels})


def _files(annotations: Path, split: str) -> tuple[Path, Path | None]:
    """The file to read, and another one "with label" to hold it against."""
    if not annotations.is_dir():
        return annotations, None
    plain = (f"something-something-v2-{split}.json", f"{split}.json")
    short = ("val",) if split == "validation" else ()
    marked = tuple(f"something-something-v2-{name}-with-label.json" for name in (split, *short))
    if not files_there(annotations, plain):
        return one_of(annotations, (*plain, *marked), what=f"file of the split {split}"), None
    variants = [annotations / name for name in marked if (annotations / name).is_file()]
    return one_of(annotations, plain, what=f"file of the split {split}"), variants[0] if variants else None


def _labels(folder: Path) -> tuple[str, ...]:
    """Class names in index order, from the official file if it is there."""
    if not files_there(folder, _LABEL_FILES):
        return label_list(LABELS)
    file = one_of(folder, _LABEL_FILES, what="label file")
    values = parse_json(read_text(file), file)
    hint = "give the official file: an object of templates and their numbers, written as text"
    if not isinstance(values, dict) or not all(str(number).isdigit() for number in values.values()):
        raise UsageError(f"{file} is not the label file of Something-Something V2", hint=hint)
    by_index = {int(number): label for label, number in values.items()}
    if sorted(by_index) != list(range(len(values))):
        raise UsageError(f"{file} does not number its {len(values)} classes from 0 on, each once", hint=hint)
    return tuple(by_index[index] for index in range(len(values)))


def _entries(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    entries = parse_json(read_text(file), file)
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{file} is not a list of videos", hint="give a split file of Something-Something V2")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise bad_line(file, f"entry {number}", "not an object")
    return [(f"entry {number}", entry) for number, entry in enumerate(entries)]


def _id(entry: Mapping[str, Any], file: Path, place: str) -> str:
    video = entry.get("id")
    if not isinstance(video, str) or not video or os.path.basename(video) != video:
        raise bad_line(file, place, f"id is {video!r}, not the id of a video as text")
    return video


def _index(entry: Mapping[str, Any], index_of: Mapping[str, int], file: Path, place: str) -> int | None:
    """The class of an entry, None if it has none."""
    template, given = entry.get("template"), entry.get("label_idx")
    if template is None and given is None:
        if "label" in entry:
            raise bad_line(file, place, "it has a sentence, but neither a template nor a label_idx")
        return None
    if given is not None and not (type(given) is int and 0 <= given < len(index_of)):
        raise bad_line(file, place, f"label_idx is {given!r}, not a class from 0 to {len(index_of) - 1}")
    if template is None:
        return int(given) if given is not None else None
    name = str(template).replace("[", "").replace("]", "")
    if name not in index_of:
        raise bad_line(file, place, f"the template {template!r} is not one of the {len(index_of)} classes")
    if given is not None and given != index_of[name]:
        raise bad_line(file, place, f"label_idx is {given}, but the template {name!r} is class {index_of[name]}")
    return index_of[name]


def _answers(folder: Path, index_of: Mapping[str, int]) -> dict[str, int]:
    """Class of each test video from `test-answers.csv` (lines of `id;template`), if it is there."""
    file = folder / "test-answers.csv"
    if not file.is_file():
        return {}
    answers = {}
    for number, line in read_lines(file):
        video, separator, template = line.partition(";")
        name = template.replace("[", "").replace("]", "").strip()
        if not separator or name not in index_of:
            raise bad_line(file, number, f"{line!r} is not the id of a video, a semicolon and a template")
        answers[video.strip()] = index_of[name]
    return answers


def _check_variant(variant: Path, samples: list[Sample], index_of: Mapping[str, int]) -> None:
    """Raise `UsageError` if a file "with label" gives a video another class than the official files do."""
    official = {sample.id: sample.labels.get("") for sample in samples}
    for place, entry in _entries(variant):
        video, index = _id(entry, variant, place), _index(entry, index_of, variant, place)
        if video not in official or index != official[video]:
            says = "is not in the split" if video not in official else f"is class {official[video]}"
            raise bad_line(variant, place, f"video {video} has class {index}; by the official file it {says}")
