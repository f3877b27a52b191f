"""Which frames make a clip: pure arithmetic on frame numbers and times.

Clips of a whole video are those of the published code, which computes in float32 (interval sampling) and
rounds half to even (segment sampling); other precisions pick other frames in a fraction of cases, so both
are kept. Windows of a timeline are spans of presentation time, and their frames those on screen.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tadacli.errors import UsageError

SamplingMode = Literal["interval", "segment"]
WindowSampling = Literal["stretch", "native"]
Seconds = NDArray[np.float64]
Indices = NDArray[np.int64]

# Times closer than this are the same: times of frames are sums and products of rounded numbers.
SAME_TIME_SECONDS = 1e-6


def clip_indices(
    mode: SamplingMode,
    num_video_frames: int,
    *,
    fps: float | None = None,
    clip_frames: int,
    frame_stride: int = 1,
    target_fps: float = 30.0,
    num_clips: int = 1,
    clip_index: int = 0,
) -> list[int]:
    """Frame numbers of clip `clip_index` out of `num_clips`, in order; they repeat in a short video.

    "interval": `clip_frames` frames evenly over a span of `clip_frames * frame_stride` frames at
    `target_fps`, rescaled to the video's `fps`. One clip lies in the middle; of several, clip c starts at
    c / num_clips of the free room, so the last one does not reach the end of the video.
    "segment": one frame from each of `clip_frames` equal parts of the video: the middle of the part for one
    clip, (c + 1) / num_clips of the way through it for several. The other settings are not used.

    Raises `UsageError` for numbers that describe no clip.
    """
    if num_video_frames < 1 or clip_frames < 1 or num_clips < 1 or not 0 <= clip_index < num_clips:
        raise UsageError(f"no clip {clip_index} of {num_clips} x {clip_frames} frames in a video of {num_video_frames}")
    if mode == "segment":
        return _segment_indices(num_video_frames, clip_frames, num_clips, clip_index)
    if mode != "interval":
        raise UsageError(f"unknown sampling mode {mode!r}", hint='use "interval" or "segment"')
    if fps is None or fps <= 0 or frame_stride < 1 or target_fps <= 0:
        raise UsageError(f"interval sampling needs fps, frame_stride and target_fps above zero, got fps={fps}")
    length = interval_length(clip_frames, frame_stride, target_fps=target_fps, fps=fps)
    return _interval_indices(num_video_frames, clip_frames, length, num_clips, clip_index)


def interval_length(clip_frames: int, frame_stride: int, *, target_fps: float, fps: float) -> float:
    """Length of an interval-sampled clip in frames of a video at `fps`."""
    return clip_frames * frame_stride * float(fps) / target_fps


def _interval_indices(
    num_video_frames: int, clip_frames: int, length: float, num_clips: int, clip_index: int
) -> list[int]:
    room = max(num_video_frames - length, 0)
    start = room / 2 if num_clips == 1 else room * clip_index / num_clips
    positions = torch.linspace(start, start + length - 1, clip_frames, dtype=torch.float32)
    indices: list[int] = positions.clamp(0, num_video_frames - 1).long().tolist()
    return indices


def _segment_indices(num_video_frames: int, clip_frames: int, num_clips: int, clip_index: int) -> list[int]:
    edges = torch.linspace(0, num_video_frames, clip_frames + 1, dtype=torch.float32)
    left, right = edges[:-1], edges[1:]
    middle = (left + right) / 2
    positions = middle if num_clips == 1 else left + (right - left) * (clip_index + 1) / num_clips
    indices: list[int] = positions.clamp(0, num_video_frames - 1).round().long().tolist()
    return indices


def training_indices(
    mode: SamplingMode,
    num_video_frames: int,
    *,
    fps: float | None = None,
    clip_frames: int,
    frame_stride: int = 1,
    target_fps: float = 30.0,
    rng: np.random.Generator,
) -> list[int]:
    """Frame numbers of a random clip, as the published models were trained; see `clip_indices` for the settings.

    "interval": the clip starts anywhere in the free room, evenly likely, and is otherwise the test clip; where
    there is no room it is the test clip. "segment": one frame of each part, each as likely as the share of the
    part it is on screen for. Raises `UsageError` for numbers that describe no clip.
    """
    # The test clip of the same numbers is refused where there is none.
    clip_indices(
        mode, num_video_frames, fps=fps, clip_frames=clip_frames, frame_stride=frame_stride, target_fps=target_fps
    )
    if mode == "segment":
        positions = (np.arange(clip_frames) + rng.random(clip_frames)) * (num_video_frames / clip_frames)
        frames: list[int] = np.clip(positions.astype(np.int64), 0, num_video_frames - 1).tolist()
        return frames
    assert fps is not None  # or the test clip would have been refused
    length = interval_length(clip_frames, frame_stride, target_fps=target_fps, fps=fps)
    start = rng.uniform(0, max(num_video_frames - length, 0))
    places = torch.linspace(start, start + length - 1, clip_frames, dtype=torch.float32)
    indices: list[int] = places.clamp(0, num_video_frames - 1).long().tolist()
    return indices


# --- windows of a timeline --------------------------------------------------------------------------


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
    """The length of "2s", "500ms", "64f" or a plain number of seconds. Raises `UsageError` for others."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(s|ms|f|)", text.strip())
    value = float(found[1]) if found else 0.0
    if not found or value <= 0 or (found[2] == "f" and value != int(value)):
        raise UsageError(f"{text!r} is no length of time above zero", hint="give seconds or frames: 2s, 500ms, 64f")
    if found[2] == "f":
        return Length(value, "frames")
    return Length(value / 1000 if found[2] == "ms" else value)


def parse_time(text: str) -> float:
    """Seconds of "90", "90s", "1:30" or "00:01:30.5". Raises `UsageError` for others."""
    found = re.fullmatch(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?)s?", text.strip())
    if not found or (found[2] is not None and float(found[3]) >= 60):
        raise UsageError(f"{text!r} is no time", hint="give seconds or a clock: 90, 90.5s, 1:30, 00:01:30.5")
    return 3600 * int(found[1] or 0) + 60 * int(found[2] or 0) + float(found[3])


def window_spans(start_seconds: float, end_seconds: float, *, window_seconds: float, stride_seconds: float) -> Seconds:
    """(W, 2) start and end of the windows that cover [start_seconds, end_seconds), in order.

    Window k starts k strides behind the start. The last one is the first that reaches the end; it stops
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


def frames_on_screen(times: Seconds, wanted: Seconds) -> Indices:
    """Numbers of the frames on screen at the `wanted` times, of a video whose frames appear at `times`.

    Before the first frame it is the first, after the last one the last.
    """
    shown = np.searchsorted(times, wanted + SAME_TIME_SECONDS, side="right") - 1
    return np.clip(shown, 0, len(times) - 1).astype(np.int64)


def frames_within(times: Seconds, start_seconds: float, end_seconds: float) -> tuple[int, int]:
    """(first, end) numbers of the frames that appear in [start_seconds, end_seconds)."""
    first, end = np.searchsorted(times, np.array([start_seconds, end_seconds]) - SAME_TIME_SECONDS, side="left")
    return int(first), int(end)
