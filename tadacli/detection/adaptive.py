"""Windows that are worked on only where scores change: first those far apart, then those between two that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.window_pass import Rows, Work, Worked

# Two windows agree if they have the same best label in each head, and no score of theirs is further apart.
MOST_APART = 0.1


@dataclass(frozen=True)
class AdaptiveWork:
    """Work that is done for the first and the last of each `block` windows, and for more where these differ.

    Of two windows that differ, the one in the middle between them is worked on, and so on with both halves. A window
    between two that agree gets a row on the straight line from one to the other.

    Attributes:
        work: What is worked out; its rows are scores by head.
        block: How many windows in a row are taken together.
    """

    work: Work
    block: int

    @property
    def num_crops(self) -> int:
        """As `Work` says it."""
        return self.work.num_crops

    def of_clips(self, views: Sequence[Tensor], counts: Sequence[int]) -> Worked:
        """As `Work` says it; windows are in the order of time."""
        if not counts:
            return self.work.of_clips(views, counts)
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        rows: dict[str, NDArray[np.float32]] = {}
        is_known = np.zeros(len(counts), dtype=np.bool_)
        last = len(counts) - 1
        spans = [(first, min(first + self.block - 1, last)) for first in range(0, len(counts), self.block)]
        wanted = sorted({end for span in spans for end in span})
        while wanted:
            chosen = [view for number in wanted for view in views[starts[number] : starts[number + 1]]]
            for name, values in self.work.of_clips(chosen, [counts[number] for number in wanted]).rows.items():
                rows.setdefault(name, np.zeros((len(counts), values.shape[1]), np.float32))[wanted] = values
            is_known[wanted] = True
            parted = [(a, (a + b) // 2, b) for a, b in spans if b - a > 1 and _differ(rows, a, b)]
            wanted = [middle for _, middle, _ in parted]
            spans = [half for a, middle, b in parted for half in ((a, middle), (middle, b))]
        between = np.flatnonzero(~is_known)
        for values in rows.values():
            _fill(values, np.flatnonzero(is_known), between)
        return Worked(rows, tuple(between.tolist()))


def _differ(rows: Rows, one: int, other: int) -> bool:
    return any(
        values[one].argmax() != values[other].argmax() or np.abs(values[one] - values[other]).max() > MOST_APART
        for values in rows.values()
    )


def _fill(values: NDArray[np.float32], known: NDArray[np.int64], between: NDArray[np.int64]) -> None:
    """Put the rows `between` known ones on the line from the one before to the one after."""
    after = np.searchsorted(known, between)
    first, second = known[after - 1], known[after]
    share = ((between - first) / (second - first)).astype(np.float32)[:, None]
    values[between] = values[first] + share * (values[second] - values[first])
