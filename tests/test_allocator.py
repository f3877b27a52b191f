"""Blocks that were freed are used again, not fetched from the system anew, and threads share one heap.

While a head looks at a long video, large blocks are given back.
"""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Page faults of filling a block of 64 MiB whose predecessor was freed.
FAULTS = """
import resource
from tadacli.allocator import keep_freed_memory
{setting}
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * 2**26
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del block
print(after - before)
"""

# How many heaps there are when four threads have blocks at the same time.
HEAPS = """
import ctypes, threading
from tadacli.allocator import keep_freed_memory
{setting}
all_here = threading.Barrier(4)
def work():
    block = b"x" * 2**16
    all_here.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""

# The page faults of such a block while the features of 3 and of 5,000 steps come in, and afterwards.
LONG = """
import resource
import numpy as np
from tadacli.allocator import keep_freed_memory
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_decoding import find_candidates, piece_size
from tadacli.models import build_over_features
{setting}
def faults():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = b"x" * 2**26
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        del block
    return after - before
found = []
def pieces(grid):
    size = piece_size(len(grid))
    for first in range(0, len(grid), size):
        yield grid.values[first : first + size]
    found.append(faults())
head = build_over_features("temporal", in_channels=4, num_classes=2).eval()
for count in (3, 5000):
    grid = FeatureGrid(np.zeros((count, 4), np.float32), np.ones(count, bool), 0.0, 0.1, float(count))
    find_candidates(head, grid, pieces(grid))
print(*found, faults())
"""

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")


def printed(code: str, setting: str) -> str:
    command = [sys.executable, "-c", code.format(setting=setting)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@glibc_only
def test_a_freed_block_is_used_again() -> None:
    assert int(printed(FAULTS, "")) > 30  # of 2 MiB each with large pages, else of 4 KiB
    assert int(printed(FAULTS, "keep_freed_memory()")) < 5


@glibc_only
def test_threads_share_one_heap() -> None:
    assert printed(HEAPS, "").count("<heap ") > 1
    assert printed(HEAPS, "keep_freed_memory()").count("<heap ") == 1


@glibc_only
def test_large_blocks_are_given_back_while_a_head_looks_at_a_long_video() -> None:
    short, long, after = map(int, printed(LONG, "keep_freed_memory()").split())
    assert max(short, after) < 5
    assert long > 30
