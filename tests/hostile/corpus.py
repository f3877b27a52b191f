"""Files made to do harm: a few kilobytes that claim, or unpack to, gigabytes; and those that name other files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tests import media

FRAME = "frame_{:010d}.jpg"
GIB = 1 << 30


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG picture whose header names another size."""
    data = bytearray(media.jpeg_bytes(1))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_of(width: int, height: int) -> bytes:
    """A whole PNG picture, black, which compresses a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def member(name: str, size: int, *, kind: bytes = tarfile.REGTYPE, content: bytes = b"") -> bytes:
    """A member of a tar that claims a size, with the content that it has."""
    info = tarfile.TarInfo(name)
    info.size, info.type = max(size, 0), kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        header[124:136] = b"\xff" * 4 + struct.pack(">q", size)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def whole_frame(number: int) -> bytes:
    data = media.jpeg_bytes(number)
    return member(FRAME.format(number), len(data), content=data)


def sparse_member(name: str) -> bytes:
    """A member of the old GNU kind: a terabyte of which nothing is stored."""
    header = bytearray(member(name, 0, kind=tarfile.GNUTYPE_SPARSE))
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def frames_with(path: Path, data: bytes) -> None:
    path.mkdir()
    for number in range(1, 9):
        (path / FRAME.format(number)).write_bytes(data if number == 1 else media.jpeg_bytes(number))


def huge_picture(path: Path) -> None:
    frames_with(path, b"")
    os.truncate(path / FRAME.format(1), 8 * GIB)


def tar_of(*members: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(b"".join(members) + bytes(1024)) and None


def packed(compress: Callable[[bytes], bytes], first: bytes, num_zeros: int) -> Callable[[Path], None]:
    """A compressed tar whose first member is many zeros, after its header `first`."""

    def write(path: Path) -> None:
        path.write_bytes(compress(first) + compress(bytes(num_zeros // 16)) * 16)

    return write


def playlist(text: str) -> Callable[[Path], None]:
    """A playlist that names a video beside it."""

    def write(path: Path) -> None:
        media.render(path.with_name("secret.mp4"), 30)
        path.write_text(text.format(path.with_name("secret.mp4")))

    return write


LONG_NAMES = [member("././@LongLink", 512, kind=tarfile.GNUTYPE_LONGNAME, content=b"x" * 512) for _ in range(600)]

# What is hostile, by the name of the file, and how it is made.
VIDEOS: dict[str, Callable[[Path], object]] = {
    "frames that claim 60,000 x 60,000": lambda path: frames_with(path, jpeg_claiming(60_000, 60_000)),
    "frames that claim 16,000 x 16,000": lambda path: frames_with(path, jpeg_claiming(16_000, 16_000)),
    "frames of 8 GiB": huge_picture,
    "claims.jpg": lambda path: path.write_bytes(jpeg_claiming(60_000, 60_000)),
    "claims.mjpeg": lambda path: path.write_bytes(jpeg_claiming(16_000, 16_000) * 8),
    "large.png": lambda path: path.write_bytes(png_of(15_000, 15_000)),
    "member of 8 GiB.tar": tar_of(member(FRAME.format(1), 8 * GIB - 1), whole_frame(2)),
    "member of a zettabyte.tar": tar_of(member(FRAME.format(1), 1 << 70), whole_frame(2)),
    "other member of a zettabyte.tar": tar_of(whole_frame(1), member("other", 1 << 70), whole_frame(2)),
    "negative member.tar": tar_of(whole_frame(1), member(FRAME.format(2), -1536), whole_frame(3)),
    "negative other member.tar": tar_of(whole_frame(1), member("other", -1536), whole_frame(2)),
    "sparse member.tar": tar_of(sparse_member(FRAME.format(1)), whole_frame(2)),
    "header of 8 GiB.tar": tar_of(member("pax", 8 * GIB - 1, kind=tarfile.XHDTYPE), whole_frame(1)),
    "name of 8 GiB.tar": tar_of(member("name", 8 * GIB - 1, kind=tarfile.GNUTYPE_LONGNAME), whole_frame(1)),
    "names of names.tar": tar_of(*LONG_NAMES, whole_frame(1)),
    "header.tar.gz": packed(gzip.compress, member("pax", 64 << 20, kind=tarfile.XHDTYPE), 64 << 20),
    "member.tar.gz": packed(gzip.compress, member(FRAME.format(1), 64 << 20), 64 << 20),
    "other.tar.bz2": packed(bz2.compress, member("other", 2 * GIB), 2 * GIB),
    "member.tar.xz": packed(lzma.compress, member(FRAME.format(1), 512 << 20), 512 << 20),
    "negative.tar.gz": packed(gzip.compress, whole_frame(1) + member("other", -1536), 1 << 20),
    "local.m3u8": playlist("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
    "local.mp4": playlist("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:{}\n#EXT-X-ENDLIST\n"),
    "local.ffconcat": playlist("ffconcat version 1.0\nfile secret.mp4\n"),
    "remote.sdp": lambda path: path.write_text("v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    "nothing.mp4": lambda path: path.write_bytes(b""),
    "noise.mkv": lambda path: path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 300),
}
