"""The benchmark of long lists reads the lists that it writes, with parts and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("options", [(), ("--parts",)])
def test_a_short_list_is_read_to_its_end(options: tuple[str, ...], tmp_path: Path) -> None:
    # In a process of its own: it holds that PyTorch is not imported.
    command = [sys.executable, "-m", "benchmarks.long_list", "--rows", "50", "--folder", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "50 rows" in done.stdout
