"""Files that end before their container does: whether one does, and what its index says was there."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.video.bitstream import MATROSKA, MP4
from tadacli.video.source import Timestamps


@dataclass(frozen=True)
class Truncation:
    """Whether the file ends before its container does, and what its index says was there.

    `index_times` are the decoding times of all frames, ascending; they are empty when the index lies
    inside the file. No lost frame is shown before `lost_from`. `index_is_whole`: the index was written before
    the frames, with all of them in it.
    """

    is_truncated: bool
    index_is_whole: bool
    index_times: Timestamps
    lost_from: int = 0


def find_truncation(path: str, container: InputContainer, stream: VideoStream, *, num_whole: int = -1) -> Truncation:
    """What is missing of an opened file. `num_whole`: how many packets could be read whole, if that is known."""
    file_size = Path(path).stat().st_size
    is_truncated = ends_beyond(path, container.format.name)
    kept, lost = array("q"), array("q")
    if container.format.name == MP4:
        if len(stream.index_entries) == num_whole:  # each could be read, so none is lost
            return Truncation(is_truncated, 0 < num_whole <= stream.frames, np.empty(0, dtype=np.int64))
        for entry in stream.index_entries:
            if not entry.is_discard:
                (lost if entry.pos + entry.size > file_size else kept).append(entry.timestamp)
    is_whole = 0 < len(kept) + len(lost) <= stream.frames
    if not lost:
        return Truncation(is_truncated, is_whole, np.empty(0, dtype=np.int64))
    return Truncation(True, is_whole, np.sort(np.array(kept + lost, dtype=np.int64)), min(lost))


def ends_beyond(path: str, format_name: str) -> bool:
    """Whether the container declares more bytes than the file has (False where it does not declare)."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if format_name == MP4:
            return any(end > size for _, _, end in top_level_boxes(file))
        if format_name == MATROSKA:
            return _matroska_end(file.read(4096)) > size
        head = file.read(8)
    if format_name == "avi" and head[:4] == b"RIFF":
        declared = int.from_bytes(head[4:8], "little")
        # Some writers count the eight bytes of the header, too; 2^32 - 1 stands for not known.
        return declared != 0xFFFFFFFF and declared > size
    return False


_BOXES = frozenset(b"ftyp moov mdat moof free skip wide uuid sidx styp meta mfra emsg udta prft".split())


def top_level_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the top-level boxes of an MP4 file, in bytes; stops at what is no box.

    The last one may end beyond the file.
    """
    size, at = os.fstat(file.fileno()).st_size, 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if head[4:8] not in _BOXES or length < 8:
            return
        yield head[4:8], at, at + length
        at += length


def _matroska_end(head: bytes) -> int:
    """Where the segment of a Matroska file ends; 0 where its size is not known."""
    at = 0
    for element in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # the EBML header, then the segment
        if head[at : at + 4] != element or at + 4 >= len(head) or not head[at + 4]:
            return 0
        width = 9 - head[at + 4].bit_length()
        unknown = (1 << 7 * width) - 1
        length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & unknown
        if length == unknown:
            return 0
        at += 4 + width + length
    return at
