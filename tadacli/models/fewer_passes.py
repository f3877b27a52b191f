"""Steps of training that go over memory less often than the operations they stand for, with the same bits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def relu_over(normalised: Tensor, residual: Tensor | None) -> Tensor:
    """ReLU of what a batch norm gave, or of that plus `residual`, of the same shape; written over it.

    The gradient of a batch norm needs what came in, not what came out, so that nothing is lost. What is written over is
    no view: for a change in place of one autograd copies its gradient.
    """
    if residual is not None:
        is_alike = residual.dtype == normalised.dtype
        normalised = normalised.add_(residual) if is_alike else normalised + residual
    return F.relu(normalised, inplace=True)


class _FrameMeans(torch.autograd.Function):
    """The spatial mean of each channel; its gradient is the same for all pixels, and stays one number for them."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        ctx.shape = frames.shape
        return F.adaptive_avg_pool2d(frames, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        found: Tensor = gradients[0] / ctx.shape[2:].numel()
        return found.expand(ctx.shape)


def frame_means(frames: Tensor) -> Tensor:
    """Spatial means (N, C, 1, 1) of frames (N, C, H, W)."""
    if not (torch.is_grad_enabled() and frames.requires_grad):
        return F.adaptive_avg_pool2d(frames, 1)
    means: Tensor = _FrameMeans.apply(frames)
    return means
