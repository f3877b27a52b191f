"""What the headers of packets prove, codec by codec, from bytes made by hand: no encoder writes most of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tadacli.video.bit_fields import CodedSize
from tadacli.video.bitstream import MATROSKA, MP4, packet_rule, vp9_size
from tadacli.video.h264 import PlainH264, h264_size, plain_h264

Rule = Callable[[memoryview], str]


def rule_of(codec: str, extradata: bytes = b"", *, container: str = MP4) -> Rule | str:
    """The rule for a stream of which no more is known than this; text where there is none."""
    context = SimpleNamespace(codec=SimpleNamespace(canonical_name=codec), extradata=extradata)
    file: Any = SimpleNamespace(format=SimpleNamespace(name=container))
    stream: Any = SimpleNamespace(codec_context=context, disposition=0)
    return packet_rule(file, stream)


def verdict_of(rule: Rule | str, packet: bytes) -> str:
    assert not isinstance(rule, str)
    return rule(memoryview(packet))


@pytest.mark.parametrize(("codec", "container"), [("vp9", "avi"), ("vp9", "mpegts"), ("mpeg4", MP4), ("h264", MP4)])
def test_where_nothing_is_proven_there_is_no_rule(codec: str, container: str) -> None:
    assert isinstance(rule_of(codec, container=container), str)


# --- MPEG-4 part 2 ----------------------------------------------------------------------------------


def layer(
    *, object_type: int = 1, shape: int = 0, ticks: int = 30, control: str = "0", extended: bool = False
) -> bytes:
    """What stands before the first picture: the header of a layer (ISO 14496-2 6.2.3), and who made it."""
    aspect = "1111" + f"{64:08b}{51:08b}" if extended else "0001"
    bits = f"0{object_type:08b}" + "0" + aspect + control + f"{shape:02b}1{ticks:016b}1" + "0" * 16
    return b"\0\0\1\x20" + whole_bytes(bits) + b"\0\0\1\xb2maker"


def picture(kind: int, *, seconds: int = 0, coded: int = 1, marks: str = "11", time_bits: int = 5) -> bytes:
    """A picture with its header (6.2.5); `kind` is 0 for one of its own, 1 for one made from those before it."""
    bits = f"{kind:02b}" + "1" * seconds + "0" + marks[0] + "0" * time_bits + marks[1] + f"{coded}"
    return b"\0\0\1\xb6" + whole_bytes(bits) + b"\xff" * 20


def whole_bytes(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


TIME_OF_DAY = b"\0\0\1\xb3\x10\x07\x50"


@pytest.mark.parametrize("container", [MP4, MATROSKA, "avi"])
@pytest.mark.parametrize(
    ("headers", "time_bits"),
    [
        (layer(), 5),
        (layer(object_type=17, ticks=30000, extended=True), 15),
        (layer(control="1" + "011" + "0"), 5),
        (layer(control="1" + "011" + "1" + "1" * 79, ticks=1), 1),
    ],
)
def test_mpeg4_pictures_are_told_by_their_headers(container: str, headers: bytes, time_bits: int) -> None:
    rule = rule_of("mpeg4", headers, container=container)
    for packet, verdict in (
        (picture(0, time_bits=time_bits), "restart"),
        (headers + TIME_OF_DAY + picture(0, time_bits=time_bits), "restart"),
        (picture(1, time_bits=time_bits), "frame"),
        (picture(1, time_bits=time_bits, seconds=9), "frame"),
        (picture(2, time_bits=time_bits), ""),
        (picture(3, time_bits=time_bits), ""),
        (picture(1, time_bits=time_bits, coded=0), ""),
        (picture(1, time_bits=time_bits, marks="01"), ""),
        (picture(1, time_bits=time_bits, marks="10"), ""),
        (picture(1, time_bits=time_bits) + picture(2, time_bits=time_bits), ""),
        (b"\0\0\1\xb2other" + picture(0, time_bits=time_bits), ""),
        (picture(1, seconds=200), ""),
        (picture(1)[:5], ""),
        (b"\x7f", ""),
    ):
        assert verdict_of(rule, packet) == verdict, packet


@pytest.mark.parametrize(
    "headers",
    [b"", layer(object_type=2), layer(shape=1), layer(ticks=0), layer() + layer(), layer()[:8]],
    ids=["none", "other objects", "a shape", "no ticks", "two layers", "cut off"],
)
def test_mpeg4_with_other_headers_is_not_believed(headers: bytes) -> None:
    assert isinstance(rule_of("mpeg4", headers), str)


# --- H.264 ------------------------------------------------------------------------------------------


def golomb(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def parameter_set(
    *,
    profile: int = 77,
    chroma: int = 1,
    scaling_lists: bool = False,
    order_type: int = 0,
    offset: int = 3,
    gaps: bool = False,
    frames_only: bool = True,
    end: str = "",
) -> bytes:
    """A sequence parameter set of H.264 (7.3.2.1.1), as the file holds it; `end` comes after the kind of pictures."""
    bits = f"{0x67:08b}{profile:08b}{0:08b}{30:08b}" + golomb(0)
    if profile >= 100:
        bits += golomb(chroma) + ("0" if chroma == 3 else "") + golomb(0) + golomb(0) + "0" + "01"[scaling_lists]
    bits += golomb(4) + golomb(order_type)
    if order_type == 0:
        bits += golomb(2)
    elif order_type == 1:
        bits += "1" + golomb(offset) + golomb(1) + golomb(2) + golomb(4) + golomb(6)
    bits += golomb(4) + "01"[gaps] + golomb(9) + golomb(5) + "01"[frames_only] + (end or "110001")
    bits += "0" * (-len(bits) % 8)
    plain = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    escaped = bytearray()
    for byte in plain:
        if byte <= 3 and escaped[-2:] == b"\0\0":
            escaped.append(3)
        escaped.append(byte)
    return bytes(escaped)


def avc_record(sets: Sequence[bytes], *, length_size: int = 4) -> bytes:
    head = bytes([1, 77, 0, 30, 0xFC | length_size - 1, 0xE0 | len(sets)])
    return head + b"".join(len(each).to_bytes(2, "big") + each for each in sets) + b"\x01\x00\x04\x68\xce\x3c\x80"


@pytest.mark.parametrize(
    ("options", "is_believed", "reason"),
    [
        ({}, True, "pictures are whole frames"),
        ({"profile": 100}, True, "high profile"),
        ({"profile": 244, "chroma": 3}, True, "of full colour"),
        ({"order_type": 1}, True, "an order told by a cycle"),
        ({"order_type": 2}, True, "shown in the order of decoding"),
        ({"order_type": 1, "offset": 1 << 29}, True, "bytes put in so that no start code appears"),
        ({"frames_only": False}, False, "a packet may be half of a frame"),
        ({"profile": 100, "frames_only": False}, False, "in high profile, too"),
        ({"profile": 244, "chroma": 3, "frames_only": False}, False, "in full colour, too"),
        ({"order_type": 1, "frames_only": False}, False, "after a cycle, too"),
        ({"order_type": 1, "offset": 1 << 29, "frames_only": False}, False, "after bytes put in, too"),
        ({"gaps": True}, False, "a decoder makes up frames for numbers that are left out"),
        ({"profile": 100, "scaling_lists": True}, False, "not walked"),
    ],
)
def test_h264_is_believed_where_the_parameter_set_rules_out_fields_and_gaps(
    options: dict[str, Any], is_believed: bool, reason: str
) -> None:
    rule = rule_of("h264", avc_record([parameter_set(**options)]))
    assert (not isinstance(rule, str)) is is_believed, reason


def test_h264_of_several_parameter_sets_or_of_one_cut_short_is_not_believed() -> None:
    whole = parameter_set()
    assert isinstance(rule_of("h264", avc_record([whole, whole])), str)
    assert isinstance(rule_of("h264", avc_record([])), str)
    assert isinstance(rule_of("h264", avc_record([whole], length_size=3)), str), "reserved"
    for end in range(len(whole) - 2):
        assert isinstance(rule_of("h264", avc_record([whole[:end]])), str)


@pytest.mark.parametrize("length_size", [1, 2, 4])
def test_lengths_of_units_have_the_size_that_the_record_says(length_size: int) -> None:
    rule = rule_of("h264", avc_record([parameter_set()], length_size=length_size))
    unit = b"\x65\x80\x11\x22"
    packet = len(unit).to_bytes(length_size, "big") + unit
    assert verdict_of(rule, packet) == "restart"
    assert verdict_of(rule, packet + packet[:-1]) == ""
    other = {1: 2, 2: 4, 4: 1}[length_size]
    assert verdict_of(rule, len(unit).to_bytes(other, "big") + unit) == ""


def test_h264_sizes_are_those_of_the_parameter_set_without_what_is_cropped() -> None:
    """9 + 1 blocks of 16 pixels across and 5 + 1 down, cropped in units of the colour's grid."""
    cropped = "1" + "1" + "".join(golomb(each) for each in (1, 2, 3, 0)) + "0" + "1"
    for options, expected in (
        ({"end": "1001"}, CodedSize(96, 160)),
        ({"end": cropped}, CodedSize(90, 154)),
        ({"end": cropped, "profile": 122, "chroma": 2}, CodedSize(93, 154)),
        ({"end": cropped, "profile": 244, "chroma": 3}, CodedSize(93, 157)),
        ({"end": cropped, "profile": 100, "chroma": 0}, CodedSize(93, 157)),
        ({"end": "1" + "1" + "1" * 3}, None),  # the crop is cut off
        ({"frames_only": False}, None),
    ):
        record = avc_record([parameter_set(**options)])
        assert h264_size(record, memoryview(avc_packet(b"\x65\x88\x80"))) == expected, options
    assert not isinstance(rule_of("h264", avc_record([parameter_set(end="1" + "1" + "1" * 3)])), str)


def display(
    *,
    shape: int | None = None,
    full_range: bool = False,
    colours: bool = True,
    buffer: bool = False,
    is_told: bool = True,
    depth: int = 2,
    room: int = 4,
) -> str:
    """How frames are to be displayed, as the end of a parameter set says it (H.264 E.1.1)."""
    bits = "0" if shape is None else f"1{shape:08b}" + (f"{4:016b}{3:016b}" if shape == 255 else "")
    bits += "11" + "1" + f"{5:03b}" + "01"[full_range] + ("1" + f"{1:08b}" * 3 if colours else "0")
    bits += "1" + golomb(1) * 2 + "1" + f"{1:032b}{60:032b}" + "1"
    bits += ("1" + golomb(1) + f"{9:08b}" + (golomb(7) * 2 + "1") * 2 + f"{77:020b}" if buffer else "0") + "0"
    bits += ("1" if buffer else "") + "1"
    if is_told:
        bits += "1" + "1" + golomb(0) + golomb(0) + golomb(9) * 2 + golomb(depth) + golomb(room)
    return "1" + "0" + "1" + bits + ("" if is_told else "0") + "1"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"end": display()}, PlainH264(True, 2)),
        ({"end": display(), "profile": 100}, PlainH264(True, 2)),
        ({"end": display(buffer=True, colours=False)}, PlainH264(True, 2)),
        ({"end": display(shape=1, depth=0, room=0)}, PlainH264(True, 0)),
        ({"end": display(shape=255, depth=1)}, PlainH264(False, 1)),
        ({"end": display(shape=14)}, PlainH264(False, 2)),
        ({"end": display(full_range=True)}, None),
        ({"end": display(is_told=False)}, None),
        ({"end": display(depth=5)}, None),
        ({"end": display(depth=17, room=17)}, None),
        ({"end": display(), "profile": 122, "chroma": 2}, None),
        ({"end": display()[:-12]}, None),
        ({"end": "1001"}, None),
        ({"end": display(), "gaps": True}, None),
    ],
)
def test_h264_is_plain_where_its_headers_say_what_decoding_would_tell(
    options: dict[str, Any], expected: PlainH264 | None
) -> None:
    assert plain_h264(avc_record([parameter_set(**options)])) == expected


def test_h264_without_its_picture_set_is_not_plain() -> None:
    """Of such a file not one frame decodes, and a decoder is opened with it without a word."""
    record = avc_record([parameter_set(end=display())])
    at = len(record) - 7
    assert record[at:] == b"\x01\x00\x04\x68\xce\x3c\x80"
    for place, value in ((at, 0), (at, 2), (at + 3, 0xE8), (at + 3, 0x67), (at + 4, 0x8E), (at + 4, 0x4E)):
        damaged = bytearray(record)
        damaged[place] = value
        assert plain_h264(bytes(damaged)) is None, (place - at, value)
    assert plain_h264(record[:-3]) is None


def avc_packet(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize(
    ("messages", "may_turn"),
    [
        (b"\x05\x03abc", False),
        (b"\x2f\x03abc", True),
        (b"\x05\x03abc\x2f\x01a", True),
        (b"\x05\xff\x01" + bytes([7]) * 256 + b"\x2f\x01a", True),
        (b"\x05\xff\x01" + bytes([7]) * 256 + b"\x01\x01a", False),
        (b"\xff\x2f\x03abc", False),
        (b"\x05\x04\0\0\x03\0\0\x03\x2f\x01a", True),  # bytes put in are none of the message
        (b"\xff" * 9, True),  # it ends before it says which kind it is
    ],
)
def test_a_message_in_h264_that_may_turn_the_frame_is_left_to_the_decoder(messages: bytes, may_turn: bool) -> None:
    record = avc_record([parameter_set(end="1001")])
    packet = avc_packet(b"\x09\xf0\x80", b"\x06" + messages, b"\x65\x88\x80")
    assert (h264_size(record, memoryview(packet)) is None) is may_turn


# --- HEVC -------------------------------------------------------------------------------------------

TRAIL, BLA, IDR, CRA, SPS, END_OF_SEQUENCE, PREFIX_SEI = 1, 16, 19, 21, 33, 36, 39
FIRST, NO_OUTPUT = 0x80, 0x40  # first_slice_segment_in_pic_flag, no_output_of_prior_pics_flag


def hevc_unit(kind: int, flags: int, *, layer: int = 0) -> bytes:
    unit = bytes([kind << 1 | layer >> 5, (layer & 31) << 3 | 1, flags, 0x22])
    return len(unit).to_bytes(4, "big") + unit


KNOWN_SPS = hevc_unit(SPS, 0x55)[4:]


def test_a_packet_of_one_unit_is_what_it_is_with_filling_after_it() -> None:
    """The usual packet is judged at a glance."""
    rule = rule_of("h264", avc_record([parameter_set()]))
    assert not isinstance(rule, str)

    def unit(*content: int) -> bytes:
        return len(content).to_bytes(4, "big") + bytes(content)

    for header, second in itertools.product(range(256), (0x00, 0x7F, 0x80, 0xFF)):
        alone = unit(header, second, 0x55)
        assert rule(memoryview(alone)) == rule(memoryview(alone + unit(12, 0xFF, 0x80)))
        assert rule(memoryview(alone[:-1])) == rule(memoryview(alone + b"\0")) == "", "lengths do not add up"


@pytest.mark.parametrize(
    ("units", "verdict", "reason"),
    [
        ([(IDR, FIRST)], "restart", "starts afresh"),
        ([(CRA, FIRST)], "frame", "frames after it may refer to others before it"),
        ([(TRAIL, FIRST), (TRAIL, 0)], "frame", "two slices of one picture"),
        ([(TRAIL, FIRST | NO_OUTPUT)], "frame", "the flag is one of clean starts alone"),
        ([(IDR, FIRST | NO_OUTPUT)], "", "frames that were not shown yet may be thrown away"),
        ([(CRA, FIRST | NO_OUTPUT)], "", "so may they here"),
        ([(BLA, FIRST)], "", "a splice"),
        ([(PREFIX_SEI, 0), (IDR, FIRST)], "restart", "a message says nothing"),
        ([(SPS, 0x55), (IDR, FIRST)], "restart", "parameters that are known"),
        ([(SPS, 0x56), (IDR, FIRST)], "", "other parameters"),
        ([(IDR, FIRST), (END_OF_SEQUENCE, 0)], "", "what comes after is another stream"),
        ([(TRAIL, FIRST), (TRAIL, FIRST)], "", "two pictures"),
        ([(TRAIL, 0)], "", "no start of a picture"),
        ([(IDR, FIRST), (TRAIL, 0)], "", "slices of two kinds"),
    ],
)
def test_what_the_headers_of_hevc_prove(units: list[tuple[int, int]], verdict: str, reason: str) -> None:
    rule = rule_of("hevc", b"\x01" + bytes(20) + b"\x03\x01" + KNOWN_SPS)
    packet = b"".join(hevc_unit(*unit) for unit in units)
    assert verdict_of(rule, packet) == verdict, reason
    second_eye = b"".join(hevc_unit(kind, flags, layer=1) for kind, flags in units)
    assert verdict_of(rule, packet + second_eye) == verdict, "what is in other layers is no frame of ours"
    assert verdict_of(rule, second_eye) == ""


# --- VP8 and VP9 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_byte", "verdict", "reason"),
    [
        (0x10, "restart", "a key frame"),
        (0x11, "frame", "any other"),
        (0x01, "", "never shown: made for others to refer to"),
        (0x00, "", "nor is this one"),
    ],
)
def test_what_the_headers_of_vp8_prove(first_byte: int, verdict: str, reason: str) -> None:
    assert verdict_of(rule_of("vp8", container=MATROSKA), bytes([first_byte, 2, 3])) == verdict, reason


KEY, HIDDEN_KEY, INTER, HIDDEN, AGAIN = 0x82, 0x80, 0x86, 0x84, 0x88  # of profile 0


def superframe(*frames: bytes) -> bytes:
    """Several frames in one packet, with their sizes after them (VP9, annex B)."""
    marker = bytes([0xC0 | len(frames) - 1])
    return b"".join(frames) + marker + bytes(len(frame) for frame in frames) + marker


@pytest.mark.parametrize(
    ("headers", "verdict", "reason"),
    [
        ([KEY], "restart", "a key frame"),
        ([INTER], "frame", "any other"),
        ([HIDDEN], "", "never shown"),
        ([HIDDEN_KEY], "", "nor is this one"),
        ([AGAIN], "frame", "an earlier frame is shown now"),
        ([0xB1], "restart", "a key frame of profile 3, whose headers have one more bit"),
        ([0xB3], "frame", "any other of that profile"),
        ([0xB2], "", "never shown, of that profile"),
        ([HIDDEN, INTER], "frame", "a hidden frame comes along"),
        ([HIDDEN_KEY, INTER], "frame", "decoding cannot start from the shown one"),
        ([KEY, HIDDEN], "frame", "a hidden frame after the key frame"),
        ([HIDDEN, KEY], "frame", "a hidden frame before it, which others may refer to"),
        ([INTER, INTER], "", "two frames in one packet"),
        ([AGAIN, INTER], "", "an earlier one, and another"),
        ([HIDDEN, HIDDEN], "", "none is shown"),
    ],
)
def test_what_the_headers_of_vp9_prove(headers: list[int], verdict: str, reason: str) -> None:
    frames = [bytes([header, 1, 2, 3]) for header in headers]
    packet = superframe(*frames) if len(frames) > 1 else frames[0]
    assert verdict_of(rule_of("vp9"), packet) == verdict, reason


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("82 49 83 42 20 09f0 05f0 00", CodedSize(96, 160)),
        ("82 49 83 42 30 09f0 05f0 00", CodedSize(96, 160)),  # all levels of a byte: the same format to FFmpeg
        ("86 49 83 42 20 09f0 05f0 00", None),  # no key frame
        ("80 49 83 42 20 09f0 05f0 00", None),  # never shown
        ("8a 49 83 42 20 09f0 05f0 00", None),  # an earlier one
        ("82 49 83 43 20 09f0 05f0 00", None),
        ("92 49 83 42 20 09f0 05f0 00", None),  # profile 2, of more than 8 bits
        ("a2 49 83 42 20 09f0 05f0 00", None),  # profile 1, of other grids of colour
        ("82 49 83 42 e0 09f0 05f0 00", None),  # RGB
        ("42 49 83 42 20 09f0 05f0 00", None),  # not the mark
        ("82 49 83 42 20 09f0", None),
    ],
)
def test_the_size_of_vp9_is_that_of_its_key_frame(head: str, expected: CodedSize | None) -> None:
    assert vp9_size(memoryview(bytes.fromhex(head))) == expected


def test_a_last_byte_that_happens_to_look_like_an_index_is_none() -> None:
    ending = superframe(bytes([INTER, 1]), bytes([INTER, 1]))[-4:]
    rule = rule_of("vp9")
    assert verdict_of(rule, bytes([INTER, *[9] * 8]) + ending) == "", "an index whose sizes do not fit"
    assert verdict_of(rule, bytes([KEY, *[9] * 8, 0xC1])) == "restart", "no index begins with the same byte"


# --- AV1 --------------------------------------------------------------------------------------------

FRAME, FRAME_HEADER, DELIMITER, METADATA = 6, 3, 2, 5
EXISTING, KEY_KIND, INTER_KIND, SHOWN = 0x80, 0 << 5, 1 << 5, 0x10  # show_existing_frame, frame_type, show_frame


def obu(kind: int, body: bytes, *, layer: int | None = None) -> bytes:
    """An open bitstream unit with its size, which takes two bytes from 128 on."""
    size = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([kind << 3 | 2 | (layer is not None) << 2, *([] if layer is None else [layer << 3])]) + size + body


@pytest.mark.parametrize(
    ("units", "verdict", "reason"),
    [
        ([(FRAME, KEY_KIND | SHOWN)], "restart", "starts afresh"),
        ([(DELIMITER, None), (METADATA, 0), (FRAME, INTER_KIND | SHOWN)], "frame", "what is no picture is no frame"),
        ([(FRAME, INTER_KIND)], "", "a frame that is never shown"),
        ([(FRAME, KEY_KIND)], "", "nor is this one"),
        ([(FRAME, INTER_KIND), (FRAME, INTER_KIND | SHOWN)], "frame", "a hidden frame comes along"),
        ([(FRAME, KEY_KIND), (FRAME, INTER_KIND | SHOWN)], "frame", "the shown one is no key frame"),
        ([(FRAME, INTER_KIND | SHOWN)] * 2, "", "two frames in one packet"),
        ([(FRAME_HEADER, EXISTING)], "frame", "an earlier frame is shown now"),
        ([(FRAME_HEADER, EXISTING), (FRAME, INTER_KIND | SHOWN)], "", "an earlier one, and another"),
        ([(DELIMITER, None)], "", "no frame at all"),
    ],
)
@pytest.mark.parametrize("num_bytes", [2, 1000], ids=["short", "long"])
def test_what_the_headers_of_av1_prove(
    units: list[tuple[int, int | None]], num_bytes: int, verdict: str, reason: str
) -> None:
    bodies = [b"" if first is None else bytes([first]).ljust(num_bytes, b"\x11") for _, first in units]
    packet = b"".join(obu(kind, body) for (kind, _), body in zip(units, bodies, strict=True))
    rule = rule_of("av1")
    assert verdict_of(rule, packet) == verdict, reason
    if bodies[-1]:
        assert verdict_of(rule, packet[:-1]) == "", "sizes that do not add up"


def test_a_second_spatial_layer_of_av1_is_not_believed() -> None:
    rule, body = rule_of("av1"), bytes([KEY_KIND | SHOWN, 1])
    assert verdict_of(rule, obu(FRAME, body, layer=0)) == "restart"
    assert verdict_of(rule, obu(FRAME, body, layer=1)) == ""
    assert verdict_of(rule, obu(FRAME, body, layer=0) + obu(METADATA, b"", layer=1)) == ""
