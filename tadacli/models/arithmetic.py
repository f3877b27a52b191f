"""How exactly an accelerator computes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# The setting is one of the whole process: the first that asks for it sets it, and the last puts back what was before.
_lock = threading.Lock()
_asking = 0
_before = ExitStack()


@contextmanager
def repeatable_arithmetic() -> Iterator[None]:
    """Within it a GPU computes the same way each time, and nothing below the type that was asked for.

    Otherwise cuDNN takes whichever algorithm it likes, and rounds what convolutions of float32 are given to ten bits.
    Several threads may be within it at once.
    """
    global _asking
    cudnn = torch.backends.cudnn
    with _lock:
        if not _asking:
            _before.enter_context(cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False))
        _asking += 1
    try:
        yield
    finally:
        with _lock:
            _asking -= 1
            if not _asking:
                _before.close()
