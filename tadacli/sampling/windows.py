"""Which windows of a timeline are scored, and which of the video's frames each of them needs.

Windows are spans of presentation time, and their frames are those on screen.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import chain, islice

import numpy as np

from tadacli.errors import UsageError
from tadacli.results import VideoInfo, Window
from tadacli.sampling.plan import SAME_TIME_SECONDS, Part, frames_on_screen
from tadacli.sampling.settings import WindowSampling, WindowSettings
from tadacli.specs import InputSpec
from tadacli.video.source import Indices, Seconds, VideoSource


def window_spans(start_seconds: float, end_seconds: float, *, window_seconds: float, stride_seconds: float) -> Seconds:
    """(W, 2) start and end of the windows that cover [start_seconds, end_seconds), in order.

    Window k starts k strides after the start. The last one is the first that reaches the end; it stops
    there, and is shorter than the others unless it just fits. A span within one window is one window.
    """
    if not 0 < window_seconds < math.inf or not 0 < stride_seconds < math.inf:
        raise UsageError(f"windows of {window_seconds:g} s every {stride_seconds:g} s cannot be laid out")
    length = end_seconds - start_seconds
    count = 1 + max(0, math.ceil((length - window_seconds - SAME_TIME_SECONDS) / stride_seconds))
    starts = start_seconds + np.arange(count) * stride_seconds
    starts = starts[(starts < end_seconds - SAME_TIME_SECONDS) | (np.arange(count) == 0)]
    ends = starts + window_seconds
    return np.stack([starts, np.where(ends > end_seconds - SAME_TIME_SECONDS, end_seconds, ends)], axis=1)


def native_span(*, clip_frames: int, frame_stride: int, target_fps: float) -> float:
    """Seconds that one clip covers at the model's own rate."""
    return clip_frames * frame_stride / target_fps


def window_clip_times(
    sampling: WindowSampling,
    window: tuple[float, float],
    *,
    video: tuple[float, float],
    fps: float,
    clip_frames: int,
    frame_stride: int = 1,
    target_fps: float = 30.0,
) -> Seconds:
    """(num_clips, clip_frames) presentation times of the frames of a window's clips.

    "stretch": one clip, its frames at the middles of `clip_frames` equal parts of the window.
    "native": clips at the model's own rate, as interval sampling takes them from a video of `fps` frames a
    second; as many as fit the window best (at least one), evenly from its start to its end, a single one
    in its middle, all moved into the `video` (start, end) where they stick out.
    """
    start, end = window
    if sampling == "stretch":
        return start + (end - start) * (np.arange(clip_frames)[None] + 0.5) / clip_frames
    if sampling != "native":
        raise UsageError(f"unknown sampling {sampling!r}", hint="use stretch or native")
    span = native_span(clip_frames=clip_frames, frame_stride=frame_stride, target_fps=target_fps)
    count = max(1, round((end - start) / span))
    starts = np.linspace(start, end - span, count) if count > 1 else np.array([(start + end - span) / 2])
    starts = np.maximum(np.minimum(starts, video[1] - span), video[0])
    # From the first frame of a clip to its last it is one frame less than the span.
    steps = np.linspace(0, max(0.0, span - 1 / fps), clip_frames)
    return np.asarray(starts[:, None] + steps[None])


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


class WindowPlan:
    """The windows of one video, in the order in which their last frames come, and the frames they need."""

    def __init__(self, source: VideoSource, spec: InputSpec, settings: WindowSettings) -> None:
        info = source.info
        self._info, self._spec, self._times = info, spec, source.times_shown
        self._sampling = settings.sampling_for(spec)
        self._video = info.start_seconds, info.start_seconds + info.duration_seconds
        self.start, self.end = Part(settings.start_seconds, settings.end_seconds).within(info)
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
