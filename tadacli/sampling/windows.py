"""Which windows of a video are scored, and which of its frames each of them needs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from tadacli.errors import UsageError, VideoError
from tadacli.results import VideoInfo, Window
from tadacli.sampling.clips import (
    Indices,
    Length,
    Seconds,
    WindowSampling,
    frames_on_screen,
    parse_length,
    window_clip_times,
    window_spans,
)
from tadacli.specs import InputSpec
from tadacli.video.source import VideoSource

DEFAULT_WINDOW = "2s"
# One clip at a time has the same arithmetic wherever it is scored, and takes least memory; a GPU wants more.
DEFAULT_BATCH_SIZE, DEFAULT_GPU_BATCH_SIZE = 1, 8


@dataclass(frozen=True)
class WindowSettings:
    """Which windows are scored, and how: a length and a stride for each scale, and the part of the video.

    `sampling` None is the model's own way. Times are presentation times in seconds.
    """

    lengths: tuple[Length, ...]
    strides: tuple[Length, ...]
    sampling: WindowSampling | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    batch_size: int = DEFAULT_BATCH_SIZE

    def sampling_for(self, spec: InputSpec) -> WindowSampling:
        """The sampling asked for, or the one that suits the model's own."""
        return self.sampling or ("stretch" if spec.sampling == "segment" else "native")

    def to_dict(self, spec: InputSpec) -> dict[str, Any]:
        """The settings as JSON-ready values, the sampling resolved."""
        return {
            "window": ",".join(map(str, self.lengths)),
            "stride": ",".join(map(str, self.strides)),
            "sampling": self.sampling_for(spec),
            "start_seconds": self.start_seconds,
            "end_seconds": self.end_seconds,
            "batch_size": self.batch_size,
        }


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
    batch_size: int = DEFAULT_BATCH_SIZE,
) -> WindowSettings:
    """The settings that a person's words mean; a stride that is not given is half of its window.

    `window` is a length such as "2s" or "64f", or several with commas between; `stride` one for all of them
    or one for each. Raises `UsageError` for what cannot be meant.
    """
    lengths = tuple(parse_length(part) for part in window.split(","))
    strides = tuple(Length(length.value / 2, length.unit) for length in lengths)
    if stride is not None:
        strides = tuple(parse_length(part) for part in stride.split(","))
        strides = strides * len(lengths) if len(strides) == 1 else strides
    if len(strides) != len(lengths):
        raise UsageError(
            f"{len(strides)} strides do not fit {len(lengths)} windows", hint="give one stride, or one for each window"
        )
    if len(set(lengths)) < len(lengths):
        raise UsageError(f"--window {window} names a length twice")
    if start_seconds is not None and end_seconds is not None and start_seconds >= end_seconds:
        raise UsageError(f"the range from {start_seconds:g} s to {end_seconds:g} s is empty or reversed")
    if batch_size < 1:
        raise UsageError(f"a batch of {batch_size} views is not possible", hint="use --batch-size 1 or more")
    for length, step in zip(lengths, strides, strict=True):
        if length.unit == step.unit and step.value > length.value and not allow_gaps:
            raise UsageError(
                f"a stride of {step} leaves out what lies between windows of {length}",
                hint="use a stride up to the window, or --allow-gaps",
            )
    return WindowSettings(lengths, strides, sampling, start_seconds, end_seconds, batch_size)


def part_of(info: VideoInfo, start_seconds: float | None, end_seconds: float | None) -> tuple[float, float]:
    """(start, end) of a part of a video, in presentation time; None is the video's own end.

    Raises `VideoError` if there is nothing between them.
    """
    video = info.start_seconds, info.start_seconds + info.duration_seconds
    start = max(video[0], video[0] if start_seconds is None else start_seconds)
    end = min(video[1], video[1] if end_seconds is None else end_seconds)
    if start >= end and (start, end) != video:
        raise VideoError(
            f"nothing of {info.path} lies between the times asked for: "
            f"it lasts from {video[0]:.2f} s to {video[1]:.2f} s",
            hint="times are presentation times of the video, in seconds",
        )
    return start, end


def times_shown(source: VideoSource) -> Seconds:
    """When each frame appears, in seconds; a frame whose time lies before an earlier one's appears with that one."""
    times = source.times
    return times if bool(np.all(times[1:] >= times[:-1])) else np.asarray(np.maximum.accumulate(times))


def window_clips(
    info: VideoInfo, times: Seconds, spec: InputSpec, *, sampling: WindowSampling, window: tuple[float, float]
) -> Indices:
    """(num_clips, clip_frames) numbers of the frames that a window's clips take; see `window_clip_times`."""
    wanted = window_clip_times(
        sampling,
        window,
        video=(info.start_seconds, info.start_seconds + info.duration_seconds),
        fps=float(info.fps),
        clip_frames=spec.clip_frames,
        frame_stride=spec.frame_stride,
        target_fps=spec.target_fps,
    )
    return frames_on_screen(times, wanted)


# --- the plan ---------------------------------------------------------------------------------------


class WindowPlan:
    """The windows of one video, in the order in which their last frames come, and the frames they need."""

    def __init__(self, source: VideoSource, spec: InputSpec, settings: WindowSettings) -> None:
        info = source.info
        self._info, self._spec, self._times = info, spec, times_shown(source)
        self._sampling = settings.sampling_for(spec)
        self._video = info.start_seconds, info.start_seconds + info.duration_seconds
        self.start, self.end = part_of(info, settings.start_seconds, settings.end_seconds)
        fps = float(info.fps)
        self._spans = [
            window_spans(self.start, self.end, window_seconds=length.seconds(fps), stride_seconds=stride.seconds(fps))
            for length, stride in zip(settings.lengths, settings.strides, strict=True)
        ]

    def __len__(self) -> int:
        return sum(len(spans) for spans in self._spans)

    def __iter__(self) -> Iterator[Window]:
        scales = [self._of_scale(scale, spans) for scale, spans in enumerate(self._spans)]
        return heapq.merge(*scales, key=lambda window: (max(clip[-1] for clip in window.clips), window.scale))

    def _of_scale(self, scale: int, spans: Seconds) -> Iterator[Window]:
        for start, end in spans.tolist():
            yield self._window(scale, start, end)

    def _window(self, scale: int, start: float, end: float) -> Window:
        frames = window_clips(self._info, self._times, self._spec, sampling=self._sampling, window=(start, end))
        first, last = int(frames.min()), int(frames.max())
        used = float(self._times[first]), self.end_of_frame(last)
        return Window(start, end, scale, tuple(tuple(clip) for clip in frames.tolist()), used)

    def rows(self) -> tuple[Seconds, Seconds, Indices]:
        """The spans of all windows and those of the frames they use, (W, 2) seconds each, and their scales (W,)."""
        rows = ((window.start_seconds, window.end_seconds, *window.used, window.scale) for window in self)
        table = np.fromiter(chain.from_iterable(rows), dtype=np.float64).reshape(-1, 5)
        return table[:, :2], table[:, 2:4], table[:, 4].astype(np.int64)

    def time_of(self, index: int) -> float:
        """When a frame appears, in seconds."""
        return float(self._times[index])

    def end_of_frame(self, index: int) -> float:
        """When a frame stops being shown, in seconds."""
        return float(self._times[index + 1]) if index + 1 < len(self._times) else self._video[1]

    def frame_uses(self, *, first: int = 0) -> tuple[Indices, Indices]:
        """The frames that the windows from number `first` on need, ascending, and how many of these need each."""
        parts = [np.unique(np.array(window.clips)) for window in islice(self, first, None)]
        return np.unique(np.concatenate(parts or [np.empty(0, dtype=np.int64)]), return_counts=True)
