"""A small network over features in time: what happens at each step, or nothing. For few data; it trains in seconds.

What keeps it from learning its few videos by heart is noise: on the features, and in its layers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.dropout import GaussianNoise, SampleDropout
from tadacli.models.sequence_layers import FeatureScaling, StepNorm, at_known, same_conv

_MOST_LAYERS, _MOST_CHANNELS = 16, 1 << 14


class TemporalHead(nn.Module):
    """Logits of the classes at each step, from features around it.

    Args:
        in_channels: Channels of the features.
        num_classes: K.
        exclusive: Whether one class holds at a time; then there is one more, the background, after the others.
        width: Channels of the layers.
        num_blocks: Layers of three steps each, 1, 2, 4, ... steps apart; n of them see 2^(n + 1) - 1 steps.
        noise: Standard deviation of what is added to features in training, whose own deviation is 1.
        dropout: Share of the values dropped in training, of the features and in each layer.

    Example:
        >>> import torch
        >>> from tadacli.models.temporal_head import TemporalHead
        >>> head = TemporalHead(in_channels=16, num_classes=3).eval()
        >>> head(torch.zeros(2, 16, 50), torch.ones(2, 50, dtype=torch.bool)).shape
        torch.Size([2, 4, 50])
    """

    step_multiple = 1

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        exclusive: bool = True,
        width: int = 64,
        num_blocks: int = 5,
        noise: float = 0.5,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if not 0 <= num_blocks <= _MOST_LAYERS:
            raise ValueError(f"it has 0 to {_MOST_LAYERS} blocks, not {num_blocks}")
        if not 1 <= width <= _MOST_CHANNELS:
            raise ValueError(f"its layers have 1 to {_MOST_CHANNELS} channels, and width is {width}")
        self.num_classes, self.exclusive = num_classes, exclusive
        self.reach = 2**num_blocks - 1
        self.scaling = FeatureScaling(in_channels)
        self.noise = GaussianNoise(noise)
        self.dropout = SampleDropout(dropout)
        self.embedding = same_conv(in_channels, width, 1)
        self.norm = StepNorm(width)
        self.blocks = nn.ModuleList(_Block(width, dilation=2**number, dropout=dropout) for number in range(num_blocks))
        self.head = same_conv(width, num_classes + exclusive, 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits of each step.

        Args:
            x: Features (B, C, T).
            known: (B, T), which of them are there.

        Returns:
            (B, K, T), or (B, K + 1, T) if the classes are exclusive.
        """
        return self.logits(self.embedded(x, known), known)

    def scores(self, x: Tensor, known: Tensor) -> Tensor:
        """Probabilities (B, K, T) of the classes, 0 at unknown steps; arguments as for `forward`."""
        return self.scores_of(self(x, known), known)

    def embedded(self, x: Tensor, known: Tensor) -> Tensor:
        """The first layer, (B, C, T), (B, T) -> (B, width, T), of each step by itself."""
        x = self.dropout(self.noise(self.scaling(x)))
        return F.relu(self.norm(self.embedding(x, known)))

    def logits(self, x: Tensor, known: Tensor) -> Tensor:
        """The layers after the first one; each step depends on those that are at most `reach` away."""
        for block in self.blocks:
            x = block(x, known)
        logits: Tensor = self.head(x, known)
        return logits

    def scores_of(self, logits: Tensor, known: Tensor) -> Tensor:
        """Logits as probabilities (B, K, T), 0 at unknown steps."""
        logits = logits.float()
        found = logits.softmax(dim=1)[:, : self.num_classes] if self.exclusive else torch.sigmoid(logits)
        return at_known(found, known)


class _Block(nn.Module):
    """A residual layer: three steps, some steps apart, then each step by itself."""

    def __init__(self, width: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = same_conv(width, width, 3, dilation=dilation)
        self.norm = StepNorm(width)
        self.dropout = SampleDropout(dropout)
        self.out = same_conv(width, width, 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        found: Tensor = self.out(self.dropout(F.relu(self.norm(self.conv(x, known)))), known)
        return x + found
