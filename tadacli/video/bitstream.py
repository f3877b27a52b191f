"""What a packet's own headers prove about it: whether it is exactly one frame that will be shown.

One rule for each codec whose headers say so. Nothing is decoded here, and what is not proven is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from struct import Struct
from typing import Literal

from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.video.container import AVI

Verdict = Literal["", "frame", "unreferenced", "restart"]
"""What a packet is: not known, or exactly one frame. One may be "unreferenced": it can be left out without a
change to any other; or a "restart": decoding can start afresh from it."""

MP4, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"  # as FFmpeg names them


@dataclass(frozen=True)
class CodedSize:
    """The size of frames in pixels, as headers say it."""

    height: int
    width: int


def h264_size(extradata: bytes, packet: memoryview) -> CodedSize | None:
    """The size of the frames of an H.264 stream, where nothing but a decoder could turn the first one for display.

    Args:
        extradata: The headers of the stream.
        packet: The first one, a "restart".

    Returns:
        The size; None where it takes a decoder to know.
    """
    return None if _h264_may_turn(packet, extradata) else _h264_set(extradata).size


@dataclass(frozen=True)
class PlainH264:
    """What is commonly found out by decoding some frames of an H.264 stream, where its headers say all of it.

    Frames are those that FFmpeg calls yuv420p. `is_square`: the shape of a pixel is square, or not said;
    `reorder_depth`: how many frames wait for one that is shown before them.
    """

    size: CodedSize
    is_square: bool
    reorder_depth: int


VP9_FORMAT = "yuv420p"  # that of the frames of which `vp9_size` tells a size
_VP9_KEY_START, _VP9_RGB = 0x498342, 7


def vp9_size(packet: memoryview) -> CodedSize | None:
    """The size of the frame in a packet of VP9, a "restart" (VP9 6.2), whose frames FFmpeg calls yuv420p.

    A decoder believes the size that a packet claims, also a damaged one, so nothing but another source can confirm it.

    Args:
        packet: The packet.

    Returns:
        The size; None of frames of another format.
    """
    bits = _Bits(bytes(packet[:16]))
    try:
        is_plain = bits.fixed(2) == 2 and bits.fixed(2) == 0  # the mark of a frame, and the profile
        is_key = bits.fixed(1) == 0 and bits.fixed(1) == 0 and bits.fixed(1) == 1 and bits.fixed(1) in (0, 1)
        if not (is_plain and is_key and bits.fixed(24) == _VP9_KEY_START and bits.fixed(3) != _VP9_RGB):
            return None
        bits.fixed(1)
        width, height = 1 + bits.fixed(16), 1 + bits.fixed(16)
    except ValueError:
        return None
    return CodedSize(height, width)


def plain_h264(extradata: bytes) -> PlainH264 | None:
    """What the headers of an H.264 stream say, where they are plain; None where it takes a decoder to know."""
    return _h264_set(extradata).plain


def packet_rule(container: InputContainer, stream: VideoStream) -> Callable[[memoryview], Verdict] | str:
    codec = stream.codec_context.codec.canonical_name
    extradata = stream.codec_context.extradata or b""
    rule: Callable[[memoryview], Verdict] | None = None
    time_bits = _mpeg4_time_bits(extradata) if codec == "mpeg4" else 0
    if container.format.name not in (MP4, MATROSKA) and not (container.format.name == AVI and time_bits):
        return "the container keeps no reliable times"
    if codec == "h264" and _h264_set(extradata).has_only_whole_frames:
        rule = partial(_h264_verdict, extradata=extradata)
    elif codec == "hevc" and len(extradata) > 22 and extradata[0] == 1 and extradata[21] & 3 != 2:
        rule = partial(_hevc_verdict, extradata=extradata)
    elif time_bits:
        rule = partial(_mpeg4_verdict, extradata=extradata, time_bits=time_bits)
    elif codec in ("vp8", "vp9", "av1"):
        rule = {"vp8": _vp8_verdict, "vp9": _vp9_verdict, "av1": _av1_verdict}[codec]
    return rule or "packets of this codec need not be frames"


def _nal_units(data: memoryview, length_size: int) -> list[tuple[int, int]]:
    """(start, size) of the NAL units of a length-prefixed packet; none when the lengths do not add up."""
    length_at, units, at, end = _LENGTHS[length_size], [], 0, len(data)
    while at + length_size <= end:
        size = length_at(data, at)[0]
        at += length_size
        if size < 3 or at + size > end:
            return []
        units.append((at, size))
        at += size
    return units if at == end else []


# Read millions of times: this is three times as fast as int.from_bytes of a slice.
_LENGTHS = {1: Struct("B").unpack_from, 2: Struct(">H").unpack_from, 4: Struct(">I").unpack_from}


def _h264_verdict(data: memoryview, extradata: bytes) -> Verdict:
    length_size = (extradata[4] & 3) + 1
    at, end = length_size, len(data)
    if end >= at + 3 and _LENGTHS[length_size](data, 0)[0] == end - at and data[at] & 31 == 1:
        # One slice and nothing else, as most packets are: what comes below, in half the time.
        return "" if not data[at + 1] >> 7 else "unreferenced" if data[at] == 1 else "frame"
    starts, slice_type, only_its_own = 0, 0, True
    for at, size in _nal_units(data, length_size):
        header = data[at]
        kind = header & 31
        if kind == 1 or kind == 5:
            if slice_type not in (0, kind):
                return ""
            slice_type = kind
            starts += data[at + 1] >> 7  # first_mb_in_slice 0 is coded as a single 1 bit
            only_its_own = only_its_own and header == 1  # nal_ref_idc 0: no reference picture
        elif kind in (2, 3, 4) or (kind in (7, 8) and bytes(data[at : at + size]) not in extradata):
            return ""
        elif kind not in (6, 9, 12):  # anything but messages, delimiters and filling may matter to others
            only_its_own = False
    if starts != 1:
        return ""
    if slice_type == 5:
        return "restart"
    return "unreferenced" if only_its_own else "frame"


def _hevc_verdict(data: memoryview, extradata: bytes) -> Verdict:
    starts, kinds = 0, set()
    for at, size in _nal_units(data, (extradata[21] & 3) + 1):
        kind, layer = data[at] >> 1 & 63, (data[at] & 1) << 5 | data[at + 1] >> 3
        if layer:
            continue
        if kind < 32:
            kinds.add(kind)
            starts += data[at + 2] >> 7
            if 16 <= kind <= 23 and data[at + 2] & 0x40:  # may throw away frames that were not shown yet
                return ""
        elif kind in (36, 37) or (kind in (32, 33, 34) and bytes(data[at : at + size]) not in extradata):
            return ""
    if starts != 1 or len(kinds) != 1 or kinds & {16, 17, 18}:
        return ""
    return "restart" if kinds & {19, 20} else "frame"


def _vp8_verdict(data: memoryview) -> Verdict:
    if not data[0] >> 4 & 1:  # made for reference only, never shown
        return ""
    return "frame" if data[0] & 1 else "restart"


def _vp9_verdict(data: memoryview) -> Verdict:
    marker, sizes = data[-1], [len(data)]
    if marker >> 5 == 6:
        count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
        index = bytes(data[-(2 + count * width) :])
        if len(index) == 2 + count * width and index[0] == marker:
            sizes = [int.from_bytes(index[1 + i * width :][:width], "little") for i in range(count)]
    at, shown, key = 0, 0, False
    for size in sizes:
        if size == 0 or at >= len(data):
            return ""
        header = data[at]
        bit = 3 - (header >> 4 & 3 == 3)  # profile 3 has one more reserved bit
        repeats, not_key, show = header >> bit & 1, header >> bit - 1 & 1, header >> bit - 2 & 1
        shown += repeats or show
        key = not repeats and not not_key
        at += size
    if shown != 1:
        return ""
    return "restart" if key and len(sizes) == 1 else "frame"


def _av1_verdict(data: memoryview) -> Verdict:
    at, shown, key = 0, 0, False
    while at < len(data):
        header = data[at]
        extended, at = header >> 2 & 1, at + 1 + (header >> 2 & 1)
        if extended and at <= len(data) and data[at - 1] >> 3 & 3:  # a second spatial layer
            return ""
        size, shift = len(data) - at, 0
        if header >> 1 & 1:
            size = 0
            while at < len(data):
                size, shift, at = size | (data[at] & 127) << shift, shift + 7, at + 1
                if not data[at - 1] >> 7:
                    break
        if at + size > len(data):
            return ""
        if header >> 3 & 15 in (3, 6) and size:  # a frame header, alone or with its tiles
            repeats, kind, show = data[at] >> 7, data[at] >> 5 & 3, data[at] >> 4 & 1
            shown += repeats or show
            key = key or bool(show and kind == 0 and not repeats)
        at += size
    if shown != 1:
        return ""
    return "restart" if key else "frame"


_START, _MPEG4_PICTURE = re.compile(rb"\x00\x00\x01"), re.compile(rb"\x00\x00\x01\xb6")  # faster here than `find`
_MPEG4_GROUP = b"\0\0\1\xb3"
_MPEG4_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f]")
_GROUP_SIZE = 7  # bytes
_SIMPLE, _ADVANCED_SIMPLE = 1, 17
_EXTENDED_ASPECT, _BUFFER_BITS = 15, 79
_PICTURE_HEADER = 16  # bytes: more than it takes up to whether the picture is coded at all


def _mpeg4_verdict(data: memoryview, extradata: bytes, time_bits: int) -> Verdict:
    """Of MPEG-4 Visual: a picture of its own or one made from those before it, alone in its packet.

    A packet with a picture made from a later one is not known: files without such ones have no two pictures in a
    packet, no empty packets in the place of the second one, and each is shown in the order of the packets, which are
    all the times that an AVI file has.
    """
    picture = _MPEG4_PICTURE.search(data)
    if picture is None or _START.search(data, picture.end()):
        return ""
    headers, at = bytes(data[: picture.start()]), picture.end()
    if len(headers) >= _GROUP_SIZE and headers[-_GROUP_SIZE:].startswith(_MPEG4_GROUP):
        headers = headers[:-_GROUP_SIZE]  # a time of day
    if headers and headers not in extradata:
        return ""
    start = data[at : at + _PICTURE_HEADER]
    bits, left = int.from_bytes(start, "big"), 8 * len(start) - 2
    kind = bits >> left
    while left > 0 and bits >> left - 1 & 1:  # a second since the picture before it
        left -= 1
    left -= 1 + time_bits + 3
    if left < 0 or kind > 1:
        return ""
    marks_and_coded = bits >> left + time_bits + 2 & 1, bits >> left + 1 & 1, bits >> left & 1
    if not all(marks_and_coded):
        return ""
    return "frame" if kind else "restart"


def _mpeg4_time_bits(extradata: bytes) -> int:
    """How many bits the time of a picture has, by the one header of its layer (ISO 14496-2 6.2.3); 0 if not known."""
    layers = list(_MPEG4_LAYER.finditer(extradata))
    if len(layers) != 1:
        return 0
    bits = _Bits(extradata[layers[0].end() :])
    try:
        bits.fixed(1)
        if bits.fixed(8) not in (_SIMPLE, _ADVANCED_SIMPLE):
            return 0
        if bits.fixed(1):
            bits.fixed(7)
        if bits.fixed(4) == _EXTENDED_ASPECT:
            bits.fixed(16)
        if bits.fixed(1):
            bits.fixed(3)
            if bits.fixed(1):
                bits.fixed(_BUFFER_BITS)
        shape, mark = bits.fixed(2), bits.fixed(1)
        ticks = bits.fixed(16)
    except ValueError:
        return 0
    return max(1, (ticks - 1).bit_length()) if shape == 0 and mark and ticks else 0


class _Bits:
    """Reads the bit fields and exponential Golomb codes of a parameter set."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def fixed(self, count: int) -> int:
        self._at += count
        if self._at > len(self._bits):
            raise ValueError("parameter set too short")
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def golomb(self) -> int:
        zeros = 0
        while not self.fixed(1):
            zeros += 1
        return (1 << zeros) - 1 + self.fixed(zeros)


_PICTURE_SET = 8
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


@dataclass(frozen=True)
class _H264Set:
    """What a parameter set says: whether it rules out pictures coded as two fields, and gaps in numbers; and a size."""

    has_only_whole_frames: bool = False
    size: CodedSize | None = None
    plain: PlainH264 | None = None


@lru_cache(maxsize=8)
def _h264_set(extradata: bytes) -> _H264Set:
    """The one parameter set of a stream (H.264 7.3.2.1.1), as far as it can be read."""
    if len(extradata) < 8 or extradata[0] != 1 or extradata[5] & 31 != 1 or extradata[4] & 3 == 2:
        return _H264Set()  # lengths of three bytes are reserved
    length = int.from_bytes(extradata[6:8], "big")
    bits = _Bits(extradata[8 : 8 + length].replace(b"\0\0\3", b"\0\0"))
    try:
        found = _walk_h264_set(bits)
    except ValueError:
        return _H264Set()
    return found if _has_one_picture_set(extradata[8 + length :]) else replace(found, plain=None)


def _has_one_picture_set(record: bytes) -> bool:
    """Whether the rest of the headers is one set for pictures (H.264 7.3.2.2), with the number 0, of the set 0.

    Without it nothing decodes, and no decoder says so before it is given a packet.
    """
    return len(record) > 4 and record[0] == 1 and record[3] & 0x9F == _PICTURE_SET and record[4] >> 6 == 3


def _walk_h264_set(bits: _Bits) -> _H264Set:
    """Raises `ValueError` where the set ends before it says whether pictures are whole frames."""
    profile, chroma, is_separate, more_depth = bits.fixed(16) & 255, 1, 0, 0
    bits.fixed(16)
    number = bits.golomb()
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            is_separate = bits.fixed(1)
        more_depth = bits.golomb() + bits.golomb()
        bits.fixed(1)
        if bits.fixed(1):
            return _H264Set()  # scaling lists: legal, rare, and long to walk
    bits.golomb()
    order_type = bits.golomb()
    if order_type == 0:
        bits.golomb()
    elif order_type == 1:
        bits.fixed(1), bits.golomb(), bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    has_gaps = bits.fixed(1)
    width, height = (16 * (1 + bits.golomb()) for _ in range(2))
    if not bits.fixed(1) or has_gaps:
        return _H264Set()
    try:
        bits.fixed(1)
        if bits.fixed(1):
            left, right, top, bottom = (bits.golomb() for _ in range(4))
            width -= (left + right) * (2 if chroma in (1, 2) and not is_separate else 1)
            height -= (top + bottom) * (2 if chroma == 1 and not is_separate else 1)
    except ValueError:
        return _H264Set(has_only_whole_frames=True)
    size, plain = CodedSize(height, width), None
    if number == 0 and chroma == 1 and more_depth == 0:
        with suppress(ValueError):
            plain = _plain_h264(size, bits)
    return _H264Set(has_only_whole_frames=True, size=size, plain=plain)


_MOST_H264_FRAMES = 16
_SQUARE, _SHAPE_IN_NUMBERS = (0, 1), 255  # shapes of a pixel: not said, or as wide as high; and as two numbers


def _plain_h264(size: CodedSize, bits: _Bits) -> PlainH264 | None:
    """Reads what a set says of display (H.264 E.1.1); None where it is not plain.

    Raises `ValueError` where the set ends too early.
    """
    if not bits.fixed(1):
        return None
    shape = bits.fixed(8) if bits.fixed(1) else _SQUARE[0]
    if shape == _SHAPE_IN_NUMBERS:
        bits.fixed(32)
    if bits.fixed(1):
        bits.fixed(1)
    if bits.fixed(1):
        bits.fixed(3)
        if bits.fixed(1):
            return None  # all levels of a byte, for which FFmpeg has other formats
        if bits.fixed(1):
            bits.fixed(24)
    if bits.fixed(1):
        bits.golomb(), bits.golomb()
    if bits.fixed(1):
        bits.fixed(65)
    has_buffer = [_skip_h264_buffer(bits) for _ in range(2)]
    if any(has_buffer):
        bits.fixed(1)
    bits.fixed(1)
    if not bits.fixed(1):
        return None
    bits.fixed(1)
    for _ in range(4):
        bits.golomb()
    depth, room = bits.golomb(), bits.golomb()
    return PlainH264(size, shape in _SQUARE, depth) if depth <= room <= _MOST_H264_FRAMES else None


def _skip_h264_buffer(bits: _Bits) -> int:
    """Passes over what a set says of buffers (H.264 E.1.2), if it says something."""
    if not bits.fixed(1):
        return 0
    count = bits.golomb() + 1
    bits.fixed(8)
    for _ in range(count):
        bits.golomb(), bits.golomb(), bits.fixed(1)
    bits.fixed(20)
    return 1


_H264_MESSAGES, _H264_TURN = 6, 47


def _h264_may_turn(packet: memoryview, extradata: bytes) -> bool:
    """Whether a message in a packet may say how the frame is to be turned (H.264 D.1.27)."""
    for at, size in _nal_units(packet, (extradata[4] & 3) + 1):
        if packet[at] & 31 != _H264_MESSAGES:
            continue
        data = bytes(packet[at + 1 : at + size]).replace(b"\0\0\3", b"\0\0")
        place = 0
        while place < len(data) - 1:
            numbers = []  # the kind of a message, and how long it is
            for _ in range(2):
                number = 0
                while place < len(data) and data[place] == 255:
                    number, place = number + 255, place + 1
                if place >= len(data):
                    return True
                numbers.append(number + data[place])
                place += 1
            if numbers[0] == _H264_TURN:
                return True
            place += numbers[1]
    return False
