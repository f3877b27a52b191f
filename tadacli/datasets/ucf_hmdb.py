"""The official split lists of UCF101 and HMDB51."""

from __future__ import annotations

import re
from pathlib import Path

from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import AnyPath, SampleRows, bad_line, class_index, one_of, read_lines
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError

NUM_FOLDS = 3
_HMDB_NAME = re.compile(r"(.+)_test_split([1-3])\.txt")
_HMDB_SPLITS = {"0": "unused", "1": "train", "2": "test"}


def load_ucf101(
    annotations: AnyPath, *, data_root: AnyPath | None = None, split: str = "test", fold: int = 1
) -> Dataset:
    """The samples of `trainlist0F.txt` or `testlist0F.txt` in a folder that has `classInd.txt`, too.

    A line is `Class/file.avi`, in the training lists with the number of the class from 1 on after it, which must
    agree. Raises `UsageError`.
    """
    _check(split, fold)
    folder = Path(annotations)
    labels = _ucf_classes(one_of(folder, ("classInd.txt",), what="list of the classes"))
    file = one_of(folder, (f"{split}list{fold:02d}.txt",), what=f"list of the split {split}, fold {fold}")
    index_of = {label: index for index, label in enumerate(labels)}
    videos = VideoFiles(data_root)
    taken = SampleRows()
    for number, line in read_lines(file):
        path, _, given = line.partition(" ")
        label, _, name = path.partition("/")
        if label not in index_of or not name:
            raise bad_line(file, number, f"{path!r} is not a class and the name of a video")
        if given and given.strip() != str(index_of[label] + 1):
            raise bad_line(file, number, f"class {given.strip()!r}, but {label} is {index_of[label] + 1}")
        found = videos.find([path, name])
        taken.add(f"line {number}", Sample(path, found, {"": index_of[label]}, video_id=Path(name).stem))
    return taken.dataset("ucf101", {"": labels})


def load_hmdb51(
    annotations: AnyPath, *, data_root: AnyPath | None = None, split: str = "test", fold: int = 1
) -> Dataset:
    """The samples of a split from the files `CLASS_test_splitF.txt` of a folder, one for each class.

    A line is `file.avi N`, N being 1 for training, 2 for testing and 0 for neither. The classes are in alphabetical
    order. Raises `UsageError`.
    """
    _check(split, fold)
    files = _hmdb_files(Path(annotations), fold)
    labels = tuple(sorted(files))
    videos = VideoFiles(data_root)
    taken = SampleRows()
    for index, label in enumerate(labels):
        for number, line in read_lines(files[label]):
            name, _, mark = line.rpartition(" ")
            if not name or mark not in _HMDB_SPLITS:
                raise bad_line(files[label], number, f"{line!r} is not the name of a video and 0, 1 or 2")
            place, key = f"{files[label].name}, line {number}", f"{label}/{name.strip()}"
            sample = Sample(key, videos.find([key, name.strip()]), {"": index}, video_id=Path(name.strip()).stem)
            taken.add(place, sample, split=_HMDB_SPLITS[mark], wanted=split)
    return taken.dataset("hmdb51", {"": labels})


def _check(split: str, fold: int) -> None:
    if split not in ("train", "test"):
        raise UsageError(f"there is no split {split!r}", hint="use train or test")
    if not 1 <= fold <= NUM_FOLDS:
        raise UsageError(f"there is no fold {fold}", hint=f"use 1 to {NUM_FOLDS}")


def _ucf_classes(file: Path) -> tuple[str, ...]:
    """Class names in index order; the file numbers them from 1."""
    lines = read_lines(file)
    labels: list[str] = []
    for number, line in lines:
        given, _, label = line.partition(" ")
        if not label.strip() or class_index(given, len(lines) + 1, file, f"line {number}") != len(labels) + 1:
            raise bad_line(file, number, f"{line!r} is not {len(labels) + 1} and the name of a class")
        labels.append(label.strip())
    if not labels or len(set(labels)) != len(labels):
        raise UsageError(f"{file} names no class, or one twice", hint="give the official file")
    return tuple(labels)


def _hmdb_files(folder: Path, fold: int) -> dict[str, Path]:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="give the folder with the files CLASS_test_split1.txt")
    matches = [(file, _HMDB_NAME.fullmatch(file.name)) for file in sorted(folder.iterdir())]
    found = {match[1]: file for file, match in matches if match is not None and match[2] == str(fold)}
    if not found:
        raise UsageError(f"{folder} holds no lists of fold {fold}", hint=f"they are called CLASS_test_split{fold}.txt")
    return found
