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
    from tadacli.classification import classify, iter_classify
    from tadacli.detection.detecting import detect, iter_detect
    from tadacli.detection.extraction import features
    from tadacli.detection.settings import SegmentSettings
    from tadacli.detection.suggesting import suggest
    from tadacli.evaluation.evaluating import evaluate
    from tadacli.excerpts.cutting import clip
    from tadacli.exporting.writing import export
    from tadacli.results import (
        Classification,
        Classifications,
        Detection,
        Detections,
        Excerpt,
        Prediction,
        Progress,
        Segment,
    )
    from tadacli.sampling.plan import Part
    from tadacli.sampling.settings import WindowSettings, window_settings
    from tadacli.training.session import finetune
    from tadacli.zoo.loading import Model, load_model

__all__ = [
    "CheckpointError",
    "Classification",
    "Classifications",
    "Detection",
    "Detections",
    "Excerpt",
    "Model",
    "OutputError",
    "Part",
    "Prediction",
    "Progress",
    "Segment",
    "SegmentSettings",
    "SpecError",
    "TadaError",
    "UsageError",
    "VideoError",
    "WindowSettings",
    "__version__",
    "classify",
    "clip",
    "detect",
    "evaluate",
    "export",
    "features",
    "finetune",
    "iter_classify",
    "iter_detect",
    "load_model",
    "suggest",
    "window_settings",
]

# The module of each public name. None of them is called like a function, so that importing one hides none.
_HOME = {
    "Classification": "results",
    "Classifications": "results",
    "Detection": "results",
    "Detections": "results",
    "Excerpt": "results",
    "Model": "zoo.loading",
    "Part": "sampling.plan",
    "Prediction": "results",
    "Progress": "results",
    "Segment": "results",
    "SegmentSettings": "detection.settings",
    "WindowSettings": "sampling.settings",
    "classify": "classification",
    "clip": "excerpts.cutting",
    "detect": "detection.detecting",
    "evaluate": "evaluation.evaluating",
    "export": "exporting.writing",
    "features": "detection.extraction",
    "finetune": "training.session",
    "iter_classify": "classification",
    "iter_detect": "detection.detecting",
    "load_model": "zoo.loading",
    "suggest": "detection.suggesting",
    "window_settings": "sampling.settings",
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
