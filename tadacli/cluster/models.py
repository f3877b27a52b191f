"""The model of a worker, on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tadacli.scoring.provenance import make_repeatable
from tadacli.zoo.loading import Model, load_model

if TYPE_CHECKING:
    from tadacli.cluster.work import ModelChoice, Seat


def loaded(choice: ModelChoice, seat: Seat) -> Model:
    """The model, in a process that is repeatable from now on. Raises `TadaError` if it cannot be loaded."""
    if seat.threads is not None:
        torch.set_num_threads(seat.threads)
    make_repeatable()
    return load_model(
        choice.name,
        weights=choice.weights,
        trust=choice.trust,
        labels=choice.labels,
        device=_device(seat),
        dtype=choice.dtype,
    )


def _device(seat: Seat) -> str:
    """The device of a worker: where any GPU will do and there are several, they share them."""
    if seat.device in ("auto", "gpu", "cuda") and torch.cuda.device_count() > 1:
        return f"cuda:{seat.number % torch.cuda.device_count()}"
    return seat.device
