"""What is known of a run's folder, or of a weights file of our own, without loading the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from tadacli.errors import CheckpointError, SpecError
from tadacli.specs import AnySpec, HeadSpec
from tadacli.strict_tables import decode_table, parse_json, refusing
from tadacli.training.run_folder import RunFolder
from tadacli.zoo.checkpoints import spec_of
from tadacli.zoo.loading import MODEL_FILE, TRUNK_FILE
from tadacli.zoo.store import FileHash, hash_file

T = TypeVar("T")


@dataclass(frozen=True)
class Recognised:
    """How good a model was found to be at telling clips apart: `metrics` by name, in percent."""

    split: str
    unit: str
    num_scored: int
    num_items: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """How good a head was found to be at finding segments: mean average precision at each temporal IoU, as fractions.

    `mAP` is the key in the file of a run.
    """

    split: str
    num_videos: int
    num_segments: int
    tiou: tuple[float, ...]
    mAP: tuple[float, ...]  # noqa: N815


@dataclass(frozen=True)
class Facts:
    """What a run wrote of itself when it began: the version of tada, and the words of the command."""

    tada: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class RunSummary:
    """A model that was made here: its settings and weights file, and what its run left beside it.

    `path` is what was asked for: the folder of a run, or a weights file. `facts` are None for a file without a run,
    `report` is None where nothing was measured: then the run of a folder is not finished. `trunk` is the model beside
    a head that makes its features.
    """

    path: Path
    spec: AnySpec
    weights: Path
    original: FileHash
    facts: Facts | None = None
    report: Recognised | Found | None = None
    trunk: Path | None = None


def run_summary(path: str | os.PathLike[str]) -> RunSummary:
    """What is known of a run's folder or of a weights file.

    Args:
        path: The folder of a fine-tuning run, or a `.safetensors` file of our own.

    Returns:
        The summary. Only the settings of the weights file are read, and its bytes are hashed.

    Raises:
        SpecError: The folder holds no model yet.
        CheckpointError: The file is none of ours, or a file of the run is damaged.
    """
    asked = Path(path)
    weights = asked / MODEL_FILE if asked.is_dir() else asked
    folder = RunFolder(asked) if asked.is_dir() else None
    if not weights.is_file():
        hint = "give the folder of a run of tada finetune"
        if folder is not None and folder.facts.is_file():
            hint = "the run has not come to its first evaluation; tada finetune --resume goes on with it"
        raise SpecError(f"{path} has no {MODEL_FILE}", hint=hint)
    spec = spec_of(weights)
    if spec is None:
        raise CheckpointError(
            f"{weights} is no weights file of ours: it does not say what model it is for",
            hint="give a run's folder, or a .safetensors file that tada wrote",
        )
    original = hash_file(weights)
    if folder is None:
        return RunSummary(asked, spec, weights, original)
    trunk = asked / TRUNK_FILE
    return RunSummary(
        asked,
        spec,
        weights,
        original,
        facts=_read(folder.facts, Facts),
        report=_read(folder.report, Found) if isinstance(spec, HeadSpec) else _read(folder.report, Recognised),
        trunk=trunk if trunk.is_file() else None,
    )


def _read(file: Path, kind: type[T]) -> T | None:
    """The part of a JSON file that is of use here; None where there is no file."""
    if not file.is_file():
        return None
    with refusing(file, CheckpointError):
        table = parse_json(file.read_text(encoding="utf-8", errors="surrogateescape"))
        if not isinstance(table, dict):
            raise ValueError("it is no table")
        names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
        known: dict[str, Any] = {name: table[name] for name in names if name in table}
    return decode_table(kind, known, where=str(file), error=CheckpointError)
