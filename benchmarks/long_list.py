"""What the driver of an engine needs for a long list: memory, time, and how much of it is read before the first result.

    python -m benchmarks.long_list [--rows 1000000] [--parts] [--folder DIR]

Workers are none: each input is done at once, and nothing of it is kept but the list itself.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from tadacli.cli.engine_run import items_of
from tadacli.cli.options import coming_videos
from tadacli.cluster.driving import Done, Event, Ready, Watcher, drive
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.listing import listed_ids
from tadacli.cluster.stores import LocalStore
from tadacli.cluster.work import Assignment, Outcome
from tadacli.results import Run

RUN = Run("1.0", "0" * 64, {"name": "none"}, {"topk": 1}, "abc")


class Instantly:
    """Workers that have every result at once."""

    least = most = 2

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._num_started = 0

    def start(self) -> int:
        """As `Pool` says it."""
        self._num_started += 1
        self._events.append(Ready(self._num_started, f"worker {self._num_started}", RUN))
        return self._num_started

    def give(self, worker: int, assignment: Assignment) -> None:
        """As `Pool` says it."""
        self._events.append(Done(worker, Outcome(assignment.id, "ok")))

    def events(self) -> list[Event]:
        """As `Pool` says it."""
        return [self._events.popleft()] if self._events else []

    def release(self, worker: int) -> None:
        """As `Pool` says it."""

    def close(self) -> None:
        """As `Pool` says it."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--parts", action="store_true", help="rows name parts of videos, and an id")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options.rows, with_parts=options.parts)


def measure(folder: Path, num_rows: int, *, with_parts: bool) -> None:
    """All of it, in a folder."""
    listed = folder / "list.parquet"
    write_list(listed, num_rows, with_parts=with_parts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    read = first_at = 0
    first_seconds, started = 0.0, time.perf_counter()

    def counted(videos: Iterator[str]) -> Iterator[str]:
        nonlocal read
        for video in videos:
            read += 1
            yield video

    def first(*_: object) -> None:
        nonlocal first_at, first_seconds
        if not first_at:
            first_at, first_seconds = read, time.perf_counter() - started

    ledger = Ledger(LocalStore(folder / "run"))
    videos = counted(coming_videos([f"@{listed}"], recursive=False, parts=with_parts))
    drive(Instantly(), items_of(videos), ledger, kind="classify", watcher=Watcher(on_done=first))
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert sum(1 for _ in listed_ids(ledger.store)) == num_rows
    assert not {"torch", "av"} & sys.modules.keys()
    print(f"{conditions('pyarrow')}, {num_rows:,} rows")
    print(f"memory at its most: {peak:.0f} MB ({before:.0f} MB before), {1e6 * seconds / num_rows:.0f} us a row")
    print(f"the first result after {first_seconds:.2f} s, when {first_at} rows were read")


def write_list(file: Path, num_rows: int, *, with_parts: bool) -> None:
    """A list with so many paths, written some at a time; each may be of a part with an id."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds = {"path": pyarrow.string()} | ({"start": pyarrow.float64(), "id": pyarrow.string()} if with_parts else {})
    schema = pyarrow.schema(kinds)
    with ParquetWriter(file, schema) as writer:
        for start in range(0, num_rows, 10_000):
            numbers = range(start, min(num_rows, start + 10_000))
            columns: dict[str, list[Any]] = {"path": [f"/data/archive/of/videos/{number:09}.mp4" for number in numbers]}
            if with_parts:
                columns |= {"start": [1.5] * len(numbers), "id": [f"part {number}" for number in numbers]}
            writer.write_table(pyarrow.table(columns, schema=schema))


if __name__ == "__main__":
    main()
