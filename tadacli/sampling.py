"""Which frames make a clip: pure arithmetic on frame numbers, exactly as published.

The published code computes in float32 (interval sampling) and rounds half to even (segment sampling);
other precisions pick other frames in a fraction of cases, so both are kept.
"""

from __future__ import annotations

from typing import Literal

import torch

from tadacli.errors import UsageError

SamplingMode = Literal["interval", "segment"]


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
