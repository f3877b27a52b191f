"""What is known of a video and of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tadacli.results.notes import Note


@dataclass(frozen=True)
class VideoInfo:
    """What is known about one video.

    `num_frames` counts the frames that a full decode of the chosen stream yields; for a file that was cut
    short (`truncated`), the frames its index promises, and without such an index those that are left, then
    `num_frames_known` is false. `fps` is the average rate; `height` and `width` are those of the frames as
    read, after rotation. `rotation` is the display rotation in degrees, counter-clockwise, as FFmpeg reports
    it. `start_seconds` is the presentation time of the first frame, `duration_seconds` the span from there to
    the end of the last frame. `sample_aspect_ratio` is the shape of a pixel (width over height); frames are
    not stretched by it. `notes` say what else to know of the file; its results have them, too. `start_timecode` is the
    SMPTE timecode of the first frame as the file says it, such as 01:00:00:00, with a semicolon before the frames where
    numbers are dropped; empty where it says none. With `variable_rate` a frame is shown at another time than an even
    rate of `fps` would show it, by more than half a frame.
    """

    path: str
    num_frames: int
    fps: Fraction
    duration_seconds: float
    height: int
    width: int
    rotation: int
    codec: str
    pixel_format: str = ""
    sample_aspect_ratio: Fraction = Fraction(1)
    start_seconds: float = 0.0
    truncated: bool = False
    num_frames_known: bool = True
    notes: tuple[Note, ...] = ()
    start_timecode: str = ""
    variable_rate: bool = False


@dataclass(frozen=True)
class FrameTime:
    """A frame by number, with its presentation time in seconds."""

    index: int
    time_seconds: float
