"""The golden cases of the shared folder: weights and inputs rebuilt by their recipe, reference outputs."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tests.media import shared_folder

RELATIVE_TOLERANCE = 1e-5  # of features, logits, outputs and gradients, by norm
GRADIENT_OF_NOTHING = 1e-4  # absolute, for a gradient that is zero up to rounding
PREPROCESS_TOLERANCE = 1e-5  # absolute


def folder() -> Path:
    """The folder of golden models; skips the test where there is none."""
    return shared_folder() / "golden_models"


@cache
def load(name: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The description and the reference arrays of NAME."""
    case = json.loads((folder() / f"{name}.json").read_text())
    with np.load(folder() / f"{name}.npz") as arrays:
        return case, dict(arrays)


@cache
def _recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_recipe", folder() / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(state_dict: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """The state dict of a case."""
    return {name: torch.tensor(array) for name, array in _recipe().weights(state_dict, seed).items()}


def inputs(shape: Any, seed: int) -> torch.Tensor:
    """The standard-normal input of a case."""
    return torch.tensor(_recipe().inputs(tuple(shape), seed))


def assert_close(actual: torch.Tensor, reference: np.ndarray, what: str) -> None:
    """Agreement within the stated relative tolerance of norms."""
    values = actual.detach().numpy()
    assert values.shape == reference.shape, what
    difference = np.linalg.norm(values - reference) / max(float(np.linalg.norm(reference)), 1e-30)
    assert difference <= RELATIVE_TOLERANCE, f"{what}: relative difference {difference:.1e}"
