"""Any of the known data sets by its name, with one spelling for its splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import cast, get_args

from tadacli.datasets import DatasetName
from tadacli.datasets.epic import Split as EpicSplit
from tadacli.datasets.epic import load_epic
from tadacli.datasets.folder import load_folder, plain_name
from tadacli.datasets.kinetics import load_kinetics
from tadacli.datasets.multi_label import MultiLabelSamples
from tadacli.datasets.samples import Dataset, Sample, UnusedKind
from tadacli.datasets.segment_table import read_segment_table
from tadacli.datasets.spans import refuse_contradictions
from tadacli.datasets.ssv2 import load_ssv2
from tadacli.datasets.tables import AnyPath, SampleRows, named
from tadacli.datasets.ucf_hmdb import NUM_FOLDS, load_hmdb51, load_ucf101
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind
from tadacli.strict_tables import refusing

_SPELLINGS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "validate"),
    "test": ("test", "testing"),
}
_USUAL_SPLITS = {"k400": "validation", "ssv2": "validation", "ek100": "validation", "ucf101": "test", "hmdb51": "test"}
_ANNOTATIONS = {
    "ssv2": "the folder with something-something-v2-validation.json, or that file",
    "ek100": "EPIC_100_validation.csv, or the folder with it",
    "ucf101": "the folder with classInd.txt and testlist01.txt",
    "hmdb51": "the folder with the files CLASS_test_split1.txt",
    "csv": "a CSV with the columns path and label",
}


@dataclass(frozen=True)
class DatasetSource:
    """A data set by its name, and where it is.

    Without `split` it is the one that results are usually given for: validation for "k400", "ssv2" and "ek100",
    test (of the first fold) for "ucf101" and "hmdb51", and everything for "folder" and "csv". "val" and
    "validation" mean the same. Without `data_root` no video is looked for, except that paths in a "csv" are then
    relative to its folder. "folder" takes its root from either, and a split is a folder in it; "k400" needs no
    annotations if `data_root` has a folder for each class.
    """

    name: DatasetName
    annotations: AnyPath | None = None
    data_root: AnyPath | None = None
    split: str | None = None

    @property
    def split_name(self) -> str:
        """The name of the split that is loaded; "all" where none was asked for and there is no usual one."""
        return _USUAL_SPLITS.get(self.name, "all") if self.split is None else usual_spelling(self.split)


def load_dataset(source: DatasetSource, *, labels: Sequence[str] | None = None, multi_label: bool = False) -> Dataset:
    """The samples of a split.

    Args:
        source: the data set, and which of its splits.
        labels: the class names of a model with one head; the class indices are then places in these.
        multi_label: whether samples of a csv may have several labels, those of spans that overlap them.

    Returns:
        The samples in the order of the annotations; times are seconds from the first frame of a video.

    Raises:
        UsageError: for what is missing, for annotations that cannot be read, and for classes that `labels` lack.
    """
    name, annotations, data_root = source.name, source.annotations, source.data_root
    if name not in get_args(DatasetName):
        raise UsageError(f"unknown dataset {name!r}", hint="one of: " + ", ".join(get_args(DatasetName)))
    with refusing(os.fspath(annotations or data_root or name), UsageError):
        return _loaded(source, labels, multi_label)


def _loaded(source: DatasetSource, labels: Sequence[str] | None, multi_label: bool) -> Dataset:
    name, annotations, data_root = source.name, source.annotations, source.data_root
    wanted = None if source.split is None else usual_spelling(source.split)
    if name == "folder":
        return _folder(_root(annotations, data_root), wanted, labels)
    if name == "k400" and annotations is None:
        return _in_order_of(_kinetics_folders(data_root, wanted), labels)
    if annotations is None:
        raise UsageError(f"the dataset {name} needs its annotations", hint=f"give {_ANNOTATIONS[name]}")
    if name == "csv":
        return load_csv(annotations, data_root=data_root, labels=labels, split=wanted, multi_label=multi_label)
    return _in_order_of(_published(name, annotations, data_root, wanted or _USUAL_SPLITS[name]), labels)


def load_for_heads(
    source: DatasetSource, heads: Mapping[str, Sequence[str]] | None, *, multi_label: bool = False
) -> Dataset:
    """The data set under the name it was asked for by, its classes in the order of a model's heads."""
    labels = heads[""] if heads is not None and "" in heads and source.name != "ek100" else None
    return replace(load_dataset(source, labels=labels, multi_label=multi_label), name=source.name)


def load_splits(source: DatasetSource) -> dict[str, Dataset]:
    """The splits that `source.split` names, separated by commas, by their usual names and in the order given.

    Raises `UsageError` as `load_dataset` does, for a split named twice, and if two splits have the same samples, as
    they do where the annotations are a file that says nothing of splits.
    """
    loaded: dict[str, Dataset] = {}
    for split in [None] if source.split is None else source.split.split(","):
        one = replace(source, split=split)
        key = one.split_name
        if key in loaded:
            raise UsageError(f"the split {key} is named twice", hint="name each split once")
        dataset = load_dataset(one)
        for other, earlier in loaded.items():
            if dataset.samples and dataset.samples == earlier.samples:
                where = os.fspath(source.annotations or source.data_root or "")
                raise UsageError(
                    f"{where} gives the same samples for {other} and {key}",
                    hint="give the folder that holds a file, or a folder of videos, for each split",
                )
        loaded[key] = dataset
    return loaded


def usual_spelling(split: str) -> str:
    """ "train", "validation" or "test" for the ways to write these; any other name as it is."""
    word = split.strip()
    return next((usual for usual, words in _SPELLINGS.items() if word.lower() in words), word)


def is_same_split(one: str, other: str) -> bool:
    """Whether two names of splits mean the same: in whatever case, and by any of the usual spellings."""
    return usual_spelling(one).casefold() == usual_spelling(other).casefold()


def _published(name: str, annotations: AnyPath, data_root: AnyPath | None, split: str) -> Dataset:
    if name == "k400":
        return load_kinetics(annotations, data_root=data_root, split="val" if split == "validation" else split)
    if name == "ssv2":
        return load_ssv2(annotations, data_root=data_root, split=split)
    if name == "ek100":
        return load_epic(annotations, data_root=data_root, split=cast("EpicSplit", split))
    read = load_ucf101 if name == "ucf101" else load_hmdb51
    return _remarked(read(annotations, data_root=data_root, split=split), f"fold 1 of {NUM_FOLDS}")


# --- folders --------------------------------------------------------------------------------------------


def _root(annotations: AnyPath | None, data_root: AnyPath | None) -> Path:
    given = {os.path.realpath(path): Path(path) for path in (annotations, data_root) if path is not None}
    if not given:
        raise UsageError("the dataset folder needs a folder", hint="give the folder with a folder for each class")
    if len(given) > 1:
        listed = " and ".join(str(path) for path in given.values())
        raise UsageError(f"two different folders were given for the dataset folder: {listed}", hint="give one of them")
    return next(iter(given.values()))


def _folder(root: Path, split: str | None, labels: Sequence[str] | None) -> Dataset:
    if split is not None:
        found = _split_folder(root, split)
        if found is None:
            raise UsageError(
                f"{root} has no folder of the split {split!r}",
                hint="name the folder that has a folder for each class, and no split",
            )
        root = found
    classes = load_folder(root).heads[""]
    if labels is None:
        if split is None and all(usual_spelling(name) in _SPELLINGS for name in classes):
            raise UsageError(
                f"the folders of {root} are splits, not classes: {', '.join(classes)}", hint="say which split is meant"
            )
        return load_folder(root)
    known = {plain_name(label) for label in labels}
    _refuse_unknown([name for name in classes if plain_name(name) not in known], len(classes), labels, root)
    return load_folder(root, labels=labels)


def _split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split, under any spelling of its name."""
    found = [root / word for word in _SPELLINGS.get(split, (split,)) if (root / word).is_dir()]
    if len(found) > 1:
        names = " and ".join(folder.name for folder in found)
        raise UsageError(f"{root} has several folders of the split {split}: {names}", hint="give one of them as root")
    return found[0] if found else None


def _kinetics_folders(data_root: AnyPath | None, split: str | None) -> Dataset:
    if data_root is None:
        raise UsageError(
            "the dataset k400 needs its annotations, or a folder of videos",
            hint="give kinetics-400_val.csv, a list of paths and labels, or a folder with a folder for each class",
        )
    found = _split_folder(Path(data_root), split or _USUAL_SPLITS["k400"])
    dataset = load_kinetics(None, data_root=found or data_root)
    if found is None and split is not None:
        return _remarked(dataset, f"folders of classes do not tell the split: all taken for {split}")
    return dataset


# --- tables ---------------------------------------------------------------------------------------------


def load_csv(
    file: AnyPath,
    *,
    data_root: AnyPath | None = None,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    multi_label: bool = False,
) -> Dataset:
    """The samples of a CSV with the columns path and label, and if wanted start, end (seconds) and split.

    Args:
        file: the CSV. A label is a class name; paths are absolute, or relative to `data_root`.
        data_root: the folder of the videos; by default that of the CSV.
        labels: the classes; by default the names that occur, in all splits, in alphabetical order.
        split: rows of other splits are not used; by default all are taken together.
        multi_label: whether a span may have several labels, and samples carry all that hold during them.

    Returns:
        The samples, in the order of the rows.

    Raises:
        UsageError: for a row that is not so, for classes that `labels` lack, and a split that the rows do not name.
    """
    table = read_segment_table(
        file, data_root=data_root, folders=("",), required=("path", "label"), what=_ANNOTATIONS["csv"]
    )
    if not multi_label:
        refuse_contradictions(table.spans, table.shown)
    classes = table.labels
    names = tuple(classes if labels is None else labels)
    index_of = {label: index for index, label in enumerate(names)}
    _refuse_unknown([name for name in classes if name not in index_of], len(classes), names, file)
    has_splits = any("split" in span.columns for span in table.spans)
    there = sorted({span.split for span in table.spans}) if has_splits else []
    wanted = "" if split is None else _split_word(there, usual_spelling(split), file)
    taken = SampleRows()
    usable = [span for span in table.spans if not span.reason]
    several = MultiLabelSamples(usable, index_of) if multi_label else None
    for span in table.spans:
        if span.reason:
            taken.refuse(span.place, span.id, UnusedKind.UNUSABLE, span.reason)
            continue
        sample = Sample(
            id=span.id,
            path=span.path,
            labels={"": index_of[span.label]},
            start_seconds=span.start_seconds,
            end_seconds=span.end_seconds,
            video_id=PurePath(span.video).stem,
            place=span.place,
            missing=span.missing,
            fps=span.fps,
        )
        if several is not None and (split is None or span.split == wanted):
            several.take(span, sample, taken)
            continue
        taken.add(span.place, sample, split="" if split is None else span.split, wanted=wanted)
    dataset = replace(taken.dataset("csv", {"": names}, table.remarks), multi_label=multi_label)
    if split is None and len(there) > 1:
        return _remarked(dataset, f"all splits are taken together: {', '.join(there)}")
    return dataset


def _split_word(there: Sequence[str], split: str, file: AnyPath) -> str:
    """How a table spells a split."""
    if not there:
        raise UsageError(f"{os.fspath(file)} has no column split", hint="add it, or ask for no split")
    matches = [word for word in there if usual_spelling(word) == split]
    if len(matches) != 1:
        raise UsageError(
            f"{os.fspath(file)} has {'no row' if not matches else 'several spellings'} of the split {split}",
            hint=f"its splits are {', '.join(repr(word) for word in there)}",
        )
    return matches[0]


def _remarked(dataset: Dataset, remark: str) -> Dataset:
    return replace(dataset, remarks=(*dataset.remarks, Note(NoteKind.READING, remark)))


# --- classes --------------------------------------------------------------------------------------------


def _in_order_of(dataset: Dataset, labels: Sequence[str] | None) -> Dataset:
    """The data set with its classes, found by name, at their places in `labels`."""
    if labels is None or dataset.heads.get("") == tuple(labels):
        return dataset
    if "" not in dataset.heads:
        raise UsageError(
            f"{dataset.name} has the heads {' and '.join(dataset.heads)}, and one list of classes was given",
            hint="use a model that has these heads",
        )
    own, place = dataset.heads[""], {label: index for index, label in enumerate(labels)}
    _refuse_unknown([name for name in own if name not in place], len(own), labels, dataset.name)

    def moved(sample: Sample) -> Mapping[str, int]:
        return {head: place[own[index]] for head, index in sample.labels.items()}

    samples = tuple(replace(sample, labels=moved(sample)) for sample in dataset.samples)
    return replace(dataset, heads={"": tuple(labels)}, samples=samples)


def _refuse_unknown(unknown: Sequence[str], num_classes: int, labels: Sequence[str], where: AnyPath) -> None:
    if not unknown:
        return
    raise UsageError(
        f"{len(unknown)} of {num_classes} classes of {os.fspath(where)} are none of the model's {len(labels)}: "
        f"{named([repr(name) for name in unknown], most=10)}",
        hint="use a model that knows these classes, or name them as the model does",
    )
