"""What always giving the same answer reaches: the accuracy that a model is to be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# What a verb and its noun are together, as official metrics call it.
ACTION = "action"


@dataclass(frozen=True)
class MajorityClass:
    """The most frequent class: it is that of `num_right` of `num_items` items.

    `label` is its name, of an action the verb and the noun.
    """

    label: str
    num_right: int
    num_items: int

    @property
    def percent(self) -> float:
        """The accuracy of always answering it, 0..100."""
        return 100.0 * self.num_right / self.num_items

    @property
    def text(self) -> str:
        """The answer and what it reaches, in words."""
        return f"always {self.label!r}, {self.num_right} of {self.num_items}"


def majority_classes(
    labels: Mapping[str, NDArray[np.integer]], heads: Mapping[str, Sequence[str]]
) -> dict[str, MajorityClass]:
    """The most frequent class of each head; of several heads that of "action", too, the most frequent combination.

    Args:
        labels: The true classes (N,) of one item or more, by head.
        heads: The class names by head, in index order.

    Returns:
        The classes by head; of equally frequent ones that with the lowest index.
    """
    sets = {name: [name] for name in labels} | ({ACTION: list(labels)} if len(labels) > 1 else {})
    found = {}
    for name, members in sets.items():
        rows, counts = np.unique(np.stack([labels[head] for head in members], axis=1), axis=0, return_counts=True)
        best = int(counts.argmax())
        label = " ".join(heads[head][index] for head, index in zip(members, rows[best].tolist(), strict=True))
        found[name] = MajorityClass(label, int(counts[best]), int(counts.sum()))
    return found


def most_shown_class(shown: NDArray[np.bool_], labels: Sequence[str]) -> MajorityClass:
    """The class that most items show, of items that may show several.

    Args:
        shown: Which classes each of N items shows, (N, num_classes).
        labels: The class names.

    Returns:
        The class, and how often its label is one of an item; of equally frequent ones that with the lowest index.
    """
    counts = shown.sum(axis=0)
    best = int(counts.argmax())
    return MajorityClass(labels[best], int(counts[best]), len(shown))
