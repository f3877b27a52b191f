"""Workers that are processes: what ends one of them is found out, and all else is done."""

from __future__ import annotations

import json
from pathlib import Path

from tadacli.cluster.collecting import collect
from tadacli.cluster.driving import Watcher, drive
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.local import LocalPool
from tadacli.cluster.stores import LocalStore
from tadacli.cluster.work import Seat
from tests.cluster.fakes import RUN, FakeWork


def test_what_ends_its_worker_is_an_error_and_all_else_is_done(tmp_path: Path) -> None:
    ledger = Ledger(LocalStore(tmp_path / "run"))
    items = [Item(f"{number}.mp4") for number in range(20)]
    poisons = {"abort": 1, "hold": 2, "hog": 2}  # by how many have ended with it before, as each costs a process
    for name, count in poisons.items():
        for number in range(count):
            attempt = ledger.attempt(Item(f"{name}.mp4").id_in(RUN.id), f"earlier {number}")
            assert attempt is not None
            ledger.explain(attempt, f"earlier {number}", "earlier")
    order = [*items[:5], *(Item(f"{name}.mp4") for name in poisons), *items[5:]]
    pool = LocalPool(FakeWork(), ledger.place, [Seat(0), Seat(1)], patience_seconds=5.0)
    ends: list[str] = []
    drive(pool, iter(order), ledger, kind="classify", watcher=Watcher(on_end=ends.append))
    assert collect(ledger, tmp_path / "out.jsonl", form="jsonl") == {"ok": 20, "error": 3}
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [item.path for item in order]
    errors = {Path(row["path"]).stem: row["error"].partition("worked on it: ")[2] for row in rows if row["error"]}
    reasons = {"abort": "killed by SIGABRT", "hold": "exit code 1", "hog": "MemoryError"}
    assert errors == {name: f"earlier, {reason}" for name, reason in reasons.items()}
    assert len(ends) == 4
