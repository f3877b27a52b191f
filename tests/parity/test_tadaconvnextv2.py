"""TAdaConvNeXtV2 against the published network."""

from __future__ import annotations

import torch

from tadacli.models.tadaconvnextv2 import tadaconvnextv2_tiny
from tests.parity import goldens


def test_network() -> None:
    case, arrays = goldens.load("tadaconvnextv2_tiny_k400_16f")
    network = tadaconvnextv2_tiny(case["classes"]).eval()
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == {
        key: shape for key, (shape, _) in case["state_dict"].items()
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == case["params"]
    network.load_state_dict(goldens.weights(case["state_dict"], case["seed"]))
    for number, shape in enumerate(case["input_shapes"]):
        clips = goldens.inputs(shape, case["seed"] * 100 + number)
        with torch.inference_mode():
            features = network.forward_features(clips)
            logits = network.head(features)
        goldens.assert_close(features, arrays[f"feat_{number}"], f"features {number}")
        goldens.assert_close(logits, arrays[f"logits_{number}"], f"logits {number}")
        goldens.assert_close(logits.softmax(-1), arrays[f"probs_{number}"], f"probabilities {number}")
