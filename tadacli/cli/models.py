"""`tada models`: which models there are, what is known about each, and which of them are on this machine."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tadacli.cli.console import aligned, show
from tadacli.cli.model_page import NOTHING, model_page, settings_of, size_text
from tadacli.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tadacli.zoo.manifest import ModelCard
    from tadacli.zoo.store import StoredWeights

State = Literal["built in", "installed", "not installed", "incomplete", "not built yet"]

_COLUMNS = ("model", "data set", "frames", "parameters", "GMACs", "top-1", "top-5", "size", "state")
_TEXTS = (0, 1, 8)  # columns


def models_command(
    name: Annotated[
        str | None, typer.Argument(help="Show all that is known about this one.", metavar="NAME", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the known models and networks, or show all about one.

    Sizes with ~ are those of the weights alone, in float32: nobody has
    published how large the files are. Accuracies are the authors'.
    """
    from tadacli.models import BUILDERS, OVER_FEATURES
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.store import stored

    built = {*BUILDERS, *OVER_FEATURES}
    if name is None:
        values = [_summary(card, built, stored(card.name)) for card in cards().values()]
        text = json.dumps(values, indent=2, ensure_ascii=False) if as_json else _list(values, BUILDERS)
    elif name in cards():
        whole = _whole(cards()[name], built, stored(name))
        text = json.dumps(whole, indent=2, ensure_ascii=False) if as_json else model_page(cards()[name], whole)
    elif name in BUILDERS:
        raise SpecError(f"{name} is a network, no model of its own", hint=_how_to_train(name))
    else:
        raise SpecError(f"unknown model {name!r}", hint="tada models lists the known ones")
    show(text)


def _summary(card: ModelCard, architectures: Collection[str], kept: StoredWeights | None) -> dict[str, Any]:
    """One model as JSON-ready values; sizes in bytes, None where nothing is known."""
    return {
        "name": card.name,
        "dataset": card.dataset,
        "task": card.task,
        "architecture": card.architecture,
        "clip_frames": settings_of(card).get("clip_frames"),
        "frame_stride": settings_of(card).get("frame_stride"),
        "num_parameters": card.num_parameters,
        "gmacs": card.gmacs,
        "published": dict(card.published),
        "size_bytes": card.about_bytes if kept is None else kept.size_bytes,
        "size_is_exact": kept is not None or bool(card.source.size_bytes),
        "state": _state(card, architectures, kept),
        "installed": kept is not None or bool(card.source.file),
    }


def _state(card: ModelCard, architectures: Collection[str], kept: StoredWeights | None) -> State:
    if card.source.file:
        return "built in"
    if card.architecture not in architectures:
        return "not built yet"
    if card.obstacles(architectures):
        return "incomplete"
    return "not installed" if kept is None else "installed"


def _whole(card: ModelCard, architectures: Collection[str], kept: StoredWeights | None) -> dict[str, Any]:
    """All that is known about a model as JSON-ready values, labels included."""
    return {
        **_summary(card, architectures, kept),
        "arguments": dict(card.arguments),
        "features" if card.takes_features else "input": dict(settings_of(card)),
        "protocol": None if card.protocol is None else dataclasses.asdict(card.protocol),
        "num_classes": card.num_classes,
        "heads": {head: list(labels) for head, labels in card.heads.items()},
        "source": card.source.to_dict(),
        "unknown": dict(card.unknown),
        "obstacles": card.obstacles(architectures),
        "note": card.note,
        "stored": None if kept is None else {**dataclasses.asdict(kept), "path": str(kept.path)},
    }


def _list(summaries: list[dict[str, Any]], architectures: Collection[str]) -> str:
    """The table, and below it the networks that nobody has published weights for."""
    used = {values["architecture"] for values in summaries}
    others = [name for name in architectures if name not in used]
    table = aligned([_COLUMNS, *(tuple(_row(values).values()) for values in summaries)], to_left=_TEXTS)
    return "\n".join([*table, "", f"networks without published weights: {', '.join(others)}", _how_to_train("NAME")])


def _how_to_train(architecture: str) -> str:
    return f"tada finetune --model {architecture} --init imagenet (or random) trains one"


def _row(values: Mapping[str, Any]) -> dict[str, str]:
    data = values["task"] if values["task"] == "camera motion" else values["dataset"]
    figures = [values["published"].get(key) for key in ("top1", "top5")]
    cells = (
        values["name"],
        data,
        _frames(values),
        NOTHING if values["num_parameters"] is None else f"{values['num_parameters'] / 1e6:.2f} M",
        NOTHING if values["gmacs"] is None else f"{values['gmacs']:.2f}",
        *(NOTHING if figure is None else f"{figure:.1f}" for figure in figures),
        size_text(values),
        values["state"],
    )
    return dict(zip(_COLUMNS, cells, strict=True))


def _frames(values: Mapping[str, Any]) -> str:
    """Frames of a clip, and from one to the next where clips have a rate; "features" for what takes no video."""
    if values["task"] == "action proposals":
        return "features"
    if values["clip_frames"] is None:
        return NOTHING
    stride = values["frame_stride"]
    return str(values["clip_frames"]) if stride is None else f"{values['clip_frames']} x {stride}"
