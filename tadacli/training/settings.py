"""The settings of a training run, each declared once: its type, its default, and which values are sound.

What reads these from a file or a command line is in `recipes`. Nothing heavy is loaded here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any, Literal

from tadacli.errors import UsageError
from tadacli.specs import InputSpec
from tadacli.zoo import DtypeName

Freeze = Literal["nothing", "trunk"]
MAX_MAGNITUDE = 10  # of RandAugment


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Optimiser, learning rate over the run, and how the parts of a network deviate from it.

    SGD has Nesterov momentum if `momentum` is not 0; AdamW does not use it. `warmup_epochs` lead from
    `warmup_start_rate` to the schedule (see `learning_rate_at`). The rate factors multiply the rate of the routing
    functions and of the head; those of their biases are the same where they are None. `layer_decay` slows the layers
    down with their distance from the head (see `parameter_groups`). `max_grad_norm` 0 turns the clipping of gradients
    off, `ema_decay` 0 the average of weights.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float
    schedule: Literal["cosine", "cosine_after_warmup", "constant"]
    warmup_epochs: float = 0.0
    warmup_start_rate: float = 0.0
    final_rate: float = 0.0
    route_rate_factor: float = 1.0
    route_bias_rate_factor: float | None = None
    head_rate_factor: float = 1.0
    head_bias_rate_factor: float | None = None
    layer_decay: float = 1.0
    max_grad_norm: float = 0.0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, ["learning_rate"], lambda value: 0 < value < math.inf, "a number above 0")
        up_to = f"0 to the learning rate, {self.learning_rate:g}"
        _check(self, ["warmup_start_rate", "final_rate"], lambda value: 0 <= value <= self.learning_rate, up_to)
        not_negative = ["weight_decay", "warmup_epochs", "max_grad_norm"]
        _check(self, not_negative, lambda value: 0 <= value < math.inf, "0 or a number above it")
        _check(self, ["momentum", "ema_decay"], lambda value: 0 <= value < 1, "0 or more, and below 1")
        factors = ["route_rate_factor", "route_bias_rate_factor", "head_rate_factor", "head_bias_rate_factor"]
        _check(self, factors, lambda value: value is None or 0 < value < math.inf, "a number above 0")
        _check(self, ["layer_decay"], lambda value: 0 < value <= 1, "above 0, and 1 or less")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a clip on its way to the network; the defaults are short-side jitter and plain flips.

    `crop` "jitter" resizes the short side to a random length between `short_sides` (in pixels, both included) and
    takes a random square of `crop_size` pixels; "resized" takes a random part of the frame, `crop_areas` of its area
    and `crop_ratios` wide for its height, and makes it that square. `crop_size` 0 and `short_sides` (0, 0) leave the
    sizes to the model (see `for_input`). `flip` "plain" mirrors every other clip, "labels" does too and exchanges the
    class names of `flip_pairs`, which are only given then.

    `randaugment_magnitude` and `randaugment_std` count from 0 to 10: what published settings call
    rand-m9-n4-mstd0.5 is magnitude 9, 4 operations, deviation 0.5. `grayscale` and `erasing` are probabilities;
    `colour_jitter` is how far brightness, contrast and saturation move from 1, each. `mixup` and `cutmix` are
    parameters of Beta distributions. 0 turns each of them off.

    Raises:
        ValueError: A value is out of range, or two contradict each other; the message names them.
    """

    crop_size: int = 0
    crop: Literal["jitter", "resized"] = "jitter"
    short_sides: tuple[int, int] = (0, 0)
    crop_areas: tuple[float, float] = (0.08, 1.0)
    crop_ratios: tuple[float, float] = (0.75, 1.3333)
    flip: Literal["none", "plain", "labels"] = "plain"
    flip_pairs: tuple[tuple[str, str], ...] = ()
    randaugment_ops: int = 0
    randaugment_magnitude: float = 9.0
    randaugment_std: float = 0.5
    grayscale: float = 0.0
    colour_jitter: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        _check(self, ["crop_size"], lambda value: 0 <= value < 2**31, "0 or more, and below 2^31")
        _check(self, ["grayscale", "colour_jitter", "erasing"], lambda value: 0 <= value <= 1, "0 to 1")
        _check(self, ["randaugment_ops"], lambda value: value >= 0, "0 or more")
        _check(
            self, ["randaugment_magnitude"], lambda value: 0 <= value <= MAX_MAGNITUDE, f"a number to {MAX_MAGNITUDE}"
        )
        not_negative = ["randaugment_std", "mixup", "cutmix"]
        _check(self, not_negative, lambda value: 0 <= value < math.inf, "0, which turns it off, or a number above it")
        _check(self, ["crop_areas"], lambda value: 0 < value[0] <= value[1] <= 1, "a range above 0 and up to 1")
        _check(self, ["crop_ratios"], lambda value: 0 < value[0] <= value[1] < math.inf, "a range above 0")
        if any(self.short_sides):
            _check(self, ["short_sides"], lambda value: 1 <= value[0] <= value[1], "the smaller one first, from 1 on")
            if self.crop == "jitter" and self.crop_size > self.short_sides[0]:
                raise ValueError(
                    f"a crop of {self.crop_size} does not fit into a short side of {self.short_sides[0]}: make "
                    "crop_size smaller, or short_sides longer"
                )
        if (self.flip == "labels") != bool(self.flip_pairs):
            raise ValueError(
                f'flip {self.flip!r} with {len(self.flip_pairs)} pairs of labels: "labels" needs the flip_pairs that '
                "it exchanges, and other flips have none"
            )
        names = list(chain.from_iterable(self.flip_pairs))
        if len(set(names)) < len(names):
            twice = next(name for name in sorted(names) if names.count(name) > 1)
            raise ValueError(f"flip_pairs name {twice!r} twice: a label can be exchanged with one other")

    @property
    def mixes(self) -> bool:
        """Whether a clip is mixed with another one."""
        return self.mixup > 0 or self.cutmix > 0

    def for_input(self, model_input: InputSpec) -> Augmentation:
        """The settings with the sizes they leave to the model: its crop, and short sides from its own to 1.25 of it.

        Where they have a crop size of their own, the short sides keep the model's relation to its crop.

        Raises:
            UsageError: The model's crop does not fit into the short sides.
        """
        crop_size = self.crop_size or model_input.crop_size
        shortest = max(crop_size, round(model_input.short_side * crop_size / model_input.crop_size))
        short_sides = self.short_sides if any(self.short_sides) else (shortest, round(1.25 * shortest))
        try:
            return replace(self, crop_size=crop_size, short_sides=short_sides)
        except ValueError as error:
            raise UsageError(f"with clips of this model: {error}", hint="set crop_size or short_sides") from error


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training run. In files and on the command line they are one flat table.

    `batch_size` counts the clips of one optimiser step over all processes; they are taken in `accumulate` parts, each
    shared out to the processes. With `balance` every class is drawn equally often, so that an epoch has the rare ones
    several times. `dropout` and `drop_path` are the network's own where they are None. `early_stop`
    counts evaluations without a better one (0: never). `source` says where the settings were published, `note` what
    is not known or not followed.

    Raises:
        ValueError: A value is out of range, or two contradict each other; the message names them.
    """

    source: str = ""
    note: str = ""

    epochs: float
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    precision: DtypeName = "float32"
    checkpoint_activations: bool = False
    balance: bool = False
    freeze: Freeze = "nothing"
    freeze_norms: bool = False
    dropout: float | None = None
    drop_path: float | None = None
    label_smoothing: float = 0.0
    evaluate_every_epochs: float = 1.0
    early_stop: int = 0
    optimisation: Optimisation
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _check(self, ["epochs", "evaluate_every_epochs"], lambda value: 0 < value < math.inf, "a number above 0")
        _check(self, ["batch_size", "accumulate"], lambda value: value >= 1, "1 or more")
        _check(self, ["seed", "early_stop"], lambda value: 0 <= value < 2**31, "0 or more, and below 2^31")
        shares = ["label_smoothing", "dropout", "drop_path"]
        _check(self, shares, lambda value: value is None or 0 <= value < 1, "0 or more, and below 1")
        divisor = f"a divisor of the batch size, {self.batch_size}"
        _check(self, ["accumulate"], lambda value: self.batch_size % value == 0, divisor)
        less = f"less than the {self.epochs:g} epochs of the run (0 is no warm-up)"
        _check(self.optimisation, ["warmup_epochs"], lambda value: value < self.epochs, less)

    def flat(self) -> dict[str, Any]:
        """The settings by key, as files have them, in the order of the declarations."""
        table: dict[str, Any] = {}
        for key, value in asdict(self).items():
            table.update(value if isinstance(value, dict) else {key: value})
        return table

    def for_input(self, model_input: InputSpec) -> Recipe:
        """The recipe with the sizes that it leaves to the model. Raises as `Augmentation.for_input` does."""
        return replace(self, augmentation=self.augmentation.for_input(model_input))


def _check(settings: object, keys: Sequence[str], is_sound: Callable[[Any], bool], expected: str) -> None:
    """Raises ValueError with the key, its value and what was expected, for the first value that is not sound."""
    for key in keys:
        value = getattr(settings, key)
        if not is_sound(value):
            raise ValueError(f"{key} is {value!r}, expected {expected}")
