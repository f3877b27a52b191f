"""How a head is trained: its size, its noise, and the optimiser; defaults for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from tadacli.errors import UsageError
from tadacli.evaluation.detection_metrics import EPIC_TIOU
from tadacli.strict_tables import decode_table
from tadacli.training import HeadKind
from tadacli.training.settings import Optimisation

_WHERE = "settings of the head"


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """The settings of a training.

    `arguments` are those of the network's class. `members` is how many heads are trained side by side and averaged.
    `most_steps` is the longest window that is trained on, but for "bmn", whose network has windows of one length;
    `tiou` are the thresholds whose mean mAP on the validation videos says which epoch is the best.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    kind: HeadKind
    epochs: int
    batch_size: int
    members: int = 1
    seed: int = 0
    most_steps: int = 2304
    evaluate_every_epochs: int = 5
    tiou: tuple[float, ...] = EPIC_TIOU
    arguments: Mapping[str, Any] = field(default_factory=dict)
    optimisation: Optimisation

    @property
    def architecture(self) -> str:
        """The name of the network."""
        return "bmn_head" if self.kind == "bmn" else self.kind

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "members", "most_steps", "evaluate_every_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected 1 or more")
        if not self.tiou or not all(0 < each <= 1 for each in self.tiou):
            raise ValueError(f"tiou is {self.tiou!r}, expected fractions above 0")
        warmup = self.optimisation.warmup_epochs
        if not warmup < self.epochs:
            raise ValueError(
                f"warmup_epochs is {warmup:g}, expected less than the {self.epochs:g} epochs of the run "
                "(0 is no warm-up)"
            )


def _optimisation(learning_rate: float, *, ema_decay: float) -> Optimisation:
    return Optimisation(
        optimizer="adamw",
        learning_rate=learning_rate,
        weight_decay=0.05,
        schedule="cosine_after_warmup",
        warmup_epochs=5,
        max_grad_norm=1.0,
        ema_decay=ema_decay,
    )


_DEFAULTS: Mapping[HeadKind, HeadSettings] = {
    "temporal": HeadSettings(
        kind="temporal", epochs=100, batch_size=2, members=3, optimisation=_optimisation(2e-3, ema_decay=0.99)
    ),
    "pyramid": HeadSettings(
        kind="pyramid",
        epochs=60,
        batch_size=2,
        members=3,
        arguments={"width": 128, "noise": 0.2, "dropout": 0.1},
        optimisation=_optimisation(1e-3, ema_decay=0.999),
    ),
    # As published but for the number of epochs and the batch, which are for many more videos: 10, and 16.
    "bmn": HeadSettings(
        kind="bmn",
        epochs=40,
        batch_size=4,
        optimisation=Optimisation(
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=1e-4,
            schedule="cosine",
            warmup_epochs=1,
            warmup_start_rate=1e-5,
        ),
    ),
}


def head_settings(kind: HeadKind, changes: Mapping[str, Any] | None = None) -> HeadSettings:
    """The settings of a kind of head, with some of them replaced.

    Args:
        kind: "temporal", "pyramid" or "bmn".
        changes: By key: those of `HeadSettings` and of its optimisation, and arguments of the network.

    Raises:
        UsageError: A value is not sound.
    """
    settings = _DEFAULTS[kind]
    own = {each.name for each in fields(HeadSettings)} - {"arguments", "optimisation", "kind"}
    rates = {each.name for each in fields(Optimisation)}
    given = dict(changes or {})
    optimisation = asdict(settings.optimisation) | {key: given[key] for key in given if key in rates}
    arguments = {key: value for key, value in given.items() if key not in own and key not in rates}
    table = {each.name: getattr(settings, each.name) for each in fields(HeadSettings)}
    table |= {key: given[key] for key in given if key in own}
    table |= {"optimisation": optimisation, "arguments": {**settings.arguments, **arguments}}
    refused = partial(UsageError, hint="see docs/finetune.md")
    decode_table(Optimisation, optimisation, where=_WHERE, error=refused)  # by itself, so that errors name flat keys
    return decode_table(HeadSettings, table, where=_WHERE, error=refused)
