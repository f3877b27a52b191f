"""TAdaFormer against the published networks."""

from __future__ import annotations

import pytest
import torch

from tadacli.models.tadaformer import tadaformer_b16
from tests.parity import goldens


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tadaformer_b16_k400_16f", {}),
        ("tadaformer_b16_ssv2_16f", {"double_tada": True, "temporal_enhance": True}),
    ],
)
def test_network(name: str, arguments: dict[str, bool]) -> None:
    case, arrays = goldens.load(name)
    with torch.device("meta"):
        network = tadaformer_b16(case["classes"], **arguments).eval()
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == {
        key: shape for key, (shape, _) in case["state_dict"].items()
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == case["params"]
    network.load_state_dict(goldens.weights(case["state_dict"], case["seed"]), assign=True)
    for number, shape in enumerate(case["input_shapes"]):
        clips = goldens.inputs(shape, case["seed"] * 100 + number)
        with torch.inference_mode():
            features = network.forward_features(clips)
            logits = network.head(features)
        goldens.assert_close(features, arrays[f"feat_{number}"], f"features {number}")
        goldens.assert_close(logits, arrays[f"logits_{number}"], f"logits {number}")
        goldens.assert_close(logits.softmax(-1), arrays[f"probs_{number}"], f"probabilities {number}")
