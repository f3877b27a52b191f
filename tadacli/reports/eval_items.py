"""Which items of an evaluation its page lists, cell by cell of the confusion matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.report import HeadResult, ItemResult

# Of each head; a page of so many has a few megabytes.
MAX_LISTED = 20_000


def listed_items(head: HeadResult, *, most: int = MAX_LISTED) -> list[ItemResult]:
    """The items that the page of a head lists.

    Where there are too many, each cell lists those whose true class has the lowest scores, and no cell more than the
    others, as far as it has so many.

    Args:
        head: The head.
        most: How many are listed in all; each cell lists one at least.

    Returns:
        The items by cell, those of wrong cells first, and in a cell by rising score of the true class; none where
        they are not known.
    """
    if head.items is None:
        return []
    outcomes, order = head.items.outcomes, head.items.by_score()
    labels, predicted = outcomes.labels[order], outcomes.predicted[order]
    by_cell = np.lexsort((predicted, labels, labels == predicted))  # stable: by score within a cell
    cells = labels[by_cell] * len(head.labels) + predicted[by_cell]
    first = np.flatnonzero(np.diff(cells, prepend=-1))
    sizes = np.diff(first, append=len(cells))
    places = np.arange(len(cells)) - np.repeat(first, sizes)
    rows = order[by_cell[places < _most_of_a_cell(sizes, most)]]
    return [head.items[row] for row in rows.tolist()]


def _most_of_a_cell(sizes: NDArray[np.int64], most: int) -> int:
    """The most items of a cell so that all cells together have at most so many; one at least."""
    low, high = 1, int(sizes.max(initial=1))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle - 1)
    return low
