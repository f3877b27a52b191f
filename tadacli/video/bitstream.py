"""What a packet's own headers prove about it: whether it is exactly one frame that will be shown.

One rule for each codec whose headers say so. Nothing is decoded here, and what is not proven is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Literal

from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.video.bit_fields import LENGTHS, Bits, CodedSize, nal_units
from tadacli.video.container import AVI
from tadacli.video.h264 import h264_set

Verdict = Literal["", "frame", "unreferenced", "restart"]
"""What a packet is: not known, or exactly one frame. One may be "unreferenced": it can be left out without a
change to any other; or a "restart": decoding can start afresh from it."""

MP4, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"  # as FFmpeg names them


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
    bits = Bits(bytes(packet[:16]))
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


def packet_rule(container: InputContainer, stream: VideoStream) -> Callable[[memoryview], Verdict] | str:
    codec = stream.codec_context.codec.canonical_name
    extradata = stream.codec_context.extradata or b""
    rule: Callable[[memoryview], Verdict] | None = None
    time_bits = _mpeg4_time_bits(extradata) if codec == "mpeg4" else 0
    if container.format.name not in (MP4, MATROSKA) and not (container.format.name == AVI and time_bits):
        return "the container keeps no reliable times"
    if codec == "h264" and h264_set(extradata).has_only_whole_frames:
        rule = partial(_h264_verdict, extradata=extradata)
    elif codec == "hevc" and len(extradata) > 22 and extradata[0] == 1 and extradata[21] & 3 != 2:
        rule = partial(_hevc_verdict, extradata=extradata)
    elif time_bits:
        rule = partial(_mpeg4_verdict, extradata=extradata, time_bits=time_bits)
    elif codec in ("vp8", "vp9", "av1"):
        rule = {"vp8": _vp8_verdict, "vp9": _vp9_verdict, "av1": _av1_verdict}[codec]
    return rule or "packets of this codec need not be frames"


def _h264_verdict(data: memoryview, extradata: bytes) -> Verdict:
    length_size = (extradata[4] & 3) + 1
    at, end = length_size, len(data)
    if end >= at + 3 and LENGTHS[length_size](data, 0)[0] == end - at and data[at] & 31 == 1:
        # One slice and nothing else, as most packets are: what comes below, in half the time.
        return "" if not data[at + 1] >> 7 else "unreferenced" if data[at] == 1 else "frame"
    starts, slice_type, only_its_own = 0, 0, True
    for at, size in nal_units(data, length_size):
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
    for at, size in nal_units(data, (extradata[21] & 3) + 1):
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
    bits = Bits(extradata[layers[0].end() :])
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
