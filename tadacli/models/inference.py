"""The forms of a network for inference: the same answers in fewer passes over memory, here or in other runtimes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def inference_form(network: Network) -> Network:
    """A copy of a trained network that gives the same logits in less time; see `fuse`."""
    return fuse(copy.deepcopy(network))


def fuse(network: Network) -> Network:
    """Turns a trained network into its form for inference, which gives the same logits and cannot be trained any more.

    Batch norms are in the convolutions before them, computed in double precision, so that in bfloat16 nothing but the
    result is rounded. What one layer puts out may be written over by the next, so outputs of layers must not be kept.
    A module that has another form offers `folded()`, or `fused()` where that form is one of this machine. They are
    called after those of its parts, may change them, and return what takes the module's place.

    Raises `ValueError` for a network in training mode.
    """
    return _changed(network, ("folded", "fused"))


def fold(network: Network) -> Network:
    """Turns a trained network into its form for other runtimes: batch norms are in the convolutions before them.

    All else is as it was, so that nothing of this machine is in it; what the layers do while torch.export traces them
    is portable, too (see `layers`).

    Raises `ValueError` for a network in training mode.
    """
    return _changed(network, ("folded",))


def _changed(network: Network, forms: Sequence[str]) -> Network:
    if network.training:
        raise ValueError("only a network in evaluation mode has a form for inference; call eval() first")
    network.requires_grad_(requires_grad=False)
    return _with_changed_parts(network, forms)


def _with_changed_parts(module: Network, forms: Sequence[str]) -> Network:
    for name, child in list(module.named_children()):
        setattr(module, name, _with_changed_parts(child, forms))
    offered = [getattr(module, form) for form in forms if hasattr(module, form)]
    return offered[0]() if offered else module
