"""Training and validation parts of labelled samples, by group: what belongs together is never on both sides."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeVar

from tadacli.datasets.samples import Sample
from tadacli.errors import UsageError

S = TypeVar("S")

_PATTERN = "re:"
# How far the part of a class, and of everything, may be from the share that was asked for, relative to it.
_CLASS_TOLERANCE = 0.5
_TOLERANCE = 0.25


def split_samples(
    samples: Sequence[S],
    *,
    validation_share: float,
    group_of: Callable[[S], str],
    labels_of: Callable[[S], Iterable[str]],
    seed: int = 0,
) -> tuple[tuple[S, ...], tuple[S, ...]]:
    """(training, validation) samples, each in the order given; which side one is on does not depend on that order.

    A group goes where the hash of its name and the seed says, so that new data leave the others where they are. Then
    as few groups as it takes are moved, those nearest to the limit first. Afterwards every class is in training. A
    class of two or more groups is in validation, too, if each group has one class; if groups have several, it may
    be that none of its groups can go there without taking another class out of training.

    Args:
        samples: To be split.
        validation_share: About the share of the samples of each class, and of all, that validation gets, as far as
            whole groups allow; between 0 and 1.
        group_of: Names the group of a sample; a group is never on both sides.
        labels_of: Names the classes of a sample.
        seed: Which groups are held out.

    Returns:
        The two sides.

    Raises:
        UsageError: The share is not between 0 and 1, or there are fewer than two groups.
    """
    if not 0 < validation_share < 1:
        raise UsageError(f"a validation share of {validation_share:g} leaves one side empty", hint="give about 0.2")
    names = [group_of(sample) for sample in samples]
    if len(set(names)) < 2:
        raise UsageError(
            f"{len(samples)} samples in {len(set(names))} group(s) cannot be split in two",
            hint="give more videos, or group them in another way",
        )
    places = {name: place_of(name, seed) for name in set(names)}
    balance = _Balance(_classes(samples, names, labels_of), validation_share, places)
    balance.mend()
    train = tuple(sample for sample, name in zip(samples, names, strict=True) if name not in balance.validation)
    validation = tuple(sample for sample, name in zip(samples, names, strict=True) if name in balance.validation)
    return train, validation


def place_of(group: str, seed: int) -> float:
    """A number in [0, 1) for a group that looks random and is the same on every machine."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6]) / 2**48


@dataclass(frozen=True)
class _Class:
    """The samples of a class in each of its groups, and how many of them validation is to have."""

    sizes: Mapping[str, int]
    fewest: int
    most: int


def _classes(
    samples: Sequence[S], names: Sequence[str], labels_of: Callable[[S], Iterable[str]]
) -> dict[tuple[str, ...], dict[str, int]]:
    """Number of samples by group, of each class (label,) and of everything ()."""
    counts: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for sample, name in zip(samples, names, strict=True):
        counts[()][name] += 1
        for label in dict.fromkeys(labels_of(sample)):
            counts[(label,)][name] += 1
    return counts


class _Balance:
    """Which groups are in validation, and what is wrong with that for each class.

    A move of one group is made only if it makes the whole better: fewer classes without training, else fewer without
    validation, else fewer samples too many or too few. These are whole numbers, so it comes to an end.
    """

    def __init__(
        self, counts: Mapping[tuple[str, ...], Mapping[str, int]], share: float, places: Mapping[str, float]
    ) -> None:
        self._places, self._share = places, share
        self.validation = {name for name, place in places.items() if place < share}
        self._classes = {key: _wanted(sizes, share, whole=not key) for key, sizes in counts.items()}
        self._held = {
            key: [
                sum(size for name, size in each.sizes.items() if name in self.validation),
                sum(name in self.validation for name in each.sizes),
            ]
            for key, each in self._classes.items()
        }
        self._of_group: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for key, each in self._classes.items():
            for name in each.sizes:
                self._of_group[name].append(key)

    def mend(self) -> None:
        """Move groups until no single move makes it better for a class that is not as wanted."""
        rare_first = sorted(self._classes, key=lambda key: (len(self._classes[key].sizes), key))
        moved = True
        while moved:
            moved = False
            for key in rare_first:
                while any(self._wrong(key, *self._held[key])) and self._move_one(key):
                    moved = True

    def _move_one(self, key: tuple[str, ...]) -> bool:
        """Make the move of one of the class's groups that helps most; whether there is any."""
        best = min(
            (self._change(name), abs(self._places[name] - self._share), name) for name in self._classes[key].sizes
        )
        if best[0] >= [0, 0, 0]:
            return False
        name = best[2]
        sign = -1 if name in self.validation else 1
        for other in self._of_group[name]:
            self._held[other][0] += sign * self._classes[other].sizes[name]
            self._held[other][1] += sign
        self.validation ^= {name}
        return True

    def _change(self, name: str) -> list[int]:
        """What moving a group to the other side would add to what is wrong; less than [0, 0, 0] is better."""
        sign = -1 if name in self.validation else 1
        total = [0, 0, 0]
        for key in self._of_group[name]:
            num_samples, num_groups = self._held[key]
            before = self._wrong(key, num_samples, num_groups)
            after = self._wrong(key, num_samples + sign * self._classes[key].sizes[name], num_groups + sign)
            total = [so_far + new - old for so_far, new, old in zip(total, after, before, strict=True)]
        return total

    def _wrong(self, key: tuple[str, ...], num_samples: int, num_groups: int) -> tuple[int, int, int]:
        """(without training, without validation though it has two groups, samples too many or too few)."""
        each = self._classes[key]
        return (
            int(num_groups == len(each.sizes)),
            int(num_groups == 0 and len(each.sizes) > 1),
            max(0, each.fewest - num_samples, num_samples - each.most),
        )


def _wanted(sizes: Mapping[str, int], share: float, *, whole: bool) -> _Class:
    if len(sizes) == 1:
        return _Class(sizes, 0, 0)
    exact = share * sum(sizes.values())
    tolerance = _TOLERANCE if whole else _CLASS_TOLERANCE
    fewest = min(math.floor(exact), math.ceil(exact * (1 - tolerance)))
    return _Class(sizes, fewest, max(math.ceil(exact), math.floor(exact * (1 + tolerance))))


# --- what belongs together ------------------------------------------------------------------------------


def grouping(
    group_by: str,
    *,
    name_of: Callable[[Sample], str],
    video_of: Callable[[Sample], str],
    columns: Mapping[str, Mapping[str, str]],
) -> Callable[[Sample], str]:
    """The function that names the group of a sample.

    Args:
        group_by: "video", "folder" (that of the name), "participant", a column, or "re:" and a regular expression to be
            found in the name: the group is what its parentheses hold, or all that it matches.
        name_of: Gives the path of a sample's video as the data name it.
        video_of: Names the video that a sample is of.
        columns: Cells by sample id and column.

    Returns:
        The function; it raises `UsageError` for a sample whose group is not known.

    Raises:
        UsageError: There is no such column, or the expression is none.
    """
    if group_by == "video":
        return video_of
    if group_by == "folder":
        return lambda sample: str(PurePath(name_of(sample)).parent)
    if group_by.startswith(_PATTERN):
        return _by_pattern(group_by, name_of)
    there = sorted({column for cells in columns.values() for column in cells})
    if group_by in there:
        return lambda sample: _known(columns[sample.id][group_by].strip(), sample, group_by)
    if group_by == "participant":
        return lambda sample: _known(sample.participant, sample, group_by)
    listed = f"; the columns are {', '.join(there)}" if there else ""
    raise UsageError(
        f"there is no column {group_by!r} to group by",
        hint=f"use video, folder, participant, a column of the CSV, or re:PATTERN for a part of the name{listed}",
    )


def _by_pattern(group_by: str, name_of: Callable[[Sample], str]) -> Callable[[Sample], str]:
    text = group_by.removeprefix(_PATTERN)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression: {error}", hint="for example re:_g[0-9]+_") from error

    def found(sample: Sample) -> str:
        match = pattern.search(name_of(sample))
        if match is None:
            raise UsageError(
                f"{name_of(sample)} has nothing that matches {text!r}, so its group is not known",
                hint="give an expression that matches the name of every video",
            )
        return "\0".join(part or "" for part in match.groups()) if pattern.groups else match[0]

    return found


def _known(group: str, sample: Sample, group_by: str) -> str:
    if not group:
        raise UsageError(
            f"the {group_by} of {sample.id} is not known", hint="name it for every sample, or group by video"
        )
    return group
