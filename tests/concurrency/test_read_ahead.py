"""An iterator that is run ahead: same items, same errors, bounded, and its thread ends with the reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tadacli.concurrency import read_ahead


def counting(made: list[int], total: int, closed: list[bool] | None = None) -> Iterator[int]:
    try:
        for number in range(total):
            made.append(number)
            yield number
    finally:
        if closed is not None:
            closed.append(True)


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tada-read-ahead"]


def test_items_come_in_order() -> None:
    with read_ahead(counting([], 1000), depth=3) as items:
        assert list(items) == list(range(1000))
    assert reading_threads() == []


def test_no_more_is_made_ahead_than_the_depth() -> None:
    made: list[int] = []
    with read_ahead(counting(made, 1000), depth=4) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 30
        while len(made) < 6 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(made) == 6  # the one that was read, four that wait, and one that finds no room


def test_an_error_comes_where_the_item_would_have() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("the third is bad")

    with read_ahead(failing(), depth=5) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="third"):
            next(items)


def test_leaving_early_ends_the_thread_and_closes_the_iterator() -> None:
    closed: list[bool] = []
    with read_ahead(counting([], 10**9, closed), depth=2) as items:
        next(items)
    assert closed == [True]
    assert reading_threads() == []
