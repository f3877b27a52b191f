"""What a result was made with, so that it can be trusted, repeated and resumed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, cast

from tadacli.results import Run, RunSettings, SpecSummary
from tadacli.specs import AnySpec
from tadacli.version import __version__

if TYPE_CHECKING:
    from tadacli.zoo.loading import HeadModel, Model, ProposalModel


def describe_run(model: Model, settings: RunSettings) -> Run:
    """The run of a model with these settings. Two runs with the same id give the same bytes."""
    return run_of(
        model.spec,
        settings={**settings, **machine_settings(model)},
        weights_sha256=model.weights_sha256,
        tool_version=__version__,
    )


def machine_settings(model: Model | ProposalModel | HeadModel) -> RunSettings:
    """What the arithmetic is done with.

    Args:
        model: The model, on the device that computes.

    Returns:
        Device, dtype, the versions of the libraries, and on a CPU the number of threads if there are several: each
        adds up a part, so that the last digits of a sum depend on how many there are. Of an exported file also the
        runtime that computes it.
    """
    import av
    import torch  # neither is loaded to describe results that are there already

    settings: RunSettings = {
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {"torch": str(torch.__version__), "av": av.__version__},
    }
    if model.device.type == "cpu" and torch.get_num_threads() > 1:
        settings["threads"] = torch.get_num_threads()
    runtime = getattr(model, "runtime", None)
    if runtime is not None:
        settings["runtime"] = runtime.to_dict()
    return settings


def run_of(spec: AnySpec, *, settings: RunSettings, weights_sha256: str, tool_version: str) -> Run:
    """The run that these facts describe.

    Args:
        spec: Of the model.
        settings: What the results depend on besides.
        weights_sha256: The hash of the model's weights.
        tool_version: The version that makes the results.

    Returns:
        The run. What follows from `exclusive_labels` is among the settings of segments, where it is used: the id of
        other results does not depend on it.
    """
    facts = {key: value for key, value in spec.to_dict().items() if key != "exclusive_labels"}
    text = json.dumps([tool_version, weights_sha256, facts, settings], sort_keys=True)
    return Run(
        tool_version=tool_version,
        weights_sha256=weights_sha256,
        spec=cast(SpecSummary, spec.to_dict(labels=False)),
        settings=settings,
        id=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def make_repeatable() -> None:
    """No random numbers but seeded ones."""
    import torch

    torch.manual_seed(0)
