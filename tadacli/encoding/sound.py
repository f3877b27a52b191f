"""The sound of a span of a video, for a file that is in the making: copied packet by packet, or encoded again.

Sound is placed by its own presentation times, on the clock of the pictures: where some is missing there is silence, and
what comes twice is heard once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeAlias, cast

import av
import numpy as np
import numpy.typing as npt

from tadacli.video.container import open_stream

Packet: TypeAlias = "av.Packet[Any]"
Samples: TypeAlias = npt.NDArray[np.float32]

# Audio that MP4 holds as it is, and that players know there.
COPIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"})
# A decoder needs what comes just before: overlaps, bits that MP3 keeps for later. Players pass over it.
_PREROLL_SECONDS = 0.1
_SEEK_BEFORE_SECONDS = 1.0
_INTERLEAVED_SECONDS = 5.0  # no container keeps the packets of one time further apart
_SAME_SECONDS = 0.01  # times may be rounded, to milliseconds in Matroska; what is further off is a gap
_BITS_PER_SECOND = 96_000  # of each channel
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # that AAC has
_SILENCE = 1 << 16  # samples that are made at once


@dataclass(frozen=True)
class Span:
    """A span of a video whose sound is wanted, in presentation seconds; `zero_seconds` becomes 0.

    It has no end where that is infinite. Packets are copied where MP4 holds their codec if they `may_copy`.
    """

    start_seconds: float
    end_seconds: float
    zero_seconds: float
    may_copy: bool


class Sound:
    """The sound of a video file, which is opened for it alone; closed on leaving the context.

    Attributes:
        num_streams: How many streams of sound the file has; none of a file that cannot be opened.
    """

    def __init__(self, path: str, *, most_streams: int | None = None) -> None:
        self._path, self._most = path, most_streams
        self._files = ExitStack()
        self._streams: list[av.AudioStream] = []
        self._is_at_start = True
        if os.path.isfile(path):
            with suppress(av.FFmpegError):
                self._open()
        self.num_streams = len(self._streams)

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def packets(
        self, out: av.container.OutputContainer, span: Span, notes: list[str]
    ) -> Iterator[tuple[float, Packet]]:
        """The sound of a span as packets of streams that are added to `out`; one span after the other.

        The first packet must be asked for before anything is muxed, as it adds the streams.

        Args:
            out: The file in the making.
            span: The span.
            notes: What a person should know is added to it.

        Returns:
            (time in seconds, packet), times on the clock of the new file, roughly ascending.
        """
        kept = self._streams[: self._most]
        if len(kept) < len(self._streams):
            notes.append(f"only the first of {len(self._streams)} audio streams is kept")
        tracks = {}
        for stream in kept:
            track = _track(stream, out, span, notes)
            if track is not None:
                tracks[stream.index] = track
        if not tracks:
            return
        reached = span.start_seconds
        try:
            for packet in self._read(span, list(tracks)):
                at = _seconds(packet)
                if at is not None:
                    if at > span.end_seconds + _INTERLEAVED_SECONDS:
                        break
                    reached = at
                yield from tracks[packet.stream.index].take(packet)
                if all(track.is_done for track in tracks.values()):
                    break
        except av.FFmpegError:
            notes.append(f"the sound cannot be read beyond {reached:.2f} s and ends there")
        for track in tracks.values():
            yield from track.finish()

    def _open(self) -> None:
        self._files.close()
        container, _ = self._files.enter_context(open_stream(self._path))
        self._container, self._streams, self._is_at_start = container, list(container.streams.audio), True

    def _read(self, span: Span, indices: list[int]) -> Iterator[Packet]:
        """The packets of these streams, from a bit before the span on."""
        wanted = span.start_seconds - _PREROLL_SECONDS
        first = None
        if span.start_seconds > _SEEK_BEFORE_SECONDS:
            first = self._seek(wanted, indices)
        if first is None and not self._is_at_start:
            self._open()
        self._is_at_start = False
        if first is not None:
            yield first
        with suppress(IndexError):  # PyAV stumbles, after the last packet, over streams that began later than the file
            for packet in self._container.demux([self._container.streams[index] for index in indices]):
                if packet.size:  # the last one is empty
                    yield packet

    def _seek(self, wanted_seconds: float, indices: list[int]) -> Packet | None:
        """The first packet after seeking; None where that came out too late, or nowhere."""
        stream = self._container.streams[indices[0]]
        self._is_at_start = False
        try:
            at = round((wanted_seconds - _SEEK_BEFORE_SECONDS) / stream.time_base) if stream.time_base else 0
            self._container.seek(at, stream=stream)
            for packet in self._container.demux([self._container.streams[index] for index in indices]):
                time = _seconds(packet)
                if packet.size and time is not None:
                    return packet if time <= wanted_seconds else None
        except (av.FFmpegError, IndexError):  # as it is read anew then
            pass
        return None


def _seconds(packet: Packet) -> float | None:
    at = packet.pts if packet.pts is not None else packet.dts
    return None if at is None else float(at * packet.time_base)


class _Track(Protocol):
    """One stream of sound of the new file."""

    is_done: bool

    def take(self, packet: Packet) -> Iterator[tuple[float, Packet]]:
        """What becomes of the next packet."""
        ...

    def finish(self) -> Iterator[tuple[float, Packet]]:
        """What is left."""
        ...


def _track(stream: av.AudioStream, out: av.container.OutputContainer, span: Span, notes: list[str]) -> _Track | None:
    if stream.codec_context is None:
        notes.append("the sound is left out: there is no decoder for it")
        return None
    name = stream.codec_context.codec.canonical_name
    if span.may_copy and name in COPIED:
        return _Copied(stream, out, span)
    if span.may_copy:
        notes.append(f"the sound was encoded again, from {name} to AAC")
    rate = stream.rate if stream.rate in _RATES else 48000
    layout = next((each for each in (stream.layout.name, "stereo") if _is_held_by_aac(each, rate)), None)
    if layout is None:
        notes.append(f"the sound is left out: AAC does not hold {stream.layout.name} at {stream.rate} Hz")
        return None
    return _Encoded(stream, out, span, layout=layout, rate=rate)


def _is_held_by_aac(layout: str, rate: int) -> bool:
    encoder = av.CodecContext.create("aac", "w")
    try:
        encoder.layout, encoder.sample_rate, encoder.format = layout, rate, "fltp"
        encoder.time_base = Fraction(1, rate)
        encoder.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


class _Copied:
    """Packets as they are, from just before the span on."""

    def __init__(self, stream: av.AudioStream, out: av.container.OutputContainer, span: Span) -> None:
        self._stream, self._span, self.is_done = out.add_stream_from_template(stream), span, False
        self._stream.metadata.update(stream.metadata)
        self._last: int | None = None

    def take(self, packet: Packet) -> Iterator[tuple[float, Packet]]:
        at, unit = packet.pts if packet.pts is not None else packet.dts, packet.time_base
        if at is None or self.is_done:
            return
        start, end = float(at * unit), float((at + (packet.duration or 0)) * unit)
        if start >= self._span.end_seconds:
            self.is_done = True
            return
        moved = at - round(self._span.zero_seconds / unit)
        if end <= self._span.start_seconds - _PREROLL_SECONDS or (self._last is not None and moved <= self._last):
            return
        if end > self._span.end_seconds and packet.duration:
            packet.duration = max(1, round((self._span.end_seconds - start) / unit))
        packet.pts = packet.dts = self._last = moved
        packet.stream = self._stream
        yield start - self._span.zero_seconds, packet

    def finish(self) -> Iterator[tuple[float, Packet]]:
        return iter(())


class _Encoded:
    """Samples in AAC, at the places where their times put them, as many as the span is long."""

    def __init__(
        self, stream: av.AudioStream, out: av.container.OutputContainer, span: Span, *, layout: str, rate: int
    ) -> None:
        stream.codec_context.flush_buffers()
        self._span, self._rate, self._layout, self.is_done = span, stream.rate, layout, False
        self._stream = out.add_stream("aac", rate=rate, layout=layout)
        self._stream.metadata.update(stream.metadata)
        channels = av.AudioLayout(layout).nb_channels
        self._stream.bit_rate = min(_BITS_PER_SECOND, 4 * rate) * channels
        self._silence: Samples = np.zeros((channels, _SILENCE), dtype=np.float32)
        self._resampler: tuple[object, av.AudioResampler] | None = None
        length = span.end_seconds - span.zero_seconds
        self._num_samples = round(length * self._rate) if math.isfinite(length) else None
        self._written = 0
        self._next: int | None = None  # where the next samples go, if their time does not say otherwise

    def take(self, packet: Packet) -> Iterator[tuple[float, Packet]]:
        at = _seconds(packet)
        if self.is_done or (at is not None and at >= self._span.end_seconds):
            self.is_done = True
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:  # a damaged packet: there is silence in its place
            return
        for frame in frames:
            yield from self._place(cast(av.AudioFrame, frame))

    def finish(self) -> Iterator[tuple[float, Packet]]:
        if self._num_samples is not None:
            yield from self._fill(self._num_samples)
        yield from self._timed(self._stream.encode(None))

    def _place(self, frame: av.AudioFrame) -> Iterator[tuple[float, Packet]]:
        if frame.pts is not None and frame.time_base is not None:
            place = round((float(frame.pts * frame.time_base) - self._span.zero_seconds) * self._rate)
            if self._next is None or abs(place - self._next) > _SAME_SECONDS * self._rate:
                self._next = place
        for piece in self._converted(frame):
            samples = cast(Samples, piece.to_ndarray())
            start = self._next or 0
            self._next = start + samples.shape[1]
            yield from self._fill(start)
            yield from self._write(samples[:, max(0, self._written - start) :])

    def _converted(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """The samples as planes of float32, at the rate and in the layout that the stream began with."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or self._resampler[0] != kind:
            self._resampler = kind, av.AudioResampler("fltp", self._layout, self._rate)
        pieces: list[av.AudioFrame] = self._resampler[1].resample(frame)
        return pieces

    def _fill(self, until: int) -> Iterator[tuple[float, Packet]]:
        if self._num_samples is not None:
            until = min(until, self._num_samples)
        while self._written < until:
            yield from self._write(self._silence[:, : until - self._written])

    def _write(self, samples: Samples) -> Iterator[tuple[float, Packet]]:
        if self._num_samples is not None:
            samples = samples[:, : max(0, self._num_samples - self._written)]
        if not samples.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
        self._written += samples.shape[1]
        yield from self._timed(self._stream.encode(frame))

    def _timed(self, packets: list[Packet]) -> Iterator[tuple[float, Packet]]:
        for packet in packets:
            yield _seconds(packet) or 0.0, packet
