"""The boundary-matching network: which spans of a window hold an action, from features over time, without classes.

Lin et al., "BMN: Boundary-Matching Network for Temporal Action Proposal Generation", in the form and with the
state-dict names of "A Stronger Baseline for Ego-Centric Action Detection" (arXiv 2106.06942).

A proposal is a cell (d, s) of a map: it starts at bin s and lasts d + 1 bins. What the network knows of it is sampled
from the features at points over the proposal and its surroundings. The published code samples first, 256 channels at
32 points for each cell, and applies a layer to the samples. Both are linear, so here the layer comes first: its 32
products with the features of each bin are computed once, and each cell adds up the few that its points lie between.
The sums are the same; with 200 bins they take about 30 times fewer multiplications and no table of 512 MB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

_WIDTH, _CELL_WIDTH, _MAP_WIDTH = 256, 512, 128
_GROUPS = 4
NUM_POINTS, SAMPLES_PER_POINT, EXTENSION = 32, 3, 0.5
SNIPPETS_PER_BIN = 2  # of the features that bins are resampled from


class BMN(nn.Module):
    """Proposals over one window of features.

    Args:
        in_channels: Channels of the features; 6144 for three crops of TAda2D-R50, 6912 for the published ViViT ones.
        num_bins: T, the number of bins in a window; 200 as published.
        max_duration_bins: D, how many bins the longest proposal has; 100 as published.

    Example:
        >>> import torch
        >>> from tadacli.models.bmn import BMN
        >>> network = BMN(in_channels=64, num_bins=20, max_duration_bins=10).eval()
        >>> found = network(torch.zeros(1, 64, 20))
        >>> {name: tuple(values.shape) for name, values in found.items()}
        {'confidence_map': (1, 2, 10, 20), 'start': (1, 20), 'end': (1, 20)}
    """

    def __init__(self, *, in_channels: int, num_bins: int = 200, max_duration_bins: int = 100) -> None:
        super().__init__()
        if in_channels < 1 or in_channels % _GROUPS:
            raise ValueError(f"{in_channels} channels cannot be taken in {_GROUPS} groups")
        if not 1 <= max_duration_bins <= num_bins:
            raise ValueError(f"proposals of up to {max_duration_bins} bins do not fit windows of {num_bins}")
        self.num_bins, self.max_duration_bins = num_bins, max_duration_bins
        self.backbone = _Backbone(in_channels)
        self.head = _Head()

    @property
    def computed_tables(self) -> dict[str, tuple[int, ...]]:
        """The shapes, by name, of what published files hold among their weights and what is computed here."""
        return {"head.sample_mask": (self.num_bins, NUM_POINTS * self.max_duration_bins * self.num_bins)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """What is proposed in each window.

        Args:
            x: Features (B, C, T), one for each bin.

        Returns:
            Probabilities: `confidence_map` (B, 2, D, T), of the overlap of each proposal with an action, learnt by
            regression (0) and as a class (1), where cell (d, s) is the proposal over the bins s to s + d; `start`
            and `end` (B, T), of an action that starts or ends in each bin. Cells whose proposal ends after the window
            have values without meaning.

        Raises:
            ValueError: There are other than `num_bins` bins.
        """
        if x.shape[2] != self.num_bins:
            raise ValueError(f"the network takes windows of {self.num_bins} bins, not {x.shape[2]}")
        shared = self.backbone.conv_layer(x)
        head = self.head
        by_point = cast(nn.Conv3d, head.x_3d_p[0]).weight.flatten(2).permute(1, 2, 0).flatten(1)  # (C, points * C')
        # One window after the other: the cells of each are 40 MB as published.
        maps = [head.x_2d_p(self._cells(features, by_point)) for features in head.x_1d_p(shared)]
        return {
            "confidence_map": torch.cat(maps),
            "start": head.x_1d_s(shared).squeeze(1),
            "end": head.x_1d_e(shared).squeeze(1),
        }

    def _cells(self, features: Tensor, by_point: Tensor) -> Tensor:
        """The layers `x_3d_p` over the points of each proposal: (C, T) -> (1, C', D, T), channels last in memory."""
        products = (features.t() @ by_point).view(self.num_bins * NUM_POINTS, -1)  # (T * points, C')
        table = sampling_table(self.num_bins, self.max_duration_bins, dtype=features.dtype, device=features.device)
        cells = F.embedding_bag(
            table.columns,
            products,
            table.offsets,
            mode="sum",
            per_sample_weights=table.weights,
            include_last_offset=True,
        )
        cells = F.relu_(cells.add_(cast(Tensor, cast(nn.Conv3d, self.head.x_3d_p[0]).bias)))
        return cells.view(1, self.max_duration_bins, self.num_bins, -1).permute(0, 3, 1, 2)


class _Backbone(nn.Module):
    """The first layers over the features, by their published names."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Sequential(
            *_conv1d(in_channels, _WIDTH, groups=_GROUPS), *_conv1d(_WIDTH, _WIDTH, groups=_GROUPS)
        )


class _Head(nn.Module):
    """The layers over the shared features, by their published names."""

    def __init__(self) -> None:
        super().__init__()
        self.x_1d_s, self.x_1d_e = (
            nn.Sequential(*_conv1d(_WIDTH, _WIDTH, groups=_GROUPS), nn.Conv1d(_WIDTH, 1, 1), nn.Sigmoid())
            for _ in range(2)
        )
        self.x_1d_p = nn.Sequential(*_conv1d(_WIDTH, _WIDTH))
        self.x_3d_p = nn.Sequential(nn.Conv3d(_WIDTH, _CELL_WIDTH, (NUM_POINTS, 1, 1)), nn.ReLU())
        self.x_2d_p = nn.Sequential(
            nn.Conv2d(_CELL_WIDTH, _MAP_WIDTH, 1),
            nn.ReLU(),
            nn.Conv2d(_MAP_WIDTH, _MAP_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_MAP_WIDTH, _MAP_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_MAP_WIDTH, 2, 1),
            nn.Sigmoid(),
        )


def _conv1d(in_channels: int, out_channels: int, *, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv1d(in_channels, out_channels, 3, padding=1, groups=groups), nn.ReLU()


class SamplingTable(NamedTuple):
    """A sparse matrix (D * T, T * P): each cell as a weighted sum of values of points at bins.

    The entries of cell i = d * T + s are those from `offsets[i]` to before `offsets[i + 1]`: `columns`, t * P + p of
    point p at bin t, and `weights`.
    """

    columns: Tensor
    offsets: Tensor
    weights: Tensor


@lru_cache(maxsize=8)
def sampling_table(
    num_bins: int,
    max_duration_bins: int,
    *,
    num_points: int = NUM_POINTS,
    extension: float = EXTENSION,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SamplingTable:
    """Which bins, with which weights, make up the points of each proposal.

    Each point is the mean of `SAMPLES_PER_POINT` positions of an even grid over the proposal and `extension` times its
    length before and after it; a position takes its value from the bins on both sides of it. As published, bins
    outside of the window do not count, and a position up to one bin before the window is one at its first bin.

    Args:
        num_bins: T.
        max_duration_bins: D.
        num_points: P, the points of a proposal.
        extension: How much is sampled on each side, as a share of the proposal.
        dtype: That of the weights.
        device: Where the table is kept.

    Returns:
        The matrix; its rows for proposals that end after the window are empty.
    """
    grid = np.linspace(0, 1, num_points * SAMPLES_PER_POINT)
    columns: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    sizes = np.zeros((max_duration_bins, num_bins), dtype=np.int64)
    for duration in range(max_duration_bins):
        starts, margin = np.arange(num_bins - duration), extension * (duration + 1)
        positions = (starts[:, None] - margin + (duration + 2 * margin) * grid).reshape(-1, SAMPLES_PER_POINT)
        before = np.trunc(positions).astype(np.int64)
        share = np.where(positions < 0, 0.0, positions - before)
        first = before[:, :1]
        width = int((before - first).max()) + 2
        slots = before - first + width * np.arange(len(before))[:, None]
        summed = np.zeros(width * len(before))
        np.add.at(summed, slots, 1 - share)
        np.add.at(summed, slots + 1, share)
        bins = (first + np.arange(width)).reshape(len(starts), num_points, width)
        summed = summed.reshape(bins.shape) / SAMPLES_PER_POINT
        used = (summed > 0) & (bins >= 0) & (bins < num_bins)
        sizes[duration, starts] = used.sum(axis=(1, 2))
        columns.append((bins * num_points + np.arange(num_points)[:, None])[used])
        weights.append(summed[used])
    offsets = np.concatenate([[0], sizes.cumsum()])
    with torch.inference_mode(False):  # or training could not use what inference has left here
        return SamplingTable(
            torch.from_numpy(np.concatenate(columns)).to(device),
            torch.from_numpy(offsets).to(device),
            torch.from_numpy(np.concatenate(weights)).to(device, dtype),
        )
