"""Which frames a model looks at: the clips of a video, the windows of a timeline.

Here: the arithmetic of the published samplers (`clips`), the frames of a part of a video and its clips (`plan`), the
windows of its timeline (`windows`) and how they are asked for (`settings`). Not here: reading frames (`video`), and
scoring them (`scoring`, `detection`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tadacli.sampling.clips import clip_indices

__all__ = ["clip_indices"]


if not TYPE_CHECKING:  # to a type checker a name that is not there is an error

    def __getattr__(name: str) -> object:
        if name in __all__:
            return getattr(import_module("tadacli.sampling.clips"), name)
        raise AttributeError(f"module 'tadacli.sampling' has no attribute {name!r}")
