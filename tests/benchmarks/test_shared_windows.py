"""The layer from which on a network depends on several frames is found, wherever it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.shared_windows import first_that_mixes, gain, share_before
from tadacli.models import build

CLIP = (1, 3, 8, 32, 32)


def test_the_first_layer_that_sees_another_frame_is_named() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1)),
        nn.ReLU(),
        nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0)),
        nn.ReLU(),
    )
    assert first_that_mixes(network, torch.rand(CLIP)) == "2"


def test_a_network_of_frames_alone_mixes_nowhere() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3)), nn.ReLU())
    assert first_that_mixes(network, torch.rand(CLIP)) == "1"


def test_a_calibration_mixes_frames_in_the_first_block() -> None:
    torch.manual_seed(0)
    network = build("tada2d_r50", num_classes=4, stage_depths=(1, 1, 1, 1), stem_width=8).eval()
    with torch.inference_mode():
        layer = first_that_mixes(network, torch.rand(CLIP))
        (share,) = share_before(network, layer, torch.rand(CLIP), rounds=1)
    assert layer.startswith("backbone.conv2.res_1.conv_branch.b_rf")
    assert 0 < share < 1


@pytest.mark.parametrize(("share", "times"), [(0.0, 1.0), (1.0, 2.0), (2 / 3, 1.5)])
def test_sharing_half_of_the_frames_saves_half_of_what_can_be_shared(share: float, times: float) -> None:
    assert gain(share) == pytest.approx(times)
