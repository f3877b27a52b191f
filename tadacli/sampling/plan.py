"""Which frames the clips of a video, or of a part of it, are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tadacli.results import VideoInfo
from tadacli.sampling.clips import WindowSampling, clip_indices, frames_on_screen, frames_within, interval_length
from tadacli.sampling.windows import part_of, times_shown
from tadacli.specs import InputSpec
from tadacli.video.source import VideoSource


@dataclass(frozen=True)
class Part:
    """A part of a video, [start_seconds, end_seconds) in presentation time; None is the video's own end.

    Without `sampling` it is taken as if it were a video of its own. With it, as `tada detect` takes a window:
    the clips of `window_clip_times`, their centre crops.
    """

    start_seconds: float | None = None
    end_seconds: float | None = None
    sampling: WindowSampling | None = None

    def within(self, info: VideoInfo) -> tuple[float, float]:
        """(start, end) in seconds, inside the video. Raises `VideoError` if there is nothing of it."""
        return part_of(info, self.start_seconds, self.end_seconds)


def plan_clips(source: VideoSource, spec: InputSpec, *, num_clips: int, part: Part | None = None) -> list[list[int]]:
    """The frame numbers of every clip of a video, or of a part of it taken as a video of its own."""
    info, first, behind = source.info, 0, source.info.num_frames
    if part is not None:
        start, end = part.within(info)
        first, behind = frames_within(times_shown(source), start, end)
        if first == behind:  # between two frames: the one on screen
            first = int(frames_on_screen(times_shown(source), np.array([start]))[0])
            behind = first + 1
    plan = [
        clip_indices(
            spec.sampling,
            behind - first,
            fps=float(info.fps),
            clip_frames=spec.clip_frames,
            frame_stride=spec.frame_stride,
            target_fps=spec.target_fps,
            num_clips=num_clips,
            clip_index=clip_index,
        )
        for clip_index in range(num_clips)
    ]
    return [[first + index for index in clip] for clip in plan]


def is_short(num_frames: int, info: VideoInfo, spec: InputSpec) -> bool:
    """Whether this many frames of the video are fewer than one clip spans, so that the last ones are repeated."""
    if spec.sampling == "segment":
        return num_frames < spec.clip_frames
    length = interval_length(spec.clip_frames, spec.frame_stride, target_fps=spec.target_fps, fps=float(info.fps))
    return num_frames < length


def extent(source: VideoSource, part: Part | None) -> tuple[float, int]:
    """Length in seconds and number of frames of what is looked at."""
    if part is None:
        return source.info.duration_seconds, source.info.num_frames
    start, end = part.within(source.info)
    first, behind = frames_within(times_shown(source), start, end)
    return end - start, max(1, behind - first)
