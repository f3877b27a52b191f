"""What is known about every published checkpoint, whether or not it can be used.

Of some published checkpoints not all settings are known here, since only their files state them; a `ModelCard` lists
all that is known of one, from `manifest.toml`, and says what is not, and why. It is read as strictly as a `ModelSpec`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from importlib import resources
from typing import Any

from tadacli.errors import SpecError
from tadacli.specs import (
    AnySpec,
    EvalProtocol,
    FeatureInput,
    InputSpec,
    ModelFacts,
    ModelSpec,
    ProposalSpec,
    WeightsSource,
    count_classes,
    label_list,
    require_labels,
)
from tadacli.strict_tables import decode_table

PUBLISHED = ("top1", "top5", "verb_map", "noun_map", "action_map")
_URL = re.compile(r"https://\S+")
_SOURCE_TEXTS = {
    "google_drive": re.compile(r"[A-Za-z0-9_-]{33}"),
    "url": _URL,
    "configuration": _URL,
    "listing": _URL,
    "file": re.compile(r"[^/\\]+\.safetensors"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
}
_TOLD_BY_FILES = ("input", "arguments", "heads", "protocol")
# What segment sampling does not use.
RATE = {"frame_stride": 1, "target_fps": 30.0}
# Stands where a setting is not known, so that the other settings of the input can be checked.
_ANY_INPUT: Mapping[str, Any] = {
    "sampling": "segment",
    "clip_frames": 1,
    "short_side": 10_000,
    "crop_size": 1,
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
    "minus_interval": False,
    **RATE,
}


@dataclass(frozen=True)
class ModelCard(ModelFacts):
    """All that is known about a checkpoint of the manifest, whether or not it can be used.

    `input` holds the known settings of an `InputSpec`; what proposes spans takes `features` in its place, and has no
    labels. `unknown` says of every key that is left out why it is not known. `gmacs` is the cost of one view in 10^9
    multiply-adds. `num_classes` is known even where their names are not. `exclusive_labels` are as of a `ModelSpec`.
    """

    input: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protocol: EvalProtocol | None = None
    features: FeatureInput | None = None
    num_classes: int | dict[str, int] | None = None
    num_parameters: int | None = None
    gmacs: float | None = None
    exclusive_labels: bool = False
    unknown: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ValueError` for what is missing without a reason, and for what contradicts the rest."""
        super().__post_init__()
        _check_unknown(self.unknown)
        given: dict[str, object] = {"num_parameters": self.num_parameters, "gmacs": self.gmacs}
        if self.takes_features:
            given["features"] = self.features
            others: dict[str, object] = {
                key: getattr(self, key) for key in ("input", "heads", "protocol", "num_classes", "exclusive_labels")
            }
        else:
            given |= {"heads": self.heads or None, "protocol": self.protocol}
            others = {"features": self.features}
        given["source.licence"] = self.source.licence or None
        for key, value in given.items():
            if (value is None) != (key in self.unknown):
                raise ValueError(f"{key} is missing" if value is None else f"{key} is given, and said to be unknown")
        num_classes = count_classes(self.heads) if self.heads else self.num_classes
        if not self.takes_features and (num_classes is None or self.num_classes != num_classes):
            raise ValueError("num_classes is missing, or not the number of labels")
        if strange := [key for key, value in others.items() if value]:
            raise ValueError(f"unknown key {strange[0]} where the task is {self.task}")
        _check_published(self.published)
        if self.exclusive_labels and len(self.heads) > 1:
            raise ValueError("exclusive_labels are of one head, and it has several, which hold at the same time")
        if self.features is not None:
            _ = self.spec  # which has checks of its own

    @property
    def takes_features(self) -> bool:
        """Whether its input is features of another network, not video."""
        return self.task == "action proposals"

    @cached_property
    def spec(self) -> AnySpec | None:
        """What the checkpoint is used with; None if a part of it is not known."""
        facts = {each.name: getattr(self, each.name) for each in fields(ModelFacts)}
        if self.features is not None:
            return ProposalSpec(**{**facts, "features": self.features})
        settings = _input(self)
        if settings is None or not self.heads or self.protocol is None:
            return None
        return ModelSpec(**{**facts, "input": settings, "exclusive_labels": self.exclusive_labels})

    @property
    def about_bytes(self) -> int | None:
        """Size of the published file if known, else of the weights alone, in float32; None if neither is known."""
        if self.source.size_bytes:
            return self.source.size_bytes
        if self.takes_features or self.num_parameters is None:
            return None  # such files hold tables that outweigh the parameters
        return 4 * self.num_parameters

    def obstacles(self, architectures: Collection[str]) -> list[str]:
        """Why the checkpoint cannot be used where these architectures are built; empty if it can."""
        if self.architecture in architectures:
            return []
        return [f"its network, {self.architecture}, is not built into this version"]

    @property
    def told_by_file(self) -> tuple[str, ...]:
        """The settings that are not known here and come with the file, by key; empty if all are known."""
        return tuple(key for key in self.unknown if key.split(".")[0] in _TOLD_BY_FILES)


Known = AnySpec | ModelCard  # a model of which all is known, or not all


@cache
def manifest() -> Mapping[str, ModelSpec]:
    """The known checkpoints that take video and whose settings are complete, by name, read from `manifest.toml`."""
    return {name: card.spec for name, card in cards().items() if isinstance(card.spec, ModelSpec)}


@cache
def cards() -> Mapping[str, ModelCard]:
    """Every known checkpoint by name, read from `manifest.toml`."""
    text = resources.files("tadacli").joinpath("zoo", "manifest.toml").read_text(encoding="utf-8")
    return read_cards(text)


def read_cards(text: str) -> dict[str, ModelCard]:
    """Cards by name from the text of a manifest.

    Raises:
        SpecError: The text is not TOML, or an entry is wrong; the message names the entry and the key.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"the manifest is not valid TOML: {error}") from error
    read = {name: _read_card(name, table) for name, table in tables.items()}
    owners: dict[str, str] = {}
    for name, card in read.items():
        for key, place in card.source.to_dict().items():
            if key in ("google_drive", "url", "file") and owners.setdefault(str(place), name) != name:
                raise SpecError(f"{name}: source.{key} is that of {owners[str(place)]}: {place}")
    return read


def _read_card(name: str, table: Mapping[str, Any]) -> ModelCard:
    """A card from its table, in which labels may be given by the name of their list."""
    entry = {**table, "name": name}
    if isinstance(table.get("heads"), dict):
        heads = {head: label_list(each) if isinstance(each, str) else each for head, each in table["heads"].items()}
        require_labels(name, heads)
        entry = {"num_classes": count_classes(heads), **entry, "heads": heads}
    card = decode_table(ModelCard, entry, where=name)
    _check_source(name, card.source)
    _input(card)  # is checked even where the card cannot be used
    return card


def _input(card: ModelCard) -> InputSpec | None:
    """The input, or None if some of its settings are not known; those that are known are checked all the same."""
    if card.takes_features:
        return None
    known = card.input
    unused = RATE if known.get("sampling") == "segment" else {}
    names = [each.name for each in fields(InputSpec)]
    if sure := [key for key in names if key in known and f"input.{key}" in card.unknown]:
        raise SpecError(f"{card.name}: input.{sure[0]} is given, and said to be unknown")
    if unused.keys() & known.keys():
        raise SpecError(f"{card.name}: input has frame_stride or target_fps, which segment sampling does not use")
    left_out = {key for key in names if {"input", f"input.{key}"} & card.unknown.keys()} - known.keys()
    settings = {**unused, **{key: _ANY_INPUT[key] for key in left_out}, **known}
    spec = decode_table(InputSpec, settings, where=f"{card.name}: input")
    return None if left_out else spec


def _check_unknown(unknown: Mapping[str, str]) -> None:
    settings = [f"input.{each.name}" for each in fields(InputSpec)]
    allowed = (
        "input",
        *settings,
        "arguments",
        "features",
        "heads",
        "protocol",
        "num_parameters",
        "gmacs",
        "source.licence",
    )
    for key, reason in unknown.items():
        if key not in allowed:
            raise ValueError(f"unknown.{key} is no key that may be left out")
        if not reason:
            raise ValueError(f"unknown.{key} needs a reason")


def _check_published(figures: Mapping[str, float]) -> None:
    if strange := [key for key in figures if key not in PUBLISHED]:
        raise ValueError(f"unknown key published.{strange[0]}")
    if not all(0 < figure <= 100 for figure in figures.values()) or figures.get("top5", 100) < figures.get("top1", 0):
        raise ValueError("published has a figure that is no percentage, or top5 below top1")


def _check_source(name: str, source: WeightsSource) -> None:
    known = source.to_dict()
    for key, pattern in _SOURCE_TEXTS.items():
        if key in known and not pattern.fullmatch(str(known[key])):
            raise SpecError(f"{name}: source.{key} does not look like one: {known[key]!r}")
    if source.size_bytes < 0:
        raise SpecError(f"{name}: source.size_bytes is not positive")
    if bool(source.file) == bool(source.google_drive or source.url):
        raise SpecError(f"{name}: source needs google_drive or url, or else file")
