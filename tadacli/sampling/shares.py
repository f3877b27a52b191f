"""Shares of the windows of a long video: what each of several workers scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Share:
    """The share of this `number`, from 0 on, of so many of about the same size."""

    number: int
    count: int

    def of(self, sizes: Sequence[int]) -> tuple[int, int]:
        """(first, end) of the windows that it has, of groups of these sizes, none of which is shared out."""
        bounds = [0, *accumulate(sizes)]
        first, end = (len(sizes) * number // self.count for number in (self.number, self.number + 1))
        return bounds[first], bounds[end]
