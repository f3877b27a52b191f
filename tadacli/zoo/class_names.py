"""Names that a person gives to classes which nobody has named, such as those of Kinetics-710."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tadacli.errors import UsageError
from tadacli.specs import AnySpec, ModelSpec, numbered_labels
from tadacli.zoo.manifest import Known, ModelCard

if TYPE_CHECKING:
    from tadacli.zoo.image_weights import ImageWeights

Spec = TypeVar("Spec", bound=AnySpec)


def check_labels(known: Known | ImageWeights, labels: Sequence[str]) -> None:
    """Check, before anything is fetched, that a model takes these names for its classes.

    Args:
        known: What is known of the model.
        labels: The names in the order of the classes; none are none to check.

    Raises:
        UsageError: Its classes have names, or are not so many.
    """
    if not labels:
        return
    if not isinstance(known, ModelCard) or known.heads or not isinstance(known.num_classes, int):
        raise _have_names(known.name)
    _check_count(known.name, known.num_classes, labels)


def with_labels(spec: Spec, labels: Sequence[str], *, may_replace: bool = False) -> Spec:
    """The settings of a model with names for its classes.

    Args:
        spec: The settings.
        labels: The names in the order of the classes; with none the settings stay as they are.
        may_replace: Whether the names that it has were given by a person, too.

    Returns:
        The settings, without what was fitted to other names.

    Raises:
        UsageError: Its classes have names, or are not so many.
    """
    if not labels:
        return spec
    if not isinstance(spec, ModelSpec) or tuple(spec.heads) != ("",):
        raise _have_names(spec.name)
    own = spec.heads[""]
    if not may_replace and own not in (numbered_labels(len(own)), tuple(labels)):
        raise _have_names(spec.name)
    _check_count(spec.name, len(own), labels)
    return replace(spec, heads={"": tuple(labels)})


def _have_names(name: str) -> UsageError:
    return UsageError(
        f"the classes of {name} have names of their own",
        hint=f"leave out --labels; tada models {name} --labels shows them",
    )


def _check_count(name: str, num_classes: int, labels: Sequence[str]) -> None:
    if len(labels) != num_classes:
        raise UsageError(
            f"{len(labels)} labels are given, and {name} has {num_classes} classes",
            hint="give a name for each class in their order, one a line",
        )
