"""How right the scores of labelled items are: top-k and mean class accuracy, EPIC-KITCHENS-100, calibration, intervals.

All of it comes from four numbers for each item, its `Outcomes`. They are computed item by item, so the metrics do not
depend on the order of the items.

Ties: of equal scores the lower class index comes first, as in the results of `tada classify`. So constant scores get
the accuracy of always answering class 0.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import TadaError

TOPK = (1, 5)
NUM_CALIBRATION_BINS = 15
# The official EPIC-KITCHENS-100 metrics look no further than the fifth action.
NUM_ACTIONS = 5

# What float32 cannot tell from zero.
_LEAST_PROBABILITY = 1e-45
# Items compared at a time: memory does not grow with their number.
_ROWS = 4096

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of each scored item, as columns (N,).

    `labels` are the true classes and `predicted` the best scored ones, with `confidences` as their scores;
    `ranks` count the classes that stand before the true one, so 0 is right.
    """

    labels: Indices
    predicted: Indices
    ranks: Indices
    confidences: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Accuracy:
    """`num_right` of `num_scored` items are right."""

    num_right: int
    num_scored: int

    @property
    def fraction(self) -> float:
        """Raises `TadaError` when no item was scored."""
        if not self.num_scored:
            raise _nothing("accuracy")
        return self.num_right / self.num_scored

    @property
    def percent(self) -> float:
        return 100.0 * self.fraction


@dataclass(frozen=True)
class CalibrationBin:
    """The items whose confidence is above `low` and up to `high`; both means are 0 without an item."""

    low: float
    high: float
    num_items: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error: the gap of confidence and accuracy, averaged over items by way of bins."""

    error: float
    bins: tuple[CalibrationBin, ...]


def log_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Logarithms of probabilities: logits, up to a number for each item.

    Args:
        probabilities: Probabilities, of any shape.

    Returns:
        Their logarithms; that of zero is a number, too.
    """
    logarithms: NDArray[np.floating] = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
    return logarithms


def outcomes(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Outcomes:
    """What became of each item.

    Args:
        scores: (N, C), higher is better.
        labels: The true classes (N,).

    Returns:
        The outcomes, as columns (N,).

    Raises:
        ValueError: Shapes do not fit, labels are not 0..C-1, or scores are NaN.
    """
    labels = _checked(scores, labels)
    predicted = np.argmax(scores, axis=1).astype(np.int64) if len(labels) else labels
    confidences = np.take_along_axis(scores, predicted[:, None], axis=1)[:, 0].astype(np.float64)
    ranks = np.empty(len(labels), dtype=np.int64)
    classes = np.arange(scores.shape[1])
    for first in range(0, len(labels), _ROWS):
        rows = slice(first, first + _ROWS)
        true = labels[rows, None]
        own = np.take_along_axis(scores[rows], true, axis=1)
        before = (scores[rows] > own) | ((scores[rows] == own) & (classes < true))
        ranks[rows] = before.sum(axis=1)
    return Outcomes(labels, predicted, ranks, confidences)


def top_k(ranks: Indices, k: int) -> Accuracy:
    """How many items have their true class among the best.

    Args:
        ranks: How many classes stand before the true one, (N,).
        k: How many classes count as the best.

    Returns:
        The accuracy.
    """
    return Accuracy(int((ranks < k).sum()), len(ranks))


def class_accuracy(items: Outcomes) -> dict[int, Accuracy]:
    """Top-1 accuracy of the items of each class that has any.

    Args:
        items: The outcomes.

    Returns:
        The accuracies by class index.
    """
    classes, place = np.unique(items.labels, return_inverse=True)
    counts = np.bincount(place, minlength=len(classes))
    right = np.bincount(place[items.ranks == 0], minlength=len(classes))
    return {
        int(index): Accuracy(int(hits), int(count)) for index, hits, count in zip(classes, right, counts, strict=True)
    }


def mean_class_accuracy(items: Outcomes) -> float:
    """Mean over the classes that have an item of their top-1 accuracy.

    Args:
        items: The outcomes.

    Returns:
        A fraction, 0..1.

    Raises:
        TadaError: No item was scored.
    """
    if not len(items):
        raise _nothing("accuracy")
    return float(np.mean([accuracy.fraction for accuracy in class_accuracy(items).values()]))


def confusion_matrix(items: Outcomes, *, num_classes: int) -> Indices:
    """How often each class is taken for which.

    Args:
        items: The outcomes.
        num_classes: The number of classes, C.

    Returns:
        Counts (C, C) of items by true class (row) and predicted class (column).

    Raises:
        ValueError: There are labels beyond the classes.
    """
    if len(items) and int(max(items.labels.max(), items.predicted.max())) >= num_classes:
        raise ValueError(f"there are labels beyond the {num_classes} classes")
    cells = np.bincount(items.labels * num_classes + items.predicted, minlength=num_classes**2)
    return cells.astype(np.int64).reshape(num_classes, num_classes)


def calibration(items: Outcomes, *, num_bins: int = NUM_CALIBRATION_BINS) -> Calibration:
    """Expected calibration error of the best class over bins of equal width.

    Args:
        items: The outcomes.
        num_bins: How many bins 0..1 is divided into.

    Returns:
        The error, and the bins.

    Raises:
        ValueError: Confidences are outside of 0..1, so that they are no probabilities.
        TadaError: There are no items.
    """
    if not len(items):
        raise _nothing("calibration error")
    # Sums of softmax in float32 can end a little above 1.
    if float(items.confidences.min()) < 0 or float(items.confidences.max()) > 1 + 1e-5:
        raise ValueError("calibration needs probabilities as scores")
    edges = np.linspace(0, 1, num_bins + 1)
    place = np.clip(np.searchsorted(edges, items.confidences) - 1, 0, num_bins - 1)
    counts = np.bincount(place, minlength=num_bins)
    # Sorted first, so that rounding does not depend on the order of the items.
    order = np.argsort(items.confidences, kind="stable")
    sums = np.bincount(place[order], items.confidences[order], minlength=num_bins)
    right = np.bincount(place[items.ranks == 0], minlength=num_bins)
    used = np.maximum(counts, 1)
    bins = tuple(
        CalibrationBin(float(low), float(high), int(count), float(confidence), float(accuracy))
        for low, high, count, confidence, accuracy in zip(
            edges[:-1], edges[1:], counts, sums / used, right / used, strict=True
        )
    )
    return Calibration(float(np.abs(sums - right).sum() / len(items)), bins)


def bootstrap_interval(
    values: NDArray[np.generic],
    *,
    groups: NDArray[np.integer] | None = None,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean; it depends on the seed, and not on the order of the items.

    Args:
        values: What is averaged, (N,), such as `ranks == 0`.
        groups: (N,), such as the labels: then the interval is that of the mean over groups of the mean of each group,
            over the groups that a draw has.
        level: The share of the draws that the interval holds.
        num_resamples: The number of draws; items are drawn one by one with replacement.
        seed: The seed of the draws.

    Returns:
        Low and high.

    Raises:
        TadaError: There are no values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        raise _nothing("interval")
    place = np.zeros(len(numbers), dtype=np.int64)
    if groups is not None:
        place = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    order = np.lexsort((numbers, place))
    numbers, place = numbers[order], place[order]
    rng = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for draw in range(num_resamples):
        rows = rng.integers(0, len(numbers), len(numbers))
        counts = np.bincount(place[rows])
        sums = np.bincount(place[rows], numbers[rows])
        means[draw] = (sums[counts > 0] / counts[counts > 0]).mean()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def action_ranks(
    verb_scores: NDArray[np.floating],
    noun_scores: NDArray[np.floating],
    *,
    verb_labels: NDArray[np.integer],
    noun_labels: NDArray[np.integer],
    num_actions: int = NUM_ACTIONS,
) -> Indices:
    """How many pairs of a verb and a noun stand before the true one.

    As the official EPIC-KITCHENS-100 evaluator does, it takes scores for logits: pairs rank by the product of the two
    softmaxes, which is the order of the sums of the scores. Sums, here in float64, do not underflow as the products
    can. Of equal sums the one with the better ranked verb comes first.

    Args:
        verb_scores: (N, V); logarithms of probabilities rank by their product.
        noun_scores: (N, M), alike.
        verb_labels: The true verbs (N,).
        noun_labels: The true nouns (N,).
        num_actions: How far the ranks are counted.

    Returns:
        The ranks (N,); `num_actions` stands for that or more.

    Raises:
        ValueError: Scores are NaN or +infinity, or shapes and labels do not fit.
    """
    verb_labels, noun_labels = _checked(verb_scores, verb_labels), _checked(noun_scores, noun_labels)
    if len(verb_labels) != len(noun_labels):
        raise ValueError(f"{len(verb_labels)} items with verbs do not fit {len(noun_labels)} with nouns")
    if bool(np.isposinf(verb_scores).any()) or bool(np.isposinf(noun_scores).any()):
        raise ValueError("the scores of some items are infinite")
    # Before the pair of the i-th verb and the j-th noun stand those of better or equal verbs and nouns.
    limits = min(num_actions, verb_scores.shape[1]), min(num_actions, noun_scores.shape[1])
    places = [(i, j) for i in range(limits[0]) for j in range(limits[1]) if (i + 1) * (j + 1) <= num_actions]
    verb_places, noun_places = np.array(places).T
    verbs, nouns = (np.argsort(-scores, axis=1, kind="stable") for scores in (verb_scores, noun_scores))
    verbs, nouns = verbs[:, verb_places], nouns[:, noun_places]
    sums = np.take_along_axis(verb_scores, verbs, axis=1).astype(np.float64)
    sums += np.take_along_axis(noun_scores, nouns, axis=1)
    order = np.argsort(-sums, axis=1, kind="stable")[:, :num_actions]
    right = (verbs == verb_labels[:, None]) & (nouns == noun_labels[:, None])
    right = np.take_along_axis(right, order, axis=1)
    ranks: Indices = np.where(right.any(axis=1), right.argmax(axis=1), num_actions)
    return ranks


def ek100_metrics(
    verbs: Outcomes,
    nouns: Outcomes,
    actions: Indices,
    *,
    unseen: NDArray[np.bool_],
    tail_verbs: Collection[int],
    tail_nouns: Collection[int],
) -> dict[str, Accuracy]:
    """The metrics of the EPIC-KITCHENS-100 action recognition challenge.

    An item counts for the tail verbs by its true verb, for the tail nouns by its true noun, and for the tail actions
    when either of the two is one. These are accuracies of items, not means over classes.

    Args:
        verbs: The outcomes of N items for their verbs.
        nouns: Those of the same items for their nouns.
        actions: Their ranks (N,) as `action_ranks` gives them.
        unseen: (N,) whether the item is of a participant who is not in the training set.
        tail_verbs: The verbs that are rare in training.
        tail_nouns: The nouns, alike.

    Returns:
        The accuracies under their official names, without one that no item counts for.

    Raises:
        ValueError: The columns have different lengths.
    """
    tail_verb = np.isin(verbs.labels, sorted(tail_verbs))
    tail_noun = np.isin(nouns.labels, sorted(tail_nouns))
    if not len(verbs) == len(nouns) == len(actions) == len(unseen):
        raise ValueError(f"{len(verbs)} verbs, {len(nouns)} nouns and {len(actions)} actions are not of the same items")
    ranks = {"verb": verbs.ranks, "noun": nouns.ranks, "action": actions}
    tail = {"verb": tail_verb, "noun": tail_noun, "action": tail_verb | tail_noun}
    found = {f"all_{task}_accuracy_at_{k}": top_k(column, k) for task, column in ranks.items() for k in TOPK}
    found |= {f"unseen_{task}_accuracy_at_1": top_k(column[unseen], 1) for task, column in ranks.items()}
    found |= {f"tail_{task}_accuracy_at_1": top_k(column[tail[task]], 1) for task, column in ranks.items()}
    return {name: accuracy for name, accuracy in found.items() if accuracy.num_scored}


def _nothing(measure: str) -> TadaError:
    return TadaError(
        f"no item was scored, so there is no {measure}",
        hint="check that the ids or paths of the scores are those of the annotations",
    )


def _checked(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Indices:
    """The labels (N,), found to fit the scores (N, C)."""
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} do not fit labels of shape {labels.shape}")
    if labels.size and (labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() < scores.shape[1]):
        raise ValueError(f"labels must be integers from 0 to {scores.shape[1] - 1}")
    if bool(np.isnan(scores).any()):
        raise ValueError("the scores of some items are not numbers")
    return labels.astype(np.int64)
