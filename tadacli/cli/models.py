"""`tada models`: which models there are, what is known about each, and which of them are on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tadacli.cli.console import aligned, show
from tadacli.cli.model_page import NOTHING, model_page, settings_of, size_text
from tadacli.cli.printable import printable
from tadacli.cli.weights import whole_name
from tadacli.errors import SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tadacli.zoo.manifest import ModelCard
    from tadacli.zoo.store import StoredWeights

State = Literal["built in", "installed", "not installed", "settings come with the file", "not built yet"]

_COLUMNS = ("model", "data set", "frames", "parameters", "GMACs", "top-1", "top-5", "size", "state")
_TEXTS = (0, 1, 8)  # columns


def models_command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show all that is known about this one: a model, or a run's folder.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Show its labels alone, one a line, in their order.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the known models and networks, or show all about one.

    NAME may be the folder of a run of tada finetune, or a weights file of
    its own, which say how good they were found to be.

    Sizes with ~ are those of the weights alone, in float32: nobody has
    published how large the files are. Accuracies are the authors'.
    """
    from tadacli.models import BUILDERS, OVER_FEATURES
    from tadacli.zoo.image_weights import IMAGE_WEIGHTS
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.store import stored

    built = {*BUILDERS, *OVER_FEATURES}
    if labels:
        show(_labels(name, as_json=as_json))
        return
    name = None if name is None else whole_name(name, or_network=True)
    if name is None:
        kept = {name: stored(name) for name in cards()}
        of_files = [_own_card(card, kept[name]) if card.told_by_file else card for name, card in cards().items()]
        values = [_summary(card, built, kept[card.name]) for card in of_files]
        text = json.dumps(values, indent=2, ensure_ascii=False) if as_json else _list(values, BUILDERS)
    elif name in cards():
        card = _own_card(cards()[name], stored(name))
        whole = _whole(card, built, stored(name))
        text = json.dumps(whole, indent=2, ensure_ascii=False) if as_json else model_page(card, whole)
    elif os.path.exists(name):
        from tadacli.cli.run_page import run_page, run_values
        from tadacli.training.run_summary import run_summary

        found = run_summary(name)
        text = json.dumps(run_values(found), indent=2, ensure_ascii=False) if as_json else run_page(found)
    elif name in IMAGE_WEIGHTS:
        known, init = IMAGE_WEIGHTS[name], f"tada finetune --init {IMAGE_WEIGHTS[name].kind}"
        raise SpecError(f"{name} are image weights, {known.file}, and no model", hint=f"{init} starts from them")
    elif name in BUILDERS:
        raise SpecError(f"{name} is a network, no model of its own", hint=_how_to_train(name))
    else:
        raise SpecError(f"unknown model {name!r}", hint="tada models lists the known ones")
    show(text)


def _labels(name: str | None, *, as_json: bool) -> str:
    """The labels of a model, one a line; of a model with several heads the head stands before a tab."""
    if name is None:
        raise UsageError("--labels shows those of one model", hint="tada models NAME --labels")
    heads = _heads(whole_name(name))
    if as_json:
        return json.dumps({head: list(names) for head, names in heads.items()}, indent=2, ensure_ascii=False)
    return "\n".join(
        printable(f"{head}\t{label}" if head else label) for head, names in heads.items() for label in names
    )


def _heads(name: str) -> Mapping[str, tuple[str, ...]]:
    """The labels of a known model or of a path by head. Raises `SpecError` where nobody knows their names."""
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.store import stored

    card = cards().get(name)
    if card is None and os.path.exists(name):
        from tadacli.training.run_summary import run_summary

        heads = run_summary(name).spec.heads
    elif card is None:
        raise SpecError(f"unknown model {name!r}", hint="tada models lists the known ones")
    else:
        heads = _own_card(card, stored(card.name)).heads
    if card is not None and card.takes_features:
        raise SpecError(f"{name} has no labels of its own", hint="those of the classifier name what it proposes")
    if not heads:
        raise SpecError(f"the labels of {name} are not known", hint=f"tada models {name} says why")
    return heads


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
    if kept is not None:
        return "installed"
    return "settings come with the file" if card.told_by_file else "not installed"


def _own_card(card: ModelCard, kept: StoredWeights | None) -> ModelCard:
    """The card with the settings that came with the file, once it is here."""
    if kept is None:
        return card
    from tadacli.specs import ModelSpec
    from tadacli.zoo.checkpoints import settings_of  # which takes as long as torch does

    spec, stated = settings_of(kept.path)
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
    init = "clip" if architecture.startswith("tadaformer") else "imagenet"
    return f"tada finetune --model {architecture} --init {init} (or random) trains one"


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
