"""Which frames make a clip of a whole video: pure arithmetic on frame numbers.

It is that of the published code, which computes in float32 (interval sampling) and rounds half to even (segment
sampling); other precisions pick other frames in a fraction of cases, so both are kept. The model hub's pipeline places
the clips of interval sampling in another way.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Literal

from tadacli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SamplingMode = Literal["interval", "interval_hub", "segment"]


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
    minus_interval: bool = False,
) -> list[int]:
    """Frame numbers of clip `clip_index` out of `num_clips`, in order; they repeat in a short video.

    "interval": `clip_frames` frames evenly over a span of `clip_frames * frame_stride` frames at
    `target_fps`, rescaled to the video's `fps`. One clip lies in the middle; of several, clip c starts at
    c / num_clips of the free room, so the last one does not reach the end of the video.
    "interval_hub": the same clips at other places: clip c starts at c times the whole part of room / (num_clips - 1),
    so the last one ends at most num_clips - 2 frames before the end of the video.
    "segment": one frame from each of `clip_frames` equal parts of the video: the middle of the part for one
    clip, (c + 1) / num_clips of the way through it for several. The other settings are not used.

    Args:
        mode: "interval", "interval_hub" or "segment".
        num_video_frames: How many frames the video has.
        fps: Frames a second of the video; interval sampling needs it.
        clip_frames: How many frames the clip has.
        frame_stride: Frames at `target_fps` from one frame of the clip to the next.
        target_fps: Frames a second that the stride counts in.
        num_clips: How many clips are taken from the video.
        clip_index: Which of them, from 0 on.
        minus_interval: Whether the last frame of the clip lies `frame_stride` frames of the video before the end of its
            span, not one; segment sampling does not use it.

    Returns:
        `clip_frames` frame numbers.

    Raises:
        UsageError: The numbers describe no clip.

    Example:
        >>> from tadacli.sampling import clip_indices
        >>> clip_indices("interval", 300, fps=30.0, clip_frames=8, frame_stride=8)
        [118, 127, 136, 145, 154, 163, 172, 181]
        >>> clip_indices("segment", 80, clip_frames=8)
        [5, 15, 25, 35, 45, 55, 65, 75]
    """
    if num_video_frames < 1 or clip_frames < 1 or num_clips < 1 or not 0 <= clip_index < num_clips:
        raise UsageError(f"no clip {clip_index} of {num_clips} x {clip_frames} frames in a video of {num_video_frames}")
    if mode == "segment":
        return _segment_indices(num_video_frames, clip_frames, num_clips, clip_index)
    if mode not in ("interval", "interval_hub"):
        raise UsageError(f"unknown sampling mode {mode!r}", hint='use "interval", "interval_hub" or "segment"')
    if fps is None or fps <= 0 or frame_stride < 1 or target_fps <= 0:
        raise UsageError(f"interval sampling needs fps, frame_stride and target_fps above zero, got fps={fps}")
    length = interval_length(clip_frames, frame_stride, target_fps=target_fps, fps=fps)
    room = max(num_video_frames - length, 0)
    if num_clips == 1:
        start = room / 2
    elif mode == "interval_hub":
        start = clip_index * floor(room / (num_clips - 1))
    else:
        start = room * clip_index / num_clips
    last = start + length - rest_frames(frame_stride, minus_interval=minus_interval)
    return _indices(_linspace(start, last, clip_frames), num_video_frames)


def interval_length(clip_frames: int, frame_stride: int, *, target_fps: float, fps: float) -> float:
    """Length of an interval-sampled clip in frames of a video at `fps`."""
    return clip_frames * frame_stride * float(fps) / target_fps


def rest_frames(frame_stride: int, *, minus_interval: bool) -> int:
    """How many frames of the video lie between the last frame of an interval-sampled clip and the end of its span."""
    return frame_stride if minus_interval else 1


def _segment_indices(num_video_frames: int, clip_frames: int, num_clips: int, clip_index: int) -> list[int]:
    edges = _linspace(0, num_video_frames, clip_frames + 1)
    left, right = edges[:-1], edges[1:]
    middle = (left + right) / 2
    positions = middle if num_clips == 1 else left + (right - left) * (clip_index + 1) / num_clips
    return _indices(positions.round(), num_video_frames)


def _linspace(first: float, last: float, count: int) -> Tensor:
    """Evenly spaced float32 positions, as the published code has them: NumPy's differ in 0.5 % of the cases."""
    import torch

    return torch.linspace(first, last, count, dtype=torch.float32)


def _indices(positions: Tensor, num_video_frames: int) -> list[int]:
    """Positions as numbers of frames that the video has, rounded down."""
    indices: list[int] = positions.clamp(0, num_video_frames - 1).long().tolist()
    return indices


def training_indices(
    mode: SamplingMode,
    num_video_frames: int,
    *,
    fps: float | None = None,
    clip_frames: int,
    frame_stride: int = 1,
    target_fps: float = 30.0,
    minus_interval: bool = False,
    rng: np.random.Generator,
) -> list[int]:
    """Frame numbers of a random clip, in order, as the published models were trained.

    "interval" and "interval_hub": the clip starts anywhere in the free room, evenly likely, and is otherwise the test
    clip; where there is no room it is the test clip. "segment": one frame of each part, each as likely as the share
    of the part it is on screen for.

    Args:
        mode: "interval", "interval_hub" or "segment".
        num_video_frames: How many frames the video has.
        fps: Frames a second of the video; interval sampling needs it.
        clip_frames: How many frames the clip has.
        frame_stride: Frames at `target_fps` from one frame of the clip to the next.
        target_fps: Frames a second that the stride counts in.
        minus_interval: Where the last frame lies, as for `clip_indices`.
        rng: Decides which clip.

    Returns:
        `clip_frames` frame numbers.

    Raises:
        UsageError: The numbers describe no clip.
    """
    # The test clip of the same numbers is refused where there is none.
    clip_indices(
        mode, num_video_frames, fps=fps, clip_frames=clip_frames, frame_stride=frame_stride, target_fps=target_fps
    )
    if mode == "segment":
        length = num_video_frames / clip_frames
        positions = [int((place + share) * length) for place, share in enumerate(rng.random(clip_frames).tolist())]
        return [min(position, num_video_frames - 1) for position in positions]
    assert fps is not None  # or the test clip would have been refused
    length = interval_length(clip_frames, frame_stride, target_fps=target_fps, fps=fps)
    start = rng.uniform(0, max(num_video_frames - length, 0))
    last = start + length - rest_frames(frame_stride, minus_interval=minus_interval)
    return _indices(_linspace(start, last, clip_frames), num_video_frames)
