"""A copy of a video with the labels of its segments written into the picture."""

from __future__ import annotations

import bisect
import colorsys
import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tadacli.encoding.mp4 import EncodedMp4
from tadacli.encoding.sound import Sound, Span
from tadacli.errors import OutputError
from tadacli.files import new_file, not_written, refuse_existing
from tadacli.results import Segment
from tadacli.video.reading import open_video
from tadacli.video.source import Pixels, VideoPath, VideoSource

OnProgress = Callable[[int, int], None]
_CRF = 20


def render_segments(
    video_path: VideoPath,
    output_path: str | os.PathLike[str],
    segments: Sequence[Segment],
    *,
    fps: float | Fraction | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[str, ...]:
    """Write an H.264 MP4 of the video in which each frame carries the segments that hold at its time.

    A segment holds in [start_seconds, end_seconds). Frames keep their presentation times, and the first
    audio stream is kept. Frames are upright, with even sides: where one is odd, its last row or column is
    repeated.

    Args:
        video_path: The video.
        output_path: The file to write, whose name ends in .mp4.
        segments: The segments, in presentation time.
        fps: The rate of frames that are pictures.
        on_progress: Called with the frames written and the frames in all.

    Returns:
        What a person should know about the copy: sound that was changed or left out, times that moved.

    Raises:
        VideoError: The video cannot be read throughout.
        OutputError: The file is there already or cannot be written; then nothing is left of it.
    """
    output = Path(output_path)
    if output.suffix.lower() != ".mp4":
        raise OutputError(f"cannot write {output}: a rendered video is MP4", hint="the name must end in .mp4")
    refuse_existing([output])
    with open_video(video_path, fps=fps) as source, new_file(output) as stream:
        try:
            return _write(source, Path(stream.name), segments, on_progress)
        except av.FFmpegError as error:
            raise not_written(output, OSError(error.errno, error.strerror)) from error


def _write(
    source: VideoSource, path: Path, segments: Sequence[Segment], on_progress: OnProgress | None
) -> tuple[str, ...]:
    info = source.info
    shift = max(0.0, -info.start_seconds)  # MP4 shows nothing before time 0
    captions = _Captions(segments, height=info.height, width=info.width)
    span = Span(-math.inf, math.inf, zero_seconds=-shift, may_copy=True)
    end_seconds = info.start_seconds + info.duration_seconds + shift
    with (
        Sound(info.path, most_streams=1) as sound,
        EncodedMp4(
            str(path), sound, span, info=info, times=source.times + shift, end_seconds=end_seconds, crf=_CRF
        ) as mp4,
    ):
        for shown in source.require_frames(range(info.num_frames)):
            mp4.add(shown.index, captions.draw_on(shown.pixels, at_seconds=shown.time_seconds))
            if on_progress is not None:
                on_progress(shown.index + 1, info.num_frames)
        mp4.finish()
    moved = [f"times begin at 0 here, {shift:.3f} s later than in the video"] if shift else []
    return (*moved, *mp4.notes)


# --- captions -------------------------------------------------------------------------------------


class _Captions:
    """A box of text in the lower left, one line for each segment that holds, best first.

    The font has Latin letters; lines that do not fit into half the height are counted in the last one.
    """

    def __init__(self, segments: Sequence[Segment], *, height: int, width: int) -> None:
        self._segments = sorted(segments, key=lambda each: (-each.score, each.start_seconds, each.index))
        self._changes = sorted({at for each in segments for at in (each.start_seconds, each.end_seconds)})
        self._size = max(9, round(min(height, width) / 20))
        self._font = ImageFont.load_default(size=self._size)
        self._width = width
        self._max_lines = max(1, int(height / 2 / (1.4 * self._size)))
        self._era, self._box = 0, np.empty((0, 0, 4), dtype=np.uint8)

    def draw_on(self, pixels: Pixels, *, at_seconds: float) -> Pixels:
        """`pixels` (H, W, 3) with the box of a moment in the lower left; a copy unless there is none."""
        era = bisect.bisect_right(self._changes, at_seconds)
        if era != self._era:
            self._era, self._box = era, self._box_at(at_seconds)
        if not self._box.size:
            return pixels
        margin = self._size // 2
        box = self._box[: pixels.shape[0] - margin, : pixels.shape[1] - margin]
        bottom = pixels.shape[0] - margin
        where = np.s_[bottom - box.shape[0] : bottom, margin : margin + box.shape[1]]
        drawn, alpha = pixels.copy(), box[..., 3:].astype(np.float32) / 255
        drawn[where] = np.rint(box[..., :3] * alpha + drawn[where] * (1 - alpha)).astype(np.uint8)
        return drawn

    def _box_at(self, seconds: float) -> Pixels:
        """uint8 (h, w, 4) RGBA, empty when no segment holds."""
        holding = [each for each in self._segments if each.start_seconds <= seconds < each.end_seconds]
        if not holding:
            return np.empty((0, 0, 4), dtype=np.uint8)
        num_shown = len(holding) if len(holding) <= self._max_lines else max(1, self._max_lines - 1)
        pad, chip, step = self._size // 2, round(0.6 * self._size), round(1.4 * self._size)
        left = pad + chip + pad
        room = self._width - 2 * pad - left - pad
        lines = [(_colour(each.index), self._fitted(each, room)) for each in holding[:num_shown]]
        if num_shown < len(holding) and self._max_lines > 1:
            lines.append(((160, 160, 160), f"and {len(holding) - num_shown} more"))
        width = left + max(round(self._font.getlength(text)) for _, text in lines) + pad
        image = Image.new("RGBA", (width, step * len(lines) + pad), (16, 18, 22, 190))
        pen = ImageDraw.Draw(image)
        for row, (colour, text) in enumerate(lines):
            middle = pad / 2 + step * (row + 0.5)
            pen.rectangle((pad, middle - chip / 2, pad + chip, middle + chip / 2), fill=(*colour, 255))
            pen.text((left, middle), text, font=self._font, fill=(255, 255, 255, 255), anchor="lm")
        return np.asarray(image)

    def _fitted(self, segment: Segment, room: float) -> str:
        """The label, shortened until it and its score are at most `room` pixels wide."""
        label, score = " ".join(segment.label.split()), f"  {segment.score:.2f}"
        if self._font.getlength(label + score) <= room:
            return label + score
        kept = len(label)
        while kept > 1 and self._font.getlength(label[:kept] + "..." + score) > room:
            kept -= 1
        return label[:kept].rstrip() + "..." + score


def _colour(index: int) -> tuple[int, int, int]:
    """A bright colour for a class; neighbouring classes are a golden section of the colour circle apart."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.6, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
