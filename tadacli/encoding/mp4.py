"""An MP4 file in the making: pictures that are encoded or packets that are copied, with the sound beside them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from tadacli.encoding.sound import Sound, Span
from tadacli.results import VideoInfo
from tadacli.video.source import Indices, Pixels, Seconds, Timestamps

Packet: TypeAlias = "av.Packet[Any]"
# The metadata of the file, of what is to be known of its sound.
Tags: TypeAlias = Callable[[Sequence[str]], Mapping[str, str]]

_BT709 = 1  # the number of its matrix, primaries and transfer function in the H.264 standard
_COPY_TICKS = 90_000


class _Mp4(ABC):
    """The file, and the sound that is written as far as the pictures are. It is open inside the context.

    `notes` say what a person should know of the sound.
    """

    def __init__(self, path: str, sound: Sound | None, span: Span, *, ticks: int, tags: Tags) -> None:
        # The time at which a track begins is rounded to ticks of the whole movie.
        self._options = {"movie_timescale": str(ticks)}
        self._path, self._from, self._span, self._tags = path, sound, span, tags
        self._files = ExitStack()
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as files:
            name = "file:" + os.path.abspath(self._path)
            self._out = files.enter_context(av.open(name, "w", format="mp4", options=self._options))
            self._add_pictures()
            self._sound: Iterator[tuple[float, Packet]] = iter(())
            if self._from is not None:
                self._sound = self._from.packets(self._out, self._span, self.notes)
            self._next = next(self._sound, None)  # adds the streams of sound
            self._out.metadata.update(self._tags(self.notes))
            self._files = files.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    @abstractmethod
    def _add_pictures(self) -> None:
        """Adds the stream of pictures."""

    def _mux_sound(self, until_seconds: float) -> None:
        """Step by step, so that neither track waits for the other in memory."""
        while self._next is not None and self._next[0] <= until_seconds:
            self._out.mux(self._next[1])
            self._next = next(self._sound, None)


class EncodedMp4(_Mp4):
    """An MP4 whose pictures are encoded as H.264, upright and with even sides, each shown at its own time.

    Where a side is odd, the last row or column is repeated.

    Args:
        path: The file, which is written over.
        sound: Where the sound comes from, None for none.
        span: The span of the video that the sound is of.
        info: The video that the pictures are of.
        times: When each picture is shown, in seconds, ascending, from 0 on.
        end_seconds: When the last one ends.
        crf: The quality of x264: the lower, the better and the larger.
        tags: The metadata of the file.
    """

    def __init__(
        self,
        path: str,
        sound: Sound | None,
        span: Span,
        *,
        info: VideoInfo,
        times: Seconds,
        end_seconds: float,
        crf: int,
        tags: Tags = lambda _: {},
    ) -> None:
        ticks = _tick_rate(times, info.fps)
        super().__init__(path, sound, span, ticks=ticks, tags=tags)
        self._info, self._crf = info, crf
        self._times, self._ticks = times, ticks
        steps = np.arange(len(times))
        pts = np.rint(times * ticks).astype(np.int64)
        self._pts: Timestamps = np.maximum.accumulate(pts - steps) + steps  # no two at once, as encoders want it
        ends = np.append(self._pts[1:], max(round(end_seconds * ticks), int(self._pts[-1]) + 1))
        self._durations = dict(zip(self._pts.tolist(), (ends - self._pts).tolist(), strict=True))

    def add(self, number: int, pixels: Pixels) -> None:
        """Encode picture `number`, the next one. Raises `av.FFmpegError` where it cannot be, or not be written."""
        frame = _encodable(pixels)
        frame.pts, frame.time_base = int(self._pts[number]), Fraction(1, self._ticks)
        self._mux(self._stream.encode(frame))
        self._mux_sound(float(self._times[number]))

    def finish(self) -> None:
        """Write what is left of pictures and sound. Raises `av.FFmpegError` as `add` does."""
        self._mux(self._stream.encode(None))
        self._mux_sound(np.inf)

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations[packet.pts]
            self._out.mux(packet)

    def _add_pictures(self) -> None:
        info = self._info
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = cast(av.VideoStream, self._out.add_stream(codec, rate=info.fps))
        stream.height, stream.width = info.height + info.height % 2, info.width + info.width % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, self._ticks)
        context.thread_count = 1  # threads would make the bytes depend on the machine
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.color_range, context.colorspace = ColorRange.MPEG, _BT709
        context.color_primaries = context.color_trc = _BT709
        # Without frames that are shown before ones they are decoded after, MP4 tells how long each is shown.
        if codec == "libx264":
            # With its tree of macroblocks, or its weights for fades, x264 now and then writes other bytes for the same.
            unsteady = {"weightp": "0", "x264-params": "mbtree=0"}
            stream.options = {"crf": str(self._crf), "preset": "veryfast", "bf": "0", **unsteady}
        else:
            stream.options = {"qscale": "3"}
        self._stream = stream


class CopiedMp4(_Mp4):
    """An MP4 whose pictures are packets of a video as they are, the first of which is shown at 0.

    Args:
        path: The file, which is written over.
        sound: Where the sound comes from, None for none.
        span: The span of the video that the sound is of.
        template: The stream that the packets are of.
        times: When each packet is shown, in units of the stream's time base, in the order of decoding.
        end: When the last picture ends, in these units.
        tags: The metadata of the file.

    Entering the context raises `ValueError` where MP4 does not hold this codec.
    """

    def __init__(
        self,
        path: str,
        sound: Sound | None,
        span: Span,
        *,
        template: av.VideoStream,
        times: Timestamps,
        end: int,
        tags: Tags,
    ) -> None:
        super().__init__(path, sound, span, ticks=_COPY_TICKS, tags=tags)
        self._template = template
        self._unit = template.time_base or Fraction(1, _COPY_TICKS)
        self._pts = times - int(times.min())
        self._dts = _decoding_times(self._pts)
        shown = np.sort(self._pts)
        self._durations = dict(zip(shown.tolist(), np.diff(shown, append=end - int(times.min())).tolist(), strict=True))

    def add(self, number: int, packet: Packet) -> None:
        """Copy packet `number`, the next one. Raises `av.FFmpegError` where it cannot be written."""
        packet.pts, packet.dts = int(self._pts[number]), int(self._dts[number])
        packet.duration = max(1, self._durations[packet.pts])
        packet.stream = self._stream
        self._mux_sound(float(packet.dts * self._unit))
        self._out.mux(packet)

    def finish(self) -> None:
        """Write what is left of the sound. Raises `av.FFmpegError` as `add` does."""
        self._mux_sound(np.inf)

    def _add_pictures(self) -> None:
        # Opaque: of some codecs there is a decoder and no encoder, which is not needed here.
        self._stream = self._out.add_stream_from_template(self._template, opaque=True)


def _decoding_times(pts: Timestamps) -> Indices:
    """Times of decoding for packets that are shown at `pts`: ascending, and none of them later than its packet is.

    Those of the file may be missing, as Matroska has none.
    """
    shown = np.sort(pts)
    ranks = np.searchsorted(shown, pts)
    depth = int((np.arange(len(pts)) - ranks).max(initial=0))
    step = int(shown[1] - shown[0]) if len(shown) > 1 else 1
    return np.concatenate([shown[0] - step * np.arange(depth, 0, -1), shown[: len(shown) - depth]])


def _tick_rate(times: Seconds, fps: Fraction) -> int:
    """Ticks for each second in which the times are whole numbers, or as nearly as can be."""
    rates = (90_000, fps.numerator * -(-10_000 // fps.numerator), 1_000_000)
    errors = {rate: float(np.abs(np.rint(times * rate) / rate - times).max()) for rate in rates}
    return next((rate for rate, worst in errors.items() if worst < 1e-9), min(rates, key=errors.__getitem__))


def _encodable(pixels: Pixels) -> av.VideoFrame:
    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
