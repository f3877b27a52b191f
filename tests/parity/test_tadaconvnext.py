"""TAdaConvNeXt-T against the published network."""

from __future__ import annotations

import torch

from tadacli.models.tadaconvnext import tadaconvnext_tiny
from tests.parity import goldens


def test_network() -> None:
    case, arrays = goldens.load("tadaconvnext_tiny_normal_lngelu")
    network = tadaconvnext_tiny(
        case["classes"],
        routing=case["routing"],
        ratio=case["ratio"],
        stem_t_kernel=case["stem_t_kernel"],
        stem_t_stride=case["stem_t_stride"],
    ).eval()
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == {
        key: shape for key, (shape, _) in case["state_dict"].items()
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == case["params"]
    network.load_state_dict(goldens.weights(case["state_dict"], case["seed"]))
    for number, shape in enumerate(case["input_shapes"]):
        clips = goldens.inputs(shape, case["seed"] * 100 + number)
        with torch.inference_mode():
            logits = network(clips)
            features = network.forward_features(clips)
        goldens.assert_close(features, arrays[f"feat_{number}"], f"features {number}")
        goldens.assert_close(logits, arrays[f"logits_{number}"], f"logits {number}")
        goldens.assert_close(logits.softmax(-1), arrays[f"probs_{number}"], f"probabilities {number}")
