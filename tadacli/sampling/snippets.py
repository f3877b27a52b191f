"""Which snippets of a video features are made of, as a person asks for it.

Snippets stand for even steps of the timeline: the first centre is half a stride after the start of the video, and one
follows the other by a stride up to its end. Lengths in frames count at the model's own rate, not at the video's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tadacli.errors import UsageError
from tadacli.sampling import DEFAULT_WINDOW, WindowSampling
from tadacli.sampling.plan import Part, clip_seconds
from tadacli.sampling.settings import Cuts, Length, default_batch_size, natural_sampling, parse_length
from tadacli.sampling.spans import snippet_centres, snippet_spans
from tadacli.video.frame_names import checked_rate

if TYPE_CHECKING:
    from tadacli.results import RunSettings
    from tadacli.specs import InputSpec
    from tadacli.video.source import Seconds

# Unless it is said otherwise, so many snippets begin within one: 8 frames of 64, as published for EPIC-KITCHENS-100.
_STRIDES_PER_SNIPPET = 8


@dataclass(frozen=True)
class SnippetSettings:
    """Which snippets there are, and what is kept of each.

    Attributes:
        snippet: Length of a snippet; None is that of one clip of the model.
        stride: From one snippet to the next; None is an eighth of a snippet.
        first_centre_seconds: The centre of the first snippet, from the start of the video; None is half a stride.
        crops: 1 for the centre of the frames, 3 for crops along their longer side, whose features are put together.
        with_scores: Whether the scores of the classes are kept, too.
        batch_size: How many views go through the network at once; None are as many as suit the device.
        fps: The rate of folders and tars of frames; None is what their name says, or 30.
        cuts: Where shots begin, across which no snippet reaches (see `WindowSettings`).

    Raises:
        UsageError: For other crops, and for a batch without a view.
    """

    snippet: Length | None = None
    stride: Length | None = None
    first_centre_seconds: float | None = None
    crops: int = 1
    with_scores: bool = False
    batch_size: int | None = None
    fps: float | None = None
    cuts: Cuts = ()

    def __post_init__(self) -> None:
        if self.crops not in (1, 3):
            raise UsageError(f"{self.crops} crops are not defined", hint="use 1 or 3 crops")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"a batch of {self.batch_size} views is not possible", hint="use --batch-size 1 or more")
        if self.fps is not None:
            checked_rate(self.fps)

    @property
    def part(self) -> Part:
        """What of a video the snippets are laid over: all of it."""
        return Part()

    def sampling_for(self, spec: InputSpec) -> WindowSampling:
        """The way of taking clips from a snippet that suits the model's own."""
        return natural_sampling(spec)

    def snippet_seconds(self, spec: InputSpec) -> float:
        """Length of a snippet."""
        if self.snippet is not None:
            return self.snippet.seconds(spec.target_fps)
        return parse_length(DEFAULT_WINDOW).value if spec.sampling == "segment" else clip_seconds(spec)

    def stride_seconds(self, spec: InputSpec) -> float:
        """From one snippet to the next."""
        if self.stride is not None:
            return self.stride.seconds(spec.target_fps)
        return self.snippet_seconds(spec) / _STRIDES_PER_SNIPPET

    def first_centre(self, spec: InputSpec) -> float:
        """The centre of the first snippet, from the start of the video, in seconds."""
        return self.stride_seconds(spec) / 2 if self.first_centre_seconds is None else self.first_centre_seconds

    def centres(self, start: float, end: float, *, spec: InputSpec) -> Seconds:
        """The centres of all snippets over [start, end), (N,) in seconds. Raises `UsageError` for no stride."""
        stride, first = self.stride_seconds(spec), self.first_centre(spec)
        return snippet_centres(start, end, stride_seconds=stride, first_centre_seconds=first)

    def laid(
        self,
        start: float,
        end: float,
        *,
        cuts: Sequence[float],
        fps: float,  # noqa: ARG002 - as windows need it
        spec: InputSpec,
    ) -> list[tuple[float, Seconds]]:
        """The length of a snippet and the spans of all of them over [start, end), (N, 2) in seconds.

        Each lies in the shot that its centre is in: centres do not depend on cuts. Raises `UsageError` for lengths that
        cannot be laid out.
        """
        length, centres = self.snippet_seconds(spec), self.centres(start, end, spec=spec)
        edges = np.array([start, *cuts, end])
        shot = np.clip(np.searchsorted(edges, centres, side="right") - 1, 0, len(cuts))
        return [(length, snippet_spans(centres, edges[shot], edges[shot + 1], snippet_seconds=length))]

    def batch_size_on(self, device_type: str) -> int:
        """The batch size asked for, or the one that suits this type of device."""
        return self.batch_size or default_batch_size(device_type)

    def to_dict(self, spec: InputSpec, device_type: str) -> RunSettings:
        """The settings as JSON-ready values, with nothing left open."""
        settings: RunSettings = {
            "snippet_seconds": self.snippet_seconds(spec),
            "stride_seconds": self.stride_seconds(spec),
            "first_centre_seconds": self.first_centre(spec),
            "sampling": self.sampling_for(spec),
            "crops": self.crops,
            "with_scores": self.with_scores,
            "batch_size": self.batch_size_on(device_type),
        }
        if self.fps is not None:
            settings["fps"] = self.fps
        if self.cuts:
            settings["cuts"] = self.cuts if self.cuts == "auto" else list(self.cuts)
        return settings


def snippet_settings(
    *,
    snippet: str | None = None,
    stride: str | None = None,
    first_centre_seconds: float | None = None,
    crops: int = 1,
    with_scores: bool = False,
    batch_size: int | None = None,
    fps: float | None = None,
    cuts: Cuts = (),
) -> SnippetSettings:
    """The settings that a person's words mean.

    Args:
        snippet: A length such as "64f" or "2s"; by default that of one clip of the model.
        stride: A length such as "8f" or "500ms"; by default an eighth of the snippet.
        first_centre_seconds: The centre of the first snippet; by default half a stride.
        crops: 1 or 3.
        with_scores: Whether the scores of the classes are kept, too.
        batch_size: How many views go through the network at once.
        fps: Frames a second of folders and tars of frames; by default what their name says, or else 30.
        cuts: Where shots begin, in presentation seconds, or "auto" (see `detection.cuts`); by default nowhere.

    Returns:
        The settings.

    Raises:
        UsageError: A length cannot be read, or a value is out of range.
    """
    length, step = (None if text is None else parse_length(text) for text in (snippet, stride))
    return SnippetSettings(length, step, first_centre_seconds, crops, with_scores, batch_size, fps, cuts)
