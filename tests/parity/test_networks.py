"""Whole networks against the published ones."""

from __future__ import annotations

import pytest
import torch

from tadacli.models import build
from tadacli.models.inference import inference_form
from tests.parity import goldens


@pytest.mark.parametrize("name", ["tada2d_r50_k400_8f", "tada2d_r50_ssv2_16f"])
def test_network(name: str) -> None:
    case, arrays = goldens.load(name)
    network = build(case["arch"], num_classes=case["classes"]).eval()
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == {
        key: shape for key, (shape, _) in case["state_dict"].items()
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == case["params"]
    network.load_state_dict(goldens.weights(case["state_dict"], case["seed"]))
    for form, used in (("as trained", network), ("for inference", inference_form(network))):
        for number, shape in enumerate(case["input_shapes"]):
            clips = goldens.inputs(shape, case["seed"] * 100 + number)
            with torch.inference_mode():
                logits = used(clips)
                features = used.forward_features(clips)  # type: ignore[operator]
            goldens.assert_close(features, arrays[f"feat_{number}"], f"features {number}, {form}")
            goldens.assert_close(logits, arrays[f"logits_{number}"], f"logits {number}, {form}")
            goldens.assert_close(logits.softmax(-1), arrays[f"probs_{number}"], f"probabilities {number}, {form}")
