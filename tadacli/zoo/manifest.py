"""What is known about every published checkpoint, whether or not it can be used.

Some published checkpoints come without settings that are needed; a `ModelCard` lists all that is known of one, from
`manifest.toml`, and says what nobody has published. It is read as strictly as a `ModelSpec`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from tadacli.errors import SpecError
from tadacli.specs import (
    EvalProtocol,
    InputSpec,
    ModelSpec,
    Table,
    Task,
    count_classes,
    read_heads,
    read_input,
    read_protocol,
    read_task,
)

PUBLISHED = ("top1", "top5", "verb_map", "noun_map", "action_map")
_SOURCE_TEXTS = {
    "google_drive": re.compile(r"[A-Za-z0-9_-]{33}"),
    "url": re.compile(r"https://\S+"),
    "file": re.compile(r"[^/\\]+\.safetensors"),
    "licence": re.compile(r".+"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
}
# Stands where a setting is not known, so that the other settings of the input can be checked.
_ANY_INPUT = {
    "sampling": "segment",
    "clip_frames": 1,
    "frame_stride": 1,
    "target_fps": 30,
    "short_side": 10_000,
    "crop_size": 1,
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
}


@dataclass(frozen=True)
class FeatureInput:
    """What a detector above another network takes: that network's features over one window, (num_channels, num_bins).

    A bin of the window lasts `bin_frames` frames at `fps` frames per second.
    """

    network: str
    num_channels: int
    num_bins: int
    bin_frames: int
    fps: float


@dataclass(frozen=True)
class ModelCard:
    """All that is known about a checkpoint of the manifest, whether or not it can be used.

    `settings` are the known ones of the input; `input` is there once they are complete. `unknown` says of every
    key that is left out why it is not known. `gmacs` is the cost of one view in 10^9 multiply-adds. `num_classes`
    is known even where their names are not; what proposes spans without classes has none.
    """

    name: str
    architecture: str
    task: Task
    dataset: str
    input: InputSpec | FeatureInput | None
    settings: Mapping[str, Any]
    heads: Mapping[str, tuple[str, ...]]
    num_classes: int | dict[str, int] | None
    protocol: EvalProtocol | None
    arguments: Mapping[str, Any]
    num_parameters: int | None
    gmacs: float | None
    published: Mapping[str, float]
    source: Mapping[str, Any]
    unknown: Mapping[str, str]
    note: str

    @property
    def spec(self) -> ModelSpec | None:
        """What the checkpoint is used with; None if a part of it is not known, or if it takes features."""
        if not isinstance(self.input, InputSpec) or not self.heads or self.protocol is None:
            return None
        return ModelSpec(
            name=self.name,
            architecture=self.architecture,
            task=self.task,
            dataset=self.dataset,
            input=self.input,
            heads=self.heads,
            protocol=self.protocol,
            arguments=self.arguments,
            published=self.published,
            source=self.source,
            note=self.note,
        )

    @property
    def about_bytes(self) -> int | None:
        """Size of the published file if known, else of the weights alone, in float32; None if neither is known."""
        if "size_bytes" in self.source:
            return int(self.source["size_bytes"])
        if isinstance(self.input, FeatureInput) or self.num_parameters is None:
            return None  # such files hold tables that outweigh the parameters
        return 4 * self.num_parameters

    def obstacles(self, architectures: Collection[str]) -> list[str]:
        """Why the checkpoint cannot be used where these architectures are built; empty if it can."""
        found = []
        if self.architecture not in architectures:
            found.append(f"its network, {self.architecture}, is not built into this version")
        if self.task == "action proposals":
            found.append("it takes features, not video")
        needed = [key for key in self.unknown if key.split(".")[0] in ("input", "features", "heads", "protocol")]
        return found + [f"{key} is not known: {self.unknown[key]}" for key in needed]


@cache
def manifest() -> Mapping[str, ModelSpec]:
    """The known checkpoints that take video and whose settings are complete, by name, read from `manifest.toml`."""
    return {name: card.spec for name, card in cards().items() if card.spec is not None}


@cache
def cards() -> Mapping[str, ModelCard]:
    """Every known checkpoint by name, read from `manifest.toml`."""
    text = resources.files("tadacli").joinpath("zoo", "manifest.toml").read_text(encoding="utf-8")
    return read_cards(text)


def read_cards(text: str) -> dict[str, ModelCard]:
    """Cards by name from the text of a manifest. Raises `SpecError` naming the entry and the key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"the manifest is not valid TOML: {error}") from error
    read = {name: _read_card(name, dict(table)) for name, table in tables.items()}
    owners: dict[str, str] = {}
    for name, card in read.items():
        for key in ("google_drive", "url", "file"):
            place = card.source.get(key)
            if place is not None and owners.setdefault(place, name) != name:
                raise SpecError(f"{name}: source.{key} is that of {owners[place]}: {place}")
    return read


def _read_card(name: str, table: dict[str, Any]) -> ModelCard:
    reader = Table(name, table)
    unknown = reader.take("unknown", dict, {})
    _check_unknown(name, unknown)
    task = read_task(name, reader)
    settings: dict[str, Any] = {}
    look: InputSpec | FeatureInput | None
    heads: dict[str, tuple[str, ...]] = {}
    num_classes: int | dict[str, int] | None = None
    protocol = None
    if task == "action proposals":
        settings = reader.take_known("features", dict, unknown) or {}
        look = _read_features(name, settings) if settings else None
    else:
        settings = reader.take("input", dict, {})
        look = _read_settings(name, settings, unknown)
        labels = reader.take_known("heads", dict, unknown)
        heads = {} if labels is None else read_heads(name, labels)
        num_classes = count_classes(heads) if heads else reader.take("num_classes", int)
        views = reader.take_known("protocol", dict, unknown)
        protocol = None if views is None else read_protocol(name, views)
    card = ModelCard(
        name=name,
        architecture=reader.take("architecture", str),
        task=task,
        dataset=reader.take("dataset", str),
        input=look,
        settings=settings,
        heads=heads,
        num_classes=num_classes,
        protocol=protocol,
        arguments=reader.take("arguments", dict, {}),
        num_parameters=reader.take_known("num_parameters", int, unknown),
        gmacs=reader.take_known("gmacs", (int, float), unknown),
        published=_read_published(name, reader.take("published", dict, {})),
        source=_read_source(name, reader.take("source", dict), unknown),
        unknown=unknown,
        note=reader.take("note", str, ""),
    )
    reader.finish()
    return card


def _check_unknown(name: str, unknown: Mapping[str, Any]) -> None:
    settings = [f"input.{each.name}" for each in fields(InputSpec)]
    allowed = ("input", *settings, "features", "heads", "protocol", "num_parameters", "gmacs", "source.licence")
    for key, reason in unknown.items():
        if key not in allowed:
            raise SpecError(f"{name}: unknown.{key} is no key that may be left out")
        if not isinstance(reason, str) or not reason:
            raise SpecError(f"{name}: unknown.{key} needs a reason")


def _read_settings(name: str, table: dict[str, Any], unknown: Mapping[str, str]) -> InputSpec | None:
    """The input, or None if some of its settings are not known; those that are known are checked all the same."""
    left_out = [each.name for each in fields(InputSpec) if {"input", f"input.{each.name}"} & set(unknown)]
    if sure := [key for key in left_out if key in table and f"input.{key}" in unknown]:
        raise SpecError(f"{name}: input.{sure[0]} is given, and said to be unknown")
    if table.get("sampling") == "segment" and {"frame_stride", "target_fps"} & set(table):
        raise SpecError(f"{name}: input has frame_stride or target_fps, which segment sampling does not use")
    missing = {key: _ANY_INPUT[key] for key in left_out if key not in table}
    look = read_input(name, {**missing, **table})
    return None if missing else look


def _read_features(name: str, table: dict[str, Any]) -> FeatureInput:
    reader = Table(f"{name}: features", table)
    look = FeatureInput(
        network=reader.take("network", str),
        num_channels=reader.take("num_channels", int),
        num_bins=reader.take("num_bins", int),
        bin_frames=reader.take("bin_frames", int),
        fps=float(reader.take("fps", (int, float))),
    )
    reader.finish()
    if min(look.num_channels, look.num_bins, look.bin_frames, look.fps) <= 0:
        raise SpecError(f"{name}: features has a number that is not positive")
    return look


def _read_published(name: str, table: dict[str, Any]) -> dict[str, float]:
    reader = Table(f"{name}: published", table)
    figures = {key: float(reader.take(key, (int, float))) for key in PUBLISHED if key in table}
    reader.finish()
    if not all(0 < figure <= 100 for figure in figures.values()) or figures.get("top5", 100) < figures.get("top1", 0):
        raise SpecError(f"{name}: published has a figure that is no percentage, or top5 below top1")
    return figures


def _read_source(name: str, table: dict[str, Any], unknown: Mapping[str, str]) -> dict[str, Any]:
    reader = Table(f"{name}: source", table)
    for key, pattern in _SOURCE_TEXTS.items():
        text = reader.take(key, str) if key in table else ""
        if key in table and not pattern.fullmatch(text):
            raise SpecError(f"{name}: source.{key} does not look like one: {text!r}")
    if "size_bytes" in table and reader.take("size_bytes", int) <= 0:
        raise SpecError(f"{name}: source.size_bytes is not positive")
    if ("licence" in table) == ("source.licence" in unknown):
        raise SpecError(f"{name}: source.licence is given and said to be unknown, or is neither")
    reader.finish()
    if ("file" in table) == bool({"google_drive", "url"} & set(table)):
        raise SpecError(f"{name}: source needs google_drive or url, or else file")
    return table
