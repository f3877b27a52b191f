"""Heads of one kind that are trained side by side, each from its own initial values and with its own noise.

What they say is averaged. Trained on few videos, a head depends on its initial values; the mean of several less so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.bmn_head import BMNHead
from tadacli.models.pyramid import AtPoints, Pyramid
from tadacli.models.temporal_head import TemporalHead

Member = TemporalHead | Pyramid


class Ensemble(nn.Module):
    """Several heads of one kind and one shape.

    Args:
        members: All of them `TemporalHead`, or all of them `Pyramid`, made with the same arguments.

    Raises:
        ValueError: There are none.

    Example:
        >>> import torch
        >>> from tadacli.models import build_over_features
        >>> head = build_over_features("temporal", in_channels=16, num_classes=3, members=3).eval()
        >>> of_each = head(torch.zeros(2, 16, 50), torch.ones(2, 50, dtype=torch.bool))
        >>> len(of_each), head.combined(of_each).shape
        (3, torch.Size([2, 4, 50]))
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        if not members:
            raise ValueError("a head has no members")
        self.members = nn.ModuleList(members)
        self.num_classes, self.step_multiple = members[0].num_classes, members[0].step_multiple

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor | dict[str, AtPoints], ...]:
        """What each member says of features (B, C, T), of which `known` (B, T) are there."""
        return tuple(member(x, known) for member in self.members)

    def combined(self, of_each: Sequence[Tensor | dict[str, AtPoints]]) -> Tensor | dict[str, AtPoints]:
        """One answer in the form of a member's: logits of the mean of the probabilities, and mean distances.

        Args:
            of_each: As `forward` returns it.
        """
        first = self.members[0]
        if isinstance(first, TemporalHead):
            logits = torch.stack([each for each in of_each if isinstance(each, Tensor)])
            if not first.exclusive:
                return _mean_logits(logits)
            return logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(logits))
        return together([each for each in of_each if isinstance(each, dict)])


def members_of(head: Member | BMNHead | Ensemble) -> tuple[Member | BMNHead, ...]:
    """The members of an ensemble; a head that is none is its only one."""
    return tuple(head.members) if isinstance(head, Ensemble) else (head,)  # type: ignore[arg-type]


def mean_scores(of_each: Sequence[Tensor]) -> Tensor:
    """The mean of the probabilities that several heads give, of any shape; one by itself to the bit."""
    return of_each[0] if len(of_each) == 1 else torch.stack(list(of_each)).mean(dim=0)


def together(of_each: Sequence[dict[str, AtPoints]]) -> dict[str, AtPoints]:
    """What several pyramids say at the same points, as one; one by itself to the bit.

    Args:
        of_each: Of each member by head logits (..., P, K) and distances (..., P, 2) or (..., P, K, 2).

    Returns:
        Logits of the mean of the probabilities. Distances are a mean, too, in which a member counts by the probability
        that it gives to the likeliest class of the point, or to the class whose distances these are: where a member
        sees no action, it was not trained to say where one ends.
    """
    return {name: _mean_at_points([each[name] for each in of_each]) for name in of_each[0]}


def _mean_at_points(of_each: Sequence[AtPoints]) -> AtPoints:
    if len(of_each) == 1:
        return of_each[0]
    logits = torch.stack([each.logits.float() for each in of_each])
    distances = torch.stack([each.distances.float() for each in of_each])
    likely = logits[..., None] if of_each[0].of_each_class else logits.amax(dim=-1, keepdim=True)
    shares = _log_sigmoid(likely).softmax(dim=0)
    return AtPoints(_mean_logits(logits), (distances * shares).sum(dim=0))


def _mean_logits(logits: Tensor) -> Tensor:
    """Logits (M, ...) as that of the mean of their probabilities, exact also where these are nearly 0 or 1."""
    return _log_sigmoid(logits).logsumexp(dim=0) - _log_sigmoid(-logits).logsumexp(dim=0)


def _log_sigmoid(logits: Tensor) -> Tensor:
    """By softplus: torch's own becomes the logarithm of a sigmoid in other runtimes, of which little is left near 0."""
    return -F.softplus(-logits)
