"""`tada models`: which models there are, what is known about each, and which of them are on this machine."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

from tadacli.cli.console import aligned, fitting_columns, hanging, show, terminal_width
from tadacli.cli.help import INPUT, OUTPUT
from tadacli.cli.model_page import NOTHING, model_page, size_text
from tadacli.cli.printable import printable
from tadacli.cli.weights import whole_name
from tadacli.errors import SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tadacli.zoo.card_values import State

_COLUMNS = ("model", "data set", "frames", "parameters", "GMACs", "top-1", "top-5", "size", "state")
_TEXTS = (0, 1, 8)  # columns
_LEAST = (6, 4, 1, 3, 2, 7)  # those that a narrow window does without first
_SHORT_STATES: Mapping[State, str] = {"settings come with the file": "with its file"}


def models_command(
    name: Annotated[
        str | None,
        INPUT.argument(
            help="Show all that is known about this one: a model, or a run's folder.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        bool, OUTPUT.option("--labels", help="Show its labels alone, one a line, in their order.")
    ] = False,
    as_json: Annotated[bool, OUTPUT.option("--json", help="Write JSON.")] = False,
) -> None:
    """List the known models and networks, or show all about one.

    NAME may be the folder of a run of tada finetune, or a weights file of
    its own, which say how good they were found to be.

    The settings of a model "with its file" come with that.
    Sizes with ~ are those of the weights alone, in float32: nobody has
    published how large the files are. Accuracies are the authors'.
    """
    from tadacli.models import BUILDERS, OVER_FEATURES
    from tadacli.zoo.card_values import card_summary, card_values, told_card
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
        of_files = [told_card(card, kept[name]) if card.told_by_file else card for name, card in cards().items()]
        values = [card_summary(card, built, kept[card.name]) for card in of_files]
        text = json.dumps(values, indent=2, ensure_ascii=False) if as_json else _list(values, BUILDERS)
    elif name in cards():
        card = told_card(cards()[name], stored(name))
        whole = card_values(card, built, stored(name))
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
    from tadacli.zoo.card_values import told_card
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.store import stored

    card = cards().get(name)
    if card is None and os.path.exists(name):
        from tadacli.training.run_summary import run_summary

        heads = run_summary(name).spec.heads
    elif card is None:
        raise SpecError(f"unknown model {name!r}", hint="tada models lists the known ones")
    else:
        heads = told_card(card, stored(card.name)).heads
    if card is not None and card.takes_features:
        raise SpecError(f"{name} has no labels of its own", hint="those of the classifier name what it proposes")
    if not heads:
        raise SpecError(f"the labels of {name} are not known", hint=f"tada models {name} says why")
    return heads


def _list(summaries: list[dict[str, Any]], architectures: Collection[str]) -> str:
    """The table, and below it the networks that nobody has published weights for."""
    used = {values["architecture"] for values in summaries}
    others = [name for name in architectures if name not in used]
    rows = [_COLUMNS, *(tuple(_row(values).values()) for values in summaries)]
    kept = fitting_columns(rows, least=_LEAST, width=terminal_width())
    table = aligned(
        [[row[number] for number in kept] for row in rows],
        to_left=[place for place, number in enumerate(kept) if number in _TEXTS],
    )
    gone = [name for number, name in enumerate(_COLUMNS) if number not in kept]
    below = [f"not shown here: {', '.join(gone)}; a wider window or --json shows them"] if gone else []
    below += [f"networks without published weights: {', '.join(others)}", _how_to_train("NAME")]
    return "\n".join([*table, "", *(hanging("", text, indent=0) for text in below)])


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
        _SHORT_STATES.get(values["state"], values["state"]),
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
