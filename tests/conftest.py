"""What every test gets: no network but this machine's own, and no settings of the person who runs it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# The gate draws the same examples every time; at home they are new ones, so that more is tried.
# How long examples take is no matter of the code: machines are shared.
hypothesis.settings.register_profile("any", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("gate", hypothesis.settings.get_profile("any"), derandomize=True)
hypothesis.settings.load_profile("any")
if os.environ.get("TADA_REQUIRE_SHARED") == "1":
    hypothesis.settings.load_profile("gate")

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
    for name in ("TADA_MODEL", "TADA_DEBUG", "TADA_MIRROR", "TADA_FETCH", "TADA_CACHE", "TADA_CACHE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TADA_HOME", str(tmp_path_factory.getbasetemp() / "empty store"))


_BEFORE = pytest.StashKey[tuple[int | None, int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Note what a test could leave to those after it, before any fixture of the test."""
    item.stash[_BEFORE] = (_num_threads(), _scheduling_policy())
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail a test that changes how the tests after it run.

    With another number of PyTorch's threads their last digits would be others; a realtime process, as encoders make
    one of a process of root, takes the machine from all the others.
    """
    yield
    num_threads, policy = item.stash.get(_BEFORE, (None, _scheduling_policy()))
    after, policy_after = _num_threads(), _scheduling_policy()
    if policy_after != policy:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    if num_threads is not None:
        sys.modules["torch"].set_num_threads(num_threads)
        assert after == num_threads, f"the test leaves {after} threads, {num_threads} were set before it"
    assert policy_after == policy, f"the test leaves the scheduling policy {policy_after}, {policy} was set before it"


def _num_threads() -> int | None:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else None


def _scheduling_policy() -> int:
    return os.sched_getscheduler(0) if sys.platform == "linux" else 0
