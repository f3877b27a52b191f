"""Models as the hub keeps them: weights with a `configuration.json` beside them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tadacli.errors import CheckpointError
from tadacli.zoo.checkpoints import Checkpoint, read_checkpoint
from tadacli.zoo.stated import CONFIGURATION, HUB_WEIGHTS, settings_of_configuration


def is_hub_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder with the files of a model of the hub, or at least its configuration."""
    return (Path(path) / CONFIGURATION).is_file()


def hub_files(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """(weights, configuration) of a model of the hub that was downloaded by hand.

    Args:
        path: The folder of both, or the weights, beside which the configuration lies.

    Raises:
        CheckpointError: One of them is not there.
    """
    weights = Path(path) / HUB_WEIGHTS if Path(path).is_dir() else Path(path)
    configuration = weights.with_name(CONFIGURATION)
    for file in (weights, configuration):
        if not file.is_file():
            raise CheckpointError(
                f"there is no {file}",
                hint=f"a model of the hub is two files in one folder: {HUB_WEIGHTS}, {CONFIGURATION}",
            )
    return weights, configuration


def read_described(path: str | os.PathLike[str], *, of_hub: bool = False) -> Checkpoint:
    """The weights in a file, with what the file, or the configuration beside it, states of itself.

    Args:
        path: The file; or the folder of a model of the hub.
        of_hub: Whether the weights need a configuration beside them.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    if not is_hub_folder(path) and (not of_hub or Path(path).suffix == ".safetensors"):
        return read_checkpoint(path)
    weights, configuration = hub_files(path)
    stated = settings_of_configuration(configuration)  # the smaller one first
    return replace(read_checkpoint(weights), stated=stated)
