"""The driver and the ledger, with workers that are no processes: each input once, whatever happens to workers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tadacli.cluster.collecting import collect, ordered_rows
from tadacli.cluster.driving import Event, Ready, Watcher, drive
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import MOST_ATTEMPTS, Ledger
from tadacli.cluster.stores import LocalStore
from tadacli.cluster.work import Assignment
from tadacli.errors import OutputError, TadaError
from tests.cluster.fakes import RUN, InlinePool

ITEMS = [Item(f"{number}.mp4") for number in range(200)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(LocalStore(tmp_path / "out.jsonl.run"))


def content(ledger: Ledger, file: Path) -> bytes:
    collect(ledger, file, form="jsonl")
    return file.read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one worker makes that never ends."""
    folder = tmp_path_factory.mktemp("expected")
    ledger = Ledger(LocalStore(folder / "run"))
    drive(InlinePool(ledger, num_workers=1), iter(ITEMS), ledger, kind="classify")
    found = content(ledger, folder / "out.jsonl")
    assert [json.loads(line)["path"] for line in found.splitlines()] == [item.path for item in ITEMS]
    return found


@pytest.mark.parametrize("told_to", [False, True])
@pytest.mark.parametrize("twice", [False, True])
def test_ends_of_workers_change_no_byte(
    ledger: Ledger, tmp_path: Path, expected: bytes, told_to: bool, twice: bool
) -> None:
    pool = InlinePool(ledger, num_ends=100, told_to=told_to, twice=twice)
    drive(pool, iter(ITEMS), ledger, kind="classify")
    assert pool.num_ended == 100
    assert content(ledger, tmp_path / "out.jsonl") == expected
    assert len(list(ledger.committed())) == len(ITEMS)
    if told_to:
        assert list(ledger.store.names("attempts")) == []


class KilledError(Exception):
    """The driver is killed."""


def test_a_run_goes_on_after_its_records(ledger: Ledger, tmp_path: Path, expected: bytes) -> None:
    done: list[int] = []

    def stop(num_done: int, _: int | None) -> None:
        done.append(num_done)
        if num_done == 120:
            raise KilledError

    with pytest.raises(KilledError):
        drive(InlinePool(ledger), iter(ITEMS), ledger, kind="classify", watcher=Watcher(on_done=stop))
    with pytest.raises(OutputError, match="does not have all of its inputs yet"):
        collect(ledger, tmp_path / "half.jsonl", form="jsonl")
    assert not (tmp_path / "half.jsonl").exists()
    before = len(list(ledger.committed()))
    pool = InlinePool(ledger)
    given: list[str] = []
    give = pool.give
    pool.give = lambda worker, assignment: (given.append(assignment.id), give(worker, assignment))  # type: ignore[method-assign]
    drive(pool, iter(ITEMS), ledger, kind="classify")
    assert len(given) == len(ITEMS) - before
    assert content(ledger, tmp_path / "out.jsonl") == expected


def test_other_inputs_are_listed_anew(ledger: Ledger, tmp_path: Path) -> None:
    drive(InlinePool(ledger), iter(ITEMS[:20]), ledger, kind="classify")
    drive(InlinePool(ledger), iter([*ITEMS[30:10:-1], ITEMS[12]]), ledger, kind="classify")
    found = content(ledger, tmp_path / "out.jsonl").splitlines()
    assert [json.loads(line)["path"] for line in found] == [item.path for item in ITEMS[30:10:-1]]
    assert len(list(ledger.store.names("inputs"))) == 1


def test_a_third_end_with_one_input_is_its_result(ledger: Ledger, tmp_path: Path) -> None:
    drive(InlinePool(ledger), iter(ITEMS[:2]), ledger, kind="classify")
    poisoned = Item("poisoned.mp4", 17)
    for number in range(MOST_ATTEMPTS):
        attempt = ledger.attempt(poisoned.id_in(RUN.id), f"gone {number}")
        assert attempt is not None
        assert attempt.number == number + 1
        ledger.explain(attempt, f"gone {number}", "killed by SIGSEGV")
        ledger.explain(attempt, f"gone {number}", "what came later")
    said: list[str] = []
    watcher = Watcher(on_error=said.append)
    drive(InlinePool(ledger), iter([ITEMS[0], poisoned, ITEMS[1]]), ledger, kind="classify", watcher=watcher)
    assert said == ["poisoned.mp4: 3 workers ended while they worked on it: killed by SIGSEGV"]
    assert [row["status"] for row in ordered_rows(ledger)] == ["ok", "error", "ok"]
    assert collect(ledger, tmp_path / "out.csv", form="csv") == {"ok": 2, "error": 1}


def test_a_video_that_changes_is_an_error_and_is_done_anew(ledger: Ledger, tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(b"12")
    drive(InlinePool(ledger), iter([Item(str(video), 1)]), ledger, kind="classify")
    assert "has changed since it was listed" in next(ordered_rows(ledger))["error"]
    drive(InlinePool(ledger), iter([Item(str(video), 2)]), ledger, kind="classify")
    assert next(ordered_rows(ledger))["status"] == "ok"


@pytest.mark.parametrize(
    ("run", "differing"),
    [
        (replace(RUN, settings={"views": "1x1", "topk": 5}, id="def"), "settings.topk is 1 there and 5 now"),
        (replace(RUN, weights_sha256="1" * 64, id="def"), r'weights_sha256 is "0+\.\.\. there and "1+\.\.\. now'),
        (replace(RUN, id="def"), "run abc there and def now"),
    ],
)
def test_a_folder_of_another_run_is_refused(ledger: Ledger, run: object, differing: str) -> None:
    ledger.claim("classify", RUN)
    ledger.claim("classify", RUN)
    with pytest.raises(OutputError, match=f"holds another run.*{differing}"):
        ledger.claim("classify", run)  # type: ignore[arg-type]


class Unlike(InlinePool):
    """Its second worker has another run."""

    def events(self) -> list[Event]:
        return [
            replace(event, run=replace(RUN, settings={"views": "1x1", "topk": 2}, id="def"))
            if isinstance(event, Ready) and event.worker == 2
            else event
            for event in super().events()
        ]


def test_workers_that_would_make_other_results_are_refused(ledger: Ledger) -> None:
    with pytest.raises(TadaError, match="topk is 1 there and 2 now"):
        drive(Unlike(ledger), iter(ITEMS), ledger, kind="classify")


@pytest.mark.parametrize("content", [b"[1, 2]", b'{"path": 3, "status": "ok"}', b"\xff", b"{"])
def test_a_record_that_is_none_is_refused(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    drive(InlinePool(ledger), iter(ITEMS[:3]), ledger, kind="classify")
    ledger.store.put(next(ledger.store.names("results")), content)
    with pytest.raises(OutputError, match=r"results/.*json is damaged, or not what it claims to be"):
        collect(ledger, tmp_path / "out.jsonl", form="jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_inputs_are_read_as_they_are_needed(ledger: Ledger) -> None:
    read: Counter[str] = Counter()
    at_first: list[int] = []

    def items() -> Iterator[Item]:
        for item in ITEMS:
            read[item.path] += 1
            yield item

    def first(_: int, total: int | None) -> None:
        if not at_first:
            at_first.append(len(read))
            assert total is None

    drive(InlinePool(ledger), items(), ledger, kind="classify", watcher=Watcher(on_done=first))
    assert at_first[0] < 10
    assert len(read) == len(ITEMS)


def test_an_input_that_a_worker_ended_with_is_given_out_alone(ledger: Ledger) -> None:
    pool = InlinePool(ledger, num_ends=9, seldom=4)
    alone: list[Assignment] = []
    give = pool.give

    def watched(worker: int, assignment: Assignment) -> None:
        alone.extend([assignment] * assignment.alone)
        assert not (assignment.alone and pool.has_work(worker))
        give(worker, assignment)

    pool.give = watched  # type: ignore[method-assign]
    drive(pool, iter(ITEMS[:50]), ledger, kind="classify")
    assert pool.num_ended == 9
    assert 9 <= len(alone) <= 18
