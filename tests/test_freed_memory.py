"""Blocks that were freed are used again, not fetched from the system anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Page faults of filling a block of 64 MiB whose predecessor was freed.
FAULTS = """
import resource
from tadacli.freed_memory import keep_freed_memory
{setting}
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 2**26
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del block
print(after - before)
"""


def faults(setting: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(setting=setting)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_a_freed_block_is_used_again() -> None:
    assert faults("") > 30  # of 2 MiB each with large pages, else of 4 KiB
    assert faults("keep_freed_memory()") < 5
