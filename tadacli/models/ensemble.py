"""Heads of one kind that are trained side by side, each from its own initial values and with its own noise.

What they say is averaged. On few videos one head finds what its initial values happened to lead to; the mean of several
is nearer to what the videos show.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tadacli.models.bmn_head import BMNHead
from tadacli.models.pyramid import AtPoints, Pyramid
from tadacli.models.temporal_head import TemporalHead

_LEAST = 1e-6  # of a probability, and of what it lacks of 1, so that its logarithm is a number

Member = TemporalHead | Pyramid


class Ensemble(nn.Module):
    """Several heads of one kind and one shape.

    Args:
        members: All of them `TemporalHead`, or all of them `Pyramid`.

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
            logits = [each for each in of_each if isinstance(each, Tensor)]
            if first.exclusive:
                return mean_scores([each.softmax(dim=1) for each in logits]).clamp(min=_LEAST).log()
            return torch.logit(mean_scores([each.sigmoid() for each in logits]), eps=_LEAST)
        points = [each for each in of_each if isinstance(each, dict)]
        return {name: mean_at_points([each[name] for each in points]) for name in points[0]}


def members_of(head: Member | BMNHead | Ensemble) -> tuple[Member | BMNHead, ...]:
    """The members of an ensemble; a head that is none is its only one."""
    return tuple(head.members) if isinstance(head, Ensemble) else (head,)  # type: ignore[arg-type]


def mean_scores(of_each: Sequence[Tensor]) -> Tensor:
    """The mean of the probabilities that several heads give, of any shape; one by itself to the bit."""
    return of_each[0] if len(of_each) == 1 else torch.stack(list(of_each)).mean(dim=0)


def mean_at_points(of_each: Sequence[AtPoints]) -> AtPoints:
    """What several pyramids say at their points, as one; one by itself to the bit.

    Args:
        of_each: Logits (..., P, K) and distances (..., P, 2) or (..., P, K, 2) of each member.

    Returns:
        Logits of the mean of the probabilities. Distances are a mean, too, in which a member counts by the probability
        that it gives to the likeliest class of the point, or to the class whose distances these are: where a member
        sees no action, it was not trained to say where one ends.
    """
    if len(of_each) == 1:
        return of_each[0]
    scores = torch.stack([each.logits.float().sigmoid() for each in of_each])
    distances = torch.stack([each.distances.float() for each in of_each])
    weights = scores[..., None] if of_each[0].of_each_class else scores.amax(dim=-1, keepdim=True)
    weights = weights.clamp(min=_LEAST)
    mean = (distances * weights).sum(dim=0) / weights.sum(dim=0)
    return AtPoints(torch.logit(scores.mean(dim=0), eps=_LEAST), mean)
