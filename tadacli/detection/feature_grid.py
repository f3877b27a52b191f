"""Features of a video on an even grid of time, as heads take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.features import VideoFeatures
from tadacli.errors import UsageError
from tadacli.specs import FeatureSteps

# A grid is at most about so many times as long as what is known of it: times in a file can be anything.
_MOST_STEPS_EACH = 100


@dataclass(frozen=True, eq=False)
class FeatureGrid:
    """Features (T, C) of steps that are `stride_seconds` apart; step 0 is at `first_seconds`.

    `known` (T,) says which steps have features; the others hold zeros. A step stands for the middle of its snippet.
    The video starts at `start_seconds` and ends at `duration_seconds`.
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    first_seconds: float
    stride_seconds: float
    duration_seconds: float
    start_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.known.shape != (len(self.values),):
            raise ValueError(f"features {self.values.shape} and {self.known.shape} are no steps of one grid")
        if not 0 < self.stride_seconds < float("inf"):
            raise ValueError(f"a stride of {self.stride_seconds} seconds makes no grid")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """The time of each step (T,)."""
        return self.seconds_of(np.arange(len(self.values), dtype=np.float64))

    def steps_of(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where times lie on the grid, in steps from 0."""
        places: NDArray[np.float64] = (np.asarray(seconds, dtype=np.float64) - self.first_seconds) / self.stride_seconds
        return places

    def seconds_of(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """The times of places on the grid."""
        found: NDArray[np.float64] = self.first_seconds + self.stride_seconds * np.asarray(steps, dtype=np.float64)
        return found


def grid_of(
    values: NDArray[np.float32],
    centres_seconds: NDArray[np.float64],
    *,
    stride_seconds: float,
    duration_seconds: float,
    start_seconds: float = 0.0,
) -> FeatureGrid:
    """The grid of the features of a video.

    Args:
        values: (N, C), a row for each snippet that could be read.
        centres_seconds: (N,), rising: the middle of each snippet.
        stride_seconds: From one snippet to the next, where none is missing.
        duration_seconds: Where the video ends.
        start_seconds: Where it starts.

    Returns:
        A step for each snippet, and unknown ones where some are missing between two. Where frames are not evenly spaced
        a snippet takes the step that is nearest; of several at one step, the first.

    Raises:
        ValueError: There is no snippet, centres do not rise, or they do not fit the stride.
    """
    if len(values) != len(centres_seconds):
        raise ValueError(f"{len(values)} features at {len(centres_seconds)} times make no grid")
    steps = _steps_at(centres_seconds, stride_seconds)
    places, first = np.unique(steps, return_index=True)
    if len(places) < len(steps) / 2:
        raise ValueError(f"{len(steps)} snippets are closer to each other than a stride of {stride_seconds:g} s")
    num_steps = int(steps[-1]) + 1
    grid = np.zeros((num_steps, values.shape[1]), dtype=np.float32)
    grid[places] = values[first]
    known = np.zeros(num_steps, dtype=np.bool_)
    known[places] = True
    return FeatureGrid(grid, known, float(centres_seconds[0]), stride_seconds, duration_seconds, start_seconds)


def _steps_at(centres_seconds: NDArray[np.float64], stride_seconds: float) -> NDArray[np.int64]:
    """The step of each snippet, not falling; raises `ValueError` as `grid_of` does."""
    centres = np.asarray(centres_seconds, dtype=np.float64)
    if not len(centres):
        raise ValueError("no features make no grid")
    if not np.isfinite(centres).all() or (np.diff(centres) <= 0).any():
        raise ValueError("the centres of snippets do not rise")
    places = np.rint((centres - centres[0]) / stride_seconds)
    if places[-1] >= _MOST_STEPS_EACH * (len(places) + _MOST_STEPS_EACH):
        raise ValueError(f"{len(places)} snippets over {centres[-1]:g} s do not fit a stride of {stride_seconds:g} s")
    steps: NDArray[np.int64] = places.astype(np.int64)
    return steps


def features_grid(features: VideoFeatures, *, where: str) -> FeatureGrid:
    """Features on an even grid. Raises `UsageError`, naming where they are from, if they fit none."""
    try:
        return grid_of(
            features.values,
            features.centres,
            stride_seconds=features.stride_seconds,
            duration_seconds=features.duration_seconds,
            start_seconds=features.start_seconds,
        )
    except ValueError as error:
        raise UsageError(f"{where}: {error}", hint="make the features again") from error


def grid_in_pieces(
    pieces: Iterable[NDArray[np.float32]], centres_seconds: NDArray[np.float64], *, stride_seconds: float, size: int
) -> Iterator[NDArray[np.float32]]:
    """What `grid_of` would make of features that come in pieces, in pieces of `size` steps, the last one of the rest.

    Args:
        pieces: (n, C) each, (N, C) together.
        centres_seconds: (N,), of which a grid was made.
        stride_seconds: From one snippet to the next, where none is missing.
        size: So many steps at once.

    Yields:
        The features of steps, zeros at unknown ones.
    """
    steps = _steps_at(centres_seconds, stride_seconds)
    num_steps, is_first = int(steps[-1]) + 1, np.diff(steps, prepend=-1) > 0
    piece: NDArray[np.float32] | None = None
    begin = row = 0  # of the piece that is being filled, and of the features that were taken
    for values in pieces:
        here, counts = steps[row : row + len(values)], is_first[row : row + len(values)]
        row += len(values)
        while len(here):
            if piece is None:
                piece = np.zeros((min(size, num_steps - begin), values.shape[1]), dtype=np.float32)
            num = int(np.searchsorted(here, begin + len(piece)))
            piece[here[:num][counts[:num]] - begin] = values[:num][counts[:num]]
            here, counts, values = here[num:], counts[num:], values[num:]
            if len(here):
                yield piece
                begin, piece = begin + len(piece), None
    if row != len(steps):
        raise ValueError(f"{row} features at {len(steps)} times make no grid")
    if piece is not None:
        yield piece


def in_shots(steps: FeatureSteps) -> str:
    """Whether the snippets of features look across cuts, as the end of a sentence about snippets."""
    return "keep to their shots" if steps.within_shots else "reach across cuts"


def steps_of(features: VideoFeatures, *, num_channels: int | None = None) -> FeatureSteps:
    """What features are, as a head says what it takes; `num_channels` of those whose columns are elsewhere."""
    contract = features.contract
    channels = features.values.shape[1] if num_channels is None else num_channels
    if contract is None:
        return FeatureSteps(channels, features.stride_seconds)
    return FeatureSteps(
        channels,
        features.stride_seconds,
        contract.model,
        contract.weights_sha256,
        contract.crops,
        contract.snippet_seconds,
        features.cuts is not None,
    )
