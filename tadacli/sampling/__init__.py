"""Which frames a model looks at: the clips of a video, the windows of a timeline.

Here: the arithmetic of the published samplers (`clips`), the frames of a part of a video and its clips (`plan`), the
windows of its timeline (`windows`) and how they are asked for (`settings`). Not here: reading frames (`video`), and
scoring them (`scoring`, `detection`).
"""

from __future__ import annotations

from typing import Literal

from tadacli.sampling.clips import clip_indices

__all__ = ["clip_indices"]

# What commands offer, where asking for it loads nothing.
DEFAULT_WINDOW = "2s"
WindowSampling = Literal["stretch", "native"]
