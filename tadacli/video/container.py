"""A file opened by FFmpeg: its video stream, the packets in it, and what one packet decodes to."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias, cast

import av
import numpy as np
from av.buffer import Buffer
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tadacli.video.ffmpeg_log import Listening
from tadacli.video.source import MAX_PIXELS

VideoPacket: TypeAlias = "Packet[VideoStream]"
AVI = "avi"
_CHUNK_HEADER = 8  # bytes
_MAX_READ_ERRORS = 100
_NO_DECODER = "none"  # a name that no decoder has
_TIMECODE = re.compile(r"([01]\d|2[0-3])[:;]([0-5]\d)[:;]([0-5]\d)([:;])(\d\d)", re.ASCII)


def _unknown_side_data(cls: type[SideDataType], value: Any) -> SideDataType:
    unknown = object.__new__(cls)
    unknown._name_, unknown._value_ = f"UNKNOWN_{value}", value
    return unknown


# FFmpeg has more types of side data (EXIF, numbers of views) than PyAV has names for, and a frame that carries one of
# those would lose all others with a ValueError.
SideDataType._missing_ = classmethod(_unknown_side_data)  # type: ignore[assignment]


# What these read stands elsewhere: in files or on hosts that the file names, in the files of a pattern, in a device.
_FORMATS_OF_OTHERS = frozenset(
    "alsa concat dash fbdev ffmetadata hls image2 imf kmsgrab lavfi rtp rtsp sap sdp v4l2 video4linux2 vobsub "
    "webm_dash_manifest x11grab".split()
)


@cache
def _formats_of_one_file() -> str:
    """All formats of FFmpeg that need no more than the file itself, as its option takes them."""
    return ",".join(sorted(av.formats_available - _FORMATS_OF_OTHERS))


@contextmanager
def open_stream(path: str, *, may_decode: bool = True) -> Iterator[tuple[InputContainer, VideoStream | None]]:
    """A local file and the video stream that FFmpeg holds for the best; raises what PyAV raises.

    The `file:` prefix keeps names such as `concat:a` or `http:b` from being taken for a protocol, and the whitelists
    keep a playlist in disguise from opening another file or host. Without `may_decode`, what FFmpeg finds out by
    decoding the first frames is missing.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _formats_of_one_file(),
        "max_pixels": str(MAX_PIXELS),
    }
    listening = Listening()
    if not may_decode:
        options["codec_whitelist"] = _NO_DECODER
        listening.begin()  # that no decoder is on the list is logged as an error
    try:
        opened = av.open("file:" + path, mode="r", options=options, metadata_errors="replace")
    finally:
        listening.end()
    with opened as container:
        stream = _best_stream(container)
        if stream is not None and stream.codec_context is not None:
            _set_up(stream.codec_context)
        yield container, stream


def new_decoder(stream: VideoStream) -> VideoCodecContext:
    """A second decoder of a stream, for codecs that need to know no more than the packets and the extradata say.

    It holds back as many frames as the first one has learned to: some streams do not say how far they reorder.
    """
    old = stream.codec_context
    new = cast("VideoCodecContext", CodecContext.create(old.codec, "r"))
    new.extradata = old.extradata
    new.color_primaries, new.color_trc = old.color_primaries, old.color_trc
    new.colorspace, new.color_range = old.colorspace, old.color_range
    _set_up(new)
    new.options = {**new.options, "has_b_frames": str(old.reorder_depth)}
    new.open()
    return new


def _set_up(decoder: VideoCodecContext) -> None:
    # One thread costs least for clips, and its output does not depend on timing.
    decoder.thread_type = "SLICE"
    decoder.thread_count = 1
    decoder.copy_opaque = True  # a frame tells which packet it was made from
    # Told to "explode", decoders refuse packets, and lose count of fields and of the order of frames after those.
    decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck"}


def _best_stream(container: InputContainer) -> VideoStream | None:
    best = container.streams.best("video")
    if best is None or not isinstance(best, VideoStream):
        return None
    videos = [stream for stream in container.streams.video if not is_cover(stream)]
    return best if best in videos else next(iter(videos), None)


def is_cover(stream: Stream) -> bool:
    """Whether a stream is the cover picture of a recording, which is no video."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def start_timecode(container: InputContainer, stream: VideoStream) -> str:
    """The SMPTE timecode of the first frame, as the file says it.

    Args:
        container: The file.
        stream: Its video stream.

    Returns:
        Such as 01:00:00:00, or 01:00:00;00 where numbers are dropped: that of the video stream, of a track of timecode
        (MP4, MOV), or of the file (MXF, Matroska); empty where none of them says one.
    """
    data = (other for other in container.streams if other.type == "data")
    for metadata in (stream.metadata, *(track.metadata for track in data), container.metadata):
        for name, value in metadata.items():
            if name.lower() == "timecode" and (found := _TIMECODE.fullmatch(value.strip())):
                return "{}:{}:{}{}{}".format(*found.groups())
    return ""


UPRIGHT = (1, 0, 0, 1)


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the transformation x' = a x + c y, y' = b x + d y that a frame is to be displayed with."""
    data = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(data), dtype=np.int32)[:5])
    return a, b, c, d


def stream_time_base(stream: VideoStream) -> Fraction:
    """The unit of the stream's times, in seconds."""
    return stream.time_base or Fraction(1, 90_000)


def frame_step(stream: VideoStream) -> int:
    """One frame's length in units of the time base, for frames that carry no time of their own."""
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    return max(1, round(1 / (rate * stream_time_base(stream)))) if rate > 0 else 1


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket | None]:
    """The packets of a stream in decode order; None where reading failed and went on after it."""
    packets = _read(container, stream)
    return _timed_by_index(packets, stream) if container.format.name == AVI else packets


def _timed_by_index(packets: Iterator[VideoPacket | None], stream: VideoStream) -> Iterator[VideoPacket | None]:
    """The packets of an AVI file, which FFmpeg counts, with the times that they have in its index.

    Where chunks are destroyed, those after them would move up otherwise.
    """
    positions, times = array("q"), array("q")
    for entry in stream.index_entries:
        positions.append(entry.pos + _CHUNK_HEADER)
        times.append(entry.timestamp)
    shift, at, end = 0, -1, len(positions)
    for packet in packets:
        if packet is not None and (position := packet.pos) is not None and packet.dts is not None:
            at += 1  # as nearly always
            if at >= end or positions[at] != position:
                at = bisect_left(positions, position)
            if at < end and positions[at] == position:
                shift = max(0, times[at] - packet.dts)
            if shift:
                packet.dts += shift
                packet.pts = None if packet.pts is None else packet.pts + shift
        yield packet


def num_indexed(stream: VideoStream) -> int:
    """How many packets with something in them the index of an AVI file names."""
    return sum(entry.size > 0 for entry in stream.index_entries)


def _read(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket | None]:
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
        except IndexError:  # PyAV stumbles, after the last packet, over streams that began later than the file
            return


def decode_packet(stream: VideoStream, packet: VideoPacket | None) -> list[VideoFrame] | None:
    """The frames that come out after one packet (None: after the last one); None if it is damaged."""
    listening = Listening()
    listening.begin()  # what is damaged is logged
    try:
        return stream.codec_context.decode(packet)
    except av.error.FFmpegError:
        return None
    finally:
        listening.end()
