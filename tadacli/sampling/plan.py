"""Which frames of a video a span of its time holds, and which of them its clips are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tadacli.errors import VideoError
from tadacli.results import VideoInfo
from tadacli.sampling import WindowSampling
from tadacli.sampling.clips import clip_indices, interval_length
from tadacli.specs import InputSpec
from tadacli.video.source import Indices, Seconds, VideoSource

# Times closer than this are the same: times of frames are sums and products of rounded numbers.
SAME_TIME_SECONDS = 1e-6


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
        video = info.start_seconds, info.start_seconds + info.duration_seconds
        start = max(video[0], video[0] if self.start_seconds is None else self.start_seconds)
        end = min(video[1], video[1] if self.end_seconds is None else self.end_seconds)
        if start >= end and (start, end) != video:
            raise VideoError(
                f"nothing of {info.path} lies between the times asked for: "
                f"it lasts from {video[0]:.2f} s to {video[1]:.2f} s",
                hint="times are presentation times of the video, in seconds",
            )
        return start, end


def annotated_part(info: VideoInfo, start_seconds: float | None, end_seconds: float | None) -> Part | None:
    """The span of an annotation, whose times count from the first frame of the video; None for all of the video."""
    if start_seconds is None and end_seconds is None:
        return None
    start, end = (None if time is None else info.start_seconds + time for time in (start_seconds, end_seconds))
    return Part(start, end)


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


def frames_of(source: VideoSource, part: Part | None) -> tuple[int, int]:
    """(first, end) numbers of the frames of a part of a video (None: of all of it), at least one.

    For a part between two frames it is the one on screen. Raises `VideoError` if nothing of the video lies in it.
    """
    if part is None:
        return 0, source.info.num_frames
    start, end = part.within(source.info)
    first, after_last = frames_within(source.times_shown, start, end)
    if first < after_last:
        return first, after_last
    on_screen = int(frames_on_screen(source.times_shown, np.array([start]))[0])
    return on_screen, on_screen + 1


def check_length_known(info: VideoInfo) -> None:
    """Raises `VideoError` for a video that was cut short so that no clip of it can be chosen as from the whole."""
    if not info.num_frames_known:
        raise VideoError(
            f"{info.path} is cut short after {info.num_frames} frames, and does not say how many it had",
            hint="fetch it again; the frames to look at cannot be chosen without the length",
        )


def plan_clips(source: VideoSource, spec: InputSpec, *, num_clips: int, part: Part | None = None) -> list[list[int]]:
    """The frame numbers of every clip of a video, or of a part of it taken as a video of its own.

    Args:
        source: The opened video.
        spec: How the model takes clips.
        num_clips: How many clips are taken.
        part: Which part of the video; by default all of it.

    Returns:
        `num_clips` lists of `clip_frames` frame numbers.

    Raises:
        VideoError: Nothing of the video lies in the part.
    """
    first, end = frames_of(source, part)
    plan = [
        clip_indices(
            spec.sampling,
            end - first,
            fps=float(source.info.fps),
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
    """Length in seconds and number of frames of a video, or of a part of it."""
    first, end = frames_of(source, part)
    if part is None:
        return source.info.duration_seconds, end - first
    start_seconds, end_seconds = part.within(source.info)
    return end_seconds - start_seconds, end - first
