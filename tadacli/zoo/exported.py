"""Models in exported files, which another runtime computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tadacli.errors import SpecError, UsageError
from tadacli.specs import ModelSpec
from tadacli.zoo.loaded import Model


def exported_model(
    file: Path, device: torch.device, *, may_choose: bool, dtype: str = "float32", labels: Sequence[str] = ()
) -> Model:
    """The model in a file of `tada export`, which computes in the type that it was made with.

    Args:
        file: Its path, ending in .onnx or .pt2.
        device: Where it is to run.
        may_choose: Whether the CPU is taken where its runtime cannot use the device.
        dtype: The type that was asked for: no other than the file's own.
        labels: Names for its classes: none, since they have names.

    Returns:
        The model.

    Raises:
        CheckpointError: There is no such file, it is of another tool or of a newer version, or it is damaged.
        SpecError: It takes features, not video.
        UsageError: The runtime is not installed or cannot use the device, or another type or names were asked for.
    """
    if dtype not in ("auto", "float32") or labels:
        what = "--labels" if labels else f"--dtype {dtype}"
        raise UsageError(f"{file} is an exported file and takes no {what}", hint="export the model with it instead")
    from tadacli.runtimes.networks import open_exported  # other models do not wait for it

    found = open_exported(file, device, may_choose=may_choose)
    if not isinstance(found.facts.spec, ModelSpec):
        raise SpecError(
            f"{file} takes features, not video", hint="exported heads are for other programs; tada detect takes the run"
        )
    return Model(
        spec=found.facts.spec,
        network=found.network,
        device=found.device,
        dtype=torch.float32,
        weights_path=file,
        weights_sha256=found.facts.weights_sha256,
        notes=found.notes,
        runtime=found.runtime,
    )
