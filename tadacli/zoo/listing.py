"""What is known of each model in a few values, and whether it is on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tadacli.errors import SpecError
from tadacli.models import BUILDERS
from tadacli.specs import Task
from tadacli.zoo.manifest import ModelCard, cards
from tadacli.zoo.store import StoredWeights, stored

State = Literal["built in", "installed", "not installed", "incomplete", "not built yet"]


@dataclass(frozen=True)
class ModelSummary:
    """One model in short; what is not known is None, sizes are in bytes, `published` in percent."""

    name: str
    dataset: str
    task: Task
    architecture: str
    clip_frames: int | None
    frame_stride: int | None
    num_parameters: int | None
    gmacs: float | None
    published: Mapping[str, float]
    size_bytes: int | None
    size_is_exact: bool
    state: State
    installed: bool


@dataclass(frozen=True)
class ModelDescription:
    """All that is known of one model, why it cannot be used (nothing if it can), and its weights here, if any."""

    summary: ModelSummary
    card: ModelCard
    obstacles: tuple[str, ...]
    stored: StoredWeights | None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is known of its input."""
        return asdict(self.card.features) if self.card.features is not None else self.card.input

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-ready values, labels included."""
        card = self.card
        return {
            **asdict(self.summary),
            "arguments": dict(card.arguments),
            "features" if card.takes_features else "input": dict(self.settings),
            "protocol": None if card.protocol is None else asdict(card.protocol),
            "num_classes": card.num_classes,
            "heads": {head: list(labels) for head, labels in card.heads.items()},
            "source": card.source.to_dict(),
            "unknown": dict(card.unknown),
            "obstacles": list(self.obstacles),
            "note": card.note,
            "stored": None if self.stored is None else {**asdict(self.stored), "path": str(self.stored.path)},
        }


def list_models() -> list[ModelSummary]:
    """The known models in short, in the manifest's order."""
    return [_summary(card, stored(card.name)) for card in cards().values()]


def networks_without_weights() -> list[str]:
    """The networks that nobody has published weights for."""
    used = {card.architecture for card in cards().values()}
    return [name for name in BUILDERS if name not in used]


def describe_model(name: str) -> ModelDescription:
    """All that is known of a model.

    Raises:
        SpecError: There is none of this name.
    """
    card = cards().get(name)
    if card is not None:
        kept = stored(name)
        return ModelDescription(_summary(card, kept), card, tuple(card.obstacles(BUILDERS)), kept)
    if name in BUILDERS:
        raise SpecError(f"{name} is a network, no model of its own", hint=how_to_train(name))
    raise SpecError(f"unknown model {name!r}", hint="tada models lists the known ones")


def how_to_train(architecture: str) -> str:
    """The command that trains a network without weights."""
    return f"tada finetune --model {architecture} --init imagenet (or random) trains one"


def _summary(card: ModelCard, kept: StoredWeights | None) -> ModelSummary:
    return ModelSummary(
        name=card.name,
        dataset=card.dataset,
        task=card.task,
        architecture=card.architecture,
        clip_frames=card.input.get("clip_frames"),
        frame_stride=card.input.get("frame_stride"),
        num_parameters=card.num_parameters,
        gmacs=card.gmacs,
        published=dict(card.published),
        size_bytes=card.about_bytes if kept is None else kept.size_bytes,
        size_is_exact=kept is not None or bool(card.source.size_bytes),
        state=_state(card, kept),
        installed=kept is not None or bool(card.source.file),
    )


def _state(card: ModelCard, kept: StoredWeights | None) -> State:
    if card.source.file:
        return "built in"
    if card.architecture not in BUILDERS:
        return "not built yet"
    if card.obstacles(BUILDERS):
        return "incomplete"
    return "not installed" if kept is None else "installed"
