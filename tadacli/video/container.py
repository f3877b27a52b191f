"""A file opened by FFmpeg: its video stream, the packets in it, and what one packet decodes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TypeAlias

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

VideoPacket: TypeAlias = "Packet[VideoStream]"
_MAX_READ_ERRORS = 100


@contextmanager
def open_stream(path: str) -> Iterator[tuple[InputContainer, VideoStream | None]]:
    """A local file and the video stream that FFmpeg holds for the best; raises what PyAV raises.

    The `file:` prefix keeps names such as `concat:a` or `http:b` from being taken for a protocol,
    and the whitelist keeps a playlist in disguise from opening anything else.
    """
    options = {"protocol_whitelist": "file"}
    with av.open("file:" + path, mode="r", options=options, metadata_errors="replace") as container:
        stream = _best_stream(container)
        if stream is not None and stream.codec_context is not None:
            # One thread costs least for clips, and its output does not depend on timing.
            stream.codec_context.thread_type = "SLICE"
            stream.codec_context.thread_count = 1
        yield container, stream


def _best_stream(container: InputContainer) -> VideoStream | None:
    best = container.streams.best("video")
    if best is None or not isinstance(best, VideoStream):
        return None
    cover = av.stream.Disposition.attached_pic
    if best.disposition & cover:
        return next((s for s in container.streams.video if not s.disposition & cover), best)
    return best


def stream_time_base(stream: VideoStream) -> Fraction:
    """The unit of the stream's times, in seconds."""
    return stream.time_base or Fraction(1, 90_000)


def frame_step(stream: VideoStream) -> int:
    """One frame's length in units of the time base, for frames that carry no time of their own."""
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    return max(1, round(1 / (rate * stream_time_base(stream)))) if rate > 0 else 1


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket | None]:
    """The packets of a stream in decode order; None where reading failed and went on after it."""
    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except av.error.FFmpegError:
            errors += 1
            yield None


def decode_packet(stream: VideoStream, packet: VideoPacket | None) -> list[VideoFrame] | None:
    """The frames that come out after one packet (None: after the last one); None if it is damaged."""
    try:
        return stream.codec_context.decode(packet)
    except av.error.FFmpegError:
        return None
