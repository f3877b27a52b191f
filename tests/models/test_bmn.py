"""The boundary-matching network against its definition, which samples first."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tadacli.models.bmn import BMN


def sampled(features: Tensor, *, num_bins: int, durations: int) -> Tensor:
    """(C, T) at the 32 points of every proposal: (C, 32, D, T), point by point as arXiv 2106.06942's code has it."""
    values = features.detach().numpy()
    out = np.zeros((len(values), 32, durations, num_bins))
    for duration, start in itertools.product(range(durations), range(num_bins)):
        if start + duration >= num_bins:
            continue
        length = duration + 1
        first, last = start - 0.5 * length, start + duration + 0.5 * length
        for number in range(96):
            position = first + (last - first) * number / 95
            near, share = math.trunc(position), position - math.trunc(position)
            if position < 0:
                near, share = (0, 0.0) if position > -1 else (-1, 0.0)
            for place, weight in ((near, 1 - share), (near + 1, share)):
                if 0 <= place < num_bins:
                    out[:, number // 3, duration, start] += weight / 3 * values[:, place]
    return torch.from_numpy(out)


@pytest.mark.parametrize(("num_bins", "durations"), [(12, 12), (15, 6), (1, 1)])
def test_the_cheap_form_is_the_definition(num_bins: int, durations: int) -> None:
    torch.manual_seed(0)
    network = BMN(in_channels=8, num_bins=num_bins, max_duration_bins=durations).double()
    windows = torch.randn(2, 8, num_bins, dtype=torch.float64)
    shared = network.backbone.conv_layer(windows)
    cells = torch.stack(
        [sampled(window, num_bins=num_bins, durations=durations) for window in network.head.x_1d_p(shared)]
    )
    expected = network.head.x_2d_p(network.head.x_3d_p(cells).squeeze(2))
    found = network(windows)["confidence_map"]
    assert found.shape == (2, 2, durations, num_bins)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = network.head.x_3d_p[0].weight
    gradients = [torch.autograd.grad(values.square().sum(), weights)[0] for values in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_it_can_be_trained_after_inference_of_the_same_sizes() -> None:
    network = BMN(in_channels=4, num_bins=9, max_duration_bins=5)
    with torch.inference_mode():
        network(torch.zeros(1, 4, 9))
    network(torch.randn(1, 4, 9))["confidence_map"].sum().backward()
    assert all(
        parameter.grad is not None
        for layer in (network.backbone, network.head.x_1d_p, network.head.x_3d_p, network.head.x_2d_p)
        for parameter in layer.parameters()
    )


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="4 groups"):
        BMN(in_channels=6)
    with pytest.raises(ValueError, match="up to 9 bins do not fit windows of 8"):
        BMN(in_channels=8, num_bins=8, max_duration_bins=9)
    with pytest.raises(ValueError, match="windows of 8 bins, not 7"):
        BMN(in_channels=8, num_bins=8, max_duration_bins=4)(torch.zeros(1, 8, 7))


def test_the_layers_keep_their_published_names() -> None:
    names = {name for name, module in BMN(in_channels=8).named_modules() if isinstance(module, nn.Conv1d | nn.Conv2d)}
    assert {"backbone.conv_layer.0", "head.x_1d_s.2", "head.x_2d_p.6"} <= names
