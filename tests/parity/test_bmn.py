"""The boundary-matching network against the published one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tadacli.models.bmn import BMN, sampling_table
from tests.parity import goldens


def test_network() -> None:
    case, arrays = goldens.load("bmn_t20")
    network = BMN(
        in_channels=case["in_channels"], num_bins=case["num_bins"], max_duration_bins=case["max_duration_bins"]
    ).eval()
    published = {name: entry for name, entry in case["state_dict"].items() if name != "head.sample_mask"}
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == {
        name: shape for name, (shape, _) in published.items()
    }
    network.load_state_dict(goldens.weights(published, case["seed"]))
    for number, shape in enumerate(case["input_shapes"]):
        with torch.inference_mode():
            found = network(goldens.inputs(shape, case["seed"] * 100 + number))
        assert found.keys() == {"confidence_map", "start", "end"}
        for name, values in found.items():
            goldens.assert_close(values, arrays[name], name)


def test_every_weight_of_the_sampling_is_the_published_one() -> None:
    case, arrays = goldens.load("bmn_t20")
    num_bins, durations, points = case["num_bins"], case["max_duration_bins"], case["num_samples"]
    table = sampling_table(num_bins, durations)
    dense = np.zeros((durations * num_bins, points * num_bins), dtype=np.float32)
    dense[np.arange(len(dense)).repeat(np.diff(table.offsets)), table.columns] = table.weights
    published = dense.reshape(durations, num_bins, num_bins, points).transpose(2, 3, 0, 1).reshape(num_bins, -1)
    np.testing.assert_array_equal(published, arrays["sample_mask"])


@pytest.mark.parametrize(("in_channels", "num_parameters"), [(6144, 6_081_412), (6912, 6_228_868)])
def test_the_published_sizes(in_channels: int, num_parameters: int) -> None:
    with torch.device("meta"):
        network = BMN(in_channels=in_channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters
