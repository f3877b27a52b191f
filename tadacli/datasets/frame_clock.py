"""Numbers of frames as times: annotation programs count frames, samples count seconds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tadacli.errors import UsageError, VideoError
from tadacli.results import NoteKind
from tadacli.video.inputs import is_pictures
from tadacli.video.reading import open_video
from tadacli.video.source import shown

_MOST_FPS = 100_000.0


@dataclass
class FrameClock:
    """Tells when frames are shown; each video is opened once.

    With `fps` all videos have so many frames a second, whatever they say themselves.
    """

    fps: float | None = None
    _videos: dict[Path, tuple[tuple[float, ...], float] | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `UsageError` for a rate that is none."""
        if self.fps is not None and not 0 < self.fps <= _MOST_FPS:
            raise UsageError(
                f"{self.fps:g} frames a second are no rate of a video", hint="give a rate like 25 or 29.97"
            )

    def seconds(self, number: float, video: Path | None, *, fps: float | None = None) -> float:
        """When the frame of a number is shown.

        Args:
            number: The number, from 0; that of the frame after the last is where the video ends.
            video: The video, if there is one.
            fps: Its frames per second, if the annotations say so.

        Returns:
            Seconds from the first frame.

        Raises:
            VideoError: The rate is not given, and the video cannot be opened, or is a folder or tar of frames of which
                nothing says it.
            UsageError: The rate is not given, and there is no video.
        """
        rate = fps if fps is not None else self.fps
        if rate is not None:
            return number / rate
        if video is None:
            raise UsageError(
                "its times are numbers of frames, and there is no video that tells their rate",
                hint="say where the videos are, or how many frames they have in a second",
            )
        times, rate = self._timeline(video)
        index = int(number)
        return times[index] if index == number and 0 <= index < len(times) else number / rate

    def counts(self, video: Path) -> tuple[int, float, float]:
        """How many frames a video has by its file, and how many a second.

        Args:
            video: The video.

        Returns:
            (number, rate on average, rate from the first frame to the last, however long the last is shown).

        Raises:
            VideoError: It cannot be opened.
        """
        times, rate = self._timeline(video)
        num_frames = len(times) - 1
        span = times[-2] - times[0] if num_frames > 1 else 0.0
        return num_frames, rate, (num_frames - 1) / span if span > 0 else rate

    def rate_of_frames(self, video: Path | None, *, fps: float | None = None) -> float | None:
        """The rate that frames of a folder or tar were counted at, None for other videos: they are to be read at it.

        Args:
            video: The video, if there is one, as `seconds` was asked about it.
            fps: Its frames per second, if the annotations say so.
        """
        if video is None or not is_pictures(os.fspath(video)):
            return None
        rate = fps if fps is not None else self.fps
        return rate if rate is not None else self._timeline(video)[1]

    def _timeline(self, video: Path) -> tuple[tuple[float, ...], float]:
        """(seconds from the first frame for each frame and the end, frames per second)."""
        if video not in self._videos:
            self._videos[video] = _timeline_of(video)
        found = self._videos[video]
        if isinstance(found, str):
            raise VideoError(found)
        return found


def _timeline_of(video: Path) -> tuple[tuple[float, ...], float] | str:
    try:
        with open_video(video) as source:
            info = source.info
            if any(note.kind is NoteKind.ASSUMED_RATE for note in info.notes):
                return f"nothing says how many frames {shown(os.fspath(video))} has a second; say it in a column fps"
            times = [float(time) - info.start_seconds for time in source.times_shown.tolist()]
            return (*times, info.duration_seconds), float(info.fps)
    except VideoError as error:
        return error.reason
