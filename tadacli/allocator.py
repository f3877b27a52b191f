"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes

# glibc's mallopt: how much free memory at the end of the heap is given back to the system, how much more than is asked
# for is taken from it at once, how many blocks lie outside of the heap, where freeing always gives them back, and how
# many heaps the threads share. A heap of a thread's own comes in pieces of 64 MiB: a few frames fill one, and since no
# block reaches over two pieces, their number grows while a long video is decoded.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> None:
    """Lets glibc reuse large blocks that are freed, instead of giving them back to the system; for this process.

    A network on a CPU allocates its activations anew in every pass, and memory that comes from the system is first
    cleared, page by page. The price is memory: the process stays as large as it was at its largest, and holes between
    blocks make that somewhat more. With another C library nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in ((_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**28), (_MMAP_MAX, 0), (_ARENA_MAX, 1)):
        mallopt(option, value)
