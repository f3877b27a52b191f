"""Features of videos with the segments that a person labelled, and the windows of them that a head is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.feature_grid import FeatureGrid
from tadacli.training.clips import derived_seed

# As published: a window is this share of the longest one or more, and an action counts with so much of it inside.
_LEAST_SHARE, _LEAST_INSIDE = 0.9, 0.3
_NUM_DRAWS = 20


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """The features of a video, and what happens in it.

    `spans` (S, 2) are in seconds, `classes` (S,) by head ("" for a single one). In `ignored` (I, 2), seconds, it is not
    known what happens; in all other time that no span covers, nothing does.
    """

    name: str
    grid: FeatureGrid
    spans: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int64]]
    ignored: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.spans.shape != (len(self.spans), 2) or any(len(c) != len(self.spans) for c in self.classes.values()):
            raise ValueError(f"{self.name}: spans and classes do not fit together")
        if not bool((self.spans[:, 0] < self.spans[:, 1]).all()):
            raise ValueError(f"{self.name}: a span is empty, or ends before it starts")


@dataclass(frozen=True, eq=False)
class FeatureWindow:
    """A part of a sequence in steps: `values` (C, T), `known` (T,), and spans with places from 0 on.

    `inside` (S,) says how much of each span lies in the window; `spans` are cut to it.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    spans: NDArray[np.float64]
    inside: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int64]]
    ignored: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.known)

    def whole_enough(self) -> FeatureWindow:
        """The window without the spans of which too little is inside."""
        kept = self.inside >= _LEAST_INSIDE
        classes = {head: numbers[kept] for head, numbers in self.classes.items()}
        return FeatureWindow(self.values, self.known, self.spans[kept], self.inside[kept], classes, self.ignored)


def window_of(sequence: LabelledSequence, *, most_steps: int, rng: np.random.Generator) -> FeatureWindow:
    """A random window of at most `most_steps`, one with an action if some draws find one; all of a short sequence."""
    num_steps = len(sequence.grid)
    if num_steps <= most_steps:
        return _cut(sequence, 0, num_steps)
    length = int(rng.integers(round(_LEAST_SHARE * most_steps), most_steps + 1))
    for _ in range(_NUM_DRAWS):
        start = int(rng.integers(num_steps - length + 1))
        window = _cut(sequence, start, start + length)
        if not len(sequence.spans) or bool((window.inside >= _LEAST_INSIDE).any()):
            break
    return window


def _cut(sequence: LabelledSequence, start: int, end: int) -> FeatureWindow:
    grid, length = sequence.grid, end - start
    places = grid.steps_of(sequence.spans).reshape(-1, 2) - start
    # A step reaches half-way to its neighbours.
    cut = np.clip(places, -0.5, length - 0.5)
    inside = (cut[:, 1] - cut[:, 0]) / (places[:, 1] - places[:, 0])
    there = inside > 0
    return FeatureWindow(
        grid.values[start:end].T,
        grid.known[start:end],
        cut[there],
        inside[there],
        {head: numbers[there] for head, numbers in sequence.classes.items()},
        grid.steps_of(sequence.ignored).reshape(-1, 2) - start,
    )


def classes_by_step(window: FeatureWindow, head: str, num_classes: int, num_steps: int) -> NDArray[np.float32]:
    """Which classes the steps of a window are of.

    Args:
        window: With its spans.
        head: The kind of label.
        num_classes: K.
        num_steps: T, that of the window or more.

    Returns:
        (K, T), 0 or 1. A span that is shorter than a stride has the step that is nearest to its middle.
    """
    steps = np.arange(num_steps)
    classes = np.zeros((num_classes, num_steps), dtype=np.float32)
    for (start, end), number in zip(window.spans, window.classes[head], strict=True):
        covered = (steps >= start) & (steps < end)
        if not covered.any():
            covered[min(max(round(float(start + end) / 2), 0), len(window) - 1)] = True
        classes[number, covered] = 1
    return classes


class TrainingWindows:
    """Random windows of sequences, drawn anew in every epoch, as a function of the seed, the epoch and the sequence.

    Args:
        sequences: To train on.
        most_steps: The longest window.
        seed: Of the order and the windows.
    """

    def __init__(self, sequences: Sequence[LabelledSequence], *, most_steps: int, seed: int) -> None:
        self._sequences, self._most_steps, self._seed = tuple(sequences), most_steps, seed

    def __len__(self) -> int:
        return len(self._sequences)

    def at(self, epoch: int, number: int) -> tuple[FeatureWindow, int]:
        """The window of a sequence in an epoch, and the seed of the network's noise for it."""
        words = (self._seed, epoch, number)
        rng = np.random.default_rng(derived_seed(*words, "window"))
        window = window_of(self._sequences[number], most_steps=self._most_steps, rng=rng)
        return window, derived_seed(*words, "noise")


def padded(windows: Sequence[FeatureWindow], *, num_steps: int) -> tuple[Tensor, Tensor]:
    """Windows as features (B, C, T) and which of them are there (B, T), with unknown steps after the end of each."""
    values = np.zeros((len(windows), len(windows[0].values), num_steps), dtype=np.float32)
    known = np.zeros((len(windows), num_steps), dtype=np.bool_)
    for row, window in enumerate(windows):
        values[row, :, : len(window)] = window.values
        known[row, : len(window)] = window.known
    return torch.from_numpy(values), torch.from_numpy(known)
