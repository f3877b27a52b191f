"""Operators and routing functions against the published ones: outputs, gradients, batch-norm buffers."""

from __future__ import annotations

import pytest
import torch

from tadacli.models import tadaconv
from tests.parity import goldens

CASES = [
    "conv_cin",
    "conv_cin_stride2",
    "conv_cout_bias",
    "conv_depthwise",
    "conv3d_cin",
    "route_train",
    "route_eval",
    "route_attention_eval",
    "route_attention_two_heads_eval",
]
# Published settings of the routing by attention that are the same in every network, and so no settings here.
SETTLED = {"ratio": 2, "kernels": [3, 3], "with_bias_cal": True}


def test_every_golden_operator_is_tested() -> None:
    cases, _ = goldens.load("ops")
    assert sorted(cases) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str) -> None:
    cases, arrays = goldens.load("ops")
    case = cases[name]
    arguments = case["args"]
    if case["kind"] == "RouteFuncwTransformer":
        assert arguments.items() >= SETTLED.items()
        arguments = {key: value for key, value in arguments.items() if key not in SETTLED}
    module = getattr(tadaconv, case["kind"])(**arguments)
    module.load_state_dict(goldens.weights(case["state_dict"], case["seed"]))
    module.train(name == "route_train")
    x = goldens.inputs(case["input_shape"], case["seed"]).requires_grad_()
    alpha = None
    if case["kind"].startswith("TAdaConv"):
        channels = module.in_channels if module.cal_dim == "cin" else module.out_channels
        shape = (x.shape[0], channels, x.shape[2], 1, 1)
        alpha = (1 + 0.3 * goldens.inputs(shape, case["seed"] + 1)).requires_grad_()
        out = module(x, alpha)
    else:
        out = module(x)
        out = torch.cat(out, dim=1) if isinstance(out, tuple) else out
    (out * goldens.inputs(out.shape, case["seed"] + 2)).sum().backward()

    goldens.assert_close(out, arrays[f"{name}.out"], "output")
    assert x.grad is not None
    goldens.assert_close(x.grad, arrays[f"{name}.grad_x"], "gradient of the input")
    if alpha is not None:
        assert alpha.grad is not None
        goldens.assert_close(alpha.grad, arrays[f"{name}.grad_alpha"], "gradient of the calibration")
    for key, parameter in module.named_parameters():
        reference = arrays[f"{name}.grad.{key}"]
        if (name, key) == ("route_train", "a.bias"):  # batch norm takes any bias away
            assert parameter.grad.abs().max() <= goldens.GRADIENT_OF_NOTHING
        else:
            goldens.assert_close(parameter.grad, reference, f"gradient of {key}")
    for key, buffer in module.named_buffers():
        if f"{name}.buffer_after.{key}" in arrays:
            goldens.assert_close(buffer, arrays[f"{name}.buffer_after.{key}"], f"buffer {key}")
