"""Where actions start and end by what their boundaries look like: Trident boundaries of Shi et al., "TriDet: Temporal
Action Detection with Relative Boundary Modeling", section 3.3.

A distance is the mean of a distribution over the point itself and the points on one side of it, its bins. How likely a
bin is says the sum of two numbers: how much it looks like the start (or end) of an action of the class, and what the
point where the action is expects of a bin at that distance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_BINS = 64


def trident_distances(starts: Tensor, ends: Tensor, centres: Tensor) -> Tensor:
    """How far it is from each point back to the start and on to the end of an action of each class.

    Args:
        starts: (B, K, P): how much each point looks like the start of an action, as logits; those of points before the
            first one are 0, as published.
        ends: The same of the end; after the last one they are 0.
        centres: (B, 2, N + 1, P): what each point adds to the starts N, N - 1, ..., 0 points before it, and to the ends
            0, 1, ..., N points after it.

    Returns:
        (B, K, P, 2), 0 to N, in points.
    """
    num_bins = centres.shape[2] - 1
    bins = torch.arange(num_bins + 1, dtype=centres.dtype, device=centres.device)
    before, after = centres.mT.unbind(dim=1)
    back = (_neighbours(starts, num_bins, 0) + before[:, None]).softmax(dim=3) @ bins.flip(0)
    on = (_neighbours(ends, 0, num_bins) + after[:, None]).softmax(dim=3) @ bins
    return torch.stack([back, on], dim=3)


def _neighbours(x: Tensor, num_before: int, num_after: int) -> Tensor:
    """(B, K, P) -> (B, K, P, num_before + 1 + num_after): each point with its neighbours, 0 where there are none."""
    return F.pad(x, (num_before, num_after)).unfold(2, num_before + 1 + num_after, 1)
