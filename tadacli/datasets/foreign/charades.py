"""Charades as I3D's code writes it, and MultiTHUMOS after it: numbered actions of each video, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath

PROGRAM = "Charades in the form of I3D"
# The data set has no validation split; what is published for it is measured on the test split.
_TEST = "testing"


@dataclass(frozen=True)
class _Video:
    subset: str
    actions: tuple[tuple[int, float, float], ...]


def is_charades(content: Any) -> bool:
    """Whether a JSON value has actions and a subset for each video."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(each, dict) and "actions" in each and "subset" in each for each in content.values())
    )


def read_charades(content: Any, file: AnyPath) -> Marks:
    """The actions of all videos; the testing subset is the one to validate with.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each action; its label is the number of its class.

    Raises:
        UsageError: The value is not as I3D's code writes it.
    """
    videos = decoded(Mapping[str, _Video], content, file, PROGRAM)  # type: ignore[type-abstract]
    subsets = {video.subset.casefold() for video in videos.values()}
    is_tested = _TEST in subsets and not subsets & {"validation", "val"}
    marks = tuple(
        Mark(
            place=f"video {name}, action {number}",
            video=name,
            label=str(label),
            start=start,
            end=end,
            split="validation" if is_tested and video.subset.casefold() == _TEST else video.subset,
        )
        for name, video in videos.items()
        for number, (label, start, end) in enumerate(video.actions)
    )
    return Marks(marks, ("classes are numbers", *(["the subset testing is the validation split"] if is_tested else [])))
