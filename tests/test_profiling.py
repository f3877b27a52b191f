"""Where the wall time went: against a look at every moment of made-up runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.concurrency import map_ahead, read_ahead
from tadacli.profiling import Profile, Stage, count, during, profiled, steps


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# Stages with (first, last) moment of each time that one went on; they may overlap in any way.
stretches = st.lists(st.tuples(st.sampled_from(Stage), st.integers(0, 20), st.integers(0, 20)), max_size=8)


@given(stretches=stretches)
def test_it_is_what_a_look_at_every_moment_shows(stretches: list[tuple[Stage, int, int]]) -> None:
    spans = [(stage, min(ends), max(ends)) for stage, *ends in stretches]
    clock = Clock()
    profile = Profile(clock=clock)
    open_stages = {number: ExitStack() for number in range(len(spans))}
    for moment in range(21):
        clock.now = float(moment)
        for number, (stage, first, last) in enumerate(spans):
            if first == moment:
                open_stages[number].enter_context(profile.during(stage))
            if last == moment:
                open_stages[number].close()
    clock.now = 25.0
    found = profile.report()
    at_work = [[stage for stage, first, last in spans if first <= moment < last] for moment in range(25)]
    assert found.wall_seconds == 25
    assert found.rest_seconds == sum(not stages for stages in at_work)
    assert found.together_seconds == sum(sum(stage is not Stage.WAITING for stage in stages) > 1 for stages in at_work)
    assert found.stages == {
        stage: sum(stages.count(stage) for stages in at_work) for stage in {stage for stage, _, _ in spans}
    }


def test_the_making_of_items_is_counted_and_not_what_is_done_with_them() -> None:
    clock = Clock()
    profile = Profile(clock=clock)

    def items() -> Iterator[int]:
        for number in range(3):
            clock.now += 2
            yield number
        clock.now += 1

    for _ in profile.steps(Stage.DECODE, items()):
        clock.now += 10
    assert profile.report().stages == {Stage.DECODE: 7}
    assert profile.report().rest_seconds == 30


def test_a_stage_that_fails_is_counted_and_over() -> None:
    clock = Clock()
    profile = Profile(clock=clock)

    def fail() -> None:
        with profile.during(Stage.NETWORK):
            clock.now += 4
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.now += 5
    assert profile.report().stages == {Stage.NETWORK: 4}
    assert profile.report().rest_seconds == 5


def test_time_measured_elsewhere_is_not_taken_for_the_rest() -> None:
    clock = Clock()
    profile = Profile(clock=clock)
    clock.now = 3.0
    profile.ready()
    clock.now = 10.0
    profile.add(Stage.NETWORK, 5.0)
    assert profile.report().stages == {Stage.START: 3, Stage.NETWORK: 5}
    assert profile.report().rest_seconds == 2


def test_threads_are_counted_together() -> None:
    profile = Profile()
    both = threading.Barrier(2)

    def work() -> None:
        for _ in range(200):
            with profile.during(Stage.DECODE):
                both.wait()
            profile.count(decoded=2, used=1, views=3)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = profile.report()
    assert (found.num_decoded, found.num_used, found.num_views) == (800, 400, 1200)
    assert 0 < found.together_seconds <= found.wall_seconds
    assert found.stages[Stage.DECODE] >= 2 * found.together_seconds


def test_without_a_profile_nothing_changes() -> None:
    with during(Stage.NETWORK):
        assert list(steps(Stage.DECODE, [1, 2])) == [1, 2]
        count(views=1)


def test_work_in_other_threads_goes_into_the_profile_of_whoever_started_them() -> None:
    profile = Profile()
    both = threading.Barrier(2, timeout=60)

    def work(number: int) -> int:
        both.wait()  # two at once
        with during(Stage.DECODE):
            count(decoded=number)
        return number

    def made() -> Iterator[int]:
        for number in range(3):
            count(used=1)
            yield number

    with profiled(profile):
        assert list(map_ahead(work, range(4), workers=2, stop=threading.Event())) == [0, 1, 2, 3]
        with read_ahead(made(), depth=2) as coming:
            assert list(coming) == [0, 1, 2]
    count(views=9)  # nothing is taken down any more
    found = profile.report()
    assert (found.num_decoded, found.num_used, found.num_views) == (6, 3, 0)
    assert found.stages.keys() == {Stage.DECODE, Stage.WAITING}
