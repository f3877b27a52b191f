"""How exactly an accelerator computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def repeatable_arithmetic() -> Iterator[None]:
    """Within it a GPU computes the same way each time, and nothing below the type that was asked for.

    Otherwise cuDNN takes whichever algorithm it likes, and rounds what convolutions of float32 are given to ten bits.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False):
        yield
