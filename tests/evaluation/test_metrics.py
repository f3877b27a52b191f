"""Recognition metrics against slow versions that follow one item after the other."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import TadaError
from tadacli.evaluation import metrics
from tadacli.evaluation.metrics import (
    TOPK,
    Accuracy,
    Outcomes,
    action_ranks,
    bootstrap_interval,
    calibration,
    class_accuracy,
    confusion_matrix,
    ek100_metrics,
    log_probabilities,
    mean_class_accuracy,
    outcomes,
    top_k,
)

CLASSES = 4
# Few distinct scores, so that ties are common.
items = st.lists(
    st.tuples(st.lists(st.integers(0, 3), min_size=CLASSES, max_size=CLASSES), st.integers(0, CLASSES - 1)), max_size=20
)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([scores for scores, _ in rows], dtype=np.float32).reshape(-1, CLASSES)
    return scores, np.array([label for _, label in rows], dtype=np.int64)


def order_of(scores) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


@settings(max_examples=100, deadline=None)
@given(items)
def test_accuracies_are_those_of_sorting_each_item(rows) -> None:
    found = outcomes(*arrays(rows))
    orders = [(order_of(scores), label) for scores, label in rows]
    assert found.predicted.tolist() == [order[0] for order, _ in orders]
    assert found.confidences.tolist() == [max(scores) for scores, _ in rows]
    for k in (1, 2, 3):
        assert top_k(found.ranks, k) == Accuracy(sum(label in order[:k] for order, label in orders), len(rows))
    per_class = {
        c: [order[0] == label for order, label in orders if label == c] for c in sorted({label for _, label in rows})
    }
    assert class_accuracy(found) == {c: Accuracy(sum(hits), len(hits)) for c, hits in per_class.items()}
    cells = [[sum(o[0] == p and t == c for o, t in orders) for p in range(CLASSES)] for c in range(CLASSES)]
    assert confusion_matrix(found, num_classes=CLASSES).tolist() == cells
    if rows:
        mean = np.mean([np.mean(hits) for hits in per_class.values()])
        assert mean_class_accuracy(found) == pytest.approx(mean)


@settings(max_examples=60, deadline=None)
@given(rows=items.filter(bool), cut=st.integers(0, 20), order=st.randoms(use_true_random=False))
def test_order_and_shards_change_no_metric(rows, cut, order) -> None:
    whole = probabilities(rows)
    moved = list(rows)
    order.shuffle(moved)
    shards = probabilities(moved[:cut]), probabilities(moved[cut:])
    joined = Outcomes(*(np.concatenate([getattr(shard, field.name) for shard in shards]) for field in fields(Outcomes)))
    assert mean_class_accuracy(joined) == mean_class_accuracy(whole)
    assert class_accuracy(joined) == class_accuracy(whole)
    assert [top_k(joined.ranks, k) for k in TOPK] == [top_k(whole.ranks, k) for k in TOPK]
    assert calibration(joined) == calibration(whole)
    options = {"num_resamples": 20, "seed": 4}
    assert bootstrap_interval(joined.ranks == 0, groups=joined.labels, **options) == bootstrap_interval(
        whole.ranks == 0, groups=whole.labels, **options
    )


def probabilities(rows) -> Outcomes:
    scores, labels = arrays(rows)
    powers = np.exp(scores.astype(np.float64))
    return outcomes(powers / powers.sum(axis=1, keepdims=True), labels)


def test_blocks_of_items_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 5, (50, 7)).astype(np.float32), rng.integers(0, 7, 50)
    whole = outcomes(scores, labels)
    monkeypatch.setattr(metrics, "_ROWS", 8)
    np.testing.assert_array_equal(outcomes(scores, labels).ranks, whole.ranks)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.lists(st.integers(-3, 3), min_size=7, max_size=7), st.integers(0, 2), st.integers(0, 3)),
        min_size=1,
        max_size=8,
    ),
    kept=st.integers(1, 7),
)
def test_action_ranks_are_those_of_sorting_all_pairs(rows, kept) -> None:
    scores = np.array([scores for scores, _, _ in rows], dtype=np.float32)
    verbs, nouns = scores[:, :3], scores[:, 3:]
    verb_labels, noun_labels = (np.array(column) for column in list(zip(*rows, strict=True))[1:])
    found = action_ranks(verbs, nouns, verb_labels=verb_labels, noun_labels=noun_labels, num_actions=kept)
    for row, (_, verb, noun) in enumerate(rows):
        pairs = [(v, n) for v in order_of(verbs[row]) for n in order_of(nouns[row])]
        ranked = sorted(pairs, key=lambda pair: -(verbs[row][pair[0]] + nouns[row][pair[1]]))
        assert found[row] == min(ranked.index((verb, noun)), kept)


def test_logarithms_of_probabilities_rank_actions_by_the_product() -> None:
    verb, noun = np.array([[0.6, 0.4, 0.0]]), np.array([[0.9, 0.1]])
    # The products are 0.54, 0.36, 0.06, 0.04; the sums of the probabilities would rank the second pair last but one.
    with np.errstate(divide="ignore"):
        logs = np.log(verb), np.log(noun)
    ranks = [
        int(action_ranks(*logs, verb_labels=np.array([v]), noun_labels=np.array([n]))[0])
        for v, n in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0)]
    ]
    assert ranks == [0, 1, 2, 3, 4]


def test_the_least_probabilities_keep_their_order_and_zero_is_a_number() -> None:
    logarithms = log_probabilities(np.array([1.0, 1e-3, 1e-20, 1e-40, 0.0], dtype=np.float32))
    assert np.isfinite(logarithms).all()
    assert (np.diff(logarithms) < 0).all()


def test_sums_of_a_large_and_a_small_score_do_not_lose_the_small_one() -> None:
    verb = np.array([[2.0**24, 2.0**24 - 1]], dtype=np.float32)
    noun = np.array([[1.25, 0.0]], dtype=np.float32)
    # In float32 the sums of the second and the third pair are equal.
    ranks = [
        int(action_ranks(verb, noun, verb_labels=np.array([v]), noun_labels=np.array([n]))[0])
        for v, n in [(0, 0), (1, 0), (0, 1), (1, 1)]
    ]
    assert ranks == [0, 1, 2, 3]


def test_epic_metrics_count_tail_and_unseen_items_by_the_official_names() -> None:
    def items_of(labels, ranks) -> Outcomes:
        columns = np.array(labels), np.array(labels), np.array(ranks)
        return Outcomes(*columns, np.ones(len(labels)))

    found = ek100_metrics(
        items_of([0, 1, 2, 2], [0, 3, 0, 9]),
        items_of([5, 5, 6, 7], [0, 0, 7, 0]),
        np.array([0, 4, 5, 5]),
        unseen=np.array([False, True, True, False]),
        tail_verbs=[2],
        tail_nouns=[5],
    )
    assert {name: accuracy.percent for name, accuracy in found.items()} == {
        "all_verb_accuracy_at_1": 50.0,
        "all_verb_accuracy_at_5": 75.0,
        "all_noun_accuracy_at_1": 75.0,
        "all_noun_accuracy_at_5": 75.0,
        "all_action_accuracy_at_1": 25.0,
        "all_action_accuracy_at_5": 50.0,
        "unseen_verb_accuracy_at_1": 50.0,
        "unseen_noun_accuracy_at_1": 50.0,
        "unseen_action_accuracy_at_1": 0.0,
        "tail_verb_accuracy_at_1": 50.0,
        "tail_noun_accuracy_at_1": 100.0,
        "tail_action_accuracy_at_1": 25.0,
    }
    assert found["tail_verb_accuracy_at_1"].num_scored == 2
    assert found["tail_action_accuracy_at_1"].num_scored == 4
    assert found["unseen_noun_accuracy_at_1"].num_scored == 2


def test_epic_metrics_leave_out_what_no_item_counts_for() -> None:
    one = Outcomes(np.array([0]), np.array([0]), np.array([0]), np.ones(1))
    found = ek100_metrics(one, one, np.array([0]), unseen=np.array([False]), tail_verbs=[3], tail_nouns=[3])
    assert set(found) == {f"all_{task}_accuracy_at_{k}" for task in ("verb", "noun", "action") for k in (1, 5)}


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    # Confidence 0.55 is right one time in two, 0.95 always: gaps of 0.05 and 0.05; the edge 0.6 belongs below.
    confidences = np.array([0.55, 0.55, 0.95, 0.95, 0.6])
    ranks = np.array([0, 1, 0, 0, 0])
    found = calibration(Outcomes(ranks, ranks, ranks, confidences), num_bins=5)
    assert [one.num_items for one in found.bins] == [0, 0, 3, 0, 2]
    assert found.bins[2].mean_confidence == pytest.approx(1.7 / 3)
    assert found.bins[2].accuracy == pytest.approx(2 / 3)
    assert found.error == pytest.approx((3 * abs(1.7 / 3 - 2 / 3) + 2 * 0.05) / 5)


def test_a_confidence_on_an_edge_belongs_below_it_and_rounding_does_not_leave_the_bins() -> None:
    confidences = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.000001])  # sums of softmax in float32 may end like the last
    right = np.zeros(6, dtype=np.int64)
    found = calibration(Outcomes(right, right, right, confidences), num_bins=4)
    assert [one.num_items for one in found.bins] == [2, 1, 1, 2]
    assert [(one.low, one.high) for one in found.bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]


def test_calibration_of_logits_is_refused() -> None:
    with pytest.raises(ValueError, match="probabilities"):
        calibration(outcomes(np.array([[3.0, 1.0]]), np.array([0])))


def test_bootstrap_intervals_are_as_wide_as_theory_says() -> None:
    right = np.arange(400) < 120
    low, high = bootstrap_interval(right, num_resamples=2000)
    spread = 1.96 * math.sqrt(0.3 * 0.7 / 400)
    assert low == pytest.approx(0.3 - spread, abs=0.006)
    assert high == pytest.approx(0.3 + spread, abs=0.006)
    assert bootstrap_interval(right, level=0.5)[0] > low
    assert bootstrap_interval(np.ones(9)) == (1.0, 1.0)
    several = {bootstrap_interval(right, num_resamples=50, seed=seed) for seed in (1, 2, 3, 1)}
    assert len(several) == 3


def test_bootstrap_over_groups_is_about_the_mean_of_groups() -> None:
    labels = np.repeat([0, 1], [300, 100])
    right = np.concatenate([np.ones(300), np.zeros(100)])
    assert bootstrap_interval(right, groups=labels) == (0.5, 0.5)


def test_groups_that_a_draw_does_not_have_do_not_count_in_it() -> None:
    assert bootstrap_interval(np.ones(3), groups=np.array([0, 4, 9])) == (1.0, 1.0)
    low, high = bootstrap_interval(np.array([1.0, 0.0, 0.0]), groups=np.array([0, 4, 4]), num_resamples=4000)
    assert (low, high) == (0.0, 1.0)  # draws of one group alone


def test_nothing_scored_is_an_error_and_not_a_number() -> None:
    nothing = outcomes(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64))
    measures = (
        lambda items: top_k(items.ranks, 1).percent,
        mean_class_accuracy,
        calibration,
        lambda items: bootstrap_interval(items.ranks),
    )
    for measure in measures:
        with pytest.raises(TadaError, match="no item was scored"):
            measure(nothing)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0.1, np.nan]], [0], "not numbers"),
        ([[0.1, 0.2]], [2], "from 0 to 1"),
        ([[0.1, 0.2]], [-1], "from 0 to 1"),
        ([[0.1, 0.2]], [0.5], "from 0 to 1"),
        ([[0.1, 0.2]], [0, 1], "do not fit"),
    ],
)
def test_scores_and_labels_that_cannot_be_meant_are_refused(scores, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        outcomes(np.array(scores), np.array(labels))


def test_infinite_logits_have_no_action() -> None:
    zero = np.array([0])
    with pytest.raises(ValueError, match="infinite"):
        action_ranks(np.array([[np.inf, 0.0]]), np.array([[0.0]]), verb_labels=zero, noun_labels=zero)


def test_columns_of_different_items_are_refused() -> None:
    one = Outcomes(np.array([0]), np.array([0]), np.array([0]), np.ones(1))
    with pytest.raises(ValueError, match="not of the same items"):
        ek100_metrics(one, one, np.array([0, 0]), unseen=np.array([False]), tail_verbs=[], tail_nouns=[])


def test_labels_beyond_the_matrix_are_refused() -> None:
    one = outcomes(np.array([[0.1, 0.9]]), np.array([1]))
    with pytest.raises(ValueError, match="beyond"):
        confusion_matrix(one, num_classes=1)
