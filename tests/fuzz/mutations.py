"""What happens to files: flipped bits, zeroed runs, cuts, swapped chunks, and sizes of boxes and elements that lie."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_BOXES = re.compile(
    rb"moov|mdat|moof|traf|trun|tfhd|mvhd|trak|mdia|minf|stbl|stsd|stts|ctts|stss|stsc|stsz|stco|co64|elst|avc1|avcC|hvcC"
    rb"|RIFF|LIST|hdrl|strl|strh|strf|movi|idx1|00dc|IHDR|IDAT|fcTL|fdAT|IEND"
)
# IDs of EBML: the header, segment, seek head, info, tracks, a cluster, its time, blocks, cues.
_ELEMENTS = re.compile(
    rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x11\x4d\x9b\x74|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\xe7|\xa3|\xa0"
    rb"|\x1c\x53\xbb\x6b"
)
_TS_PACKET = 188


def mutated(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The data after one mutation, at times two or three, and what they are called."""
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(_CHANGES)
        data = change(data, rng) if len(data) > 16 else data
        names.append(change.__name__)
    return data, "+".join(names)


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def zero_a_run(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def replace_a_run(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def cut_short(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def cut_the_start(data: bytes, rng: random.Random) -> bytes:
    return data[rng.randrange(1, len(data) // 2) :]


def cut_out(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def repeat_a_chunk(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:end] + data[start:]


def swap_chunks(data: bytes, rng: random.Random) -> bytes:
    size = min(len(data) // 2, rng.choice((8, _TS_PACKET, 512, 4096)))
    first, second = sorted(rng.randrange(len(data) - size + 1) for _ in range(2))
    if second < first + size:
        return data
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


def lose_packets(data: bytes, rng: random.Random) -> bytes:
    """As a transport stream loses them; of another file it is a piece cut out."""
    first = rng.randrange(max(1, len(data) // _TS_PACKET))
    return data[: first * _TS_PACKET] + data[(first + rng.choice((1, 1, 3, 10))) * _TS_PACKET :]


def join_with_itself(data: bytes, _: random.Random) -> bytes:
    return data + data


def change_a_box_size(data: bytes, rng: random.Random) -> bytes:
    """The size of a box of MP4 stands before its name, that of a chunk of AVI after it."""
    found = [match for match in _BOXES.finditer(data) if match.start() >= 4]
    if not found:
        return flip_bits(data, rng)
    match = rng.choice(found)
    at, order = rng.choice(((match.start() - 4, "big"), (match.end(), "little")))
    size = int.from_bytes(data[at : at + 4], "big" if order == "big" else "little")
    value = rng.choice((0, 1, 7, size - 1, size + 1, size * 2, size // 2, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(32)))
    return data[:at] + (value % 2**32).to_bytes(4, "big" if order == "big" else "little") + data[at + 4 :]


def change_an_element_size(data: bytes, rng: random.Random) -> bytes:
    found = list(_ELEMENTS.finditer(data))
    if not found:
        return flip_bits(data, rng)
    at = rng.choice(found).end()
    return data[:at] + rng.randbytes(rng.choice((1, 1, 2, 8))) + data[at + 1 :]


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 4, 16, 100, 1000, 5000)))


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bits,
    flip_bits,
    zero_a_run,
    replace_a_run,
    cut_short,
    cut_the_start,
    cut_out,
    repeat_a_chunk,
    swap_chunks,
    lose_packets,
    join_with_itself,
    change_a_box_size,
    change_an_element_size,
)
