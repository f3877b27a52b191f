"""What a person means by the name of a model: its whole name, or the beginning of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tadacli.errors import SpecError
from tadacli.models import BUILDERS, OVER_FEATURES
from tadacli.zoo.image_weights import IMAGE_WEIGHTS
from tadacli.zoo.manifest import cards
from tadacli.zoo.store import stored

_MOST_NAMED = 8


@dataclass(frozen=True)
class Meant:
    """The name of a model, and why it is meant where only its beginning was given; then `reason` is not empty."""

    name: str
    reason: str = ""


def meant_model(text: str, *, takes_features: bool = False) -> Meant:
    """The model that a text means: one of that name or path, else the only usable one whose name begins so.

    Of several that begin so, the only one that is on this machine is meant. What means no known model is left as it
    is, for whoever loads it to say what is wrong.

    Args:
        text: A name, the beginning of one, or a path.
        takes_features: Whether models that take features are meant, not those that take video.

    Returns:
        The whole name or the path, and the reason for it.

    Raises:
        SpecError: Several models begin so; the message names them.
    """
    known = cards()
    if not text or text in known or os.path.lexists(text):
        return Meant(text)
    built = {*BUILDERS, *OVER_FEATURES}
    fitting = [
        name
        for name, card in known.items()
        if name.startswith(text) and card.takes_features == takes_features and not card.obstacles(built)
    ]
    here = [name for name in fitting if is_here(name)]
    if len(fitting) == 1:
        return Meant(fitting[0], f"the only usable model whose name begins with {text}")
    if len(here) == 1:
        return Meant(here[0], f"the only one on this machine of the {len(fitting)} whose names begin with {text}")
    if fitting:
        raise SpecError(f"{text!r} is the beginning of {len(fitting)} models: {_listed(fitting)}", hint=_advice(here))
    return Meant(text)


def is_here(name: str) -> bool:
    """Whether the weights of a known model are on this machine."""
    return bool(cards()[name].source.file) or stored(name) is not None


def fetchable() -> list[str]:
    """The names of all that `tada fetch` gets: models that this version can use, and image weights to start from."""
    built = {*BUILDERS, *OVER_FEATURES}
    models = [name for name, card in cards().items() if not card.source.file and not card.obstacles(built)]
    return [*models, *IMAGE_WEIGHTS]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _advice(here: Sequence[str]) -> str:
    installed = f"; on this machine are {_listed(here)}" if here else ""
    return f"give as much of the name as one of them has alone{installed}"
