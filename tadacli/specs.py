"""What a model needs to be used correctly, as typed data that travels with its weights.

A `ModelSpec` comes from the manifest (known checkpoints, see `zoo.manifest`) or from inside a weights file (our own).
Reading is strict: an unknown, missing or contradictory setting fails with the entry and the key named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from tadacli.errors import SpecError, UsageError

Task = Literal["action", "camera motion", "action proposals"]
# A score for all classes, or the thresholds that a model carries for each of them.
ScoreLimit = float | Literal["auto"]
Thresholds = Mapping[str, tuple[float, ...]]


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

    `temperatures` are what logits are divided by, by head; a head that is not named has its logits as they are.
    `thresholds` are the scores from which on each class is worth reporting, by head, for every head or for none.
    Both are fitted on validation data (see `score_fitting`).
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
    source: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=dict)

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Number of classes, or for named heads {name: number}."""
        return count_classes(self.heads)

    def require_thresholds(self) -> Thresholds:
        """The thresholds of its classes by head. Raises `UsageError` for a model that carries none."""
        if not self.thresholds:
            raise UsageError(
                f'{self.name} carries no thresholds of its own for "auto"',
                hint="give a number such as 0.4; tada finetune fits thresholds on its validation videos",
            )
        return self.thresholds

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """The spec as JSON-ready values; `labels=False` gives the number of classes in their place."""
        values = asdict(self)
        values["heads"] = {name: list(names) if labels else len(names) for name, names in self.heads.items()}
        for key in ("mean", "std"):
            values["input"][key] = list(values["input"][key])
        values["thresholds"] = {name: list(scores) for name, scores in self.thresholds.items()}
        return {key: value for key, value in values.items() if value not in ({}, "")}


def spec_from_dict(values: Mapping[str, Any]) -> ModelSpec:
    """The spec that `ModelSpec.to_dict()` wrote. Raises `SpecError` naming the key that is wrong."""
    table = dict(values)
    name = str(table.pop("name", ""))
    if not name:
        raise SpecError("a model specification has no name")
    return _read_entry(name, table)


@cache
def label_list(name: str) -> tuple[str, ...]:
    """Class names that ship with the package, for example `kinetics400`."""
    file = resources.files("tadacli").joinpath("zoo", "labels", f"{name}.json")
    if not file.is_file():
        raise SpecError(f"there is no label list {name!r}")
    return tuple(json.loads(file.read_text(encoding="utf-8")))


def _read_entry(name: str, table: dict[str, Any]) -> ModelSpec:
    reader = Table(name, table)
    heads = read_heads(name, reader.take("heads", dict))
    spec = ModelSpec(
        name=name,
        architecture=reader.take("architecture", str),
        task=read_task(name, reader),
        dataset=reader.take("dataset", str),
        input=read_input(name, reader.take("input", dict)),
        heads=heads,
        protocol=read_protocol(name, reader.take("protocol", dict)),
        arguments=reader.take("arguments", dict, {}),
        published={key: float(value) for key, value in reader.take("published", dict, {}).items()},
        source=reader.take("source", dict, {}),
        note=reader.take("note", str, ""),
        temperatures=_read_temperatures(name, reader.take("temperatures", dict, {}), heads),
        thresholds=_read_thresholds(name, reader.take("thresholds", dict, {}), heads),
    )
    reader.finish()
    return spec


def _read_temperatures(name: str, table: dict[str, Any], heads: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    for head, value in table.items():
        if head not in heads:
            raise SpecError(f"{name}: temperatures names a head {head!r} that is none")
        if not _is_number(value) or not 0 < value < float("inf"):
            raise SpecError(f"{name}: temperatures.{head or '(single)'} is not a positive number: {value!r}")
    return {head: float(value) for head, value in table.items()}


def _read_thresholds(
    name: str, table: dict[str, Any], heads: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[float, ...]]:
    if table and set(table) != set(heads):
        raise SpecError(f"{name}: thresholds need to be there for every head or for none, got {', '.join(table)!r}")
    for head, values in table.items():
        key, size = f"thresholds.{head or '(single)'}", len(heads[head])
        if not isinstance(values, (list, tuple)) or len(values) != size:
            raise SpecError(f"{name}: {key} needs one number for each of {size} classes")
        if bad := [value for value in values if not _is_number(value) or not 0 <= value <= 1]:
            raise SpecError(f"{name}: {key} holds {bad[0]!r}, which is not between 0 and 1")
    return {head: tuple(float(value) for value in values) for head, values in table.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_task(name: str, reader: Table) -> Task:
    """The task of an entry. Raises `SpecError` naming the entry, as do the readers below."""
    task: Task = reader.take("task", str)
    if task not in get_args(Task):
        raise SpecError(f"{name}: task is {task!r}, expected one of {', '.join(get_args(Task))}")
    return task


def read_input(name: str, table: dict[str, Any]) -> InputSpec:
    """The input of an entry, its numbers checked."""
    reader = Table(f"{name}: input", table)
    is_interval = table.get("sampling") == "interval"  # segment sampling uses neither stride nor rate
    spec = InputSpec(
        sampling=reader.take("sampling", str),
        clip_frames=reader.take("clip_frames", int),
        frame_stride=reader.take("frame_stride", int, None if is_interval else 1),
        target_fps=float(reader.take("target_fps", (int, float), None if is_interval else 30.0)),
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


def read_protocol(name: str, table: dict[str, Any]) -> EvalProtocol:
    """The evaluation protocol of an entry."""
    reader = Table(f"{name}: protocol", table)
    protocol = EvalProtocol(reader.take("num_clips", int), reader.take("num_crops", int))
    reader.finish()
    if min(protocol.num_clips, protocol.num_crops) < 1:
        raise SpecError(f"{name}: protocol needs at least one clip and one crop")
    return protocol


def read_heads(name: str, table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Labels by head, each given as a list or as the name of a label list."""
    heads: dict[str, tuple[str, ...]] = {}
    for head, labels in table.items():
        names = label_list(labels) if isinstance(labels, str) else tuple(labels)
        if not names or not all(isinstance(label, str) for label in names):
            raise SpecError(f"{name}: heads.{head or '(single)'} has no list of label names")
        heads[head] = names
    if not heads or ("" in heads and len(heads) > 1):
        raise SpecError(f"{name}: heads needs one unnamed head or only named ones")
    return heads


def count_classes(heads: Mapping[str, tuple[str, ...]]) -> int | dict[str, int]:
    """Number of classes, or for named heads {name: number}."""
    if tuple(heads) == ("",):
        return len(heads[""])
    return {name: len(labels) for name, labels in heads.items()}


class Table:
    """A table whose keys are taken one by one, so that a missing or a left-over key is an error."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self._where, self._values = where, dict(values)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """The value, taken out; without a default it must be there."""
        if key not in self._values:
            if default is None:
                raise SpecError(f"{self._where}: {key} is missing")
            return default
        value = self._values.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SpecError(f"{self._where}: {key} has the wrong type, got {value!r}")
        return value

    def take_known(self, key: str, kind: type | tuple[type, ...], unknown: Mapping[str, str]) -> Any:
        """The value, or None where the key is said to be unknown."""
        if key not in unknown:
            return self.take(key, kind)
        if key in self._values:
            raise SpecError(f"{self._where}: {key} is given, and said to be unknown")
        return None

    def three_numbers(self, key: str) -> tuple[float, float, float]:
        """A list of three numbers, taken out."""
        values = self.take(key, (list, tuple))
        if len(values) != 3 or not all(isinstance(value, (int, float)) for value in values):
            raise SpecError(f"{self._where}: {key} needs three numbers, got {values!r}")
        return float(values[0]), float(values[1]), float(values[2])

    def finish(self) -> None:
        """Nothing may be left."""
        if self._values:
            raise SpecError(f"{self._where}: unknown key {', '.join(sorted(self._values))}")
