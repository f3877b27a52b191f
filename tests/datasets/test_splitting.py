"""Training and validation parts by group: what must hold for any samples, in any order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.datasets.splitting import split_samples
from tadacli.errors import UsageError

# A sample is (number, group, classes).
Item = tuple[int, str, tuple[str, ...]]


def split(items: Sequence[Item], share: float = 0.2, seed: int = 0) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    return split_samples(
        items, validation_share=share, group_of=lambda item: item[1], labels_of=lambda item: item[2], seed=seed
    )


def groups(items: Iterable[Item]) -> set[str]:
    return {group for _, group, _ in items}


def groups_of_class(items: Iterable[Item], label: str) -> set[str]:
    return {group for _, group, labels in items if label in labels}


def classes(items: Iterable[Item]) -> set[str]:
    return {label for _, _, labels in items for label in labels}


@st.composite
def single(draw: st.DrawFn) -> list[Item]:
    """Samples whose groups have one class each."""
    sizes = draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=12), min_size=1, max_size=5))
    items: list[Item] = []
    for number, groups_of in enumerate(sizes):
        for group, size in enumerate(groups_of):
            items += [(len(items) + k, f"c{number}g{group}", (f"c{number}",)) for k in range(size)]
    return items


@st.composite
def mixed(draw: st.DrawFn) -> list[Item]:
    """Samples of up to two classes, whose groups have any of them."""
    drawn = draw(
        st.lists(st.tuples(st.integers(0, 7), st.lists(st.integers(0, 4), max_size=2)), min_size=2, max_size=30)
    )
    return [
        (number, f"g{group}", tuple(f"c{label}" for label in labels)) for number, (group, labels) in enumerate(drawn)
    ]


ANY = st.one_of(single(), mixed()).filter(lambda items: len(groups(items)) > 1)
SHARES = st.sampled_from([0.05, 0.2, 0.5, 0.9])


@given(ANY, SHARES, st.integers(0, 3), st.randoms(use_true_random=False))
def test_no_group_is_on_both_sides_and_the_order_decides_nothing(
    items: list[Item], share: float, seed: int, rng: random.Random
) -> None:
    train, validation = split(items, share, seed)
    assert not groups(train) & groups(validation)
    assert sorted(train + validation) == sorted(items)
    shuffled = rng.sample(items, len(items))
    again = split(shuffled, share, seed)
    assert [sorted(side) for side in again] == [sorted(train), sorted(validation)]
    assert list(again[0]) == [item for item in shuffled if item in set(train)]


@given(single().filter(lambda items: len(groups(items)) > 1), SHARES, st.integers(0, 3))
def test_each_class_of_two_groups_is_on_both_sides(items: list[Item], share: float, seed: int) -> None:
    train, validation = split(items, share, seed)
    assert classes(train) == classes(items)
    assert classes(validation) == {label for label in classes(items) if len(groups_of_class(items, label)) > 1}


@given(mixed().filter(lambda items: len(groups(items)) > 1), SHARES)
def test_a_class_is_missing_from_validation_only_if_another_would_lose_its_training(
    items: list[Item], share: float
) -> None:
    train, validation = split(items, share)
    assert train
    assert classes(train) == classes(items)
    for label in classes(items) - classes(validation):
        for group in groups_of_class(items, label):
            rest = [item for item in train if item[1] != group]
            if len(groups_of_class(items, label)) > 1:
                assert not rest or classes(rest) != classes(items)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_share_is_about_met_by_class_and_in_all(share: float, seed: int) -> None:
    items: list[Item] = [(number, str(number), (f"c{number % 7}",)) for number in range(7 * 20)]
    _, validation = split(items, share, seed)
    assert len(validation) == pytest.approx(share * len(items), rel=0.25, abs=1)
    for count in Counter(item[2][0] for item in validation).values():
        assert count == pytest.approx(share * 20, rel=0.5, abs=1)


def test_new_files_leave_nearly_all_others_where_they_are() -> None:
    items: list[Item] = [(number, f"clip {number}", (f"c{number % 5}",)) for number in range(500)]
    train, validation = split(items)
    later = split([*items, *((number, f"clip {number}", (f"c{number % 5}",)) for number in range(500, 600))])
    assert len(set(train) & set(later[1])) + len(set(validation) & set(later[0])) <= 3
    with_class = split([*items, *((number, f"other {number}", ("new",)) for number in range(500, 520))])
    assert len(set(train) & set(with_class[1])) + len(set(validation) & set(with_class[0])) == 0


def test_another_seed_is_another_split() -> None:
    items: list[Item] = [(number, str(number), ("a", "b")) for number in range(100)]
    assert len({split(items, seed=seed) for seed in range(5)}) == 5


@pytest.mark.parametrize(
    ("items", "share", "said"),
    [
        ([(0, "g", ("a",)), (1, "h", ("a",))], 0.0, "share of 0"),
        ([(0, "g", ("a",)), (1, "h", ("a",))], 1.0, "share of 1"),
        ([(0, "g", ("a",)), (1, "g", ("b",))], 0.2, "2 samples in 1 group"),
        ([], 0.2, "0 samples"),
    ],
)
def test_what_cannot_be_split(items: list[Item], share: float, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        split(items, share)
