"""A function worked out ahead of its reader: same results in order, bounded, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.concurrency import map_ahead

DEADLINE_SECONDS = 30


def working_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tada-decode")]


def wait_until(holds: threading.Event) -> None:
    assert holds.wait(DEADLINE_SECONDS)


@given(numbers=st.lists(st.integers(), max_size=30), workers=st.integers(1, 5))
def test_results_come_in_order(numbers: list[int], workers: int) -> None:
    found = list(map_ahead(lambda number: number * 2, numbers, workers=workers, stop=threading.Event()))
    assert found == [number * 2 for number in numbers]
    assert working_threads() == []


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_begun_ahead_than_there_are_workers(workers: int) -> None:
    begun: list[int] = []
    taken: list[int] = []
    enough = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def note(number: int) -> int:
        begun.append(number)
        if len(begun) == workers + 1:
            enough.set()
        return number

    coming = map_ahead(note, numbers(), workers=workers, stop=threading.Event())
    assert next(coming) == 0
    wait_until(enough)
    time.sleep(0.05)  # long enough for one more to begin, if one could
    assert sorted(begun) == taken == list(range(workers + 1))
    coming.close()


def test_while_the_reader_is_busy_the_next_result_is_made() -> None:
    """A reader that waits for it would otherwise wait forever."""
    begun = [threading.Event() for _ in range(5)]

    def note(number: int) -> int:
        begun[number].set()
        return number

    for number in map_ahead(note, range(5), workers=1, stop=threading.Event()):
        wait_until(begun[min(number + 1, 4)])


def test_an_error_comes_where_the_result_would_have() -> None:
    def invert(number: int) -> float:
        return 1 / number

    coming = map_ahead(invert, [2, 1, 0, 4], workers=2, stop=threading.Event())
    assert [next(coming), next(coming)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(coming)
    assert working_threads() == []


def test_closing_stops_the_work_that_is_under_way_and_begins_no_more() -> None:
    stop, begun, ended = threading.Event(), [], []

    def work(number: int) -> int:
        begun.append(number)
        if number:
            assert stop.wait(DEADLINE_SECONDS)
            ended.append(number)
        return number

    coming = map_ahead(work, range(100), workers=2, stop=stop)
    assert next(coming) == 0
    coming.close()
    assert stop.is_set()
    assert begun == [0, *sorted(ended)]
    assert set(ended) <= {1, 2}
    assert working_threads() == []
