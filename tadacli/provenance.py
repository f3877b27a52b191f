"""What a result was made with, so that it can be trusted, repeated and resumed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import av
import torch

from tadacli.specs import EvalProtocol
from tadacli.version import __version__
from tadacli.zoo import Model


@dataclass(frozen=True)
class Run:
    """What results are a function of, besides the videos, as written beside them; `id` is a hash of it all.

    `spec` has the number of labels in place of the labels.
    """

    tool_version: str
    weights_sha256: str
    spec: dict[str, Any]
    settings: dict[str, Any]
    id: str


def describe_run(
    model: Model,
    *,
    views: EvalProtocol,
    topk: int,
    min_score: float,
    batch_size: int,
    seed: int,
) -> Run:
    """The run of a model with these settings. Two runs with the same id give the same bytes."""
    settings = {
        "views": str(views),
        "topk": topk,
        "min_score": min_score,
        "batch_size": batch_size,
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "seed": seed,
        "versions": {"torch": str(torch.__version__), "av": av.__version__},
    }
    everything = [__version__, model.weights_sha256, model.spec.to_dict(), settings]
    text = json.dumps(everything, sort_keys=True)
    return Run(
        tool_version=__version__,
        weights_sha256=model.weights_sha256,
        spec=model.spec.to_dict(labels=False),
        settings=settings,
        id=hashlib.sha256(text.encode()).hexdigest()[:12],
    )
