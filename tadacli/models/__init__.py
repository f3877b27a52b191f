"""The networks by name. A network is one file of this folder and one line of `BUILDERS`."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING

from tadacli.errors import SpecError
from tadacli.strict_tables import check_arguments, in_one_line

if TYPE_CHECKING:
    from torch import nn

    from tadacli.models.heads import NumClasses
    from tadacli.models.plug_in import add_tadaconv

__all__ = ["BUILDERS", "OVER_FEATURES", "add_tadaconv", "build", "build_over_features"]

# The file of this folder with the function that builds each network. Names, so that asking which networks there are
# does not wait for torch.
BUILDERS = {
    "tada2d_r50": "tada2d",
    "tsn_r50": "tada2d",
    "r2plus1d_tiny": "r2plus1d_tiny",
    "r2plus1d_r50": "r2plus1d_r50",
    "r3d_r50": "r3d",
    "slowonly_r50": "slowfast",
    "slowfast_r50": "slowfast",
    "tadaconvnext_tiny": "tadaconvnext",
    "tadaconvnextv2_tiny": "tadaconvnextv2",
    "tadaconvnextv2_small": "tadaconvnextv2",
    "tadaconvnextv2_base": "tadaconvnextv2",
    "tadaformer_b16": "tadaformer",
    "tadaformer_l14": "tadaformer",
}
# The same for networks that take features of another network in place of clips: the file and the class.
OVER_FEATURES = {
    "bmn": ("bmn", "BMN"),
    "temporal": ("temporal_head", "TemporalHead"),
    "pyramid": ("pyramid", "Pyramid"),
    "bmn_head": ("bmn_head", "BMNHead"),
}
# Of which of these several can be trained side by side, as one network, and how many at most.
WITH_MEMBERS, MOST_MEMBERS = ("temporal", "pyramid"), 16


if not TYPE_CHECKING:  # to a type checker a name that is not there is an error

    def __getattr__(name: str) -> object:
        if name == "add_tadaconv":
            return import_module("tadacli.models.plug_in").add_tadaconv
        raise AttributeError(f"module 'tadacli.models' has no attribute {name!r}")


def build(architecture: str, *, num_classes: NumClasses, **arguments: object) -> nn.Module:
    """A freshly initialised network with the published state-dict names.

    Args:
        architecture: Its name, one of `BUILDERS`.
        num_classes: Their number, or that of each named head: `{"verb": 97, "noun": 300}`.
        **arguments: Settings of the network's class (depth, width, dropout, ...).

    Returns:
        The network. Its `forward` takes clips (B, 3, T, H, W) and returns logits (B, num_classes), with named heads a
        dict of them by name; `forward_features` returns the pooled features (B, D).

    Raises:
        SpecError: The architecture or an argument is unknown, or there is less than one class.

    Example:
        >>> import torch
        >>> from tadacli.models import build
        >>> network = build("tada2d_r50", num_classes=4, stage_depths=(1, 1, 1, 1), stem_width=8).eval()
        >>> network(torch.zeros(2, 3, 8, 32, 32)).shape
        torch.Size([2, 4])
    """
    if architecture not in BUILDERS:
        known = ", ".join(sorted(BUILDERS))
        raise SpecError(f"unknown architecture {architecture!r}", hint=f"known architectures: {known}")
    counts = [num_classes] if isinstance(num_classes, int) else list(num_classes.values())
    if not counts or min(counts) < 1:
        raise SpecError(f"{architecture} needs at least one class, got {num_classes!r}")
    builder = getattr(import_module(f"tadacli.models.{BUILDERS[architecture]}"), architecture)
    try:
        network: nn.Module = builder(num_classes, **arguments)
    except TypeError as error:
        raise SpecError(f"{architecture} does not take these arguments: {error}") from error
    return network


def build_over_features(architecture: str, *, members: object = 1, **arguments: object) -> nn.Module:
    """A freshly initialised network over features, with the published state-dict names.

    Args:
        architecture: Its name, one of `OVER_FEATURES`.
        members: How many heads are one; of several, the network is an `Ensemble`.
        **arguments: Settings of the network's class.

    Returns:
        The network; its class says what it takes and returns.

    Raises:
        SpecError: The architecture or an argument is unknown, an argument is of another type than the class declares,
            or the sizes do not go together.
    """
    if architecture not in OVER_FEATURES:
        known = ", ".join(sorted(OVER_FEATURES))
        raise SpecError(f"unknown network over features {architecture!r}", hint=f"known ones: {known}")
    module, name = OVER_FEATURES[architecture]
    kind = getattr(import_module(f"tadacli.models.{module}"), name)
    takes = [*signature(kind).parameters, *(["members"] if architecture in WITH_MEMBERS else [])]
    refused = partial(SpecError, hint=f"it takes {', '.join(takes)}")
    what = f"{architecture} does not take these arguments"
    check_arguments(kind.__init__, arguments, where=what, error=refused)
    if architecture not in WITH_MEMBERS and members != 1:
        raise refused(f"{architecture} is always one, and members are several heads of {' or '.join(WITH_MEMBERS)}")
    if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MOST_MEMBERS:
        raise refused(f"{architecture} has 1 to {MOST_MEMBERS} members, not {in_one_line(repr(members))}")
    try:
        networks: list[nn.Module] = [kind(**arguments) for _ in range(members)]
    except ValueError as error:
        raise refused(f"{what}: {error}") from error
    if members == 1:
        return networks[0]
    ensemble: nn.Module = import_module("tadacli.models.ensemble").Ensemble(networks)
    return ensemble
