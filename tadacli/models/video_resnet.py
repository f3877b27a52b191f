"""What the ResNets over video share: stem, stages of bottlenecks, and a start from an image ResNet.

They are TAda2D, and the networks that the TAda! paper plugs TAdaConv into (its table 3): SlowOnly, SlowFast, R(2+1)D
and R3D. Parameter names are those of the published TAda2D.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import UnionType
from typing import Self, TypedDict

import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.heads import ClipClassifier, NumClasses
from tadacli.models.layers import (
    FrameBatchNorm,
    FrameConv2d,
    Norm,
    PlainConv,
    TemporalConv1d,
    fold_norm,
    fold_time,
    normalised_conv,
    unfold_like,
)
from tadacli.models.tadaconv import RouteFuncMLP, TAdaConv2d, TAdaConv3d, calibrated_conv

EXPANSION = 4  # channels at the end of a bottleneck for one within
# Makes the routing function of a convolution of so many input channels; None where nothing is calibrated.
Routing = Callable[[int], RouteFuncMLP] | None
# Makes a residual branch, called with (in_channels, width, stride=...).
BranchMaker = Callable[..., nn.Module]


class SpaceTimeConv3d(PlainConv):
    """A convolution over time and space of odd extents, padded by half of them; its stride is one of space."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: tuple[int, int, int], *, stride: int = 1
    ) -> None:
        frames, height, width = kernel_size
        padding = (frames // 2, height // 2, width // 2)
        super().__init__(in_channels, out_channels, kernel_size, (1, stride, stride), padding, bias=False)


AnyConv = PlainConv | TAdaConv2d | TAdaConv3d


def any_conv(conv: AnyConv, norm: Norm, x: Tensor, routing: RouteFuncMLP | None) -> Tensor:
    """ReLU of `norm(conv(x))`; a TAdaConv is calibrated by `routing(x)`."""
    if isinstance(conv, TAdaConv2d | TAdaConv3d):
        assert routing is not None
        return calibrated_conv(conv, norm, x, routing(x))
    return normalised_conv(conv, norm, x, with_relu=True)


def fold_norm_of_any(block: nn.Module, conv: str, norm: str) -> None:
    """`fold_norm` for a convolution that `any_conv` is called with, which has its input to itself."""
    fold_norm(block, conv, norm)
    layer = block.get_submodule(conv)
    if isinstance(layer, TAdaConv2d | TAdaConv3d):
        layer.spends_input = True


def routing_maker(*, tada: bool, ratio: int, kernels: Sequence[int]) -> Routing:
    """The routing functions of a network with TAdaConv, None for its plain twin."""
    return partial(RouteFuncMLP, ratio=ratio, kernels=kernels) if tada else None


class Stem(nn.Module):
    """7x7 convolution of stride 2, over `temporal_extent` frames; then, if `pooled`, a 3x3 max-pool of stride 2."""

    def __init__(self, width: int, *, temporal_extent: int, pooled: bool) -> None:
        super().__init__()
        self.a: PlainConv = (
            FrameConv2d(3, width, 7, stride=2, padding=3)
            if temporal_extent == 1
            else SpaceTimeConv3d(3, width, (temporal_extent, 7, 7), stride=2)
        )
        self.a_bn = FrameBatchNorm(width)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, width, T, H', W')."""
        x = normalised_conv(self.a, self.a_bn, x, with_relu=True)
        if not self.pooled:
            return x
        return unfold_like(F.max_pool2d(fold_time(x), 3, stride=2, padding=1), x)

    def folded(self) -> Self:
        """The form for inference."""
        fold_norm(self, "a", "a_bn")
        return self


class Branch(nn.Module):
    """Residual branch of three convolutions: `first`, `middle` (calibrated if there is routing), and a wide 1x1."""

    def __init__(self, first: PlainConv, middle: AnyConv, width: int, *, routing: Routing) -> None:
        super().__init__()
        self.a: PlainConv = first
        self.a_bn = FrameBatchNorm(width)
        self.b: AnyConv = middle
        self.b_rf = None if routing is None else routing(width)
        self.b_bn = FrameBatchNorm(width)
        self.c = FrameConv2d(width, width * EXPANSION, 1)
        self.c_bn = FrameBatchNorm(width * EXPANSION)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(B, C, T, H, W) and what the branch is added to -> (B, 4 * width, T, H', W')."""
        x = normalised_conv(self.a, self.a_bn, x, with_relu=True)
        x = any_conv(self.b, self.b_bn, x, self.b_rf)
        return normalised_conv(self.c, self.c_bn, x, with_relu=True, residual=residual)

    def folded(self) -> Self:
        """The form for inference."""
        for conv in "abc":
            fold_norm_of_any(self, conv, f"{conv}_bn")
        return self


def frame_branch(
    in_channels: int, width: int, *, stride: int, temporal_extent: int = 1, routing: Routing = None
) -> Branch:
    """Residual branch: 1x1 over `temporal_extent` frames, 3x3 (strided, calibrated if there is routing), 1x1."""
    first: FrameConv2d | TemporalConv1d = (
        FrameConv2d(in_channels, width, 1)
        if temporal_extent == 1
        else TemporalConv1d(in_channels, width, temporal_extent)
    )
    return Branch(first, frame_conv(width, stride=stride, routing=routing), width, routing=routing)


def frame_conv(width: int, *, stride: int, routing: Routing) -> FrameConv2d | TAdaConv2d:
    """The 3x3 in the middle of a branch, which can be calibrated if there is routing."""
    if routing is None:
        return FrameConv2d(width, width, 3, stride=stride, padding=1)
    return TAdaConv2d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1))


class Bottleneck(nn.Module):
    """A residual branch beside the identity, or beside a strided 1x1 where the shape changes.

    The branch is called with the block's input and with what its result is added to, and ends with ReLU.
    """

    def __init__(self, branch: nn.Module, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.short_cut: FrameConv2d | None = None
        self.short_cut_bn: FrameBatchNorm | None = None
        if stride != 1 or in_channels != out_channels:
            self.short_cut = FrameConv2d(in_channels, out_channels, 1, stride=stride)
            self.short_cut_bn = FrameBatchNorm(out_channels)
        self.conv_branch = branch

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        if self.short_cut is not None and self.short_cut_bn is not None:
            residual = normalised_conv(self.short_cut, self.short_cut_bn, x)
        return self.conv_branch(x, residual)  # type: ignore[no-any-return]

    def folded(self) -> Self:
        """The form for inference."""
        if self.short_cut is not None:
            fold_norm(self, "short_cut", "short_cut_bn")
        return self


def bottlenecks(branch: BranchMaker, in_channels: int, width: int, *, depth: int, stride: int) -> list[Bottleneck]:
    """The blocks of one stage, the first of which strides."""
    blocks = []
    for number in range(depth):
        first = stride if number == 0 else 1
        inputs = in_channels if number == 0 else width * EXPANSION
        blocks.append(Bottleneck(branch(inputs, width, stride=first), inputs, width * EXPANSION, stride=first))
    return blocks


def numbered(blocks: Sequence[nn.Module]) -> nn.Sequential:
    """A stage of blocks with their published names."""
    return nn.Sequential(OrderedDict((f"res_{number}", block) for number, block in enumerate(blocks, start=1)))


class VideoResNet(ClipClassifier):
    """A trunk of bottlenecks with a head, freshly initialised; it can take over the weights of an image ResNet."""

    # torchvision's ResNet-50, ImageNet-1K, first version; the published models were started from it.
    IMAGE_KIND, IMAGE_WEIGHTS = "imagenet", "resnet50.imagenet"  # see `zoo.image_weights`
    NOT_OF_IMAGES: tuple[str, ...] = ("_rf.",)  # parts of names that an image network lacks
    FRESH_CONVS: type | UnionType = AnyConv  # those that start at random by He et al. (2015), for ReLU

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: NumClasses, *, dropout: float) -> None:
        super().__init__(backbone, num_features, num_classes, dropout=dropout)
        # Weights on meta have no values, and pretending to set them loads torch's compiler, which takes a second.
        for module in self.backbone.modules():
            if not isinstance(module, AnyConv) or not isinstance(module, self.FRESH_CONVS):
                continue
            if not module.weight.is_meta:
                kernel = module.weight.data
                kernel = kernel[0, 0] if isinstance(module, TAdaConv2d | TAdaConv3d) else kernel
                nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")

    def from_image_weights(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Trunk weights of this network from torchvision's ResNet of the same depths; what it lacks is left out.

        A 2-D kernel becomes the centre of one over time that is zero elsewhere, and input channels that the image
        network does not have get zeros, so that every frame goes through the trunk as through the image network.

        Raises `KeyError` or `ValueError` for weights of another network.
        """
        shapes = {name: tensor.shape for name, tensor in self.state_dict().items()}
        converted = {}
        for image_name, kernel in from_torchvision(state_dict).items():
            name = self._image_layer(image_name)
            if name not in shapes:
                raise ValueError(f"this network has no {name}")
            converted[name] = inflated(kernel, shapes[name], name=name)
        return converted

    def _image_layer(self, name: str) -> str:
        """Where the weights go that TAda2D's trunk has under `name`."""
        return name


class PathwaySettings(TypedDict, total=False):
    """Settings that every `SinglePathway` takes."""

    tada: bool
    stage_depths: Sequence[int]
    stem_width: int
    route_ratio: int
    route_kernels: Sequence[int]
    dropout: float


class SinglePathway(VideoResNet):
    """A stem and stages of bottlenecks, those of stage i with `stem_width * 2**i` channels.

    Any batch, any T >= 1, any H and W (smaller pictures still give one cell). `stage_depths` are the blocks of the
    stages, which put out four times the channels of their bottlenecks. `route_ratio` and `route_kernels` are those of
    the routing functions; without `tada` the network is the plain twin.
    """

    STEM_FRAMES = 1  # that the stem's convolution sees
    HAS_MAX_POOL = False  # after the stem; without one the first stage strides instead

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        tada: bool = True,
        stage_depths: Sequence[int] = (3, 4, 6, 3),
        stem_width: int = 64,
        route_ratio: int = 4,
        route_kernels: Sequence[int] = (3, 3),
        dropout: float = 0.5,
    ) -> None:
        routing = routing_maker(tada=tada, ratio=route_ratio, kernels=route_kernels)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=Stem(stem_width, temporal_extent=self.STEM_FRAMES, pooled=self.HAS_MAX_POOL)
        )
        in_channels = stem_width
        branches = self.branches(routing, len(stage_depths))
        for stage, (branch, depth) in enumerate(zip(branches, stage_depths, strict=True)):
            width, stride = stem_width * 2**stage, 1 if stage == 0 and self.HAS_MAX_POOL else 2
            layers[f"conv{stage + 2}"] = numbered(bottlenecks(branch, in_channels, width, depth=depth, stride=stride))
            in_channels = width * EXPANSION
        super().__init__(nn.Sequential(layers), in_channels, num_classes, dropout=dropout)

    def branches(self, routing: Routing, num_stages: int) -> list[BranchMaker]:
        """What makes the residual branches, by stage."""
        raise NotImplementedError


_TORCHVISION_LAYERS = {"conv1": "a", "bn1": "a_bn", "conv2": "b", "bn2": "b_bn", "conv3": "c", "bn3": "c_bn"}


def from_torchvision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """TSN's trunk weights from torchvision's ResNet state dict; its classifier is left out."""
    converted: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        if name.startswith("fc."):
            continue
        layer, key = name.rsplit(".", 1)
        converted[f"backbone.{_torchvision_layer(layer)}.{key}"] = tensor.unsqueeze(2) if tensor.dim() == 4 else tensor
    return converted


def _torchvision_layer(layer: str) -> str:
    if "." not in layer:
        return f"conv1.{_TORCHVISION_LAYERS[layer]}"
    stage, block, rest = layer.split(".", 2)
    prefix = f"conv{int(stage.removeprefix('layer')) + 1}.res_{int(block) + 1}"
    if rest.startswith("downsample"):
        return f"{prefix}.{'short_cut' if rest.endswith('0') else 'short_cut_bn'}"
    return f"{prefix}.conv_branch.{_TORCHVISION_LAYERS[rest]}"


def inflated(kernel: Tensor, shape: Sequence[int], *, name: str) -> Tensor:
    """A kernel (Cout, Cin, 1, kh, kw) as the centre of one of `shape`; any other tensor as it is.

    `shape` is that of a Conv3d, TAdaConv2d or TAdaConv3d, and may have more input channels.
    Raises `ValueError` naming the weight if it does not fit.
    """
    if kernel.shape == tuple(shape):
        return kernel
    # (1, 1, Cout, Cin, [kt,] kh, kw) of a TAdaConv and (Cout, Cin, kt, kh, kw) of a convolution as the latter.
    wanted = {6: (*shape[2:4], 1, *shape[4:]), 7: tuple(shape[2:])}.get(len(shape), tuple(shape))
    fits = len(wanted) == kernel.dim() == 5 and kernel.shape[1] <= wanted[1]
    if not fits or (kernel.shape[0], *kernel.shape[3:]) != (wanted[0], *wanted[3:]):
        raise ValueError(f"{name} is {list(kernel.shape)}, which does not fit into {list(shape)}")
    out = kernel.new_zeros(wanted)
    out[:, : kernel.shape[1], wanted[2] // 2] = kernel[:, :, 0]
    return out.view(*shape)
