"""The recipe that is taken where nobody names one: it depends on how large the network is."""

from __future__ import annotations

import os

import torch

from tadacli.models import BUILDERS, build
from tadacli.specs import ModelFacts
from tadacli.training import DEFAULT_RECIPE, Init
from tadacli.training.recipes import RecipeChoice
from tadacli.training.starting_point import base_spec
from tadacli.zoo.manifest import cards

# Between the built-in model, which has 0.6 million, and the smallest published trunk, which has 24 million.
SMALL_NETWORK_PARAMETERS = 5_000_000
SMALL_RECIPE, SMALL_FROM_SCRATCH_RECIPE = "finetune_small", "from_scratch_small"


def default_recipe(model: str | os.PathLike[str], *, init: Init = "weights") -> RecipeChoice:
    """The recipe that trains a model: small networks need higher rates than the large ones that were published.

    Args:
        model: The name of a known model or network, a weights file of our own, or a run's folder.
        init: What the trunk starts from.

    Returns:
        The choice, by the number of parameters of the trunk.

    Raises:
        SpecError: The model is not known.
        CheckpointError: Its file cannot be read.
    """
    card = cards().get(os.fspath(model))
    # The size of a network is known also where the settings of its clips come with the file.
    count = num_trunk_parameters(card if card is not None and card.architecture in BUILDERS else base_spec(model)[0])
    reason = f"chosen for a network of {count / 1e6:.2g} million parameters"
    if count >= SMALL_NETWORK_PARAMETERS:
        return RecipeChoice(DEFAULT_RECIPE, reason)
    return RecipeChoice(SMALL_FROM_SCRATCH_RECIPE if init == "random" else SMALL_RECIPE, reason)


def num_trunk_parameters(spec: ModelFacts) -> int:
    """How many numbers of a network are trained, those of its head not counted; no memory is taken for them."""
    one_each = 1 if "" in spec.heads or not spec.heads else dict.fromkeys(spec.heads, 1)
    with torch.device("meta"):
        network = build(spec.architecture, num_classes=one_each, **spec.arguments)
    return sum(value.numel() for name, value in network.named_parameters() if not name.startswith("head."))
