"""What a model needs to be used correctly, as typed data that travels with its weights.

A `ModelSpec` comes from `manifest.toml` (known checkpoints) or from inside a weights file (our own).
Reading is strict: an unknown, missing or contradictory setting fails with the entry and the key named.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from tadacli.errors import SpecError

Task = Literal["action", "camera motion"]


@dataclass(frozen=True)
class InputSpec:
    """How clips are taken from a video and turned into a tensor (see `sampling` and `transforms`)."""

    sampling: Literal["interval", "segment"]
    clip_frames: int
    frame_stride: int
    target_fps: float
    short_side: int
    crop_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class EvalProtocol:
    """Views of one video whose scores are averaged: clips over time times crops over space."""

    num_clips: int
    num_crops: int

    def __str__(self) -> str:
        return f"{self.num_clips}x{self.num_crops}"


@dataclass(frozen=True)
class ModelSpec:
    """Everything but the weights: network, input, labels, protocol, origin.

    `heads` maps head names to their labels in index order; a model with one head uses the name "".
    `published` holds the authors' accuracies in percent, `source` where the weights come from.
    """

    name: str
    architecture: str
    task: Task
    dataset: str
    input: InputSpec
    heads: Mapping[str, tuple[str, ...]]
    protocol: EvalProtocol
    arguments: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Number of classes, or for named heads {name: number}."""
        if tuple(self.heads) == ("",):
            return len(self.heads[""])
        return {name: len(labels) for name, labels in self.heads.items()}

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """The spec as JSON-ready values; `labels=False` gives the number of classes in their place."""
        values = asdict(self)
        values["heads"] = {name: list(names) if labels else len(names) for name, names in self.heads.items()}
        for key in ("mean", "std"):
            values["input"][key] = list(values["input"][key])
        return {key: value for key, value in values.items() if value not in ({}, "")}


def spec_from_dict(values: Mapping[str, Any]) -> ModelSpec:
    """The spec that `ModelSpec.to_dict()` wrote. Raises `SpecError` naming the key that is wrong."""
    table = dict(values)
    name = str(table.pop("name", ""))
    if not name:
        raise SpecError("a model specification has no name")
    return _read_entry(name, table)


@cache
def manifest() -> Mapping[str, ModelSpec]:
    """Every known checkpoint by name, read from `manifest.toml`."""
    text = resources.files("tadacli").joinpath("manifest.toml").read_text(encoding="utf-8")
    return read_manifest(text)


def read_manifest(text: str) -> dict[str, ModelSpec]:
    """Specs by name from the text of a manifest. Raises `SpecError` naming the entry and the key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"the manifest is not valid TOML: {error}") from error
    return {name: _read_entry(name, dict(table)) for name, table in tables.items()}


@cache
def label_list(name: str) -> tuple[str, ...]:
    """Class names that ship with the package, for example `kinetics400`."""
    file = resources.files("tadacli").joinpath("labels", f"{name}.json")
    if not file.is_file():
        raise SpecError(f"there is no label list {name!r}")
    return tuple(json.loads(file.read_text(encoding="utf-8")))


def _read_entry(name: str, table: dict[str, Any]) -> ModelSpec:
    reader = _Table(name, table)
    task = reader.take("task", str)
    if task not in get_args(Task):
        raise SpecError(f"{name}: task is {task!r}, expected one of {', '.join(get_args(Task))}")
    spec = ModelSpec(
        name=name,
        architecture=reader.take("architecture", str),
        task=task,
        dataset=reader.take("dataset", str),
        input=_read_input(name, reader.take("input", dict)),
        heads=_read_heads(name, reader.take("heads", dict)),
        protocol=_read_protocol(name, reader.take("protocol", dict)),
        arguments=reader.take("arguments", dict, {}),
        published={key: float(value) for key, value in reader.take("published", dict, {}).items()},
        source=reader.take("source", dict, {}),
        note=reader.take("note", str, ""),
    )
    reader.finish()
    return spec


def _read_input(name: str, table: dict[str, Any]) -> InputSpec:
    reader = _Table(f"{name}: input", table)
    spec = InputSpec(
        sampling=reader.take("sampling", str),
        clip_frames=reader.take("clip_frames", int),
        frame_stride=reader.take("frame_stride", int, 1),
        target_fps=float(reader.take("target_fps", (int, float), 30.0)),
        short_side=reader.take("short_side", int),
        crop_size=reader.take("crop_size", int),
        mean=reader.three_numbers("mean"),
        std=reader.three_numbers("std"),
    )
    reader.finish()
    if spec.sampling not in ("interval", "segment"):
        raise SpecError(f"{name}: input.sampling is {spec.sampling!r}, expected interval or segment")
    numbers = (spec.clip_frames, spec.frame_stride, spec.target_fps, spec.crop_size, *spec.std)
    if min(numbers) <= 0 or spec.crop_size > spec.short_side:
        raise SpecError(f"{name}: input has a number that is not positive, or a crop above the short side")
    return spec


def _read_protocol(name: str, table: dict[str, Any]) -> EvalProtocol:
    reader = _Table(f"{name}: protocol", table)
    protocol = EvalProtocol(reader.take("num_clips", int), reader.take("num_crops", int))
    reader.finish()
    return protocol


def _read_heads(name: str, table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    heads: dict[str, tuple[str, ...]] = {}
    for head, labels in table.items():
        names = label_list(labels) if isinstance(labels, str) else tuple(labels)
        if not names or not all(isinstance(label, str) for label in names):
            raise SpecError(f"{name}: heads.{head or '(single)'} has no list of label names")
        heads[head] = names
    if not heads or ("" in heads and len(heads) > 1):
        raise SpecError(f"{name}: heads needs one unnamed head or only named ones")
    return heads


class _Table:
    """A table whose keys are taken one by one, so that a missing or a left-over key is an error."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self._where, self._values = where, dict(values)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        if key not in self._values:
            if default is None:
                raise SpecError(f"{self._where}: {key} is missing")
            return default
        value = self._values.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SpecError(f"{self._where}: {key} has the wrong type, got {value!r}")
        return value

    def three_numbers(self, key: str) -> tuple[float, float, float]:
        values = self.take(key, (list, tuple))
        if len(values) != 3 or not all(isinstance(value, (int, float)) for value in values):
            raise SpecError(f"{self._where}: {key} needs three numbers, got {values!r}")
        return float(values[0]), float(values[1]), float(values[2])

    def finish(self) -> None:
        if self._values:
            raise SpecError(f"{self._where}: unknown key {', '.join(sorted(self._values))}")
