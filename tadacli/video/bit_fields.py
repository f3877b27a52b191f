"""The fields, codes and units that headers of coded video are made of."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct


@dataclass(frozen=True)
class CodedSize:
    """The size of frames in pixels, as headers say it."""

    height: int
    width: int


def nal_units(data: memoryview, length_size: int) -> list[tuple[int, int]]:
    """(start, size) of the NAL units of a length-prefixed packet; none when the lengths do not add up."""
    length_at, units, at, end = LENGTHS[length_size], [], 0, len(data)
    while at + length_size <= end:
        size = length_at(data, at)[0]
        at += length_size
        if size < 3 or at + size > end:
            return []
        units.append((at, size))
        at += size
    return units if at == end else []


# Read millions of times: this is three times as fast as int.from_bytes of a slice.
LENGTHS = {1: Struct("B").unpack_from, 2: Struct(">H").unpack_from, 4: Struct(">I").unpack_from}


class Bits:
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
