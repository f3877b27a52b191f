"""What a head is to say of a window, and the loss of what it says instead.

Sums over steps or points are divided by what a window of the training data has of them on the average, a constant, so
that the loss of a batch is the mean of the losses of its windows, however they are shared out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tadacli.models.bmn_head import BMNHead
from tadacli.models.ensemble import Member
from tadacli.models.pyramid import AtPoints, Points, known_points, points
from tadacli.models.temporal_head import TemporalHead
from tadacli.training.heads.proposal_objective import ProposalObjective
from tadacli.training.heads.sequences import FeatureWindow, classes_by_step

# As published: an action is to be found by the points this many strides around its middle; the focal loss.
_CENTRE_RADIUS = 1.5
_ALPHA, _GAMMA = 0.25, 2.0
_IOU_POWER = 0.25  # of TriDet


class Objective(Protocol):
    """Targets of a window, padded to a number of steps, and the loss of a batch of them."""

    def targets(self, window: FeatureWindow, num_steps: int) -> dict[str, Tensor]: ...

    def loss(self, found: object, targets: Mapping[str, Tensor]) -> Tensor: ...


@dataclass
class StepObjective:
    """Every step is to be what happens there, or background: cross entropy, by class if classes may overlap.

    `normaliser` is the number of known steps in a window on the average.
    """

    num_classes: int
    exclusive: bool
    normaliser: float = 1.0

    def targets(self, window: FeatureWindow, num_steps: int) -> dict[str, Tensor]:
        """`classes` (K, T), 0 or 1, and `weights` (T,), 0 where nothing is known."""
        (head,) = window.classes
        classes = classes_by_step(window, head, self.num_classes, num_steps)
        weights = np.zeros(num_steps, dtype=np.float32)
        weights[: len(window)] = window.known
        weights[_covered(np.arange(num_steps), window) & ~classes.any(axis=0)] = 0
        return {"classes": torch.from_numpy(classes), "weights": torch.from_numpy(weights)}

    def count(self, targets: Mapping[str, Tensor]) -> float:
        """How many steps count in a window."""
        return float(targets["weights"].sum())

    def loss(self, found: object, targets: Mapping[str, Tensor]) -> Tensor:
        """The mean over the windows."""
        assert isinstance(found, Tensor)
        classes, weights = targets["classes"], targets["weights"]
        if self.exclusive:
            background = (classes.sum(dim=1, keepdim=True) == 0).to(classes.dtype)
            shares = torch.cat([classes / classes.sum(dim=1, keepdim=True).clamp(min=1), background], dim=1)
            losses = -(shares * found.float().log_softmax(dim=1)).sum(dim=1)
        else:
            losses = F.binary_cross_entropy_with_logits(found.float(), classes, reduction="none").sum(dim=1)
        return (losses * weights).sum() / (self.normaliser * len(classes))


@dataclass
class PointObjective:
    """Points near the middle of an action, on the level of its length, are to be it and to reach its boundaries.

    Focal loss of the classes at all points, and DIoU of the spans at those of an action, as ActionFormer has them.
    Where each class has distances of its own, its focal loss at an action is weighted by the IoU of its span to the
    power of 0.25, as TriDet has it; here nothing is learnt through that weight, which would have the IoU fall.
    `normaliser` is the number of points of an action in a window on the average.
    """

    num_classes: Mapping[str, int]
    num_levels: int
    normaliser: float = 1.0

    def targets(self, window: FeatureWindow, num_steps: int) -> dict[str, Tensor]:
        """By head `classes` (P, K), 0 or 1; `distances` (P, 2) in strides; `weights` (P,), 0 where nothing is known."""
        window, at = window.whole_enough(), points(num_steps, self.num_levels)
        owners, distances = assigned(torch.from_numpy(window.spans), at)
        targets = {"distances": distances}
        for head, count in self.num_classes.items():
            one_hot = F.one_hot(torch.from_numpy(window.classes[head]), count).float()
            targets[f"{head}.classes"] = (owners.float() @ one_hot).clamp(max=1)
        known = torch.zeros(1, num_steps, dtype=torch.bool)
        known[0, : len(window)] = torch.from_numpy(window.known)
        weights = known_points(known, self.num_levels)[0]
        unsure = torch.from_numpy(_covered(at.places.numpy(), window)) & ~owners.any(dim=1)
        targets["weights"] = (weights & ~unsure).float()
        return targets

    def count(self, targets: Mapping[str, Tensor]) -> float:
        """How many points of an action there are in a window."""
        return float(_is_action(targets, self.num_classes).sum())

    def loss(self, found: object, targets: Mapping[str, Tensor]) -> Tensor:
        """The mean over the windows."""
        assert isinstance(found, dict)
        is_action, losses = _is_action(targets, self.num_classes), []
        for head in self.num_classes:
            said, classes = found[head], targets[f"{head}.classes"]
            assert isinstance(said, AtPoints)
            focal, chosen, wanted = focal_loss(said.logits.float(), classes), is_action, targets["distances"]
            if said.of_each_class:
                chosen, wanted = is_action[..., None] & (classes > 0), wanted[:, :, None].expand(said.distances.shape)
            spans, wanted = said.distances.float()[chosen], wanted[chosen]
            if said.of_each_class:
                weights = iou(spans.detach(), wanted) ** _IOU_POWER
                focal = focal * torch.ones_like(focal).masked_scatter(chosen, weights)
            losses.append((focal.sum(dim=2) * targets["weights"]).sum() + diou_loss(spans, wanted).sum())
        return torch.stack(losses).sum() / (self.normaliser * len(is_action))


def objective_of(head: Member | BMNHead) -> StepObjective | PointObjective | ProposalObjective:
    """What a network is trained by."""
    if isinstance(head, BMNHead):
        return ProposalObjective(head.num_classes, head.proposals.num_bins, head.proposals.max_duration_bins)
    if isinstance(head, TemporalHead):
        return StepObjective(head.num_classes, head.exclusive)
    return PointObjective(head.num_classes, head.num_levels)


def assigned(spans: Tensor, at: Points) -> tuple[Tensor, Tensor]:
    """Which spans the points are to find, and how far away their boundaries are.

    A point takes a span if it lies in it, within 1.5 strides of its middle, and the farther boundary is in its range.
    Of several spans it takes the shortest, and all that are as short.

    Args:
        spans: (S, 2) in steps.
        at: The points.

    Returns:
        (P, S), bool, and distances (P, 2) in strides, 0 where a point takes none.
    """
    if not len(spans):
        return torch.zeros(len(at.places), 0, dtype=torch.bool), torch.zeros(len(at.places), 2)
    spans = spans.float()
    place, stride = at.places[:, None], at.strides[:, None]
    starts, ends = spans.T[:, None]
    middle, radius = (starts + ends) / 2, _CENTRE_RADIUS * stride
    is_near = (place > torch.maximum(middle - radius, starts)) & (place < torch.minimum(middle + radius, ends))
    distances = torch.stack([place - starts, ends - place], dim=2)
    farthest = distances.amax(dim=2)
    fits = is_near & (farthest >= at.ranges[:, :1]) & (farthest <= at.ranges[:, 1:])
    lengths = torch.where(fits, ends - starts, torch.inf)
    shortest, first = lengths.min(dim=1)
    owners = fits & (lengths <= shortest[:, None] + 1e-3)
    chosen = distances[torch.arange(len(first)), first] / stride
    return owners, torch.where(owners.any(dim=1, keepdim=True), chosen, 0.0)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The sigmoid focal loss of each number, with alpha 0.25 and gamma 2 (Lin et al., 2017)."""
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    scores = torch.sigmoid(logits)
    missed = scores * (1 - targets) + (1 - scores) * targets
    return (_ALPHA * targets + (1 - _ALPHA) * (1 - targets)) * missed**_GAMMA * plain


def diou_loss(distances: Tensor, targets: Tensor) -> Tensor:
    """1 - IoU, and the distance of the middles as a share of the hull, squared, of spans around one point.

    Args:
        distances: (N, 2), to the start and to the end.
        targets: (N, 2).

    Returns:
        (N,).
    """
    missed = 1 - iou(distances, targets)
    hull = torch.maximum(distances, targets).sum(dim=1).clamp(min=1e-8)
    apart = (distances[:, 1] - distances[:, 0] - targets[:, 1] + targets[:, 0]) / 2
    return missed + (apart / hull) ** 2


def iou(distances: Tensor, targets: Tensor) -> Tensor:
    """The IoU of spans around one point; arguments as of `diou_loss`."""
    shared = torch.minimum(distances, targets).sum(dim=1)
    union = distances.sum(dim=1) + targets.sum(dim=1) - shared
    return shared / union.clamp(min=1e-8)


def measure_normaliser(objective: StepObjective | PointObjective, windows: list[FeatureWindow], multiple: int) -> float:
    """How much a window of these has on the average that counts, at least 1."""
    counts = [objective.count(objective.targets(each, rounded_up(len(each), multiple))) for each in windows]
    return max(1.0, float(np.mean(counts)))


def batch_targets(objective: Objective, windows: list[FeatureWindow], num_steps: int) -> dict[str, Tensor]:
    """The targets of several windows, stacked."""
    found = [objective.targets(window, num_steps) for window in windows]
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}


def rounded_up(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


def _is_action(targets: Mapping[str, Tensor], num_classes: Mapping[str, int]) -> Tensor:
    first = next(iter(num_classes))
    return (targets[f"{first}.classes"].sum(dim=-1) > 0) & (targets["weights"] > 0)


def _covered(places: NDArray[np.number], window: FeatureWindow) -> NDArray[np.bool_]:
    """Which places lie in a time that is not supervised."""
    starts, ends = window.ignored.reshape(-1, 2).T
    covered: NDArray[np.bool_] = np.logical_or.reduce((places[:, None] >= starts) & (places[:, None] < ends), axis=1)
    return covered
