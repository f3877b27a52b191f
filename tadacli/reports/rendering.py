"""A copy of a video with the labels of its segments written into the picture."""

from __future__ import annotations

import bisect
import colorsys
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageDraw, ImageFont

from tadacli.errors import OutputError
from tadacli.files import new_file, not_written, refuse_existing
from tadacli.results import Segment, VideoInfo
from tadacli.video.reading import open_video
from tadacli.video.source import Pixels, VideoPath, VideoSource

OnProgress = Callable[[int, int], None]
Packet: TypeAlias = "av.Packet[Any]"
TimedPacket: TypeAlias = tuple[float, Packet]

# Audio that MP4 holds as it is, and that players know there.
_COPIED_AUDIO = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"})
_BT709 = 1  # the number of its matrix, primaries and transfer function in the H.264 standard


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
    times = source.times + shift
    ticks = _tick_rate(times, info.fps)
    pts = np.rint(times * ticks).astype(np.int64)
    ends = np.append(pts[1:], round((info.start_seconds + info.duration_seconds + shift) * ticks))
    durations = dict(zip(pts.tolist(), (ends - pts).tolist(), strict=True))
    captions = _Captions(segments, height=info.height, width=info.width)
    notes = [f"times begin at 0 here, {shift:.3f} s later than in the video"] if shift else []
    # The time at which a track begins is rounded to ticks of the whole movie.
    with (
        av.open(str(path), "w", format="mp4", options={"movie_timescale": str(ticks)}) as out,
        _sound_file(info.path) as sound_file,
    ):
        stream = _video_stream(out, info, ticks)
        sound = _Pending(_sound(sound_file, out, shift, notes))
        for shown in source.require_frames(range(info.num_frames)):
            frame = _frame(captions.draw_on(shown.pixels, at_seconds=shown.time_seconds))
            frame.pts, frame.time_base = int(pts[shown.index]), Fraction(1, ticks)
            _mux(out, stream.encode(frame), durations)
            # Step by step, so that neither track waits for the other in memory.
            sound.mux_until(out, times[shown.index])
            if on_progress is not None:
                on_progress(shown.index + 1, info.num_frames)
        _mux(out, stream.encode(None), durations)
        sound.mux_until(out, np.inf)
    return tuple(notes)


# --- the picture ----------------------------------------------------------------------------------


def _tick_rate(times: npt.NDArray[np.float64], fps: Fraction) -> int:
    """Ticks for each second in which the times are whole numbers, or as nearly as can be."""
    rates = (90_000, fps.numerator * -(-10_000 // fps.numerator), 1_000_000)
    errors = {rate: float(np.abs(np.rint(times * rate) / rate - times).max()) for rate in rates}
    return next((rate for rate, worst in errors.items() if worst < 1e-9), min(rates, key=errors.__getitem__))


def _video_stream(out: av.container.OutputContainer, info: VideoInfo, ticks: int) -> av.VideoStream:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = cast(av.VideoStream, out.add_stream(codec, rate=info.fps))
    stream.height, stream.width, stream.pix_fmt = info.height + info.height % 2, info.width + info.width % 2, "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, ticks)
    context.thread_count = 1  # threads would make the bytes depend on the machine
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.color_range, context.colorspace = ColorRange.MPEG, _BT709
    context.color_primaries = context.color_trc = _BT709
    # Without frames that are shown before ones they are decoded after, MP4 tells how long each is shown.
    stream.options = {"crf": "20", "preset": "veryfast", "bf": "0"} if codec == "libx264" else {"qscale": "3"}
    return stream


def _frame(pixels: Pixels) -> av.VideoFrame:
    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _mux(out: av.container.OutputContainer, packets: Sequence[Packet], durations: dict[int, int]) -> None:
    for packet in packets:
        if packet.pts is not None:
            packet.duration = durations[packet.pts]
        out.mux(packet)


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


# --- the sound ------------------------------------------------------------------------------------


class _Pending:
    """Packets that are written when the picture has come as far as they are."""

    def __init__(self, packets: Iterator[TimedPacket]) -> None:
        self._packets = packets
        self._next = next(packets, None)

    def mux_until(self, out: av.container.OutputContainer, seconds: float) -> None:
        while self._next is not None and self._next[0] <= seconds:
            out.mux(self._next[1])
            self._next = next(self._packets, None)


@contextlib.contextmanager
def _sound_file(path: str) -> Iterator[av.container.InputContainer | None]:
    """The file opened a second time, for its sound; None if it has none (or holds pictures)."""
    with contextlib.ExitStack() as files:
        container = None
        if os.path.isfile(path):
            with contextlib.suppress(av.FFmpegError):
                container = files.enter_context(av.open(path))
        yield container if container is not None and container.streams.audio else None


def _sound(
    file: av.container.InputContainer | None, out: av.container.OutputContainer, shift: float, notes: list[str]
) -> Iterator[TimedPacket]:
    """(time in seconds, packet) of the first audio stream, in a stream added to `out`; adds to `notes`.

    The first packet must be asked for before anything is muxed, as it adds the stream.
    """
    if file is None:
        return
    audio = file.streams.audio[0]
    if len(file.streams.audio) > 1:
        notes.append(f"only the first of {len(file.streams.audio)} audio streams is kept")
    if audio.codec_context is None:
        notes.append("the sound is left out: there is no decoder for it")
        return
    name = audio.codec_context.codec.canonical_name
    if name not in _COPIED_AUDIO:
        notes.append(f"the sound was encoded again, from {name} to AAC")
    packets = _copied(file, audio, out) if name in _COPIED_AUDIO else _encoded(file, audio, out)
    last = 0.0
    try:
        for packet in packets:
            at = packet.pts if packet.pts is not None else packet.dts
            if at is None:
                continue
            moved = round(shift / packet.time_base)
            packet.pts, packet.dts = at + moved, (at if packet.dts is None else packet.dts) + moved
            last = float((at + moved) * packet.time_base)
            yield last, packet
    except av.FFmpegError:
        notes.append(f"the sound cannot be read beyond {last:.2f} s and ends there")


def _copied(
    file: av.container.InputContainer, audio: av.AudioStream, out: av.container.OutputContainer
) -> Iterator[Packet]:
    stream = out.add_stream_from_template(audio)
    for packet in file.demux(audio):
        if packet.size:  # the last one is empty
            packet.stream = stream
            yield packet


def _encoded(
    file: av.container.InputContainer, audio: av.AudioStream, out: av.container.OutputContainer
) -> Iterator[Packet]:
    stream = out.add_stream("aac", rate=audio.rate, layout=audio.layout)
    resampler = av.AudioResampler(stream.format, audio.layout, audio.rate, stream.codec_context.frame_size or 1024)
    for packet in file.demux(audio):
        for frame in packet.decode():
            for piece in resampler.resample(frame):
                yield from stream.encode(piece)
    for piece in resampler.resample(None):
        yield from stream.encode(piece)
    yield from stream.encode(None)
