"""Dropout whose random numbers belong to the sample: the same ones in any batch, process and recomputation.

A training step gives every sample a seed (`set_noise_seeds`). A layer's numbers are a hash of that seed, the layer's
place in the network and the number's index, computed with integers, so that they do not depend on the device either.
Without seeds the layers draw from torch's generator, as usual.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# SplitMix64 (Steele, Lea and Flood, 2014); its constants as signed 64-bit integers.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class _Seeded(nn.Module):
    """A layer that draws numbers while it is trained, from seeds if it has them."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: Tensor | None = None


class GaussianNoise(_Seeded):
    """Adds normal noise of a standard deviation `std` to (B, ...) in training; the identity in evaluation."""

    def __init__(self, std: float) -> None:
        super().__init__()
        if not 0 <= std < float("inf"):
            raise ValueError(f"{std} is no standard deviation")
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.std == 0:
            return x
        if self.seeds is None:
            return x + self.std * torch.randn_like(x)
        if len(self.seeds) != len(x):
            raise ValueError(f"{len(self.seeds)} noise seeds for {len(x)} rows")
        # Drawn on the CPU, so that the numbers do not depend on the device.
        rows = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in self.seeds.tolist()]
        return x + self.std * torch.stack(rows).to(x)

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return f"std={self.std}"


class _Noise(_Seeded):
    """A layer with a `rate` that draws numbers while it is trained."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a rate of {rate} drops everything, or is none")
        self.rate = rate

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return f"rate={self.rate}"

    def _mask(self, x: Tensor, num_per_row: int) -> Tensor:
        """(rows, num_per_row) of 0 and 1 / (1 - rate), in the type of `x`."""
        if self.seeds is None:
            numbers = torch.rand(x.shape[0], num_per_row, device=x.device)
        else:
            seeds = self.seeds.to(x.device)
            if x.shape[0] % len(seeds):
                raise ValueError(f"{len(seeds)} noise seeds for {x.shape[0]} rows")
            # Rows of one clip, such as its frames, share the clip's numbers.
            numbers = _uniform(seeds.repeat_interleave(x.shape[0] // len(seeds)), num_per_row)
        return (numbers >= self.rate).to(x.dtype) / (1 - self.rate)


class SampleDropout(_Noise):
    """Zeroes elements of (B, ...) at `rate` in training and scales the others up; the identity in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.rate == 0:
            return x
        return x * self._mask(x, x[0].numel()).view(x.shape)


class DropPath(_Noise):
    """Zeroes the residual branch (B, ...) of whole samples at `rate` in training and scales the others up.

    Source: stochastic depth, as the published TAdaConvNeXt and TAdaFormer training uses it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.rate == 0:
            return x
        return x * self._mask(x, 1).view(-1, *[1] * (x.dim() - 1))


def set_noise_seeds(network: nn.Module, seeds: Tensor | None) -> None:
    """Gives the network's next forward passes a seed for each sample, int64 (B,); None takes them away."""
    layers = [module for module in network.modules() if isinstance(module, _Seeded)]
    for number, layer in enumerate(layers, start=1):
        layer.seeds = None if seeds is None else _mixed(seeds + torch.full_like(seeds, number) * _STEP)


def _uniform(seeds: Tensor, count: int) -> Tensor:
    """(B, count) float32 numbers in [0, 1), evenly distributed."""
    index = torch.arange(1, count + 1, device=seeds.device)
    bits = _mixed(seeds[:, None] + index * _STEP)
    return (_shifted(bits, 40)).to(torch.float32) / 2**24


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """A shift to the right that draws zeros in, also for negative numbers."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
