"""All that is known about a model, as `tada models NAME` shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tadacli.cli.console import hanging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tadacli.zoo.manifest import ModelCard

NOTHING = "-"
_SHOWN_LABELS = 5
_FIGURES = {
    "top1": "top-1",
    "top5": "top-5",
    "verb_map": "verb mAP",
    "noun_map": "noun mAP",
    "action_map": "action mAP",
}


def size_text(values: Mapping[str, Any]) -> str:
    """The size of its file in megabytes, with ~ where it is that of the weights alone."""
    if values["size_bytes"] is None:
        return NOTHING
    megabytes = values["size_bytes"] / 1e6
    return f"{'' if values['size_is_exact'] else '~'}{megabytes:.{0 if megabytes >= 10 else 1}f} MB"


def model_page(card: ModelCard, whole: Mapping[str, Any]) -> str:
    """All that is known about a model, for a person."""
    lines = [hanging(key, text, indent=14) for key, text in _facts(card, whole)]
    return "\n".join([card.name, "", *lines, "", _what_to_do(card, whole)])


def _facts(card: ModelCard, whole: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names of facts and what is known, without those of which nothing is."""
    size, drive = size_text(whole), card.source.google_drive
    cost = f", {card.gmacs:.2f} GMACs for one view" if card.gmacs is not None else ""
    arguments = f" ({pairs(card.arguments)})" if card.arguments else ""
    figures = ", ".join(f"{_FIGURES[key]} {figure:g} %" for key, figure in card.published.items())
    taken = "features" if "features" in whole else "input"
    facts = [
        ("task", card.task),
        ("data set", card.dataset),
        ("network", f"{card.architecture}{arguments}"),
        ("parameters", "" if card.num_parameters is None else f"{card.num_parameters:,}{cost}"),
        (taken, pairs(whole[taken])),
        ("views", "" if card.protocol is None else f"{card.protocol} (clips x crops)"),
        *((f"labels{f' {head}' if head else ''}", labels_line(labels)) for head, labels in card.heads.items()),
        ("labels", f"{card.num_classes}, without names" if card.num_classes and not card.heads else ""),
        ("labels", "they exclude each other: tada detect finds one at a time" if card.exclusive_labels else ""),
        ("accuracy", f"{figures} (published by its authors, not measured here)" if figures else ""),
        ("licence", card.source.licence),
        ("from", card.source.url),
        ("from", f"https://drive.google.com/file/d/{drive}/view" if drive else ""),
        ("SHA-256", card.source.sha256),
        ("size", "" if size == NOTHING else size),
        ("state", whole["state"]),
    ]
    if whole["stored"] is not None:
        kept = whole["stored"]
        facts += [
            ("file", kept["path"]),
            (
                "made from",
                f"{kept['source']}, {kept['original_size_bytes']:,} bytes, SHA-256 {kept['original_sha256']}",
            ),
        ]
    facts += [
        ("with the file" if key in card.told_by_file else "not known", f"{key}: {reason}")
        for key, reason in card.unknown.items()
    ]
    return [(key, text) for key, text in [*facts, ("note", card.note)] if text]


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values in a line: clip_frames 8, frame_stride 8."""
    return ", ".join(
        f"{key} {json.dumps(value) if isinstance(value, bool) else value}" for key, value in values.items()
    )


def labels_line(labels: tuple[str, ...]) -> str:
    """How many labels there are, and the first of them."""
    first = ", ".join(labels[:_SHOWN_LABELS])
    return f"{len(labels)}: {first}{', ...' if len(labels) > _SHOWN_LABELS else ''}"


def _what_to_do(card: ModelCard, whole: Mapping[str, Any]) -> str:
    if whole["obstacles"]:
        return f"It cannot be used yet: {'; '.join(whole['obstacles'])}."
    if whole["installed"]:
        use = "detect --features FOLDER" if card.takes_features else "classify VIDEO"
        return f"Use it: tada {use} --model {card.name}"
    return f"Fetch it: tada fetch {card.name}\nOr use a downloaded file: --model {card.name} --weights FILE"
