"""What the bytes of a container declare: which parts it has, and whether the last one is whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tadacli.video.bitstream import MATROSKA, MP4

_HEAD_BYTES = 1 << 16
# No more parts are looked at: a day of video has fewer, and files that are made of nothing else end nowhere.
_MAX_PARTS = 1 << 22
# Of these, no header says how much there is to come: a recording may end anywhere.
STREAMS = frozenset("mpegts mpeg mpegvideo m4v h264 hevc vvc mjpeg gif yuv4mpegpipe apng".split())


def ends_beyond(path: str, format_name: str) -> bool:
    """Whether the container declares more bytes than the file has (False where it does not declare)."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if format_name == MP4:
            return _boxes_are_cut(file, size)
        if format_name == MATROSKA:
            segment = _matroska_segment(file)
            return segment is not None and segment[1] is not None and segment[1] > size
        if format_name == "avi":
            return any(end > size for _, end, _ in _riffs(file, size))
        if format_name == "mpegts":
            return _transport_stream_is_cut(file.read(_HEAD_BYTES), size)
        if format_name == "mpeg":
            file.seek(max(0, size - _HEAD_BYTES))
            return _program_stream_is_cut(file.read())
        if format_name == "gif":
            return _gif_is_cut(file)
        if format_name == "mjpeg":
            file.seek(max(0, size - _HEAD_BYTES))
            return _picture_is_cut(file.read())
    return False


def has_destroyed_parts(path: str, format_name: str) -> bool:
    """Whether there is something between the parts of the container that is none of them."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if format_name == MP4:
            return max((end for _, _, end in top_level_boxes(file)), default=0) < len(data)
        if format_name == MATROSKA:
            segment = _matroska_segment(file)
            return segment is not None and not _elements_follow(file, segment[0], segment[1] or len(data), len(data))
        if format_name == "mpegts":
            return not _packets_follow(data)
        if format_name == "mpeg":
            at = data.find(_PACK)
            return at >= 0 and _last_packet_end(data, at) is None
        return format_name == "flv" and not _tags_follow(data)


def shows_as_stored(path: str, format_name: str) -> bool:
    """Whether the headers of a container surely say nothing of turning its video for display, or of decrypting it."""
    with Path(path).open("rb") as file:
        if format_name == MP4:
            return _mp4_is_plain(file)
        return format_name == MATROSKA and _matroska_is_plain(file)


def count_recordings(path: str, format_name: str) -> int:
    """How many recordings a file holds of which FFmpeg reads only one.

    Of MP4 and Matroska files, it takes the headers of the first for all; of FLV and ASF files, it ends with the first;
    of a transport stream, those with video in another stream are passed over.
    """
    with Path(path).open("rb") as file:
        if format_name == MP4:
            return max(1, sum(kind == b"moov" for kind, _, _ in top_level_boxes(file)))
        if format_name == MATROSKA:
            return max(1, sum(1 for _ in _matroska_segments(file)))
        if format_name == "mpegts":
            with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                return _count_in_a_row(_video_streams(data))
        if format_name in _HEADERS:
            with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                return max(1, sum(1 for _ in re.finditer(_HEADERS[format_name], data)))
    return 1


def avi_frames_are_whole(path: str) -> bool:
    """Whether all frames of an AVI file that is cut short lie before the cut: only the index after them is missing."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        riffs = list(_riffs(file, size))
    return bool(riffs) and all(0 < frames_end <= size for _, _, frames_end in riffs)


# As a file begins; long enough not to turn up by chance.
_HEADERS = {
    "flv": re.compile(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0\0\0\0"),
    "asf": re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))),
}


# --- MP4 --------------------------------------------------------------------------------------------

_BOXES = frozenset(b"ftyp moov mdat moof free skip wide uuid sidx styp meta mfra emsg udta prft".split())


def top_level_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the top-level boxes of an MP4 file, in bytes; stops at what is no box.

    The last one may end beyond the file.
    """
    size, at = os.fstat(file.fileno()).st_size, 0
    for _ in range(_MAX_PARTS):
        if at >= size:  # perhaps farther than can be sought
            return
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


def _boxes_are_cut(file: BinaryIO, size: int) -> bool:
    """Whether the last box is not whole; or what lies after a destroyed one is lost, since fragments have no index."""
    boxes = list(top_level_boxes(file))
    last_end = max((end for _, _, end in boxes), default=size)
    return last_end > size or (last_end < size and any(kind == b"moof" for kind, _, _ in boxes))


_MAX_INDEX_BYTES = 1 << 22
# How many bytes of a box lie before its matrix, by its version.
_BEFORE_MATRIX = {b"mvhd": {0: 36, 1: 48}, b"tkhd": {0: 40, 1: 52}}
_PLAIN_MATRIX = bytes.fromhex("00010000" + 3 * "00000000" + "00010000" + 3 * "00000000" + "40000000")
_ENCRYPTED_VIDEO = b"encv"


def _mp4_is_plain(file: BinaryIO) -> bool:
    """Whether no matrix turns pictures and no track is encrypted, by an index that is all there is and not long."""
    index, boxes = b"", list(top_level_boxes(file))
    if not boxes or boxes[-1][2] != os.fstat(file.fileno()).st_size:
        return False  # it is cut short; or FFmpeg may find more in what is no box than is looked at here
    for kind, start, end in boxes:
        if kind == b"moov":
            if index or end - start > _MAX_INDEX_BYTES:
                return False
            file.seek(start)
            index = file.read(end - start)
    num_tracks = 0
    for found in re.finditer(b"mvhd|tkhd", index):
        at = found.end()
        before = _BEFORE_MATRIX[found[0]].get(index[at] if at < len(index) else -1)
        if before is None or index[at + before :][: len(_PLAIN_MATRIX)] != _PLAIN_MATRIX:
            return False
        num_tracks += found[0] == b"tkhd"
    return num_tracks > 0 and _ENCRYPTED_VIDEO not in index


# --- Matroska ---------------------------------------------------------------------------------------

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_IN_SEGMENT = {0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854}
_ANYWHERE = {0xEC, 0xBF}  # filling, checksums


def _matroska_segment(file: BinaryIO, at: int = 0) -> tuple[int, int | None] | None:
    """Where the content of a Matroska segment starts and ends (None where it does not say), if a file begins there."""
    header = _element(file, at)
    if header is None or header[0] != _EBML or header[2] is None:
        return None
    segment = _element(file, header[2])
    return segment[1:] if segment is not None and segment[0] == _SEGMENT else None


_TRACKS, _PROJECTION, _ENCRYPTION = 0x1654AE6B, b"\x76\x70", b"\x50\x35"


def _matroska_is_plain(file: BinaryIO) -> bool:
    """Whether the tracks come before the pictures, and none is encrypted, or projected, where turning stands."""
    segment = _matroska_segment(file)
    if segment is None:
        return False
    at = segment[0]
    for _ in range(_MAX_PARTS):
        part = _element(file, at)
        if part is None or part[2] is None or part[0] == _CLUSTER:
            return False
        if part[0] == _TRACKS:
            file.seek(part[1])
            tracks = file.read(min(part[2] - part[1], _HEAD_BYTES))
            return len(tracks) == part[2] - part[1] and _PROJECTION not in tracks and _ENCRYPTION not in tracks
        at = part[2]
    return False


def _matroska_segments(file: BinaryIO) -> Iterator[tuple[int, int | None]]:
    """The segments of a Matroska file and of those that were appended to it."""
    segment = _matroska_segment(file)
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        while segment is not None:
            yield segment
            start, end = segment
            if end is None:  # it ends where the next file begins, if one does
                end = data.find(_EBML.to_bytes(4, "big"), start)
                while end >= 0 and _matroska_segment(file, end) is None:
                    end = data.find(_EBML.to_bytes(4, "big"), end + 1)
            segment = _matroska_segment(file, end) if 0 <= end < len(data) else None


def _element(file: BinaryIO, at: int) -> tuple[int, int, int | None] | None:
    """(kind, start, end) of the content of the element at a place; its end is None where it does not say."""
    if at >= os.fstat(file.fileno()).st_size:  # it may be farther than can be sought
        return None
    file.seek(at)
    head = file.read(12)
    if not head or not head[0]:
        return None
    kind_width = 9 - head[0].bit_length()
    rest = head[kind_width:]
    if kind_width > 4 or not rest or not rest[0]:
        return None
    width = 9 - rest[0].bit_length()
    unknown = (1 << 7 * width) - 1
    length, start = int.from_bytes(rest[:width], "big") & unknown, at + kind_width + width
    return int.from_bytes(head[:kind_width], "big"), start, None if length == unknown else start + length


def _elements_follow(file: BinaryIO, at: int, end: int, size: int) -> bool:
    """Whether a segment, and each cluster in it, consists of nothing but elements, as far as the file goes."""
    cluster_end = 0
    for _ in range(_MAX_PARTS):
        if at >= min(end, size):
            break
        found = _element(file, at)
        if found is None:
            return False
        kind, start, content_end = found
        if kind == _CLUSTER:
            at, cluster_end = start, end if content_end is None else content_end
            continue
        is_known = kind in _ANYWHERE or (kind in _IN_CLUSTER if at < cluster_end else kind in _IN_SEGMENT)
        if at < cluster_end == end and kind in _IN_SEGMENT:  # a cluster without a size ends where the next part begins
            is_known, cluster_end = True, 0
        if not is_known or content_end is None or content_end > (cluster_end if at < cluster_end else end):
            return False
        at = content_end
    return True


# --- AVI --------------------------------------------------------------------------------------------


def _riffs(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, end of the frames) of the RIFF lists of an AVI file; 0 where the frames' end is not said."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        head = file.read(12)
        declared = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or declared == 0xFFFFFFFF:  # which stands for not known
            return
        # Some writers count the eight bytes of the header, too.
        end = at + declared + (0 if at + declared == size else 8)
        yield at, end, _movi_end(file, at + 12, min(end, size))
        at = end + (end & 1)


def _movi_end(file: BinaryIO, at: int, end: int) -> int:
    while at + 12 <= end:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] == b"LIST" and head[8:] == b"movi":
            return at + 8 + length if length else 0
        at += 8 + length + (length & 1)
    return 0


# --- streams ----------------------------------------------------------------------------------------


_SYNC = 0x47
_PACK = b"\0\0\1\xba"


def _first_sync(head: bytes) -> tuple[int, int, int] | None:
    """(place of the first sync byte, size of a packet, bytes of it before the sync byte) of a transport stream."""
    for packet_size, before_sync in ((188, 0), (192, 4), (204, 0)):  # bare, with a time before, with a checksum after
        for sync in range(packet_size):
            syncs = head[sync : sync + 16 * packet_size : packet_size]
            if len(syncs) >= 5 and syncs.count(_SYNC) == len(syncs):
                return sync, packet_size, before_sync
    return None


def _transport_stream_is_cut(head: bytes, size: int) -> bool:
    """Whether the last packet of an MPEG transport stream is not whole, by its first bytes and its size."""
    found = _first_sync(head)
    if found is None:
        return False
    sync, packet_size, before_sync = found
    return (size - sync + before_sync) % packet_size != 0


def _packets_follow(data: mmap) -> bool:
    """Whether all packets of an MPEG transport stream begin as they must."""
    found = _first_sync(data[:_HEAD_BYTES])
    if found is None:
        return True
    sync, packet_size, _ = found
    return bool(np.all(np.frombuffer(data, dtype=np.uint8, offset=sync)[::packet_size] == _SYNC))


def _video_streams(data: mmap) -> list[tuple[int, int]]:
    """The first and the last packet with the start of a picture, of each video of an MPEG transport stream."""
    found = _first_sync(data[:_HEAD_BYTES])
    if found is None:
        return []
    sync, size, _ = found
    whole = np.frombuffer(data, dtype=np.uint8, offset=sync)
    packets = whole[: len(whole) // size * size].reshape(-1, size)
    # A unit starts in it, it is not marked as damaged, and it has a payload.
    rows = np.flatnonzero((packets[:, 0] == _SYNC) & (packets[:, 1] & 0xC0 == 0x40) & (packets[:, 3] & 0x10 != 0))
    at = 4 + np.where(packets[rows, 3] & 0x20, 1 + packets[rows, 4].astype(np.int64), 0)
    rows, at = rows[at + 4 <= 188], at[at + 4 <= 188]
    code = np.stack([packets[rows, at + place] for place in range(4)])
    rows = rows[(code[0] == 0) & (code[1] == 0) & (code[2] == 1) & (code[3] >> 4 == 0xE)]
    streams = (packets[rows, 1].astype(np.int64) & 31) << 8 | packets[rows, 2]
    ranges = (rows[streams == stream] for stream in np.unique(streams))
    return [(int(pictures[0]), int(pictures[-1])) for pictures in ranges if len(pictures) > 1]


def _count_in_a_row(ranges: list[tuple[int, int]]) -> int:
    """How many groups of ranges lie one after the other; those in a group overlap."""
    count, end = 1, None
    for first, last in sorted(ranges):
        count += end is not None and first > end
        end = last if end is None else max(end, last)
    return count


def _program_stream_is_cut(tail: bytes) -> bool:
    """Whether the last packet of an MPEG program stream is not whole, by its last bytes."""
    at = tail.find(_PACK)
    while at >= 0:
        end = _last_packet_end(tail, at)
        if end is not None:
            return end > len(tail)
        at = tail.find(_PACK, at + 1)
    return False


def _tags_follow(data: mmap) -> bool:
    """Whether an FLV file consists of nothing but tags, as far as it goes."""
    at = int.from_bytes(data[5:9], "big") + 4
    for _ in range(_MAX_PARTS):
        if at + 15 > len(data):
            break
        end = at + 11 + int.from_bytes(data[at + 1 : at + 4], "big")
        if data[at] & 31 not in (8, 9, 18):
            return False
        if end + 4 <= len(data) and int.from_bytes(data[end : end + 4], "big") != end - at:
            return False
        at = end + 4
    return True


def _last_packet_end(data: bytes | mmap, at: int) -> int | None:
    """Where the last of the packets that follow each other from a pack on ends; None if they do not follow."""
    for _ in range(_MAX_PARTS):
        if at >= len(data):
            break
        code = data[at : at + 4]
        if code == b"\0\0\1\xb9":  # the end of the stream
            return at + 4
        if code == _PACK:
            is_mpeg2 = data[at + 4 : at + 5] and data[at + 4] >> 6 == 1
            at += 14 + (data[at + 13] & 7 if at + 13 < len(data) else 0) if is_mpeg2 else 12
        elif code[:3] == b"\0\0\1" and code[3:] > b"\xba":
            at += 6 + int.from_bytes(data[at + 4 : at + 6], "big")
        else:
            return len(data) + 1 if len(code) < 4 and b"\0\0\1\xbb".startswith(code[:3]) else None
    return at


def _gif_is_cut(file: BinaryIO) -> bool:
    """Whether a GIF ends before its trailer."""
    head = file.read(13)
    if len(head) < 13:
        return True
    file.seek(_colours(head[10]), os.SEEK_CUR)
    for _ in range(_MAX_PARTS):
        kind = file.read(1)
        if kind == b";":
            return False
        if kind == b"!":
            file.seek(1, os.SEEK_CUR)
        elif kind == b",":
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return True
            file.seek(_colours(descriptor[8]) + 1, os.SEEK_CUR)
        else:
            return not kind
        while (length := file.read(1)) and length != b"\0":
            file.seek(length[0], os.SEEK_CUR)
        if not length:
            return True
    return False


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _picture_is_cut(tail: bytes) -> bool:
    """Whether the last JPEG picture of a stream of such has no end."""
    return tail.rfind(b"\xff\xd9") < tail.rfind(b"\xff\xd8\xff")
