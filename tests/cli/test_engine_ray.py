"""`--engine ray`, on a cluster of several nodes on this machine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Tada


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_cluster_that_loses_a_node_writes_the_bytes_of_one_process(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.cluster.ray_cluster", str(tmp_path)]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_what_is_needed_is_said_where_ray_is_missing(tada: Tada, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    code, _, said = tada("classify", "video.mp4", "--engine", "ray", "-o", "out.csv")
    assert code == 2
    assert "tadacli[ray]" in said
