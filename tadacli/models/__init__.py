"""The networks by name. A network is one file of this folder and one line of `BUILDERS`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from tadacli.errors import SpecError
from tadacli.models.heads import Logits, NumClasses
from tadacli.models.r2plus1d import r2plus1d_tiny
from tadacli.models.tada2d import tada2d_r50, tsn_r50

__all__ = ["BUILDERS", "Logits", "NumClasses", "build"]

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "tada2d_r50": tada2d_r50,
    "tsn_r50": tsn_r50,
    "r2plus1d_tiny": r2plus1d_tiny,
}


def build(architecture: str, *, num_classes: NumClasses, **arguments: object) -> nn.Module:
    """A freshly initialised network with the published state-dict names.

    Its `forward` takes clips (B, C, T, H, W) and returns logits (B, num_classes); with named heads
    (`num_classes={"verb": 97, "noun": 300}`) a dict of logits by name. `forward_features` returns the
    pooled features (B, D). `arguments` are those of the network's builder (depth, width, dropout, ...).

    Raises `SpecError` for an unknown architecture or argument, or fewer than one class.
    """
    builder = BUILDERS.get(architecture)
    if builder is None:
        known = ", ".join(sorted(BUILDERS))
        raise SpecError(f"unknown architecture {architecture!r}", hint=f"known architectures: {known}")
    counts = [num_classes] if isinstance(num_classes, int) else list(num_classes.values())
    if not counts or min(counts) < 1:
        raise SpecError(f"{architecture} needs at least one class, got {num_classes!r}")
    try:
        return builder(num_classes, **arguments)
    except TypeError as error:
        raise SpecError(f"{architecture} does not take these arguments: {error}") from error
