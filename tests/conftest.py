"""What every test gets: no network but this machine's own, and no settings of the person who runs it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise OSError(f"tests do not reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("TADA_MODEL", "TADA_DEBUG", "TADA_MIRROR", "TADA_FETCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TADA_HOME", str(tmp_path_factory.getbasetemp() / "empty store"))


_NUM_THREADS = pytest.StashKey[int | None]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Note the number of PyTorch's threads before any fixture of the test."""
    torch = sys.modules.get("torch")
    item.stash[_NUM_THREADS] = torch.get_num_threads() if torch is not None else None
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail a test that leaves another number: the last digits of the tests after it would be others."""
    yield
    before, torch = item.stash.get(_NUM_THREADS, None), sys.modules.get("torch")
    if torch is not None and before is not None:
        after = torch.get_num_threads()
        torch.set_num_threads(before)
        assert after == before, f"the test leaves {after} threads, {before} were set before it"
