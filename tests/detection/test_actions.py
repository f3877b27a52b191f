"""Actions from verb and noun scores, against the list of all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.detection.actions import ClassScores, fuse_actions
from tadacli.detection.settings import check_segment_heads
from tadacli.errors import TadaError, UsageError


def random_scores(seed: int, num_windows: int, num_classes: int) -> np.ndarray:
    """Scores in sixteenths, so that ties are common."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 17, (num_windows, num_classes)) / 16).astype(np.float32)


def labels(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(count))


def all_pairs(verb, noun, top_verbs, top_nouns) -> list[tuple[int, int]]:
    """Pairs of the best verbs and nouns of one window, best first."""
    verbs = sorted(range(len(verb)), key=lambda index: (-verb[index], index))[:top_verbs]
    nouns = sorted(range(len(noun)), key=lambda index: (-noun[index], index))[:top_nouns]
    pairs = [(v, n) for v in verbs for n in nouns]
    return sorted(pairs, key=lambda pair: -(float(verb[pair[0]]) * float(noun[pair[1]])))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 7)),
    tops=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 12)),
)
def test_pairs_are_the_best_products_of_the_best_verbs_and_nouns(seed, shape, tops) -> None:
    (num_windows, num_verbs, num_nouns), (top_verbs, top_nouns, num_pairs) = shape, tops
    verb, noun = random_scores(seed, num_windows, num_verbs), random_scores(seed + 1, num_windows, num_nouns)
    pairs, products = fuse_actions(verb, noun, top_verbs=top_verbs, top_nouns=top_nouns, num_pairs=num_pairs)
    expected = [all_pairs(*row, top_verbs, top_nouns)[:num_pairs] for row in zip(verb, noun, strict=True)]
    assert [[tuple(pair) for pair in row] for row in pairs.tolist()] == expected
    for row in range(num_windows):
        assert products[row].tolist() == [float(verb[row, v]) * float(noun[row, n]) for v, n in expected[row]]


def test_products_have_all_the_digits_of_their_factors() -> None:
    verb, noun = (np.random.default_rng(seed).random((3, 4)).astype(np.float32) for seed in (1, 2))
    pairs, products = fuse_actions(verb, noun)
    for row in range(3):
        expected = [float(verb[row, v]) * float(noun[row, n]) for v, n in pairs[row].tolist()]
        assert products[row].tolist() == expected


def test_the_published_numbers_are_the_defaults() -> None:
    verb, noun = random_scores(3, 2, 97), random_scores(4, 2, 300)
    pairs, _ = fuse_actions(verb, noun)
    assert pairs.shape == (2, 20, 2)
    assert [tuple(pair) for pair in pairs[0].tolist()] == all_pairs(verb[0], noun[0], 10, 30)[:20]


def test_peaks_are_the_best_products_of_the_pairs_put_forward() -> None:
    verb, noun = random_scores(5, 2500, 4) / 4, random_scores(6, 2500, 5)
    # The best windows of their pairs; many windows are fused in parts, which must leave none out.
    for row, v in ((0, 0), (1023, 1), (1024, 2), (2499, 3)):
        verb[row, v] = noun[row, v] = 1.0
    classes = ClassScores({"verb": verb, "noun": noun}, {"verb": labels("v", 4), "noun": labels("n", 5)})
    expected = [-1.0] * 20
    for row in range(2500):
        for v, n in all_pairs(verb[row], noun[row], 10, 30)[:2]:
            expected[v * 5 + n] = max(expected[v * 5 + n], float(verb[row, v]) * float(noun[row, n]))
    assert classes.peaks(max_pairs=2).tolist() == expected


def test_an_action_has_the_product_of_its_parts_and_all_their_names() -> None:
    verb, noun = random_scores(7, 6, 2), random_scores(8, 6, 3)
    classes = ClassScores({"verb": verb, "noun": noun}, {"verb": ("take", "put"), "noun": ("cup", "pan", "lid")})
    assert classes.columns([4, 0])[:, 0].tolist() == (verb[:, 1].astype(float) * noun[:, 1]).tolist()
    assert classes.parts([4, 0]).tolist() == np.stack([verb[:, 1], verb[:, 0], noun[:, 1], noun[:, 0]], 1).tolist()
    assert classes.names(5) == ("put lid", "put", "lid")


@pytest.mark.parametrize("heads", [{}, {"verb": ("a",), "action": ("b",)}, {"verb": (), "noun": (), "x": ()}])
def test_heads_that_make_no_segments_are_refused(heads) -> None:
    with pytest.raises(UsageError, match="no segments can be made"):
        check_segment_heads(heads)


@pytest.mark.parametrize("heads", [{"": ("a",)}, {"motion": ("a",)}, {"noun": ("a",), "verb": ("b",)}])
def test_one_head_of_any_name_or_a_verb_and_a_noun_will_do(heads) -> None:
    check_segment_heads(heads)


def test_scores_that_do_not_fit_or_are_not_numbers_are_refused() -> None:
    heads = {"": ("a", "b")}
    with pytest.raises(ValueError, match="do not fit 3 windows"):
        ClassScores.check({"": np.zeros((2, 2))}, heads, num_windows=3)
    with pytest.raises(ValueError, match="2 labels"):
        ClassScores.check({"": np.zeros((3, 1))}, heads, num_windows=3)
    with pytest.raises(TadaError, match="not numbers"):
        ClassScores.check({"": np.array([[0.5, math.nan]])}, heads, num_windows=1)
