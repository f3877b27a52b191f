"""What an evaluation found: metrics, and the classes and items behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.evaluation.metrics import Calibration
from tadacli.results import Note


@dataclass(frozen=True)
class UnscoredItem:
    """An item of the data set that has no scores, and why; `path` is empty if no file was found."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class ItemResult:
    """A scored item: its true and predicted class by index, and the scores of both (0 to 1).

    `path` is its file, as far as it is known; the times are those of the span within it, in seconds, None where it
    is the whole video. `rank` is the number of classes that stand before the true one.
    """

    id: str
    path: str
    label: int
    predicted: int
    label_score: float
    predicted_score: float
    rank: int
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class HeadResult:
    """One head of a recognition model on a data set, of C classes.

    `intervals` are the bootstrap 95 % intervals of metrics in percent, by the metric's name. `confusion` counts items
    by true class (row) and predicted class (column), (C, C) int64; so per-class accuracy follows from it. `worst` are
    the items whose true class got the lowest scores, lowest first. `calibration` is None where scores are no
    probabilities.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    worst: tuple[ItemResult, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def num_items(self) -> NDArray[np.int64]:
        """Scored items of each class, (C,)."""
        counts: NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts

    @property
    def num_right(self) -> NDArray[np.int64]:
        """Items of each class whose best class is the true one, (C,)."""
        return np.diagonal(self.confusion)


@dataclass(frozen=True, eq=False)
class EvalReport:
    """What predictions reach on a data set.

    `metrics` are in percent for recognition, under the official names where there are any; in detection they are
    fractions, by task. `num_scored` of `num_items` items have scores, the others stand in `unscored`. An item is a
    video, or in EPIC-KITCHENS-100 recognition an action; `unit` is its plural. `heads` are there for recognition.
    `run` says what made the scores, as far as the predictions tell. `notes` say what else to know.
    """

    dataset: str
    split: str
    unit: str
    num_scored: int
    num_items: int
    metrics: Mapping[str, Any]
    heads: Mapping[str, HeadResult] = field(default_factory=dict)
    unscored: tuple[UnscoredItem, ...] = ()
    run: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """How many items are not scored for which reason, the most frequent first."""
        counts = Counter(item.reason for item in self.unscored)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
