"""Temperatures and thresholds against plain searches, and on logits whose temperature is known."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tadacli.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_ITEMS,
    MIN_POSITIVES,
    MIN_TEMPERATURE,
    fit_scores,
    fit_thresholds,
)
from tadacli.scoring.views import class_probabilities
from tadacli.specs import spec_from_dict
from tadacli.zoo.manifest import manifest

LOSS_TOLERANCE = 1e-9


def drawn(temperature: float, *, num_items: int, num_classes: int, seed: int):
    """Logits, and labels drawn from the probabilities that they give at this temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_items, num_classes)) * 3 * temperature
    chances = torch.from_numpy(logits / temperature).softmax(dim=1).numpy()
    labels = (chances.cumsum(axis=1) < rng.random((num_items, 1))).sum(axis=1)
    return logits, labels.clip(max=num_classes - 1)


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return torch.nn.functional.cross_entropy(torch.from_numpy(logits) / temperature, torch.from_numpy(labels)).item()


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """1.0 where nothing can be fitted."""
    return fit_scores({"": logits}, {"": labels}).temperatures.get("", 1.0)


# --- temperature ------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature, num_items=20_000, num_classes=5, seed=1)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.04)


@pytest.mark.parametrize("seed", range(6))
def test_no_temperature_of_a_dense_grid_is_likelier(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(2, 7))
    logits, labels = drawn(rng.uniform(0.2, 6), num_items=60, num_classes=num_classes, seed=seed)
    labels = np.where(rng.random(60) < 0.2, rng.integers(0, num_classes, 60), labels)
    fitted = fit_temperature(logits, labels)
    grid = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 2000)
    assert MIN_TEMPERATURE < fitted < MAX_TEMPERATURE
    assert loss(logits, labels, fitted) <= min(loss(logits, labels, each) for each in grid) + LOSS_TOLERANCE


def test_every_view_counts_with_the_class_of_its_item() -> None:
    logits, labels = drawn(2.0, num_items=120, num_classes=4, seed=3)
    views, items = logits.reshape(40, 3, 4), labels[:40]
    assert fit_temperature(views, items) == fit_temperature(views.reshape(120, 4), items.repeat(3))


def test_a_shift_of_the_logits_and_their_order_change_nothing() -> None:
    logits, labels = drawn(2.0, num_items=100, num_classes=4, seed=4)
    fitted = fit_temperature(logits, labels)
    assert fit_temperature(logits + 1e4, labels) == pytest.approx(fitted, rel=1e-5)
    assert fit_temperature(logits[::-1], labels[::-1]) == fitted


@pytest.mark.parametrize(
    ("logits", "labels", "expected", "reason"),
    [
        (np.eye(2)[[0, 1] * 9], [1, 0] * 9, 1.0, "18 validation items are too few"),
        (np.eye(2)[[0, 1] * 20], [0, 1] * 20, 1.0, "every validation item is right"),
        (np.zeros((40, 2)), [0, 1] * 20, 1.0, "every validation item is right"),
        (np.eye(2)[[0, 1] * 20], [1, 0] * 20, MAX_TEMPERATURE, "the end of the range"),
        (np.eye(2)[[0] * 40] * 1e-3, [0] * 39 + [1], MIN_TEMPERATURE, "the end of the range"),
    ],
)
def test_where_there_is_nothing_to_fit_the_reason_is_told(logits, labels, expected: float, reason: str) -> None:
    assert fit_temperature(logits, np.array(labels)) == expected
    fitted = fit_scores({"": logits}, {"": np.array(labels)})
    assert fitted.temperatures == ({} if expected == 1.0 else {"": expected})
    assert reason in fitted.notes[0]
    assert len(fitted.thresholds[""]) == 2


def test_a_temperature_changes_no_ranking_and_none_changes_no_bit() -> None:
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) * 5
    plain = class_probabilities(logits, None)
    assert torch.equal(plain, logits.softmax(dim=-1).double())
    for temperature in (0.3, 1.7, 4.0):
        scaled = class_probabilities(logits, temperature)
        assert torch.equal(scaled.argsort(dim=1)[:, -5:], plain.argsort(dim=1)[:, -5:])
        assert torch.allclose(scaled, (logits.double() / temperature).softmax(dim=-1), atol=1e-6)


# --- thresholds -------------------------------------------------------------------------------------


def best_threshold(scores: list[float], is_class: list[bool]) -> float:
    """Of the middles below each score the one with the best F1, counted out; of equals the highest."""
    known = sorted({*scores, 0.0})
    best, chosen = Fraction(-1), 0.0
    for score in sorted(set(scores), reverse=True):
        middle = (score + max([each for each in known if each < score], default=0.0)) / 2
        passing = [truth for value, truth in zip(scores, is_class, strict=True) if value >= middle]
        f1 = Fraction(2 * sum(passing), len(passing) + sum(is_class))
        if f1 > best:
            best, chosen = f1, middle
    return chosen


# 64ths: middles are exact, and ties common.
tables = st.integers(2, 4).flatmap(
    lambda size: st.lists(
        st.tuples(st.lists(st.integers(0, 64), min_size=size, max_size=size), st.integers(0, size - 1)),
        min_size=1,
        max_size=14,
    )
)


@examples(max_examples=150, deadline=None)
@given(rows=tables)
def test_thresholds_have_the_best_f1_of_all_cut_points(rows) -> None:
    scores = np.array([row for row, _ in rows]) / 64
    labels = np.array([label for _, label in rows])
    thresholds = fit_thresholds(scores, labels)
    is_class = labels[:, None] == np.arange(scores.shape[1])
    pooled = best_threshold(scores.ravel().tolist(), is_class.ravel().tolist())
    for index, threshold in enumerate(thresholds.tolist()):
        if is_class[:, index].sum() >= MIN_POSITIVES:
            assert threshold == best_threshold(scores[:, index].tolist(), is_class[:, index].tolist())
            assert (scores[:, index] >= threshold).any()
        else:
            assert threshold == pooled
    assert fit_thresholds(scores[::-1], labels[::-1]).tolist() == thresholds.tolist()


def test_a_threshold_keeps_apart_the_closest_scores_that_are_reported_as_different() -> None:
    near = [0.9999998, 0.9999999, 0.09999999, 0.1, 1e-30, 1.000001e-30]
    for low, high in zip(near[::2], near[1::2], strict=True):
        scores = np.array([[high, 0.0]] * 3 + [[low, 0.0]] * 3)
        threshold = fit_thresholds(scores, np.array([0, 0, 0, 1, 1, 1]))[0]
        assert low < threshold < high
    same = np.array([[0.12345678, 0.0]] * 3 + [[0.12345677, 0.0]] * 3)  # both are reported as 0.1234568
    assert fit_thresholds(same, np.array([0, 0, 0, 1, 1, 1]))[0] == pytest.approx(0.0617284)


# --- both -------------------------------------------------------------------------------------------


def test_thresholds_belong_to_the_mean_over_views_of_the_scaled_scores() -> None:
    logits, labels = drawn(3.0, num_items=200, num_classes=4, seed=5)
    views = np.stack([logits, logits + np.random.default_rng(0).normal(size=logits.shape)], axis=1)
    fitted = fit_scores({"": views}, {"": labels})
    temperature = fitted.temperatures[""]
    assert temperature == fit_temperature(views, labels)
    scores = (torch.from_numpy(views).float() / temperature).softmax(dim=-1).double().mean(dim=1)
    assert fitted.thresholds[""] == tuple(fit_thresholds(scores.numpy(), labels).tolist())
    (note,) = fitted.notes
    assert f"{loss(views.reshape(-1, 4), labels.repeat(2), temperature):.4f}, " in note
    assert f"{loss(views.reshape(-1, 4), labels.repeat(2), 1.0):.4f} without it" in note


def test_classes_with_few_items_and_those_that_cannot_be_told_are_counted() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 30 + [2] * 2)
    logits = rng.normal(size=(62, 3))
    logits[:, 0] += 6 * (labels == 0)
    logits[:, 1] = 1.0  # says nothing
    logits[:, 2] = -20.0  # never shows
    notes = " | ".join(fit_scores({"verb": logits}, {"verb": labels}).notes)
    assert "verb: 1 of 3 classes have fewer than 3 validation items" in notes
    assert "1 of them never reach it on validation" in notes
    assert notes.startswith("verb: temperature ")


def test_what_is_fitted_goes_into_a_model_and_comes_back() -> None:
    heads = {"verb": ("cut", "mix"), "noun": ("egg", "pan", "tap")}
    data = {name: drawn(2.0, num_items=80, num_classes=len(heads[name]), seed=7) for name in heads}
    fitted = fit_scores({name: each[0] for name, each in data.items()}, {name: each[1] for name, each in data.items()})
    assert set(fitted.temperatures) == set(fitted.thresholds) == set(heads)
    base = manifest()["r2plus1d_tiny.camera_motion"]
    spec = replace(base, heads=heads, temperatures=fitted.temperatures, thresholds=fitted.thresholds)
    assert spec_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "do not fit"),
        (np.zeros((3, 2)), np.zeros(2, int), "do not fit"),
        (np.zeros(3), np.zeros(3, int), "do not fit"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "not numbers"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), "class numbers below 2"),
        (np.zeros((3, 2)), np.array([0, 1, -1]), "class numbers below 2"),
        (np.zeros((3, 2)), np.zeros(3), "class numbers below 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(logits, labels, reason: str) -> None:
    for fit in (fit_temperature, fit_thresholds, lambda *both: fit_scores({"": both[0]}, {"": both[1]})):
        with pytest.raises(ValueError, match=reason):
            fit(logits, labels)


def test_logits_are_no_scores() -> None:
    with pytest.raises(ValueError, match=r"in 0\.\.1"):
        fit_thresholds(np.full((MIN_ITEMS, 2), 1.5), np.zeros(MIN_ITEMS, int))


# --- labels that hold together ------------------------------------------------------------------------------


def drawn_together(temperature: float, *, num_items: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three labels, and which of them hold, drawn from the sigmoids at this temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_items, 3)) * 2 * temperature
    return logits, rng.random((num_items, 3)) < 1 / (1 + np.exp(-logits / temperature))


def plain_binary_loss(logits: np.ndarray, shown: np.ndarray, temperature: float) -> float:
    scores = torch.from_numpy(logits / temperature).sigmoid()
    return float(torch.nn.functional.binary_cross_entropy(scores, torch.from_numpy(shown).double()))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_of_sigmoids_is_the_one_they_were_drawn_with(temperature: float) -> None:
    logits, shown = drawn_together(temperature, num_items=3000, seed=1)
    found = fit_scores({"": logits}, {"": shown})
    assert found.temperatures[""] == pytest.approx(temperature, rel=0.1)
    around = [plain_binary_loss(logits, shown, found.temperatures[""] * factor) for factor in (0.99, 1, 1.01)]
    assert min(around) == around[1]
    # Views of an item have its labels, and the thresholds are those of their mean.
    twice = fit_scores({"": np.stack([logits, logits], axis=1)}, {"": shown})
    assert (twice.temperatures, twice.thresholds) == (found.temperatures, found.thresholds)


def test_the_threshold_of_a_label_has_its_best_f1_whatever_else_holds() -> None:
    logits, shown = drawn_together(1.0, num_items=200, seed=2)
    found = fit_scores({"": logits}, {"": shown})
    scores = torch.from_numpy(logits.astype(np.float32) / np.float32(found.temperatures[""])).double().sigmoid().numpy()
    for index, threshold in enumerate(found.thresholds[""]):
        reached = f1_of(scores[:, index] >= threshold, shown[:, index])
        best = max(f1_of(scores[:, index] >= level, shown[:, index]) for level in scores[:, index])
        assert reached == pytest.approx(best)


def f1_of(said: np.ndarray, is_so: np.ndarray) -> float:
    return 2 * (said & is_so).sum() / (said.sum() + is_so.sum())


def test_sigmoids_without_a_mistake_have_no_temperature() -> None:
    logits, _ = drawn_together(1.0, num_items=MIN_ITEMS, seed=3)
    right = fit_scores({"": logits}, {"": logits > 0})
    assert right.temperatures == {}
    assert "every validation item is right" in right.notes[0]
    few = fit_scores({"": logits[1:]}, {"": logits[1:] > 0})
    assert f"{MIN_ITEMS - 1} validation items are too few" in few.notes[0]
    with pytest.raises(ValueError, match="true or false, and some of them true"):
        fit_scores({"": logits}, {"": np.zeros(logits.shape, dtype=np.bool_)})
    with pytest.raises(ValueError, match="do not fit"):
        fit_scores({"": logits}, {"": (logits > 0)[:, :2]})
