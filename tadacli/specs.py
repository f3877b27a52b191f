"""What a model needs to be used correctly, as typed data that travels with its weights.

A `ModelSpec`, or for what takes features a `ProposalSpec` or a `HeadSpec`, comes from the manifest (known checkpoints,
see `zoo.manifest`) or from inside a weights file (our own).
Reading is strict: an unknown, missing or contradictory setting fails with the entry and the key named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from math import inf, isfinite
from typing import Any, Literal

from tadacli.errors import SpecError, UsageError
from tadacli.strict_tables import decode_table, parse_json

Task = Literal["action", "camera motion", "action proposals"]
# What the class of windows in which nothing is shown is called.
BACKGROUND = "background"
# The share of its threshold that a segment holds throughout, where nothing else is said.
LOW_SHARE = 0.5
# A score for all classes, or the thresholds that a model carries for each of them.
ScoreLimit = float | Literal["auto"]
Thresholds = Mapping[str, tuple[float, ...]]
# Far beyond what any network looks at: of a clip, along a side, of all frames of a clip together, between two frames.
_MOST_FRAMES, _MOST_PIXELS, _MOST_VALUES, _MOST_STRIDE = 1 << 16, 1 << 16, 1 << 28, 1 << 16
_MOST_FPS, _MOST_CLIPS, _MOST_CROPS = 1e5, 10_000, 3
# Of a network's arguments: their number, a number, a list of numbers, and the blocks that a list of depths asks for.
_MOST_ARGUMENTS, _MOST_WIDTH, _MOST_STAGES, _MOST_BLOCKS = 64, 1 << 16, 64, 512


@dataclass(frozen=True)
class InputSpec:
    """How clips are taken from a video and turned into a tensor (see `sampling` and `transforms`)."""

    sampling: Literal["interval", "interval_hub", "segment"]
    clip_frames: int
    frame_stride: int
    target_fps: float
    short_side: int
    crop_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    minus_interval: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` for numbers that no clip can have."""
        numbers = (self.clip_frames, self.frame_stride, self.target_fps, self.crop_size, *self.std)
        if not all(0 < number < inf for number in numbers) or self.crop_size > self.short_side:
            raise ValueError("it has a number that is not positive, or a crop above the short side")
        if not all(map(isfinite, self.mean)):
            raise ValueError("its mean is not finite")
        if self.clip_frames > _MOST_FRAMES or self.short_side > _MOST_PIXELS:
            raise ValueError(f"it has more than {_MOST_FRAMES} frames, or more than {_MOST_PIXELS} pixels to a side")
        if self.clip_frames * self.crop_size**2 > _MOST_VALUES:
            raise ValueError(f"its clips have more than {_MOST_VALUES} pixels")
        if self.frame_stride > _MOST_STRIDE or self.target_fps > _MOST_FPS:
            raise ValueError(f"its frame_stride is above {_MOST_STRIDE}, or its target_fps above {_MOST_FPS:.0f}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        values = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        if not self.minus_interval:
            del values["minus_interval"]  # runs of earlier versions do not have it
        return values


@dataclass(frozen=True)
class EvalProtocol:
    """Views of one video whose scores are averaged: clips over time times crops over space."""

    num_clips: int
    num_crops: int

    def __post_init__(self) -> None:
        """Raises `ValueError` for no view at all."""
        if min(self.num_clips, self.num_crops) < 1:
            raise ValueError("it needs at least one clip and one crop")
        if self.num_clips > _MOST_CLIPS or self.num_crops > _MOST_CROPS:
            raise ValueError(f"it has more than {_MOST_CLIPS} clips, or more than {_MOST_CROPS} crops")

    def __str__(self) -> str:
        return f"{self.num_clips}x{self.num_crops}"


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a model come from, as far as it is known; empty or zero where it is not.

    `file` ships with the package; `google_drive` is the id of a file there. Size and SHA-256 are those of the
    published file. On the model hub, `configuration` is the URL of the file with the model's settings, and `listing`
    that of what the hub says of its files.
    """

    file: str = ""
    google_drive: str = ""
    url: str = ""
    configuration: str = ""
    listing: str = ""
    licence: str = ""
    sha256: str = ""
    size_bytes: int = 0

    def to_dict(self) -> dict[str, str | int]:
        """What is known, as JSON-ready values."""
        return {key: value for key, value in asdict(self).items() if value}


@dataclass(frozen=True)
class FeatureInput:
    """What a network over another one's features takes: those of one window, (num_channels, num_bins).

    A bin of the window lasts `bin_frames` frames at `fps` frames per second.
    """

    network: str
    num_channels: int
    num_bins: int
    bin_frames: int
    fps: int

    def __post_init__(self) -> None:
        """Raises `ValueError` for a number that is not positive."""
        if min(self.num_channels, self.num_bins, self.bin_frames, self.fps) <= 0:
            raise ValueError("it has a number that is not positive")


@dataclass(frozen=True)
class ModelFacts:
    """What is stated of a model, whether or not it is complete: network, input, labels, protocol, origin.

    `heads` maps head names to their labels in index order; a model with one head uses the name "".
    `published` holds the authors' accuracies in percent.
    """

    name: str
    architecture: str
    task: Task
    dataset: str
    input: InputSpec | Mapping[str, Any]
    heads: Mapping[str, tuple[str, ...]]
    protocol: EvalProtocol | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    source: WeightsSource = WeightsSource()
    note: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` for heads that contradict each other."""
        if "" in self.heads and len(self.heads) > 1:
            raise ValueError("heads needs one unnamed head or only named ones")
        _check_arguments(self.arguments)

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """The facts as JSON-ready values; `labels=False` gives the number of classes in their place."""
        values = asdict(self)
        values["source"] = self.source.to_dict()
        values["heads"] = {name: list(names) if labels else len(names) for name, names in self.heads.items()}
        return {key: value for key, value in values.items() if value not in ({}, "", None) and value is not False}


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises `ValueError` for arguments of a network that would take forever to build."""
    if len(arguments) > _MOST_ARGUMENTS:
        raise ValueError(f"arguments has more than {_MOST_ARGUMENTS} entries")
    for name, value in arguments.items():
        values = value if isinstance(value, list | tuple) else (value,)
        if len(values) > _MOST_STAGES:
            raise ValueError(f"arguments.{name} has more than {_MOST_STAGES} numbers")
        if not all(each is None or isinstance(each, str | int | float) for each in values):
            raise ValueError(f"arguments.{name} is neither text nor a number, nor a list of these")
        numbers = [each for each in values if isinstance(each, int | float)]
        if not all(abs(each) <= _MOST_WIDTH for each in numbers):
            raise ValueError(f"arguments.{name} holds a number beyond {_MOST_WIDTH}")
        if "depth" in name and sum(numbers) > _MOST_BLOCKS:
            raise ValueError(f"arguments.{name} asks for more than {_MOST_BLOCKS} blocks")


@dataclass(frozen=True)
class ModelSpec(ModelFacts):
    """Everything but the weights that a model of clips needs to be used.

    `temperatures` are what logits are divided by, by head; a head that is not named has its logits as they are.
    `thresholds` are the scores from which on each class is worth reporting, by head, for every head or for none; in
    windows of long videos, of which the class `background` says that they show none of the others, those are
    `segment_thresholds`, if there are any; a segment holds `segment_low_share` of its threshold throughout. All are
    fitted on validation data (see `evaluation.calibration` and `training.segment_thresholds`). With `exclusive_labels`
    exactly one label of the one head holds at any time of a video, as of the moves of a camera, which is how segments
    are found then unless it is said otherwise. With `multi_label` any number of labels of the one head may hold at the
    same time: scores are sigmoids, which do not sum to one.
    """

    input: InputSpec
    protocol: EvalProtocol
    temperatures: Mapping[str, float] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=dict)
    segment_thresholds: Thresholds = field(default_factory=dict)
    background: str = ""
    exclusive_labels: bool = False
    segment_low_share: float = LOW_SHARE
    multi_label: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` for temperatures or thresholds that do not fit the heads, and labels that contradict."""
        super().__post_init__()
        if self.multi_label and (self.exclusive_labels or len(self.heads) > 1):
            reason = "exclude each other" if self.exclusive_labels else "are of several heads"
            raise ValueError(f"multi_label is true, and its labels {reason}")
        for head, temperature in self.temperatures.items():
            if head not in self.heads:
                raise ValueError(f"temperatures names a head {head!r} that is none")
            if not 0 < temperature < inf:
                raise ValueError(f"temperatures.{head or '(single)'} is not a positive number: {temperature!r}")
        if self.background and self.background not in self.heads.get("", ()):
            raise ValueError(f"background is {self.background!r}, which is none of its labels")
        if not 0 < self.segment_low_share <= 1:
            raise ValueError(f"segment_low_share is {self.segment_low_share!r}, and no share above 0")
        for name in ("thresholds", "segment_thresholds"):
            _check_thresholds(getattr(self, name), self.heads, name=name)

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Number of classes, or for named heads {name: number}."""
        return count_classes(self.heads)

    def require_thresholds(self) -> Thresholds:
        """The thresholds of its classes by head.

        Raises:
            UsageError: The model carries none.
        """
        return _there(self.thresholds, self.name)

    def require_segment_thresholds(self) -> Thresholds:
        """The thresholds of its classes in windows of long videos, by head; where it has none, those of its classes.

        Raises:
            UsageError: The model carries neither.
        """
        return self.segment_thresholds or self.require_thresholds()

    @property
    def low_share(self) -> float:
        """The share of its threshold that a segment holds: fitted with the thresholds of segments, or the usual one."""
        return self.segment_low_share if self.segment_thresholds else LOW_SHARE

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """The spec as JSON-ready values; `labels=False` gives the number of classes in their place."""
        values = super().to_dict(labels=labels)
        values["input"] = self.input.to_dict()
        if self.segment_low_share == LOW_SHARE:
            del values["segment_low_share"]
        for key in ("thresholds", "segment_thresholds"):
            if key in values:
                values[key] = {name: list(scores) for name, scores in values[key].items()}
        return values


@dataclass(frozen=True, kw_only=True)
class ProposalSpec(ModelFacts):
    """Everything but the weights that a network needs which proposes spans from another network's features.

    It takes no video and has no labels of its own: `features` stand in the place of an input, and `heads` are those of
    the classifier that names its proposals.
    """

    features: FeatureInput
    input: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protocol: None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for features that the network does not take."""
        super().__post_init__()
        if self.input:
            raise ValueError("it takes features, and has an input of frames")
        for key, value in (("in_channels", self.features.num_channels), ("num_bins", self.features.num_bins)):
            if self.arguments.get(key) != value:
                raise ValueError(f"arguments.{key} is {self.arguments.get(key)!r}, and its features have {value}")


@dataclass(frozen=True)
class FeatureSteps:
    """The features that a head takes: `num_channels` each, one every `stride_seconds`.

    `model` and `weights_sha256` are of the network that made them, `crops` how many of each frame stand beside each
    other, `snippet_seconds` how much of the video each is of; "" and 0 where nothing says so. `within_shots` says
    whether no snippet reaches across a cut, None where nothing says so.
    """

    num_channels: int
    stride_seconds: float
    model: str = ""
    weights_sha256: str = ""
    crops: int = 1
    snippet_seconds: float = 0.0
    within_shots: bool | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for numbers that no features can have."""
        if self.num_channels < 1 or not 0 < self.stride_seconds < inf or not 0 <= self.snippet_seconds < inf:
            raise ValueError("it has a number that is not positive")
        if self.crops not in (1, _MOST_CROPS):
            raise ValueError(f"it has {self.crops} crops")


@dataclass(frozen=True, kw_only=True)
class HeadSpec(ModelFacts):
    """Everything but the weights that a head needs, which finds segments in features over time.

    `steps` stand in the place of an input. `thresholds` are as those of a `ModelSpec`.
    """

    steps: FeatureSteps
    input: Mapping[str, Any] = field(default_factory=dict)
    protocol: None = None
    thresholds: Thresholds = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ValueError` for features that the network does not take, and thresholds that do not fit the heads."""
        super().__post_init__()
        if self.input:
            raise ValueError("it takes features, and has an input of frames")
        if self.arguments.get("in_channels") != self.steps.num_channels:
            found = self.arguments.get("in_channels")
            raise ValueError(f"arguments.in_channels is {found!r}, and its features have {self.steps.num_channels}")
        _check_thresholds(self.thresholds, self.heads)

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Number of classes, or for named heads {name: number}."""
        return count_classes(self.heads)

    def require_thresholds(self) -> Thresholds:
        """The thresholds of its classes by head. Raises `UsageError` as that of a `ModelSpec` does."""
        return _there(self.thresholds, self.name)

    def to_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """The spec as JSON-ready values; `labels=False` gives the number of classes in their place."""
        values = super().to_dict(labels=labels)
        if self.steps.within_shots is None:  # as in files of earlier versions
            del values["steps"]["within_shots"]
        if self.thresholds:
            values["thresholds"] = {name: list(scores) for name, scores in self.thresholds.items()}
        return values


AnySpec = ModelSpec | ProposalSpec | HeadSpec


def _check_thresholds(
    thresholds: Thresholds, heads: Mapping[str, tuple[str, ...]], *, name: str = "thresholds"
) -> None:
    """Raises `ValueError` for thresholds that do not fit the heads; `name` is what the error calls them."""
    if thresholds and set(thresholds) != set(heads):
        raise ValueError(f"{name} need to be there for every head or for none, got {', '.join(thresholds)!r}")
    for head, scores in thresholds.items():
        key, size = f"{name}.{head or '(single)'}", len(heads[head])
        if len(scores) != size:
            raise ValueError(f"{key} needs one number for each of {size} classes")
        if bad := [score for score in scores if not 0 <= score <= 1]:
            raise ValueError(f"{key} holds {bad[0]!r}, which is not between 0 and 1")


def _there(thresholds: Thresholds, name: str) -> Thresholds:
    if not thresholds:
        raise UsageError(
            f'{name} carries no thresholds of its own for "auto"',
            hint="give a number such as 0.4; tada finetune fits thresholds on its validation videos",
        )
    return thresholds


def spec_from_dict(values: Mapping[str, Any]) -> ModelSpec:
    """The spec that `ModelSpec.to_dict()` wrote.

    Raises:
        SpecError: A key is missing, unknown or has a wrong value; the message names the model and the key.
    """
    name = _name_in(values)
    spec = decode_table(ModelSpec, values, where=name)
    require_labels(name, spec.heads)
    return spec


def any_spec_from_dict(values: Mapping[str, Any]) -> AnySpec:
    """The spec that the `to_dict()` of any kind wrote. Raises `SpecError` as `spec_from_dict` does."""
    if "features" in values:
        return decode_table(ProposalSpec, values, where=_name_in(values))
    if "steps" in values:
        head = decode_table(HeadSpec, values, where=_name_in(values))
        require_labels(head.name, head.heads)
        return head
    return spec_from_dict(values)


def _name_in(values: Mapping[str, Any]) -> str:
    return str(values.get("name") or "a model specification")


def require_labels(name: str, heads: Mapping[str, tuple[str, ...]]) -> None:
    """Raises `SpecError` where a model has no head, or one of its heads no labels."""
    if empty := [head or "(single)" for head, labels in heads.items() if not labels]:
        raise SpecError(f"{name}: heads.{empty[0]} has no list of label names")
    if not heads:
        raise SpecError(f"{name}: heads needs one unnamed head or only named ones")


@cache
def label_list(name: str) -> tuple[str, ...]:
    """Class names that ship with the package, in index order, for example those of `kinetics400`.

    Raises:
        SpecError: There is no such list.
    """
    from importlib import resources  # slow to load, and most commands need no list

    if not name.replace("_", "").isalnum():  # as a path it could lead elsewhere
        raise SpecError(f"there is no label list {name!r}")
    file = resources.files("tadacli").joinpath("zoo", "labels", f"{name}.json")
    if not file.is_file():
        raise SpecError(f"there is no label list {name!r}")
    return decode_table(tuple[str, ...], parse_json(file.read_bytes()), where=f"the label list {name}")


def count_classes(heads: Mapping[str, tuple[str, ...]]) -> int | dict[str, int]:
    """Number of classes, or for named heads {name: number}."""
    if tuple(heads) == ("",):
        return len(heads[""])
    return {name: len(labels) for name, labels in heads.items()}


def numbered_labels(num_classes: int) -> tuple[str, ...]:
    """Labels for classes whose names nobody knows: "class 0" and so on."""
    return tuple(f"class {index}" for index in range(num_classes))
