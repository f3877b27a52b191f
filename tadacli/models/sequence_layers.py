"""Layers over features in time, (B, C, T), of which some steps may not be there: padding, or what could not be read.

`known` (B, T), bool, says which steps are there. What stands at the others has no influence on the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.layers import is_exported


class FeatureScaling(nn.Module):
    """Features less their mean, divided by their deviation; both are measured on training data, and not learnt."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        # Not buffers: what training makes of these it averages over processes, and a mean may round.
        self.mean = nn.Parameter(torch.zeros(num_channels), requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(num_channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return (x - self.mean[:, None]) / self.deviation[:, None]


class StepNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, T), at every step by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of groups of channels, (B, G, 1, 1) each, and of how many values (B, 1, 1, 1) they are."""

    mean: Tensor
    variance: Tensor
    count: Tensor


class KnownGroupNorm(nn.GroupNorm):
    """Group norm of (B, C, T) whose statistics are those of the known steps alone."""

    def forward(self, x: Tensor, known: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, T), (B, T) -> (B, C, T)."""
        return self.normalised(x, self.moments(x, known))

    def moments(self, x: Tensor, known: Tensor) -> Moments:
        """What (B, C, T) is normalised by; known (B, T)."""
        groups = self._groups(x)
        here = known[:, None, None].to(x.dtype)
        count = (known.sum(dim=1) * groups.shape[2])[:, None, None, None]
        divisor = count.clamp(min=1)
        mean = (groups * here).sum(dim=(2, 3), keepdim=True) / divisor
        variance = (((groups - mean) * here) ** 2).sum(dim=(2, 3), keepdim=True) / divisor
        return Moments(mean, variance, count)

    def normalised(self, x: Tensor, moments: Moments) -> Tensor:
        """(B, C, T) -> (B, C, T), with moments that are known already."""
        groups = self._groups(x)
        normalised = ((groups - moments.mean) * torch.rsqrt(moments.variance + self.eps)).flatten(1, 2)
        scaled: Tensor = normalised * self.weight[:, None] + self.bias[:, None]
        return scaled

    def _groups(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.num_groups, x.shape[1] // self.num_groups, x.shape[2])


def joined_moments(parts: Sequence[Moments]) -> Moments:
    """The moments of a whole from those of its parts, in double precision and rounded at the end."""
    means, variances = (torch.stack([getattr(part, name) for part in parts]).double() for name in ("mean", "variance"))
    counts = torch.stack([part.count for part in parts])
    total, dtype = counts.sum(dim=0).clamp(min=1), parts[0].mean.dtype
    mean = (means * counts).sum(dim=0) / total
    variance = ((variances + (means - mean) ** 2) * counts).sum(dim=0) / total
    return Moments(mean.to(dtype), variance.to(dtype), counts.sum(dim=0))


class KnownConv(nn.Conv1d):
    """A convolution over time that sees zeros at unknown steps, as it does before the first and after the last one."""

    def forward(self, x: Tensor, known: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, T), (B, T) -> (B, C', T)."""
        return super().forward(at_known(x, known))


def same_conv(in_channels: int, out_channels: int, kernel_size: int = 3, *, dilation: int = 1) -> KnownConv:
    """A convolution with as many steps after as before it; `kernel_size` is odd."""
    padding = dilation * (kernel_size // 2)
    return KnownConv(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation)


def at_known(x: Tensor, known: Tensor) -> Tensor:
    """(B, C, T) with zeros at unknown steps, whatever stands there."""
    return x.masked_fill(~known[:, None], 0.0)


def halved(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Every other step, each the largest value of itself and its neighbours.

    Args:
        x: (B, C, T) with an even T.
        known: (B, T).

    Returns:
        (B, C, T / 2) with zeros at unknown steps, and (B, T / 2).
    """
    lowest = x.masked_fill(~known[:, None], -torch.inf)
    if is_exported():  # the pooling of sequences takes their length for a constant
        pooled = F.max_pool2d(lowest.unsqueeze(2), (1, 3), stride=(1, 2), padding=(0, 1)).squeeze(2)
    else:
        pooled = F.max_pool1d(lowest, 3, stride=2, padding=1)
    half = known[:, ::2]
    return at_known(pooled, half), half
