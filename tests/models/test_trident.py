"""Trident boundaries: the published formula, written out point by point and class by class."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tadacli.models.pyramid import Pyramid
from tadacli.models.trident import trident_distances

# Of float64 for the formula itself, of float32 for a whole network.
EXACT, TOLERANCE = 1e-12, 1e-4


def transcribed(starts: Tensor, ends: Tensor, centres: Tensor, num_bins: int) -> Tensor:
    """(K, P, 2) of one sample, from (K, P), (K, P) and (2 * (N + 1), P) as the layers give it.

    The start at a distance of b is as likely as exp(start logit b points before + what the point itself says of bin b);
    where there is no point, its logit is 0. The distance is the mean over b.
    """
    num_classes, num_points = starts.shape
    found = torch.zeros(num_classes, num_points, 2, dtype=starts.dtype)
    for number in range(num_classes):
        for point in range(num_points):
            for side, logits, step in ((0, starts, -1), (1, ends, 1)):
                weights = []
                for distance in range(num_bins + 1):
                    there = point + step * distance
                    logit = logits[number, there].item() if 0 <= there < num_points else 0.0
                    # The bins of starts are listed from the farthest one to the point itself.
                    row = num_bins - distance if side == 0 else num_bins + 1 + distance
                    weights.append(math.exp(logit + centres[row, point].item()))
                mean = sum(distance * weight for distance, weight in enumerate(weights)) / sum(weights)
                found[number, point, side] = mean
    return found


@pytest.mark.parametrize(("num_points", "num_bins"), [(9, 4), (3, 5), (1, 1)])
def test_distances_are_those_of_the_formula(num_points: int, num_bins: int) -> None:
    torch.manual_seed(0)
    starts, ends = torch.randn(2, 2, 3, num_points, dtype=torch.float64).mul(2)
    centres = torch.randn(2, 2 * (num_bins + 1), num_points, dtype=torch.float64)
    found = trident_distances(starts, ends, centres.reshape(2, 2, num_bins + 1, num_points))
    expected = torch.stack([transcribed(*each, num_bins) for each in zip(starts, ends, centres, strict=True)])
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
    assert found.min() >= 0
    assert found.max() <= num_bins


def test_a_sure_boundary_is_found_where_it_is() -> None:
    starts, ends = torch.full((1, 1, 12), -50.0), torch.full((1, 1, 12), -50.0)
    starts[..., 2] = ends[..., 9] = 50.0
    found = trident_distances(starts, ends, torch.zeros(1, 2, 9, 12))
    assert found[0, 0, 5].tolist() == [3, 4]
    assert [found[0, 0, 2, 0].item(), found[0, 0, 9, 1].item()] == pytest.approx([0, 0], abs=1e-12)


def test_a_pyramid_takes_its_distances_from_them() -> None:
    """Level by level from the layers of the head, as published; what is below the boundaries is not trained by them."""
    torch.manual_seed(1)
    pyramid = Pyramid(in_channels=4, num_classes={"verb": 2, "noun": 3}, width=16, num_levels=2, num_bins=4).eval()
    head = pyramid.heads[1]
    nn.init.normal_(head.scales, 1.0, 0.5)  # type: ignore[arg-type]
    x, known = torch.randn(1, 16, 10, requires_grad=True), torch.ones(1, 10, dtype=torch.bool)
    known[0, 8:] = False

    def by_points(layers: nn.Module, conv: nn.Module) -> Tensor:
        found: Tensor = conv(layers(x, known), known)
        return found

    said = head(x, known, 1)
    centres = torch.relu(head.scales[1] * by_points(head.distance_layers, head.distances))  # type: ignore[index]
    starts = by_points(head.start_layers, head.starts) * known[:, None]  # type: ignore[arg-type]
    ends = by_points(head.end_layers, head.ends) * known[:, None]  # type: ignore[arg-type]
    expected = transcribed(starts[0], ends[0], centres[0], 4).transpose(0, 1)
    assert said.distances.shape == (1, 10, 3, 2)
    torch.testing.assert_close(said.distances[0].detach(), expected, rtol=TOLERANCE, atol=TOLERANCE)
    nn.init.zeros_(head.distances.weight)  # type: ignore[arg-type]
    (through_boundaries,) = torch.autograd.grad(head(x, known, 1).distances.sum(), x)
    assert not through_boundaries.any()


@pytest.mark.parametrize("num_bins", [-1, 3, 65])
def test_bins_that_cannot_be_are_refused(num_bins: int) -> None:
    with pytest.raises(ValueError, match="num_bins is"):
        Pyramid(in_channels=4, num_classes=2, width=16, num_bins=num_bins)
