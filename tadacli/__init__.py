"""Find out what happens in a video, and when.

The public functions are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tadacli.errors import CheckpointError, OutputError, SpecError, TadaError, UsageError, VideoError
from tadacli.version import __version__

if TYPE_CHECKING:
    from tadacli import models as models
    from tadacli import sampling as sampling
    from tadacli import transforms as transforms
    from tadacli import video as video
    from tadacli.classification import classify
    from tadacli.detection.detecting import detect
    from tadacli.detection.extraction import features
    from tadacli.evaluation.evaluating import evaluate
    from tadacli.training.session import finetune
    from tadacli.zoo.loading import Model, load_model

__all__ = [
    "CheckpointError",
    "Model",
    "OutputError",
    "SpecError",
    "TadaError",
    "UsageError",
    "VideoError",
    "__version__",
    "classify",
    "detect",
    "evaluate",
    "features",
    "finetune",
    "load_model",
]

# The module of each public name. None of them is called like a function, so that importing one hides none.
_HOME = {
    "classify": "classification",
    "detect": "detection.detecting",
    "evaluate": "evaluation.evaluating",
    "features": "detection.extraction",
    "finetune": "training.session",
    "load_model": "zoo.loading",
    "Model": "zoo.loading",
}
_SUBMODULES = ("models", "sampling", "transforms", "video")


if not TYPE_CHECKING:  # to a type checker a name that is not there is an error

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _SUBMODULES:
            return import_module(f"tadacli.{name}")
        if name in _HOME:
            return getattr(import_module(f"tadacli.{_HOME[name]}"), name)
        raise AttributeError(f"module 'tadacli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
