"""Which windows of a timeline a person asks for: lengths, strides and times in their words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from tadacli.errors import UsageError
from tadacli.sampling import DEFAULT_WINDOW, WindowSampling
from tadacli.video.frame_names import checked_rate

if TYPE_CHECKING:
    from tadacli.results import RunSettings
    from tadacli.sampling.plan import Part
    from tadacli.specs import InputSpec
    from tadacli.video.source import Seconds

# One clip at a time has the same arithmetic wherever it is scored, and takes least memory; a GPU wants more.
DEFAULT_BATCH_SIZE, DEFAULT_GPU_BATCH_SIZE = 1, 8
_LEAST_ADAPTIVE, _MOST_ADAPTIVE = 3, 64  # of fewer all would be scored; more are in memory at once


# Where shots begin: times in seconds, or "auto" for what is found in the frames.
Cuts: TypeAlias = Literal["auto"] | tuple[float, ...]


@dataclass(frozen=True)
class Length:
    """A length of time as a person gives it: in seconds, or in frames of the video."""

    value: float
    unit: Literal["seconds", "frames"] = "seconds"

    def seconds(self, fps: float) -> float:
        """The length in seconds, for a video of `fps` frames a second on average."""
        return self.value if self.unit == "seconds" else self.value / fps

    def __str__(self) -> str:
        return f"{self.value:g}{'s' if self.unit == 'seconds' else 'f'}"


def parse_length(text: str) -> Length:
    """The length of "2s", "500ms", "2m", "1m30s", "64f" or a number of seconds. Raises `UsageError` for others."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(s|ms|f|)", text.strip())
    value = float(found[1]) if found else _in_units(text)
    if value <= 0 or (found and found[2] == "f" and value != int(value)):
        raise UsageError(
            f"{text!r} is no length of time above zero", hint="give seconds, minutes or frames: 2s, 500ms, 1m30s, 64f"
        )
    if found and found[2] == "f":
        return Length(value, "frames")
    return Length(value / 1000 if found and found[2] == "ms" else value)


def parse_time(text: str) -> float:
    """Seconds of "90", "90s", "1:30", "00:01:30.5", "2m" or "1h2m3s". Raises `UsageError` for others."""
    if in_units := _in_units(text):
        return in_units
    found = re.fullmatch(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?)s?", text.strip())
    if not found or (found[2] is not None and float(found[3]) >= 60):
        raise UsageError(f"{text!r} is no time", hint="give seconds or a clock: 90, 90.5s, 1m30s, 1:30, 00:01:30.5")
    return 3600 * int(found[1] or 0) + 60 * int(found[2] or 0) + float(found[3])


def _in_units(text: str) -> float:
    """Seconds of hours, minutes and seconds such as "1h2m3s", "2m" or "1.5h"; 0 for anything else."""
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    found = re.fullmatch(rf"(?:{number}h)?(?:{number}m(?:in)?)?(?:{number}s)?", text.strip())
    hours, minutes, seconds = (float(each or 0) for each in (found.groups() if found else (0, 0, 0)))
    return 3600 * hours + 60 * minutes + seconds


@dataclass(frozen=True)
class WindowSettings:
    """Which windows are scored, and how: a length and a stride for each scale, and the part of the video.

    `sampling` None is the model's own way; `batch_size` None are as many clips as suit the device. Times are
    presentation times in seconds. `fps` is the rate of folders and tars of frames; None is what their name says, or 30.
    No window reaches across one of the `cuts`. `listed` is as of a `Part`. With an `adaptive_stride` of N only the
    first and the last of N windows are scored where these agree, see `detection.adaptive`; 1 is every window.
    """

    lengths: tuple[Length, ...]
    strides: tuple[Length, ...]
    sampling: WindowSampling | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    batch_size: int | None = None
    fps: float | None = None
    cuts: Cuts = ()
    listed: bool = False
    adaptive_stride: int = 1

    @property
    def part(self) -> Part:
        """What of a video the windows are laid over."""
        from tadacli.sampling.plan import Part  # with the libraries for videos, which settings alone do not need

        return Part(self.start_seconds, self.end_seconds, listed=self.listed)

    def for_video(self, video: str) -> WindowSettings:
        """The settings for one video: over the part that a list names. Raises `VideoError` for one that cannot be."""
        from tadacli.sampling.plan import Part, part_of

        part = part_of(video, self.part) or Part()
        return replace(self, start_seconds=part.start_seconds, end_seconds=part.end_seconds, listed=part.listed)

    def sampling_for(self, spec: InputSpec) -> WindowSampling:
        """The sampling asked for, or the one that suits the model's own."""
        return self.sampling or natural_sampling(spec)

    def laid(
        self,
        start: float,
        end: float,
        *,
        cuts: Sequence[float],
        fps: float,
        spec: InputSpec,  # noqa: ARG002 - as others need it
    ) -> list[tuple[float, Seconds]]:
        """For each scale the length of a window and all spans over [start, end), of a video of `fps` frames a second.

        They begin anew at each of the `cuts`. Raises `UsageError` for lengths that cannot be laid out.
        """
        import numpy as np

        from tadacli.sampling.spans import window_spans  # with numpy, which settings alone do not need

        scales = [
            (length.seconds(fps), stride.seconds(fps))
            for length, stride in zip(self.lengths, self.strides, strict=True)
        ]
        shots = list(pairwise([start, *cuts, end]))
        return [
            (
                length,
                np.concatenate([window_spans(*shot, window_seconds=length, stride_seconds=stride) for shot in shots]),
            )
            for length, stride in scales
        ]

    def batch_size_on(self, device_type: str) -> int:
        """The batch size asked for, or the one that suits this type of device."""
        return self.batch_size or default_batch_size(device_type)

    def to_dict(self, spec: InputSpec, device_type: str) -> RunSettings:
        """The settings as JSON-ready values, with nothing left open."""
        settings: RunSettings = {
            "window": ",".join(map(str, self.lengths)),
            "stride": ",".join(map(str, self.strides)),
            "sampling": self.sampling_for(spec),
            "start_seconds": self.start_seconds,
            "end_seconds": self.end_seconds,
            "batch_size": self.batch_size_on(device_type),
        }
        if self.fps is not None:
            settings["fps"] = self.fps
        if self.cuts:
            settings["cuts"] = self.cuts if self.cuts == "auto" else list(self.cuts)
        if self.adaptive_stride > 1:
            settings["adaptive_stride"] = self.adaptive_stride
        return settings


def natural_sampling(spec: InputSpec) -> WindowSampling:
    """The way of taking clips from a window that suits a model."""
    return "stretch" if spec.sampling == "segment" else "native"


def default_batch_size(device_type: str) -> int:
    """Clips of windows that are scored at once unless it is said otherwise, by the type of device."""
    return DEFAULT_BATCH_SIZE if device_type == "cpu" else DEFAULT_GPU_BATCH_SIZE


def window_settings(
    *,
    window: str = DEFAULT_WINDOW,
    stride: str | None = None,
    sampling: WindowSampling | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    allow_gaps: bool = False,
    batch_size: int | None = None,
    fps: float | None = None,
    cuts: Cuts = (),
    adaptive_stride: int = 1,
) -> WindowSettings:
    """The settings that a person's words mean.

    Args:
        window: A length such as "2s", "2m" or "64f", or several with commas between.
        stride: A length for all windows, or one for each; by default half of each window.
        sampling: "stretch" or "native"; by default the way that suits the model's own.
        start_seconds: Start of the part of the video to cover; by default its own.
        end_seconds: End of that part; by default the video's own.
        allow_gaps: Allow strides longer than their window.
        batch_size: How many clips are scored at once.
        fps: Frames a second of folders and tars of frames; by default what their name says, or else 30.
        cuts: Where shots begin, in presentation seconds, or "auto" (see `detection.cuts`); by default nowhere.
        adaptive_stride: Score the first and the last of so many windows, and those between only where these differ;
            by default every window.

    Returns:
        The settings, a length and a stride for each window.

    Raises:
        UsageError: A length cannot be read, or the settings contradict each other.
    """
    lengths = tuple(parse_length(text) for text in window.split(","))
    strides = tuple(Length(length.value / 2, length.unit) for length in lengths)
    if stride is not None:
        strides = tuple(parse_length(text) for text in stride.split(","))
        strides = strides * len(lengths) if len(strides) == 1 else strides
    if len(strides) != len(lengths):
        raise UsageError(
            f"{len(strides)} strides do not fit {len(lengths)} windows", hint="give one stride, or one for each window"
        )
    if len(set(lengths)) < len(lengths):
        raise UsageError(f"--window {window} names a length twice")
    if start_seconds is not None and end_seconds is not None and start_seconds >= end_seconds:
        raise UsageError(f"the range from {start_seconds:g} s to {end_seconds:g} s is empty or reversed")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"a batch of {batch_size} views is not possible", hint="use --batch-size 1 or more")
    if fps is not None:
        checked_rate(fps)
    for length, step in zip(lengths, strides, strict=True):
        if length.unit == step.unit and step.value > length.value and not allow_gaps:
            raise UsageError(
                f"a stride of {step} leaves out what lies between windows of {length}",
                hint="use a stride up to the window, or --allow-gaps",
            )
    if adaptive_stride != 1 and not _LEAST_ADAPTIVE <= adaptive_stride <= _MOST_ADAPTIVE:
        raise UsageError(
            f"an adaptive stride of {adaptive_stride} is not possible",
            hint=f"give a number of windows from {_LEAST_ADAPTIVE} to {_MOST_ADAPTIVE}, for example 8",
        )
    if adaptive_stride != 1 and len(lengths) > 1:
        raise UsageError("an adaptive stride goes with one length of windows", hint=f"give one: --window {lengths[0]}")
    return WindowSettings(
        lengths,
        strides,
        sampling,
        start_seconds,
        end_seconds,
        batch_size,
        fps,
        cuts,
        adaptive_stride=adaptive_stride,
    )
