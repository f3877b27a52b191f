"""Stores keep one object of a name, whatever else happens at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tadacli.cluster import stores
from tadacli.cluster.stores import LocalStore


def test_what_power_left_empty_gives_way_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, name = LocalStore(tmp_path), "results/4f/4f09.json"
    store.put(name, b"")
    assert (store.is_there(name), store.get(name), list(store.names("results"))) == (False, None, [])

    class Late(stores.FileLock):  # type: ignore[misc]
        """Another process is faster: it has put its own when this one may look."""

        def acquire(self, *args: object, **named: object) -> object:
            store.remove(name)
            (tmp_path / name).write_bytes(b"the other's")
            return super().acquire(*args, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(stores, "FileLock", Late)
        assert not store.put_if_absent(name, b"ours")
    assert store.get(name) == b"the other's"


def test_of_many_at_once_one_is_kept(tmp_path: Path) -> None:
    store, name = LocalStore(tmp_path), "results/4f/4f09.json"
    store.put(name, b"")
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda number: store.put_if_absent(name, b"%d" % number), range(40)))
    assert put.count(True) == 1
    assert store.get(name) == b"%d" % put.index(True)
