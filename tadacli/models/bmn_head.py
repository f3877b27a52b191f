"""A head that proposes spans by the boundary-matching network and names them by a classifier of snippets.

As in "A Stronger Baseline for Ego-Centric Action Detection" (arXiv 2106.06942) the two share no layer. There the
classifier is a network of video of its own; here it is one linear layer over the same features, so that the classes are
those of the segments that the head is trained on, whatever the network of the features was trained for.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.bmn import BMN, SNIPPETS_PER_BIN
from tadacli.models.dropout import GaussianNoise, SampleDropout
from tadacli.models.heads import NumClasses
from tadacli.models.sequence_layers import FeatureScaling, at_known

_MOST_BINS = 512


class BMNHead(nn.Module):
    """Proposals over windows of features, and logits of the classes of every snippet.

    Args:
        in_channels: Channels of the features; a multiple of 4.
        num_classes: K, or those of several heads by name.
        num_bins: T, the bins of a window, of two snippets each; 200 as published.
        max_duration_bins: D, how many bins the longest proposal has; 100 as published. Windows begin as many bins
            after one another, so that each proposal lies within one if there are no more than T / 2.
        noise: Standard deviation of what is added to features in training, whose own deviation is 1.
        dropout: Share of the features dropped in training.

    Example:
        >>> import torch
        >>> from tadacli.models.bmn_head import BMNHead
        >>> head = BMNHead(in_channels=16, num_classes=3, num_bins=20, max_duration_bins=10).eval()
        >>> found = head(torch.zeros(2, 16, 40), torch.ones(2, 40, dtype=torch.bool))
        >>> {name: tuple(values.shape) for name, values in found.items()}
        {'confidence_map': (2, 2, 10, 20), 'start': (2, 20), 'end': (2, 20), '.logits': (2, 3, 40)}
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: NumClasses,
        num_bins: int = 200,
        max_duration_bins: int = 100,
        noise: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 2 * max_duration_bins <= num_bins <= _MOST_BINS:
            raise ValueError(
                f"a window has twice as many bins as the longest proposal, up to {_MOST_BINS}: num_bins is {num_bins}, "
                f"max_duration_bins is {max_duration_bins}"
            )
        self.num_classes: dict[str, int] = {"": num_classes} if isinstance(num_classes, int) else dict(num_classes)
        self.scaling = FeatureScaling(in_channels)
        self.noise = GaussianNoise(noise)
        self.dropout = SampleDropout(dropout)
        self.proposals = BMN(in_channels=in_channels, num_bins=num_bins, max_duration_bins=max_duration_bins)
        self.classifiers = nn.ModuleList(nn.Conv1d(in_channels, count, 1) for count in self.num_classes.values())

    @property
    def step_multiple(self) -> int:
        """Snippets of a window."""
        return SNIPPETS_PER_BIN * self.proposals.num_bins

    def forward(self, x: Tensor, known: Tensor) -> dict[str, Tensor]:
        """What is proposed in each window, and what its snippets show.

        Args:
            x: Features (B, C, 2 T).
            known: (B, 2 T), which of them are there.

        Returns:
            What the `BMN` says of the features of the bins, and `logits` of each head after its name and a dot,
            (B, K, 2 T).
        """
        x = self.dropout(self.noise(self.scaled(x, known)))
        bins = F.interpolate(x, size=self.proposals.num_bins, mode="linear", align_corners=True)
        return {**self.proposals(bins), **{f"{name}.logits": each for name, each in self.logits(x).items()}}

    def scaled(self, x: Tensor, known: Tensor) -> Tensor:
        """(B, C, N) as the layers take them, with zeros at unknown snippets."""
        return at_known(self.scaling(x), known)

    def logits(self, x: Tensor) -> dict[str, Tensor]:
        """Logits (B, K, N) by head of scaled features (B, C, N)."""
        return {name: layer(x) for name, layer in zip(self.num_classes, self.classifiers, strict=True)}
