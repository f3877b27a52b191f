"""Videos that hold none of the classes: which of a folder train, and which are held out."""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tadacli.datasets.splitting import split_samples
from tadacli.datasets.tables import named
from tadacli.errors import UsageError
from tadacli.specs import BACKGROUND
from tadacli.strict_tables import in_one_line
from tadacli.training.data import FinetuneData
from tadacli.video.inputs import expand_inputs, file_size

_LONGEST_PATH = 200


@dataclass(frozen=True)
class Negative:
    """A video that holds none of the classes, and its path within the folder that it was found in."""

    path: Path
    name: str


@dataclass(frozen=True)
class Negatives:
    """Videos that hold none of the classes, those that train and those that are held out."""

    train: tuple[Negative, ...] = ()
    validation: tuple[Negative, ...] = ()

    @property
    def sides(self) -> dict[str, tuple[Negative, ...]]:
        """The videos by split."""
        return {"train": self.train, "validation": self.validation}

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Their names by split, for those that have any."""
        return {side: tuple(each.name for each in videos) for side, videos in self.sides.items() if videos}


def find_negatives(
    folder: str | os.PathLike[str], data: FinetuneData, *, validation_share: float, seed: int
) -> Negatives:
    """The videos of a folder and of all folders in it, split by the hash of their names as those of the data are.

    Args:
        folder: Whose videos hold none of the classes.
        data: What is labelled.
        validation_share: About the share that is held out; a single video trains.
        seed: Of the split.

    Returns:
        The videos, in the order of their paths. Whether they can be read is not looked at.

    Raises:
        UsageError: There is no such folder, it has no videos, or one is a labelled video, too: the same file, or one of
            the same content.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="give a folder of videos that hold none of the classes")
    # A folder that holds no video comes back as it is.
    paths = [Path(each) for each in expand_inputs([os.fspath(folder)], recursive=True) if Path(each) != folder]
    videos = [Negative(path, path.relative_to(folder).as_posix()) for path in paths]
    if not videos:
        raise UsageError(f"{folder} has no videos", hint="give a folder of videos that hold none of the classes")
    _refuse_labelled(videos, data)
    if len(videos) == 1:
        return Negatives(tuple(videos))
    train, validation = split_samples(
        videos,
        validation_share=validation_share,
        group_of=lambda video: video.name,
        labels_of=lambda _: [BACKGROUND],
        seed=seed,
    )
    return Negatives(train, validation)


def _refuse_labelled(videos: Sequence[Negative], data: FinetuneData) -> None:
    """Raises `UsageError`, naming both, where a negative is a labelled video."""
    samples = (*data.train.samples, *data.validation.samples)
    labelled = dict.fromkeys(sample.path for sample in samples if sample.path is not None)
    by_size: dict[int | None, list[Path]] = defaultdict(list)
    for path in labelled:
        by_size[file_size(os.fspath(path))].append(path)
    both = []
    for video in videos:
        # Folders of frames have no size; of these the same one is found, not a copy.
        alike = by_size.get(file_size(os.fspath(video.path)), ())
        if (twin := next((path for path in alike if _is_same(video.path, path)), None)) is not None:
            both.append(f"{in_one_line(video.name)} is {in_one_line(str(twin), most=_LONGEST_PATH)}")
    if both:
        raise UsageError(
            f"{len(both)} of {len(videos)} negatives are labelled videos, too: {named(both)}",
            hint="negatives hold none of the classes: take these videos out of the folder, or out of the data",
        )


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, or files of one content. What cannot be read is found when it is its turn."""
    with suppress(OSError):
        return os.path.samefile(one, other) or (one.is_file() and filecmp.cmp(one, other, shallow=False))
    return False
