"""From logits to scores that mean something: temperature and thresholds of a model, fitted on validation.

A network that was trained long enough is surer of itself than it is right. Dividing its logits by one number, the
temperature, mends most of that and changes no ranking (Guo et al., "On Calibration of Modern Neural Networks", ICML
2017, section 4.2). A threshold for each class then says from which score on "it is this class" is worth saying: the
one with the best F1 on validation. Where a class cannot be told at all, the best F1 is had by always saying it
(Lipton et al., "Optimal Thresholding of Classifiers to Maximize F1 Measure", ECML PKDD 2014); the notes count these.

Of a multi-label head, whose scores are sigmoids, the temperature is the one with the least mean of the binary
cross-entropies, summed over the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tadacli.scoring.views import class_probabilities

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Fewer items than this say too little about how sure the network may be.
MIN_ITEMS = 20
# A class with fewer takes the threshold that is best for all classes together.
MIN_POSITIVES = 3

# Halvings of the range of temperatures: what is left is far below the digits that are kept.
_NUM_HALVINGS = 50

Array = NDArray[np.floating]


@dataclass(frozen=True)
class FittedScores:
    """What a `ModelSpec` takes over, by head, and what a person should know about it.

    `temperatures` lacks a head whose temperature could not be fitted: it stays 1, and a note says why. `thresholds`
    has one number in 0..1 for each class.
    """

    temperatures: Mapping[str, float]
    thresholds: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]


def fit_scores(logits: Mapping[str, Array], labels: Mapping[str, NDArray[np.generic]]) -> FittedScores:
    """Temperature and thresholds of each head, fitted on validation.

    With V views of each item the temperature is fitted on all views, each with the item's class, since it is applied
    to each; thresholds are fitted on the mean over the views, which is what they are compared with. They are fitted
    on the scores that the temperature gives.

    Args:
        logits: (N, C) or (N, V, C) by head.
        labels: Class numbers (N,) by head; of a multi-label head which classes each item shows, bool (N, C).

    Returns:
        What the heads are given, and notes for people.

    Raises:
        ValueError: Arrays do not fit together, are empty or hold what is no number.
    """
    temperatures: dict[str, float] = {}
    thresholds: dict[str, tuple[float, ...]] = {}
    notes: list[str] = []
    for name in logits:
        values, truth = _checked(logits[name], labels[name])
        where = f"{name}: " if name else ""
        multi_label = truth.ndim == 2
        temperature, said = (_sigmoid_temperature if multi_label else _temperature)(values, truth)
        if temperature is not None:
            temperatures[name] = temperature
        given = torch.from_numpy(values)
        scores = class_probabilities(given, temperature, multi_label=multi_label).numpy().mean(axis=1)
        fitted = fit_thresholds(scores, truth)
        thresholds[name] = tuple(fitted.tolist())
        notes += [where + note for note in (said, *_threshold_notes(scores, _shown(truth, scores.shape[1]), fitted))]
    return FittedScores(temperatures, thresholds, tuple(notes))


def fit_thresholds(probabilities: Array, labels: NDArray[np.generic]) -> NDArray[np.float64]:
    """The score, for each class, from which "it is this class" has the best F1.

    A threshold stands in the middle between the lowest score that passes and the next lower one (0 below the lowest
    of all), so at least one item passes; scores are told apart by the seven digits that are reported. Of equal F1 the
    higher threshold is taken. A class with fewer than `MIN_POSITIVES` items takes the threshold with the best F1 of
    all decisions about all classes together, even if none of its own scores reaches it.

    Args:
        probabilities: Scores (N, C) in 0..1.
        labels: Class numbers (N,), or which classes each item shows, bool (N, C).

    Returns:
        The thresholds (C,).

    Raises:
        ValueError: As for `fit_scores`, and for scores outside of 0..1.
    """
    values, truth = _checked(probabilities, labels)
    if values.ndim != 3 or values.shape[1] != 1 or values.min() < 0 or values.max() > 1:
        raise ValueError("thresholds need scores (N, C) in 0..1")
    scores = _seven_digits(values[:, 0])
    is_class = _shown(truth, scores.shape[1])
    pooled = _best_cut(scores.ravel(), is_class.ravel())
    cuts = [
        _best_cut(scores[:, index], is_class[:, index]) if is_class[:, index].sum() >= MIN_POSITIVES else pooled
        for index in range(scores.shape[1])
    ]
    return np.array(cuts, dtype=np.float64)


def _checked(values: Array, labels: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The values as (N, V, C) and the labels, (N,) or (N, C), found to fit together."""
    views: NDArray[np.float64] = np.asarray(values).astype(np.float64)
    views = views[:, None] if views.ndim == 2 else views
    truth = np.asarray(labels)
    expected = views.shape[::2] if truth.ndim == 2 else views.shape[:1]
    if views.ndim != 3 or not views.size or truth.shape != expected:
        raise ValueError(f"{views.shape} values do not fit {truth.shape} labels")
    if not np.isfinite(views).all():
        raise ValueError("some values are not numbers")
    if truth.ndim == 2:
        if truth.dtype != np.bool_ or not truth.any():
            raise ValueError("labels of several classes need to be true or false, and some of them true")
        return views, truth
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= views.shape[2]:
        raise ValueError(f"labels need to be class numbers below {views.shape[2]}")
    return views, truth.astype(np.int64)


def _shown(truth: NDArray[Any], num_classes: int) -> NDArray[np.bool_]:
    """Which classes the items show, (N, num_classes)."""
    shown: NDArray[np.bool_] = truth if truth.ndim == 2 else truth[:, None] == np.arange(num_classes)
    return shown


def _temperature(values: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[float | None, str]:
    """The temperature with the least mean negative log-likelihood of logits (N, V, C), labels (N,); a note about it.

    It has six digits and lies in `MIN_TEMPERATURE`..`MAX_TEMPERATURE`. It is None where nothing can be fitted: of
    fewer than `MIN_ITEMS` items, and where no view scores another class above the right one, as then the likelihood
    has no maximum but grows for ever as the temperature falls.
    """
    num_items, num_views, num_classes = values.shape
    if num_items < MIN_ITEMS:
        return None, f"no temperature was fitted: {num_items} validation items are too few, {MIN_ITEMS} are needed"
    rows = values.reshape(-1, num_classes)
    own = rows[np.arange(len(rows)), truth.repeat(num_views)]
    margins = rows - own[:, None]
    if margins.max() <= 0:
        return None, "no temperature was fitted: every validation item is right, so no limit to sureness shows"
    return _least(lambda inverse: _slope(margins, inverse), lambda inverse: _loss(margins, inverse), num_items)


def _sigmoid_temperature(values: NDArray[np.float64], shown: NDArray[np.bool_]) -> tuple[float | None, str]:
    """The same for the sigmoids of logits (N, V, C), which classes are shown (N, C).

    It is None where every logit has the right sign, too.
    """
    num_items = len(values)
    if num_items < MIN_ITEMS:
        return None, f"no temperature was fitted: {num_items} validation items are too few, {MIN_ITEMS} are needed"
    # How far a logit is on the right side of 0.
    sides = (values * np.where(shown, 1.0, -1.0)[:, None]).reshape(-1, values.shape[2])
    if sides.min() >= 0:
        return None, "no temperature was fitted: every validation item is right, so no limit to sureness shows"

    def slope(inverse: float) -> float:
        return float((-sides * np.exp(-np.logaddexp(0, inverse * sides))).sum(axis=1).mean())

    def loss(inverse: float) -> float:
        return float(np.logaddexp(0, -inverse * sides).sum(axis=1).mean())

    return _least(slope, loss, num_items)


def _least(slope: Callable[[float], float], loss: Callable[[float], float], num_items: int) -> tuple[float, str]:
    """The temperature with the least loss, and a note about it; both functions are of 1 / temperature."""
    # The likelihood is concave in 1 / temperature: its slope changes sign once.
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    at_end = ""
    if slope(low) >= 0 or slope(high) <= 0:
        low = high = low if slope(low) >= 0 else high
        at_end = ", the end of the range: the logits say little about the classes"
    for _ in range(_NUM_HALVINGS if low < high else 0):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    temperature = float(f"{1 / high:.6g}")
    before, after = loss(1.0), loss(1 / temperature)
    said = f"temperature {temperature:g}{at_end}; negative log-likelihood {after:.4f}, {before:.4f} without it"
    return temperature, f"{said} ({num_items} validation items)"


def _slope(margins: NDArray[np.float64], inverse: float) -> float:
    """Derivative of the mean negative log-likelihood by 1 / temperature; `margins` are logits less the right one."""
    scaled = inverse * margins
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return float(((weights * margins).sum(axis=1) / weights.sum(axis=1)).mean())


def _loss(margins: NDArray[np.float64], inverse: float) -> float:
    """Mean negative log-likelihood."""
    scaled = inverse * margins
    top = scaled.max(axis=1)
    return float((np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top).mean())


def _best_cut(scores: NDArray[np.float64], is_class: NDArray[np.bool_]) -> float:
    """The threshold on scores (M,) with the best F1; some of them must be of the class."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(is_class[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores pass together
    f1 = 2 * hits[last] / (last + 1 + hits[-1])
    cut = last[int(np.argmax(f1))]  # the first of equals lets the fewest through
    below = ranked[cut + 1] if cut + 1 < len(ranked) else 0.0
    # Nine digits lie strictly between any two numbers of seven.
    return float(f"{(ranked[cut] + below) / 2:.9g}")


def _threshold_notes(scores: Array, shown: NDArray[np.bool_], thresholds: NDArray[np.float64]) -> list[str]:
    num_classes = len(thresholds)
    rare = shown.sum(axis=0) < MIN_POSITIVES
    always = ~rare & (scores >= thresholds).all(axis=0)
    never = rare & (scores < thresholds).all(axis=0)
    notes = []
    if rare.any():
        shared = f"{thresholds[rare][0]:.4g}"
        text = f"{rare.sum()} of {num_classes} classes have fewer than {MIN_POSITIVES} validation items"
        text += f" and take the threshold of all classes together, {shared}"
        notes.append(text + (f"; {never.sum()} of them never reach it on validation" if never.any() else ""))
    if always.any():
        notes.append(
            f"{always.sum()} of {num_classes} classes have thresholds that every validation item reaches: "
            "their scores do not tell them from others"
        )
    return notes


def _seven_digits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores as reported: seven digits are what float32 holds."""
    return np.array([float(f"{score:.7g}") for score in scores.ravel().tolist()]).reshape(scores.shape)
