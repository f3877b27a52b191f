"""What follows a trunk: pooling, and one set of classes or several named ones (EPIC-KITCHENS: verb and noun)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from tadacli.models.dropout import SampleDropout

NumClasses = int | Mapping[str, int]
Logits = Tensor | dict[str, Tensor]


class ClassificationHead(nn.Module):
    """Dropout and linear layers on pooled features; parameter names as published.

    One head is `out`; named heads are `linear1`, `linear2`, ... in the order of `num_classes`.
    """

    def __init__(self, num_features: int, num_classes: NumClasses, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = SampleDropout(dropout)
        self.names: tuple[str, ...] = ()
        if isinstance(num_classes, int):
            self.out = nn.Linear(num_features, num_classes)
            return
        self.names = tuple(num_classes)
        for number, count in enumerate(num_classes.values(), start=1):
            self.add_module(f"linear{number}", nn.Linear(num_features, count))

    def forward(self, features: Tensor) -> Logits:
        """(B, D) -> logits (B, num_classes), or {name: (B, num_classes[name])} for named heads."""
        features = self.dropout(features)
        if not self.names:
            logits: Tensor = self.out(features)
            return logits
        layers = [self.get_submodule(f"linear{number}") for number in range(1, len(self.names) + 1)]
        return {name: layer(features) for name, layer in zip(self.names, layers, strict=True)}


class ClipClassifier(nn.Module):
    """A trunk over clips, the mean of its output over time and space, and a head."""

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: NumClasses, *, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ClassificationHead(num_features, num_classes, dropout=dropout)

    def layers(self) -> list[str]:
        """Prefixes of the trunk's parameter names in order of depth, for rates that fall with it."""
        return [f"backbone.{name}" for name in _unfolded(self.backbone)]

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> features (B, D)."""
        # In this order of memory the frames of a clip are a free view (see `ops`).
        out: Tensor = self.backbone(x.contiguous(memory_format=torch.channels_last_3d))
        return out.mean(dim=(2, 3, 4))

    def forward(self, x: Tensor) -> Logits:
        """Clips (B, 3, T, H, W) -> logits (B, num_classes), or {name: logits} for named heads."""
        logits: Logits = self.head(self.forward_features(x))
        return logits


def _unfolded(module: nn.Module) -> Iterator[str]:
    """Names of the children in order; of sequences, those of what is in them."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from (f"{name}.{inner}" for inner in _unfolded(child))
        else:
            yield name
