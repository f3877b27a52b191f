"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

# glibc's mallopt: how much free memory at the end of the heap is given back to the system, how much more than is asked
# for is taken from it at once, which blocks lie outside of the heap and how many, where freeing always gives them back,
# and how many heaps the threads share. A heap of a thread's own comes in pieces of 64 MiB: a few frames fill one, and
# since no block reaches over two pieces, their number grows while a long video is decoded.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8

_KEPT = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28, _MMAP_MAX: 0}
_LARGE_GIVEN_BACK = {_TOP_PAD: 2**20, _MMAP_THRESHOLD: 2**21, _MMAP_MAX: 2**16}

_keeps = False


def keep_freed_memory() -> None:
    """Lets glibc reuse large blocks that are freed, instead of giving them back to the system; for this process.

    A network on a CPU allocates its activations anew in every pass, and memory that comes from the system is first
    cleared, page by page. The price is memory: the process stays as large as it was at its largest, and holes between
    blocks make that somewhat more. With another C library nothing changes.
    """
    global _keeps
    _keeps = _set({_ARENA_MAX: 1, **_KEPT})


@contextmanager
def giving_back_large_blocks() -> Iterator[None]:
    """Gives back what is free, and suspends `keep_freed_memory` for blocks of 2 MiB and more.

    For work that takes some large blocks among many smaller ones of other sizes: what was freed does not fit, and now
    and then, the more often the longer it takes, the heap grows by hundreds of megabytes. Nothing changes where
    `keep_freed_memory` was not called.
    """
    if not _keeps:
        yield
        return
    _set(_LARGE_GIVEN_BACK)
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        yield
    finally:
        _set(_KEPT)


def _set(options: Mapping[int, int]) -> bool:
    """Whether there is a C library that takes such options."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    for option, value in options.items():
        mallopt(option, value)
    return True
