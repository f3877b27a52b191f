"""What is known about a model as JSON-ready values: its card, what came with its file, and whether it is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal

from tadacli.zoo.manifest import ModelCard
from tadacli.zoo.store import StoredWeights

State = Literal["built in", "installed", "not installed", "settings come with the file", "not built yet"]


def card_summary(card: ModelCard, architectures: Collection[str], kept: StoredWeights | None) -> dict[str, Any]:
    """One model as JSON-ready values; sizes in bytes, None where nothing is known.

    Args:
        card: What the manifest says of it.
        architectures: The networks that this version can build.
        kept: Its weights on this machine, None where there are none.

    Returns:
        The values by their names, as `tada models --json` writes them.
    """
    return {
        "name": card.name,
        "dataset": card.dataset,
        "task": card.task,
        "architecture": card.architecture,
        "clip_frames": _input_of(card).get("clip_frames"),
        "frame_stride": _input_of(card).get("frame_stride"),
        "num_parameters": card.num_parameters,
        "gmacs": card.gmacs,
        "published": dict(card.published),
        "size_bytes": card.about_bytes if kept is None else kept.size_bytes,
        "size_is_exact": kept is not None or bool(card.source.size_bytes),
        "state": _state(card, architectures, kept),
        "installed": kept is not None or bool(card.source.file),
    }


def card_values(card: ModelCard, architectures: Collection[str], kept: StoredWeights | None) -> dict[str, Any]:
    """All that is known about a model as JSON-ready values, labels included; the arguments are `card_summary`'s."""
    return {
        **card_summary(card, architectures, kept),
        "arguments": dict(card.arguments),
        "features" if card.takes_features else "input": dict(_input_of(card)),
        "protocol": None if card.protocol is None else dataclasses.asdict(card.protocol),
        "num_classes": card.num_classes,
        "heads": {head: list(labels) for head, labels in card.heads.items()},
        "source": card.source.to_dict(),
        "unknown": dict(card.unknown),
        "obstacles": card.obstacles(architectures),
        "note": card.note,
        "stored": None if kept is None else {**dataclasses.asdict(kept), "path": str(kept.path)},
    }


def _state(card: ModelCard, architectures: Collection[str], kept: StoredWeights | None) -> State:
    if card.source.file:
        return "built in"
    if card.architecture not in architectures:
        return "not built yet"
    if kept is not None:
        return "installed"
    return "settings come with the file" if card.told_by_file else "not installed"


def told_card(card: ModelCard, kept: StoredWeights | None) -> ModelCard:
    """The card with the settings that came with the file, once it is here.

    Raises:
        CheckpointError: The file that is kept is damaged.
    """
    if kept is None:
        return card
    from tadacli.specs import ModelSpec
    from tadacli.zoo import checkpoints  # which takes as long as torch does

    spec, stated = checkpoints.settings_of(kept.path)
    if not isinstance(spec, ModelSpec) or not (card.told_by_file or (stated is not None and stated.is_trusted)):
        return card
    return dataclasses.replace(
        card,
        input=spec.input.to_dict(),
        arguments=spec.arguments,
        heads=spec.heads,
        protocol=spec.protocol,
        num_classes=spec.num_classes,
        unknown={key: reason for key, reason in card.unknown.items() if key not in card.told_by_file},
    )


def _input_of(card: ModelCard) -> Mapping[str, Any]:
    """What is known of its input, as JSON-ready values."""
    return dataclasses.asdict(card.features) if card.features is not None else card.input
