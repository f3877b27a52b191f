"""Measuring in turns: who goes first, when it ends, and what comes out."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli import timing
from tadacli.timing import MOST_ROUNDS, Timing, in_turns, seconds_of, take_turns, timing_of, warm_up


class Clock:
    """A clock that moves when something is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def job(self, *durations: float) -> Callable[[], None]:
        """Something that takes so long, the last of the durations again and again."""
        left = list(durations)

        def call() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of the time."""
    fake = Clock()
    monkeypatch.setattr(timing, "time", fake)
    return fake


@pytest.mark.parametrize(("within_seconds", "num_calls"), [(0.0, 1), (0.9, 1), (1.0, 1), (1.9, 1), (2.0, 2), (5.5, 5)])
def test_calls_are_repeated_within_the_time_but_at_least_once(
    clock: Clock, within_seconds: float, num_calls: int
) -> None:
    assert seconds_of(clock.job(1.0), within_seconds=within_seconds) == 1.0
    assert clock.now == num_calls


def test_it_is_the_mean_that_counts(clock: Clock) -> None:
    assert seconds_of(clock.job(1.0, 3.0), within_seconds=4.0) == 2.0


def test_what_the_first_call_sets_up_does_not_count(clock: Clock) -> None:
    assert warm_up(clock.job(0.5, 0.1), seconds=1.0) == pytest.approx(0.1)


def test_a_long_first_call_is_not_repeated(clock: Clock) -> None:
    assert warm_up(clock.job(2.0, 0.1), seconds=1.0) == clock.now == 2.0


def test_the_order_changes_from_round_to_round() -> None:
    order: list[str] = []

    def measurement(name: str) -> Callable[[], float]:
        return lambda: float(order.append(name) or 1)  # type: ignore[func-returns-value]

    take_turns([measurement(name) for name in "abc"], seconds=60)
    assert "".join(order) == "cbaabccbaabccba"


@pytest.mark.parametrize(
    ("took", "num_rounds", "reason"),
    [
        (0.1, MOST_ROUNDS, "there is time for all"),
        (0.35, 3, "the time is up after the third"),
        (0.3, 4, "and here after the fourth"),
        (1.5, 2, "a round that takes longer than all should take, twice"),
        (4.0, 1, "one is enough to know that it is slow"),
    ],
)
def test_a_measurement_ends_when_its_time_is_up(clock: Clock, took: float, num_rounds: int, reason: str) -> None:
    job = clock.job(took)
    quick, slow = take_turns([lambda: 7.0, lambda: seconds_of(job)], seconds=1.0)
    assert slow.num_rounds == num_rounds, reason
    assert slow.median_seconds == pytest.approx(took)
    assert quick == Timing(7.0, 7.0, 7.0, MOST_ROUNDS)


def test_rounds_fill_the_time_together(clock: Clock) -> None:
    take_turns([in_turns(clock.job(0.01), seconds=1.0)], seconds=1.0)
    assert 0.9 <= clock.now <= 1.001


@given(st.lists(st.floats(min_value=1e-6, max_value=1e3), min_size=1, max_size=MOST_ROUNDS))
def test_median_and_spread(values: list[float]) -> None:
    found = timing_of(values)
    assert (found.shortest_seconds, found.longest_seconds) == (sorted(values)[0], sorted(values)[-1])
    assert found.median_seconds == statistics.median(values)
    assert found.num_rounds == len(values) <= MOST_ROUNDS
