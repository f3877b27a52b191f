"""What the headers of an H.264 stream say of its frames, without a decoder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from tadacli.video.bit_fields import Bits, CodedSize, nal_units


def h264_size(extradata: bytes, packet: memoryview) -> CodedSize | None:
    """The size of the frames of an H.264 stream, where nothing but a decoder could turn the first one for display.

    Args:
        extradata: The headers of the stream.
        packet: The first one, a "restart".

    Returns:
        The size; None where it takes a decoder to know.
    """
    return None if _may_turn(packet, extradata) else h264_set(extradata).size


@dataclass(frozen=True)
class PlainH264:
    """What is commonly found out by decoding some frames of an H.264 stream, where its headers say all of it.

    Frames are those that FFmpeg calls yuv420p. `is_square`: the shape of a pixel is square, or not said;
    `reorder_depth`: how many frames wait for one that is shown before them.
    """

    is_square: bool
    reorder_depth: int


def plain_h264(extradata: bytes) -> PlainH264 | None:
    """What the headers of an H.264 stream say, where they are plain; None where it takes a decoder to know."""
    return h264_set(extradata).plain


_PICTURE_SET = 8
_MORE_OF_HIGH_PROFILES = 4  # bytes
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


@dataclass(frozen=True)
class H264Set:
    """What a parameter set says: whether it rules out pictures coded as two fields, and gaps in numbers; and a size."""

    has_only_whole_frames: bool = False
    size: CodedSize | None = None
    plain: PlainH264 | None = None


@lru_cache(maxsize=8)
def h264_set(extradata: bytes) -> H264Set:
    """The one parameter set of a stream (H.264 7.3.2.1.1), as far as it can be read."""
    if len(extradata) < 8 or extradata[0] != 1 or extradata[5] & 31 != 1 or extradata[4] & 3 == 2:
        return H264Set()  # lengths of three bytes are reserved
    length = int.from_bytes(extradata[6:8], "big")
    bits = Bits(extradata[8 : 8 + length].replace(b"\0\0\3", b"\0\0"))
    try:
        found = _walked(bits)
    except ValueError:
        return H264Set()
    return found if _has_one_picture_set(extradata[8 + length :]) else replace(found, plain=None)


def _has_one_picture_set(record: bytes) -> bool:
    """Whether the rest of the headers is one set for pictures (H.264 7.3.2.2), with the number 0, of the set 0.

    Without it nothing decodes, and no decoder says so before it is given a packet.
    """
    rest = len(record) - 3 - int.from_bytes(record[1:3], "big")
    has_one = len(record) > 4 and record[0] == 1 and rest in (0, _MORE_OF_HIGH_PROFILES)
    return has_one and record[3] & 0x9F == _PICTURE_SET and record[4] >> 6 == 3


def _walked(bits: Bits) -> H264Set:
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
            return H264Set()  # scaling lists: legal, rare, and long to walk
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
        return H264Set()
    try:
        bits.fixed(1)
        if bits.fixed(1):
            left, right, top, bottom = (bits.golomb() for _ in range(4))
            width -= (left + right) * (2 if chroma in (1, 2) and not is_separate else 1)
            height -= (top + bottom) * (2 if chroma == 1 and not is_separate else 1)
    except ValueError:
        return H264Set(has_only_whole_frames=True)
    plain = None
    if number == 0 and chroma == 1 and more_depth == 0:
        with suppress(ValueError):
            plain = _read_display(bits)
    return H264Set(has_only_whole_frames=True, size=CodedSize(height, width), plain=plain)


_MOST_FRAMES = 16
_SQUARE, _SHAPE_IN_NUMBERS = (0, 1), 255  # shapes of a pixel: not said, or as wide as high; and as two numbers


def _read_display(bits: Bits) -> PlainH264 | None:
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
    has_buffer = [_skip_buffer(bits) for _ in range(2)]
    if any(has_buffer):
        bits.fixed(1)
    bits.fixed(1)
    if not bits.fixed(1):
        return None
    bits.fixed(1)
    for _ in range(4):
        bits.golomb()
    depth, room = bits.golomb(), bits.golomb()
    return PlainH264(shape in _SQUARE, depth) if depth <= room <= _MOST_FRAMES else None


def _skip_buffer(bits: Bits) -> int:
    """Passes over what a set says of buffers (H.264 E.1.2), if it says something."""
    if not bits.fixed(1):
        return 0
    count = bits.golomb() + 1
    bits.fixed(8)
    for _ in range(count):
        bits.golomb(), bits.golomb(), bits.fixed(1)
    bits.fixed(20)
    return 1


_MESSAGES, _TURN = 6, 47


def _may_turn(packet: memoryview, extradata: bytes) -> bool:
    """Whether a message in a packet may say how the frame is to be turned (H.264 D.1.27)."""
    for at, size in nal_units(packet, (extradata[4] & 3) + 1):
        if packet[at] & 31 != _MESSAGES:
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
            if numbers[0] == _TURN:
                return True
            place += numbers[1]
    return False
