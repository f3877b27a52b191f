"""Which frames of a video a span of its time holds, and which of them its clips are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tadacli.errors import VideoError
from tadacli.results import VideoInfo
from tadacli.sampling import WindowSampling
from tadacli.sampling.clips import clip_indices, interval_length
from tadacli.sampling.pace import SAME_TIME_SECONDS, frame_rate, pieces_of
from tadacli.specs import InputSpec
from tadacli.video.lists import ListedPart
from tadacli.video.source import Indices, Seconds, VideoSource, shown

# By so much a list may say that a video is longer than it is: sound often ends after the last frame.
_ROUNDED_SECONDS = 0.5


@dataclass(frozen=True)
class Part:
    """A part of a video, [start_seconds, end_seconds) in presentation time; None is the video's own end.

    Without `sampling` it is taken as if it were a video of its own. With it, as `tada detect` takes a window:
    the clips of `window_clip_times`, their centre crops. Where it is `listed`, it has to end with the video.
    """

    start_seconds: float | None = None
    end_seconds: float | None = None
    sampling: WindowSampling | None = None
    listed: bool = False

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
        if self.listed and self.end_seconds is not None and self.end_seconds > video[1] + _ROUNDED_SECONDS:
            raise VideoError(
                f"the part of {info.path} ends at {self.end_seconds:.2f} s in the list, the video at {video[1]:.2f} s",
                hint="the file is cut short, or the list is of another video",
            )
        return start, end


def part_of(video: str, part: Part | None) -> Part | None:
    """The part of a video to look at: what a list says of it, or else `part`.

    Args:
        video: The video as it was named.
        part: The part of each video.

    Returns:
        The part; None is all of the video.

    Raises:
        VideoError: What a list says of it cannot be meant.
    """
    if not isinstance(video, ListedPart):
        return part
    if video.refusal:
        raise VideoError(f"{shown(video)}: {video.refusal}")
    sampling = None if part is None else part.sampling
    if (video.start_seconds, video.end_seconds, sampling) == (None, None, None):
        return None
    return Part(video.start_seconds, video.end_seconds, sampling, listed=True)


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
    rate = frame_rate(source, first, end)
    plan = [
        clip_indices(
            spec.sampling,
            end - first,
            fps=rate,
            clip_frames=spec.clip_frames,
            frame_stride=spec.frame_stride,
            target_fps=spec.target_fps,
            num_clips=num_clips,
            clip_index=clip_index,
            minus_interval=spec.minus_interval,
        )
        for clip_index in range(num_clips)
    ]
    clips = [[first + index for index in clip] for clip in plan]
    return clips if spec.sampling == "segment" else _between_gaps(source, spec, clips)


def _between_gaps(source: VideoSource, spec: InputSpec, clips: list[list[int]]) -> list[list[int]]:
    """The clips, those that lie across a gap in time moved to one side of it, if there is room for them."""
    pieces = pieces_of(source, gap_seconds=clip_seconds(spec))
    if len(pieces) == 1:
        return clips
    moved = []
    for clip in clips:
        piece = pieces.around(float(source.times_shown[clip[len(clip) // 2]]))
        shift = max(0, piece.first - clip[0]) or min(0, piece.end - 1 - clip[-1])
        fits = clip[-1] - clip[0] < piece.end - piece.first
        moved.append([index + shift for index in clip] if fits else clip)
    return moved


def clip_seconds(spec: InputSpec) -> float:
    """How long a clip at the model's own rate is, in seconds."""
    return spec.clip_frames * spec.frame_stride / spec.target_fps


def is_short(source: VideoSource, part: Part | None, spec: InputSpec) -> bool:
    """Whether a video, or a part of it, has fewer frames than one clip spans, so that the last ones are repeated."""
    first, end = frames_of(source, part)
    if spec.sampling == "segment":
        return end - first < spec.clip_frames
    fps = frame_rate(source, first, end)
    return end - first < interval_length(spec.clip_frames, spec.frame_stride, target_fps=spec.target_fps, fps=fps)


def seconds_of(source: VideoSource, part: Part | None) -> float:
    """Length in seconds of a video, or of a part of it."""
    if part is None:
        return source.info.duration_seconds
    start, end = part.within(source.info)
    return end - start


def time_gaps(source: VideoSource, spec: InputSpec, part: Part | None = None) -> list[tuple[float, float]]:
    """The spans of a video's time, or of a part of it, without a frame for as long as a clip lasts, in seconds."""
    start, end = (part or Part()).within(source.info)
    return pieces_of(source, gap_seconds=clip_seconds(spec)).gaps(start, end)
