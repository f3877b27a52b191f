"""`tada models`: which models there are, what is known about each, and which of them are on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadacli.cli.console import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tadacli.zoo.listing import ModelDescription, ModelSummary
    from tadacli.zoo.manifest import ModelCard

_COLUMNS = ("model", "data set", "frames", "parameters", "GMACs", "top-1", "top-5", "size", "state")
_NUMBERS = frozenset(_COLUMNS[2:8])
_NOTHING = "-"
_SHOWN_LABELS = 5
_FIGURES = {
    "top1": "top-1",
    "top5": "top-5",
    "verb_map": "verb mAP",
    "noun_map": "noun mAP",
    "action_map": "action mAP",
}


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
    from dataclasses import asdict

    from tadacli.zoo.listing import describe_model, how_to_train, list_models, networks_without_weights

    if name is not None:
        model = describe_model(name)
        text = _as_json(model.to_dict()) if as_json else _page(model)
    elif as_json:
        text = _as_json([asdict(summary) for summary in list_models()])
    else:
        others = ", ".join(networks_without_weights())
        text = f"{_table(list_models())}\n\nnetworks without published weights: {others}\n{how_to_train('NAME')}"
    print(printable(text))


def _as_json(values: object) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False)


def _table(summaries: Sequence[ModelSummary]) -> str:
    """One line for each model, below the names of the columns."""
    rows = [dict(zip(_COLUMNS, _COLUMNS, strict=True)), *(_row(summary) for summary in summaries)]
    widths = {column: max(len(row[column]) for row in rows) for column in _COLUMNS}
    lines = []
    for row in rows:
        cells = [f"{row[c]:>{widths[c]}}" if c in _NUMBERS else f"{row[c]:{widths[c]}}" for c in _COLUMNS]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(model: ModelSummary) -> dict[str, str]:
    figures = [model.published.get(key) for key in ("top1", "top5")]
    cells = (
        model.name,
        model.task if model.task == "camera motion" else model.dataset,
        _frames(model),
        _NOTHING if model.num_parameters is None else f"{model.num_parameters / 1e6:.2f} M",
        _NOTHING if model.gmacs is None else f"{model.gmacs:.2f}",
        *(_NOTHING if figure is None else f"{figure:.1f}" for figure in figures),
        _size(model),
        model.state,
    )
    return dict(zip(_COLUMNS, cells, strict=True))


def _frames(model: ModelSummary) -> str:
    """Frames of a clip, and from one to the next where clips have a rate."""
    if model.clip_frames is None:
        return _NOTHING
    stride = model.frame_stride
    return str(model.clip_frames) if stride is None else f"{model.clip_frames} x {stride}"


def _size(model: ModelSummary) -> str:
    if model.size_bytes is None:
        return _NOTHING
    megabytes = model.size_bytes / 1e6
    return f"{'' if model.size_is_exact else '~'}{megabytes:.{0 if megabytes >= 10 else 1}f} MB"


def _page(model: ModelDescription) -> str:
    """All that is known about a model, for a person."""
    card = model.card
    lines = [card.name, ""]
    for key, text in _facts(model):
        lines.append(f"{key:14}{text}")
    lines += [f"{'not known':14}{key}: {reason}" for key, reason in card.unknown.items()]
    if card.note:
        lines.append(f"{'note':14}{card.note}")
    lines += ["", _what_to_do(model)]
    return "\n".join(lines)


def _facts(model: ModelDescription) -> list[tuple[str, str]]:
    """Names of facts and what is known, without those of which nothing is."""
    card, row, kept = model.card, _row(model.summary), model.stored
    cost = f", {row['GMACs']} GMACs for one view" if card.gmacs is not None else ""
    arguments = f" ({_pairs(card.arguments)})" if card.arguments else ""
    figures = ", ".join(f"{_FIGURES[key]} {figure:g} %" for key, figure in card.published.items())
    facts = [
        ("task", card.task),
        ("data set", card.dataset),
        ("network", f"{card.architecture}{arguments}"),
        ("parameters", "" if card.num_parameters is None else f"{card.num_parameters:,}{cost}"),
        ("features" if card.takes_features else "input", _pairs(model.settings)),
        ("views", "" if card.protocol is None else f"{card.protocol} (clips x crops)"),
        *((f"labels{f' {head}' if head else ''}", _labels(labels)) for head, labels in card.heads.items()),
        ("labels", f"{card.num_classes}, without names" if card.num_classes and not card.heads else ""),
        ("accuracy", f"{figures} (published by its authors, not measured here)" if figures else ""),
        ("licence", card.source.licence),
        *(("from", place) for place in _places(card)),
        ("SHA-256", card.source.sha256),
        ("size", "" if row["size"] == _NOTHING else row["size"]),
        ("state", model.summary.state),
    ]
    if kept is not None:
        made_from = f"{kept.source}, {kept.original_size_bytes:,} bytes, SHA-256 {kept.original_sha256}"
        facts += [("file", str(kept.path)), ("made from", made_from)]
    return [(key, text) for key, text in facts if text]


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {json.dumps(value) if isinstance(value, bool) else value}" for key, value in values.items()
    )


def _labels(labels: tuple[str, ...]) -> str:
    first = ", ".join(labels[:_SHOWN_LABELS])
    return f"{len(labels)}: {first}{', ...' if len(labels) > _SHOWN_LABELS else ''}"


def _places(card: ModelCard) -> list[str]:
    """Where the published file can be had."""
    drive = card.source.google_drive
    places = (card.source.url, f"https://drive.google.com/file/d/{drive}/view" if drive else "")
    return [place for place in places if place]


def _what_to_do(model: ModelDescription) -> str:
    if model.obstacles:
        return f"It cannot be used yet: {'; '.join(model.obstacles)}."
    if model.summary.installed:
        return f"Use it: tada classify VIDEO --model {model.card.name}"
    return f"Fetch it: tada fetch {model.card.name}\nOr use a downloaded file: --model {model.card.name} --weights FILE"
