"""What training makes small: how far the scores of clips are from what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# The loss of what a network returned for a batch, from the targets: a mean over the samples.
Loss = Callable[[Any, Mapping[str, Tensor]], Tensor]


def cross_entropy(logits: Tensor | Mapping[str, Tensor], targets: Mapping[str, Tensor], *, smoothing: float) -> Tensor:
    """The sum over the heads of the cross-entropy of the softmax.

    Args:
        logits: (B, num_classes), by head if there are several.
        targets: Class indices (B,) or probabilities (B, num_classes) by head.
        smoothing: The share of a target that goes to all classes.

    Returns:
        The loss, a mean over the samples.
    """
    named = {"": logits} if isinstance(logits, Tensor) else logits
    losses = [
        F.cross_entropy(named[head].float(), target, label_smoothing=smoothing) for head, target in targets.items()
    ]
    return torch.stack(losses).sum()


def binary_cross_entropy(logits: Tensor, targets: Mapping[str, Tensor], *, smoothing: float) -> Tensor:
    """The cross-entropy of the sigmoids of a multi-label head, each label a question of its own.

    It is the sum over the classes, so that the gradient of a logit is its score less its target, as with a softmax, and
    recipes do for both.

    Args:
        logits: (B, num_classes).
        targets: Of the head "" how much of each class a sample shows, (B, num_classes) in 0..1.
        smoothing: How far targets move towards a half: 0 becomes half of it, and 1 as much below 1.

    Returns:
        The loss, a mean over the samples.
    """
    wanted = targets[""] * (1 - smoothing) + smoothing / 2
    losses = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
    return losses.sum(dim=1).mean()
