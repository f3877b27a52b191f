"""How a process is set so that the same input gives the same bytes."""

from __future__ import annotations


def make_repeatable(seed: int = 0) -> None:
    """No random numbers but seeded ones, and on a GPU one algorithm each time, none of them below float32."""
    import torch

    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
