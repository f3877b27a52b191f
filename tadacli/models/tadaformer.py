"""TAdaFormer: CLIP's image transformer on tubelets, with calibrated convolutions between its patches.

Every tubelet is a frame of its own to CLIP's layers: class token, patches, attention within the frame. Time is
seen by the TAda parts only, so the cost grows linearly with the frames. Tokens are (B, T, 1 + patches, D), the
class token first; T counts tubelets, one for every two frames of the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.errors import SpecError
from tadacli.models.dropout import DropPath
from tadacli.models.heads import ClipClassifier, NumClasses
from tadacli.models.layers import (
    Folded,
    FrameBatchNorm,
    Norm,
    TemporalConv1d,
    TemporalFilter,
    aggregate_over_time,
    attend,
    is_exported,
    quick_gelu,
    quick_gelu_layers,
)
from tadacli.models.packed import PackedLinear, quick_gelu_pointwise
from tadacli.models.tadaconv import DepthwiseTAdaConv2d, RouteFuncwTransformer

HEAD_WIDTH = 64  # of CLIP's attention, and of the routing functions'
TUBELET_FRAMES, TUBELET_STRIDE = 3, 2
BOTTLENECK = 2  # the TAda parts work on width / 2 channels
CLIP_EPS = 1e-5


class AggregatingTAdaConv(DepthwiseTAdaConv2d):
    """Depthwise 3x3 convolution whose weight and bias are calibrated per frame, then temporal aggregation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3)
        # A fresh one does not calibrate by one, as elsewhere; the branch around it starts at nothing instead.
        self.rf_func = RouteFuncwTransformer(channels, head_dim=HEAD_WIDTH, start=0.0)
        self.bn_a: FrameBatchNorm | TemporalFilter = FrameBatchNorm(channels)
        self.bn_b: Norm = FrameBatchNorm(channels)
        nn.init.zeros_(self.bn_b.weight)  # aggregation starts as the identity

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, T, H, W) -> the same shape."""
        return aggregate_over_time(super().forward(x, *self.rf_func(x)), self.bn_a, self.bn_b)

    def folded(self) -> Self:
        """The form for inference: both norms are in one filter over time."""
        assert isinstance(self.bn_a, FrameBatchNorm)
        assert isinstance(self.bn_b, FrameBatchNorm)
        self.bn_a, self.bn_b = TemporalFilter(self.bn_a, self.bn_b), Folded()
        return self


class TAdaBottleneck(nn.Module):
    """Residual branch over the patches of a clip: down to half the width, calibrated convolution, and up.

    With `temporal_enhance` the way down sees three tubelets instead of one. The way up starts at zero, and so
    does the branch.
    """

    is_routing = True  # as published, all of the part learns at the rate of the routing functions

    def __init__(self, width: int, *, temporal_enhance: bool) -> None:
        super().__init__()
        channels = width // BOTTLENECK
        self.tada_pre_proj: TemporalConv1d | nn.Linear
        self.tada_proj: nn.Conv3d | nn.Linear
        if temporal_enhance:
            self.tada_pre_proj = TemporalConv1d(width, channels, 3, bias=True)
            self.tada_proj = nn.Conv3d(channels, width, 1)
        else:
            self.tada_pre_proj = nn.Linear(width, channels)
            self.tada_proj = nn.Linear(channels, width)
        self.tadaconv = AggregatingTAdaConv(channels)

    def forward(self, patches: Tensor, grid: int) -> Tensor:
        """Patches (B, T, grid * grid, D) -> the same shape."""
        hidden = _calibrated(patches, grid, self.tada_pre_proj, self.tadaconv)
        return F.linear(hidden, self.tada_proj.weight.flatten(1), self.tada_proj.bias)


def _calibrated(patches: Tensor, grid: int, down: nn.Module, tadaconv: AggregatingTAdaConv) -> Tensor:
    """Patches (B, T, grid * grid, D) after the way down and the convolution: (B, T, grid * grid, D / 2)."""
    if isinstance(down, TemporalConv1d):
        clip = down(patches.movedim(-1, 1).unsqueeze(-1)).squeeze(-1)
    else:
        clip = down(patches).movedim(-1, 1)
    # The channels of a patch stay together in memory, the order in which a clip's frames are a free view.
    clip = tadaconv(clip.view(-1, *clip.shape[1:3], grid, grid))
    return quick_gelu(clip).movedim(1, -1).flatten(2, 3)


class FrameAttention(nn.Module):
    """Self-attention among the tokens of each frame; parameters are those of `nn.MultiheadAttention`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, N, D) -> the same shape."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        return self.out_proj(_attended(qkv, self.num_heads))  # type: ignore[no-any-return]


def _attended(qkv: Tensor, num_heads: int) -> Tensor:
    """(B, T, N, 3 * D) -> (B, T, N, D)."""
    query, key, value = qkv.view(-1, qkv.shape[2], 3, num_heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
    out = attend(query, key, value, scale=HEAD_WIDTH**-0.5)  # each (B * T, heads, N, 64)
    return out.transpose(1, 2).reshape(-1, *qkv.shape[1:3], num_heads * HEAD_WIDTH)


class FeedForward(nn.Module):
    """CLIP's two linear layers, four times as wide between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> the same shape."""
        return quick_gelu_layers(x, self.c_fc, self.c_proj)


class TAdaFormerBlock(nn.Module):
    """CLIP's block with a TAda part before attention, and another before the MLP with `double_tada`."""

    def __init__(self, width: int, drop_path: float, *, double_tada: bool, temporal_enhance: bool) -> None:
        super().__init__()
        self.tada = TAdaBottleneck(width, temporal_enhance=temporal_enhance)
        self.tada2 = TAdaBottleneck(width, temporal_enhance=temporal_enhance) if double_tada else None
        self.attn = FrameAttention(width)
        self.ln_1 = nn.LayerNorm(width, eps=CLIP_EPS)
        self.mlp = FeedForward(width)
        self.ln_2 = nn.LayerNorm(width, eps=CLIP_EPS)
        # One for each branch: a branch is dropped by itself.
        self.drop_tada, self.drop_tada2 = DropPath(drop_path), DropPath(drop_path)
        self.drop_attn, self.drop_mlp = DropPath(drop_path), DropPath(drop_path)

    def forward(self, x: Tensor, grid: int) -> Tensor:
        """Tokens (B, T, 1 + grid * grid, D) -> the same shape."""
        x = _among_patches(x, grid, self.tada, self.drop_tada)
        x = x + self.drop_attn(self.attn(self.ln_1(x)))
        if self.tada2 is not None:
            x = _among_patches(x, grid, self.tada2, self.drop_tada2)
        return x + self.drop_mlp(self.mlp(self.ln_2(x)))  # type: ignore[no-any-return]

    def fused(self) -> FusedBlock:
        """The block for inference. It shares what it need not change."""
        return FusedBlock(self)


class FusedBlock(nn.Module):
    """A `TAdaFormerBlock` for inference: its branches are added to its input in place."""

    def __init__(self, block: TAdaFormerBlock) -> None:
        super().__init__()
        self.tada = _FusedBottleneck(block.tada)
        self.tada2 = _FusedBottleneck(block.tada2) if block.tada2 is not None else None
        attention = block.attn
        self.ln_1, self.ln_2, self.num_heads = block.ln_1, block.ln_2, attention.num_heads
        self.in_proj = PackedLinear(attention.in_proj_weight, attention.in_proj_bias)
        self.out_proj = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)
        self.mlp = quick_gelu_pointwise(block.mlp.c_fc, block.mlp.c_proj)

    def forward(self, x: Tensor, grid: int) -> Tensor:
        """Tokens (B, T, 1 + grid * grid, D), contiguous -> the same memory, which ends the use of `x`."""
        patches = x[:, :, 1:]
        patches += self.tada(patches, grid)
        x += self.out_proj(_attended(self.in_proj(self.ln_1(x)), self.num_heads))
        if self.tada2 is not None:
            patches += self.tada2(patches, grid)
        return self.mlp.add_to(x, self.ln_2(x))


class _FusedBottleneck(nn.Module):
    """A `TAdaBottleneck` for inference."""

    def __init__(self, part: TAdaBottleneck) -> None:
        super().__init__()
        down, up = part.tada_pre_proj, part.tada_proj
        self.tadaconv = part.tadaconv
        self.tada_pre_proj = PackedLinear(down.weight, down.bias) if isinstance(down, nn.Linear) else down
        self.tada_proj = PackedLinear(up.weight.flatten(1), up.bias)

    def forward(self, patches: Tensor, grid: int) -> Tensor:
        """As `TAdaBottleneck`."""
        return self.tada_proj(_calibrated(patches.contiguous(), grid, self.tada_pre_proj, self.tadaconv))  # type: ignore[no-any-return]


def _among_patches(x: Tensor, grid: int, branch: TAdaBottleneck, drop: DropPath) -> Tensor:
    """Tokens after a residual branch over the patches; the class tokens stay as they are."""
    patches = x[:, :, 1:].contiguous()  # all that follows would copy it otherwise
    return torch.cat((x[:, :, :1], patches + drop(branch(patches, grid))), dim=2)


class ClipTransformer(nn.Module):
    """The trunk: tubelets to tokens, blocks, and the mean class token of the frames."""

    def __init__(
        self,
        *,
        width: int,
        num_layers: int,
        patch_size: int,
        grid: int,
        make_block: Callable[[float], TAdaFormerBlock],
        drop_path: float,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv3d(
            3,
            width,
            (TUBELET_FRAMES, patch_size, patch_size),
            stride=(TUBELET_STRIDE, patch_size, patch_size),
            padding=(TUBELET_FRAMES // 2, 0, 0),
            bias=False,
        )
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(1 + grid * grid, width))
        self.ln_pre = nn.LayerNorm(width, eps=CLIP_EPS)
        self.layers = nn.ModuleList(
            make_block(drop_path * number / max(1, num_layers - 1)) for number in range(num_layers)
        )
        self.ln_post = nn.LayerNorm(width, eps=CLIP_EPS)
        last = self.layers[-1].tada2
        if isinstance(last, nn.Module):
            # It reaches the patches alone, and only the class token leaves the last block: nothing can train it.
            last.requires_grad_(requires_grad=False)

    def _tokens(self, patches: Tensor) -> Tensor:
        """Patches (B, T, N, D) after a class token, with their positions: (B, T, 1 + N, D)."""
        if is_exported():  # without asking how large the batch is
            first = self.class_embedding + self.positional_embedding[:1]
            return F.pad(patches, (0, 0, 1, 0)) + torch.cat((first, self.positional_embedding[1:]))
        class_tokens = self.class_embedding.expand(*patches.shape[:2], 1, -1)
        return torch.cat((class_tokens, patches), dim=2) + self.positional_embedding

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) of the trained picture size -> (B, D)."""
        patches = self.conv1(x).flatten(3).movedim(1, -1)
        x = self.ln_pre(self._tokens(patches))
        for block in self.layers:
            x = block(x, self.grid)
        return self.ln_post(x[:, :, 0].mean(dim=1))  # type: ignore[no-any-return]


class TAdaFormer(ClipClassifier):
    """CLIP's image transformer with TAda parts, and a classification head.

    `width` is a multiple of 256. Takes any batch, any T >= 1 (a tubelet for every two frames, the last one
    padded) and pictures of `crop_size` x `crop_size`: the positions of the patches are learned for that grid.
    `drop_path` is the rate of the last block; it rises linearly from none at the first.
    """

    IMAGE_KIND = "clip"
    NOT_OF_IMAGES = (".tada.", ".tada2.")  # parts of names that CLIP lacks

    def __init__(
        self,
        num_classes: NumClasses,
        *,
        width: int,
        num_layers: int,
        patch_size: int,
        double_tada: bool = False,
        temporal_enhance: bool = False,
        drop_path: float = 0.0,
        dropout: float = 0.5,
        crop_size: int = 224,
    ) -> None:
        if crop_size < patch_size or crop_size % patch_size:
            raise SpecError(
                f"pictures of {crop_size} x {crop_size} do not divide into patches of {patch_size} x {patch_size}",
                hint=f"choose a crop size that is a multiple of {patch_size}",
            )
        trunk = ClipTransformer(
            width=width,
            num_layers=num_layers,
            patch_size=patch_size,
            grid=crop_size // patch_size,
            make_block=partial(TAdaFormerBlock, width, double_tada=double_tada, temporal_enhance=temporal_enhance),
            drop_path=drop_path,
        )
        super().__init__(trunk, width, num_classes, dropout=dropout)
        self.crop_size = crop_size
        self.num_layers = num_layers
        self.IMAGE_WEIGHTS = _CLIP_WEIGHTS.get((width, num_layers, patch_size), "")
        # Weights on meta have no values, and pretending to set them loads torch's compiler, which takes a second.
        if not trunk.class_embedding.is_meta:
            _initialise(trunk)

    def from_image_weights(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Trunk weights of this network from CLIP, of whose image encoder they are; the TAda parts are left out.

        As published, CLIP's patch kernel becomes the middle frame of a tubelet's, with zeros around it. With the TAda
        parts as initialised the network sees the middle frame of each tubelet as CLIP does.

        Raises `ValueError` for weights without an image encoder.
        """
        converted: dict[str, Tensor] = {}
        for name, tensor in state_dict.items():
            part = name.removeprefix("visual.").replace("transformer.resblocks.", "layers.")
            if not name.startswith("visual.") or part in _NOT_OF_TRUNK:
                continue
            if part == "conv1.weight":
                kernel = tensor.new_zeros(*tensor.shape[:2], TUBELET_FRAMES, *tensor.shape[2:])
                kernel[:, :, TUBELET_FRAMES // 2] = tensor
                tensor = kernel
            converted[f"backbone.{part}"] = tensor.float()
        if not converted:
            raise ValueError("it has no image encoder of CLIP: no name begins with visual.")
        return converted

    def layers(self) -> list[str]:
        """Prefixes of the trunk's parameter names in order of depth: embeddings, blocks, last norm.

        A name belongs to its longest prefix: the embeddings stand in the trunk itself, and so are what it has
        outside the others.
        """
        blocks = [f"backbone.layers.{number}" for number in range(self.num_layers)]
        return ["backbone", *blocks, "backbone.ln_post"]

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> features (B, D), after the last layer norm.

        Raises `SpecError` for a clip without frames or of another picture size than the network's.
        """
        frames, height, width = x.shape[2:]
        if frames == 0:
            raise SpecError("a clip without frames", hint="TAdaFormer takes clips of one frame or more")
        if (height, width) != (self.crop_size, self.crop_size):
            raise SpecError(
                f"this TAdaFormer takes pictures of {self.crop_size} x {self.crop_size}, got {height} x {width}",
                hint=f"set crop_size of the model's input to {self.crop_size}",
            )
        features: Tensor = self.backbone(x)
        return features


# CLIP's projection to the space of its texts, and the size of its pictures.
_NOT_OF_TRUNK = ("proj", "input_resolution")
# The image encoder of CLIP by width, layers and patches: the name of its weights (see `zoo.image_weights`).
_CLIP_WEIGHTS = {(768, 12, 16): "vit_b16.clip", (1024, 24, 14): "vit_l14.clip"}


@torch.no_grad()
def _initialise(trunk: ClipTransformer) -> None:
    """Initial values as in the published code; those of CLIP's layers are there to be replaced by CLIP's weights."""
    width = trunk.class_embedding.shape[0]
    nn.init.normal_(trunk.class_embedding, std=width**-0.5)
    nn.init.normal_(trunk.positional_embedding, std=width**-0.5)
    for module in trunk.layers.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            # Published as a normal distribution cut off at 2, a hundred deviations away.
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, FrameAttention):
            nn.init.xavier_uniform_(module.in_proj_weight)
        elif isinstance(module, AggregatingTAdaConv):
            bound = module.weight[0, 0, 0].numel() ** -0.5
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.uniform_(module.bias, -bound, bound)
    for module in trunk.layers.modules():
        if isinstance(module, TAdaBottleneck):
            nn.init.zeros_(module.tada_proj.weight)


# On CLIP's ViT-B/16: 104.20 M parameters with 400 classes. The published Something-Something networks have
# `double_tada` and `temporal_enhance` (135.09 M with 174).
tadaformer_b16 = partial(TAdaFormer, width=768, num_layers=12, patch_size=16)
# On CLIP's ViT-L/14: 364.83 M parameters with 400 classes.
tadaformer_l14 = partial(TAdaFormer, width=1024, num_layers=24, patch_size=14)
