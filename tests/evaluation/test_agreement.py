"""Agreement of two labellings, against counts that are made in another way."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tadacli.evaluation.agreement import LabelledTime, VideoLabels, agreement

TENTHS = st.integers(-3, 65).map(lambda number: number / 10)
SPAN = st.tuples(TENTHS, st.integers(1, 30), st.sampled_from("abc")).map(
    lambda each: LabelledTime(each[0], each[0] + each[1] / 10, each[2])
)
SPANS = st.lists(SPAN, max_size=6)
SECONDS = (0.0, 6.2)


def kappa_of_codes(first: np.ndarray, second: np.ndarray) -> float | None:
    """Cohen's kappa of two sequences of codes, from the table of how often which meets which."""
    size = max(first.max(), second.max()) + 1
    table = np.zeros((size, size))
    np.add.at(table, (first, second), 1)
    table /= table.sum()
    by_chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return None if by_chance > 1 - 1e-12 else (float(np.trace(table)) - by_chance) / (1 - by_chance)


def codes(spans: list[LabelledTime], labels: str, step: float = 0.1) -> np.ndarray:
    """A number for the set of labels that holds at each instant."""
    instants = SECONDS[0] + (np.arange(round((SECONDS[1] - SECONDS[0]) / step)) + 0.5) * step
    found = np.zeros(len(instants), dtype=int)
    for number, label in enumerate(labels):
        for span in spans:
            if span.label == label:
                found[(instants >= span.start_seconds) & (instants < span.end_seconds)] |= 1 << number
    return found


def most_pairs(first: list[LabelledTime], second: list[LabelledTime]) -> int:
    """The largest number of pairs, by trying all."""

    def are_counterparts(a: LabelledTime, b: LabelledTime) -> bool:
        shared = min(a.end_seconds, b.end_seconds) - max(a.start_seconds, b.start_seconds)
        whole = max(a.end_seconds, b.end_seconds) - min(a.start_seconds, b.start_seconds)
        return a.label == b.label and shared > 0 and shared / whole >= 0.5 - 1e-9

    few, many = sorted((first, second), key=len)
    return max(
        sum(are_counterparts(a, b) for a, b in zip(few, chosen, strict=True)) for chosen in permutations(many, len(few))
    )


@given(SPANS, SPANS)
@example([], [])
@example([LabelledTime(0, 6.2, "a")], [LabelledTime(0, 6.2, "a")])
@example([LabelledTime(0, 0.1, "a")], [LabelledTime(0, 0.2, "a")])
def test_it_is_what_tables_and_trying_all_pairs_say(first: list[LabelledTime], second: list[LabelledTime]) -> None:
    found = agreement([VideoLabels(first, second, SECONDS)])
    assert list(found.by_label) == sorted({span.label for span in (*first, *second)})
    for name, each in [("abc", found.overall), *found.by_label.items()]:
        own = [[span for span in side if span.label in name] for side in (first, second)]
        assert each.kappa == pytest.approx(kappa_of_codes(*(codes(side, name) for side in own)))
        count = len(own[0]) + len(own[1])
        assert each.f1 == (pytest.approx(2 * most_pairs(*own) / count) if count else None)
    turned = agreement([VideoLabels(second, first, SECONDS)])
    assert turned.overall.kappa == found.overall.kappa
    assert turned.overall.f1 == found.overall.f1


def test_videos_are_counted_together_and_steps_and_ious_are_chosen() -> None:
    first, second = [LabelledTime(0, 2, "a")], [LabelledTime(0, 1, "a")]
    one, other = VideoLabels(first, second, (0.0, 4.0)), VideoLabels([], [], (10.0, 14.0))
    found = agreement([one, other], step_seconds=1.0).overall
    assert (found.num_points, found.num_same, found.chance) == (8, 7, 2 * 1 + 6 * 7)
    assert (found.kappa, found.f1) == ((56 - 44) / (64 - 44), 1.0)
    assert agreement([one], tiou=0.6).overall.f1 == 0
    for how in ({"step_seconds": 0.0}, {"tiou": 0.0}):
        with pytest.raises(ValueError, match="say nothing"):
            agreement([one], **how)
    with pytest.raises(ValueError, match="no instants"):
        agreement([VideoLabels([], [], (1.0, 1.0))])


def test_as_many_as_possible_have_a_counterpart() -> None:
    """The first in order could take the only one that the second can have."""
    first = [LabelledTime(0.0, 2.2, "a"), LabelledTime(0.0, 3.0, "a")]
    second = [LabelledTime(0.0, 2.0, "a"), LabelledTime(0.9, 2.1, "a")]
    assert agreement([VideoLabels(first, second, SECONDS)]).overall.num_matched == 2
    assert agreement([VideoLabels(second, first, SECONDS)]).overall.num_matched == 2
    chain = [LabelledTime(number * 0.3, number * 0.3 + 1, "a") for number in range(400)]
    shifted = [LabelledTime(span.start_seconds + 0.1, span.end_seconds + 0.1, "a") for span in chain]
    assert agreement([VideoLabels(chain, shifted, (0.0, 130.0))]).overall.f1 == 1.0
