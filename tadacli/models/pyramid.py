"""A convolutional pyramid over features in time whose points each say what happens around them, from when to when.

The blocks are those of Shi et al., "TriDet: Temporal Action Detection with Relative Boundary Modeling" (SGP); points,
plain regression and heads those of Zhang et al., "ActionFormer: Localizing Moments of Actions with Transformers"; a
second kind of regression is that of TriDet (see `trident`). Statistics over time are those of the steps that are there,
so that padding changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.dropout import DropPath, GaussianNoise, SampleDropout
from tadacli.models.heads import NumClasses
from tadacli.models.sequence_layers import (
    FeatureScaling,
    KnownConv,
    KnownGroupNorm,
    Moments,
    StepNorm,
    at_known,
    halved,
    same_conv,
)
from tadacli.models.trident import MOST_BINS, trident_distances

_GROUPS, _MOST_LAYERS, _MOST_CHANNELS = 16, 16, 1 << 14
_SHORTEST_WINDOW, _LONGEST_WINDOW = 0.375, 64.0  # of three steps, as the short kernel, to 257
_FARTHEST = 4  # strides that a boundary can be away from a point of any level but the last one
_PRIOR = 0.01  # how likely a class is at a point, before training
EMBEDDING_REACH, _POINT_REACH = 2, 3  # of the layers with three steps each that follow each other


class AtPoints(NamedTuple):
    """What each of P points says: `logits` (B, P, K) of the classes, and `distances` (B, P, 2) or (B, P, K, 2).

    The distances are those from the point back to the start and on to the end of the action, in strides of its level:
    the same for all classes, or those of each.
    """

    logits: Tensor
    distances: Tensor

    @property
    def of_each_class(self) -> bool:
        """Whether each class has distances of its own."""
        return self.distances.ndim > self.logits.ndim


class Points(NamedTuple):
    """The P points of a pyramid: `places` and `strides` (P,) in steps; `ranges` (P, 2), how far each is to reach."""

    places: Tensor
    strides: Tensor
    ranges: Tensor


class Pyramid(nn.Module):
    """Points over several levels, each level of half as many points as the one before, and what each point says.

    Args:
        in_channels: Channels of the features.
        num_classes: K, or those of several heads by name: each has classes and distances of its own at the same points.
        width: Channels of the layers; a multiple of 16.
        hidden: Channels inside of the blocks; by default twice the width.
        num_levels: L. The points of level l are 2^l steps apart.
        num_stem_blocks: Blocks before the first halving.
        window: How much longer the long kernel of a block is than the short one.
        drop_path: Share of the residual branches dropped in training.
        noise: Standard deviation of what is added to features in training, whose own deviation is 1.
        dropout: Share of the features dropped in training.
        num_bins: How many points away the boundaries of an action can be by TriDet's regression, 16 as published, so
            that nothing is found that reaches further from the points of the last level; 0 for plain regression.

    Example:
        >>> import torch
        >>> from tadacli.models.pyramid import Pyramid
        >>> head = Pyramid(in_channels=16, num_classes=3, width=32, num_levels=4).eval()
        >>> found = head(torch.zeros(2, 16, 40), torch.ones(2, 40, dtype=torch.bool))
        >>> found[""].logits.shape, found[""].distances.shape  # 40 + 20 + 10 + 5 points
        (torch.Size([2, 75, 3]), torch.Size([2, 75, 2]))
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: NumClasses,
        width: int = 512,
        hidden: int | None = None,
        num_levels: int = 6,
        num_stem_blocks: int = 2,
        window: float = 1.5,
        drop_path: float = 0.1,
        noise: float = 0.0,
        dropout: float = 0.0,
        num_bins: int = 0,
    ) -> None:
        super().__init__()
        if num_bins and not _FARTHEST <= num_bins <= MOST_BINS:
            raise ValueError(f"num_bins is {num_bins}, expected 0 (plain regression), or {_FARTHEST} to {MOST_BINS}")
        if not 1 <= width <= _MOST_CHANNELS or width % _GROUPS:
            raise ValueError(f"{width} channels cannot be taken in {_GROUPS} groups, or are more than {_MOST_CHANNELS}")
        if hidden is not None and not 1 <= hidden <= _MOST_CHANNELS:
            raise ValueError(f"its blocks have 1 to {_MOST_CHANNELS} channels inside, and hidden is {hidden}")
        if not _SHORTEST_WINDOW <= window <= _LONGEST_WINDOW:
            raise ValueError(f"window is {window:g}, expected {_SHORTEST_WINDOW:g} to {_LONGEST_WINDOW:g}")
        if not 1 <= num_levels <= _MOST_LAYERS or not 0 <= num_stem_blocks <= _MOST_LAYERS:
            raise ValueError(f"a pyramid has 1 to {_MOST_LAYERS} levels, and up to as many blocks before them")
        self.num_levels = num_levels
        self.step_multiple = 2 ** (num_levels - 1)
        self.num_classes: dict[str, int] = {"": num_classes} if isinstance(num_classes, int) else dict(num_classes)
        self.scaling = FeatureScaling(in_channels)
        self.noise = GaussianNoise(noise)
        self.dropout = SampleDropout(dropout)
        self.embedding = _Layers(in_channels, width)
        block = {"hidden": hidden or 2 * width, "window": window, "drop_path": drop_path}
        self.stem = nn.ModuleList(SgpBlock(width, **block) for _ in range(num_stem_blocks))  # type: ignore[arg-type]
        self.branch = nn.ModuleList(SgpBlock(width, **block) for _ in range(num_levels - 1))  # type: ignore[arg-type]
        self.level_norms = nn.ModuleList(StepNorm(width) for _ in range(num_levels))
        self.heads = nn.ModuleList(
            _PointHead(width, count, num_levels, num_bins) for count in self.num_classes.values()
        )
        self.point_reach = _POINT_REACH + num_bins

    def forward(self, x: Tensor, known: Tensor) -> dict[str, AtPoints]:
        """What the points say, by head ("" for a single one); level after level, each in order of time.

        Args:
            x: Features (B, C, T); T is a multiple of 2^(L - 1).
            known: (B, T), which of them are there.

        Returns:
            For each head logits (B, P, K) and distances (B, P, 2), with `num_bins` (B, P, K, 2), not below 0.
            `points(T)` says where the points are, `known_points(known, L)` which of them count.

        Raises:
            ValueError: T is no such multiple.
        """
        if x.shape[2] % self.step_multiple:
            raise ValueError(f"{x.shape[2]} steps are not a multiple of {self.step_multiple}")
        x = self.embedded(x, known)
        for block in self.stem:
            x = block(x, known)
        levels = [(x, known)]
        for block in self.branch:
            x, known = halved(x, known)
            x = block(x, known)
            levels.append((x, known))
        said = [self.at_level(level, x, known) for level, (x, known) in enumerate(levels)]
        return {name: _joined([each[name] for each in said]) for name in self.num_classes}

    def embedded(self, x: Tensor, known: Tensor) -> Tensor:
        """The first layers, (B, C, T), (B, T) -> (B, width, T); a step depends on those up to EMBEDDING_REACH away."""
        embedded: Tensor = self.embedding(self.dropout(self.noise(self.scaling(x))), known)
        return embedded

    def at_level(self, level: int, x: Tensor, known: Tensor) -> dict[str, AtPoints]:
        """What the points of one level say, by head; a point depends on those up to `point_reach` points away."""
        x = self.level_norms[level](x)
        return {name: head(x, known, level) for name, head in zip(self.num_classes, self.heads, strict=True)}


class SgpBlock(nn.Module):
    """Scalable granularity perception: each step by itself times the whole, plus short and long surroundings.

    Layer names and initial values are as published. Two things are of the whole sequence: the mean of what goes in, and
    the moments of the group norm; beyond them a step depends on those that are at most `reach` away.
    """

    def __init__(self, width: int, *, hidden: int, window: float, drop_path: float) -> None:
        super().__init__()
        long = round(4 * window)
        long += long % 2 == 0

        def by_channel(kernel_size: int) -> nn.Conv1d:
            conv = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
            nn.init.normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            return conv

        self.ln, self.gn = StepNorm(width), KnownGroupNorm(_GROUPS, width)
        self.psi, self.fc, self.convw, self.convkw = (by_channel(size) for size in (3, 1, 3, long))
        self.global_fc = by_channel(1)
        self.mlp = nn.Sequential(nn.Conv1d(width, hidden, 1), nn.GELU(), nn.Conv1d(hidden, width, 1))
        self.drop_path_out, self.drop_path_mlp = _ScaledDropPath(width, drop_path), _ScaledDropPath(width, drop_path)
        self.reach = long // 2

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """(B, C, T), (B, T) -> (B, C, T)."""
        out = self.normed(x, known)
        mean = out.sum(dim=2, keepdim=True) / known.sum(dim=1).clamp(min=1)[:, None, None]
        x = self.with_surroundings(x, out, known, mean)
        return self.by_step(x, self.gn.moments(x, known))

    def normed(self, x: Tensor, known: Tensor) -> Tensor:
        """What the first half works on, each step by itself; 0 at unknown ones."""
        return at_known(self.ln(x), known)

    def with_surroundings(self, x: Tensor, out: Tensor, known: Tensor, mean: Tensor) -> Tensor:
        """The first half, from x (B, C, T), what `normed` makes of it, and the mean of that over time (B, C, 1)."""
        whole = F.relu(_by_channel(self.global_fc, mean))
        out = _by_channel(self.fc, out) * whole + self._both_windows(out) * self.psi(out) + out
        added: Tensor = at_known(x, known) + self.drop_path_out(out)
        return added

    def by_step(self, x: Tensor, moments: Moments) -> Tensor:
        """The second half, each step by itself, from the first one and its moments over time."""
        found: Tensor = x + self.drop_path_mlp(self.mlp(self.gn.normalised(x, moments)))
        return found

    def _both_windows(self, x: Tensor) -> Tensor:
        """The sum of the short and the long convolution, as one."""
        short, long = self.convw, self.convkw
        margin = (long.weight.shape[2] - short.weight.shape[2]) // 2
        weight = long.weight + F.pad(short.weight, (margin, margin))
        assert short.bias is not None
        assert long.bias is not None
        return F.conv1d(x, weight, short.bias + long.bias, padding=weight.shape[2] // 2, groups=len(weight))


def _by_channel(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution of one step and one channel as what it is, a factor and a shift; many times faster."""
    assert layer.bias is not None
    return x * layer.weight[:, :, 0] + layer.bias[:, None]


class _ScaledDropPath(nn.Module):
    """A residual branch times a learnt scale by channel, small at first; in training dropped for whole samples."""

    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 1e-4))
        self.drop = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.drop(self.scale[:, None] * x)
        return found


class _Layers(nn.Module):
    """Two convolutions, each with a norm and a ReLU."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList((same_conv(in_channels, width), same_conv(width, width)))
        self.norms = nn.ModuleList((StepNorm(width), StepNorm(width)))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x, known)))
        return x


def _joined(levels: Sequence[AtPoints]) -> AtPoints:
    """What the points of all levels say; in memory still class by class, as the layers give it."""
    joined = (torch.cat([each.transpose(1, -1) for each in parts], dim=-1) for parts in zip(*levels, strict=True))
    logits, distances = (each.transpose(1, -1) for each in joined)
    return AtPoints(logits, distances)


class _PointHead(nn.Module):
    """Classes and distances at the points, by layers that all levels share; each level scales distances by itself.

    With `num_bins` the distances are those of TriDet: starts and ends of each class are looked for by layers of their
    own, which do not train what is below them.
    """

    def __init__(self, width: int, num_classes: int, num_levels: int, num_bins: int) -> None:
        super().__init__()
        self.class_layers, self.distance_layers = _Layers(width, width), _Layers(width, width)
        self.classes = _class_conv(width, num_classes)
        self.distances = same_conv(width, 2 * (num_bins + 1))
        self.scales = nn.Parameter(torch.ones(num_levels))
        nn.init.zeros_(self.distances.bias)  # type: ignore[arg-type]
        self.num_bins = num_bins
        if num_bins:
            self.start_layers, self.starts = _Layers(width, width), _class_conv(width, num_classes)
            self.end_layers, self.ends = _Layers(width, width), _class_conv(width, num_classes)

    def forward(self, x: Tensor, known: Tensor, level: int) -> AtPoints:
        logits = self.classes(self.class_layers(x, known), known).transpose(1, 2)
        found = F.relu(self.scales[level] * self.distances(self.distance_layers(x, known), known))
        if not self.num_bins:
            return AtPoints(logits, found.transpose(1, 2))
        x = x.detach()
        starts = at_known(self.starts(self.start_layers(x, known), known), known)
        ends = at_known(self.ends(self.end_layers(x, known), known), known)
        distances = trident_distances(starts, ends, found.reshape(found.shape[0], 2, self.num_bins + 1, -1))
        return AtPoints(logits, distances.transpose(1, 2))


def _class_conv(width: int, num_classes: int) -> KnownConv:
    """Logits of classes, all of them unlikely at first."""
    conv = same_conv(width, num_classes)
    nn.init.constant_(conv.bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]
    return conv


def points(num_steps: int, num_levels: int) -> Points:
    """The points of a pyramid over T steps.

    The points of level l are 2^l steps apart and reach for boundaries 2^l to 2^(l + 2) steps away, those of the first
    level from 0 on and those of the last one for any beyond, as published for EPIC-KITCHENS-100.

    Args:
        num_steps: T, a multiple of 2^(L - 1).
        num_levels: L.

    Returns:
        Their places, strides and ranges, in the order of `Pyramid.forward`.
    """
    places, strides, ranges = [], [], []
    for level in range(num_levels):
        stride = 2**level
        here = torch.arange(0, num_steps, stride, dtype=torch.float32)
        least = 0.0 if level == 0 else float(stride)
        most = math.inf if level == num_levels - 1 else float(_FARTHEST * stride)
        places.append(here)
        strides.append(torch.full_like(here, stride))
        ranges.append(torch.tensor([least, most]).expand(len(here), 2))
    return Points(torch.cat(places), torch.cat(strides), torch.cat(ranges))


def known_points(known: Tensor, num_levels: int) -> Tensor:
    """Which points count (B, P), from which steps are there (B, T)."""
    return torch.cat([known[:, :: 2**level] for level in range(num_levels)], dim=1)
