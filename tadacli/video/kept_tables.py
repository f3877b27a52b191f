"""Frame tables kept in a folder, so that a long video opens at once when it is opened again.

One file for each video, named after its path. It counts for a video of the same size, time of change and content at
both ends (of an MP4 also that of its index), and for the same versions of what made it; any other is as if it were not
there. What is in it is data from outside: it is bounded and typed, and what decodes has to agree with it.

    a line that says what it is; a line of JSON, see `_Header`; arrays, of numbers in little endian, in this order:
    times (int64), and where packets are believed: frame of each packet (int32), whether others are made from it
    (uint8), restarts (int64); the rows and losses of a table that has them (int64); a checksum of all before it
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt

from tadacli.errors import OutputError, SpecError
from tadacli.files import write_new
from tadacli.results import Note, NoteKind
from tadacli.strict_tables import decode_table, parse_json, refusing
from tadacli.version import __version__
from tadacli.video.container_bytes import top_level_boxes
from tadacli.video.decode_plan import PacketOrder
from tadacli.video.frame_table import FrameTable
from tadacli.video.full_decode import FirstFrame
from tadacli.video.inspection import Headers, Inspection
from tadacli.video.source import shown, too_large

# To be counted up whenever another table is made of the same file.
_MAGIC = b"tada frame table 1\n"
_CHECKSUM_BYTES = 16
END_BYTES = 1 << 16  # of a video, at both ends, its content is looked at
_MAX_INDEX_BYTES = 1 << 26
_MAX_HEADER_BYTES = 1 << 16
_MAX_BYTES = 1 << 28  # two days of video at 60 frames a second
_MOST = 1 << 60  # of times, far from where sums overflow
_MOST_TEXT = 1000


@dataclass(frozen=True)
class _Video:
    """Which file it is: what changes when the file does."""

    size_bytes: int
    mtime_ns: int
    content: str


@dataclass(frozen=True)
class _Counts:
    """How long the arrays are; None for those that there are none of."""

    frames: int
    packets: int | None
    restarts: int | None
    rows: int | None
    losses: int | None

    def __post_init__(self) -> None:
        for count in asdict(self).values():
            if count is not None and not 0 <= count <= _MAX_BYTES:
                raise ValueError(f"{count} of something cannot be")
        if self.frames < 1 or (self.packets is None) != (self.restarts is None):
            raise ValueError("no video has such counts")


@dataclass(frozen=True)
class _Header:
    """All but the arrays; `name` is the video's path for people, `made_by` the versions that made the table."""

    name: str
    made_by: str
    video: _Video
    codec: str
    rate: tuple[int, int] | None
    aspect: tuple[int, int]
    start_timecode: str
    first: FirstFrame
    end_pts: int
    time_base: tuple[int, int]
    by_pts: bool
    num_readable: int
    truncated: bool
    length_known: bool
    distrust: str
    notes: tuple[tuple[NoteKind, str], ...]
    num_pieces: int
    counts: _Counts

    def __post_init__(self) -> None:
        first = self.first
        positive = (*self.aspect, *self.time_base, 1 if self.rate is None else self.rate[1])
        if not all(0 < part < 1 << 31 for part in positive) or abs((self.rate or (0, 1))[0]) >= 1 << 31:
            raise ValueError("a rate, an aspect or a time base is none")
        if first.height < 1 or first.width < 1 or too_large(first.width, first.height):
            raise ValueError("no frame has such a size")
        numbers = (self.end_pts, first.pts or 0, first.rotation, *first.matrix)
        if not all(abs(number) < _MOST for number in numbers):
            raise ValueError("a number is out of range")
        if not (0 <= self.num_readable <= self.counts.frames and 1 <= self.num_pieces <= self.counts.frames):
            raise ValueError("it has other counts than frames")
        texts = (self.codec, self.start_timecode, first.pixel_format, self.distrust, *(text for _, text in self.notes))
        if not all(len(text) <= _MOST_TEXT and text.isprintable() for text in texts):
            raise ValueError("a text is too long, or not one line")


class KeptTable:
    """The table of one video file in a folder.

    Args:
        folder: The folder; it is made when something is first written.
        path: The video.
    """

    def __init__(self, folder: str | os.PathLike[str], path: str) -> None:
        real = os.fsencode(os.path.realpath(path))
        self._path, self._video = path, _video_of(path)
        self._file = Path(folder, blake2b(real, digest_size=_CHECKSUM_BYTES).hexdigest() + ".frames")

    def read(self) -> Inspection | None:
        """What was kept of the video; None without it, and where the video or the kept file is another than then."""
        if self._video is None:
            return None
        with suppress(SpecError), refusing(self._file, SpecError), _regular(self._file) as file:
            return _read(file, self._video)
        return None

    def write(self, found: Inspection) -> None:
        """Keep what was found out, unless the video has changed since; where nothing can be written, it is not kept."""
        if self._video is None or _video_of(self._path) != self._video:
            return
        with suppress(OSError, OutputError, ValueError):
            content = _bytes_of(found, self._path, self._video)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_new(self._file, content, replace=True)

    def drop(self) -> None:
        """Remove what was kept, if it can be removed."""
        with suppress(OSError):
            self._file.unlink()


def _made_by() -> str:
    library = ".".join(map(str, av.library_versions["libavformat"]))
    return f"tada {__version__}, PyAV {av.__version__}, libavformat {library}"


def _video_of(path: str) -> _Video | None:
    """Which file it is now; None if it cannot be read."""
    with suppress(OSError), Path(path).open("rb") as file:
        status, content = os.fstat(file.fileno()), blake2b(digest_size=_CHECKSUM_BYTES)
        for start in (0, max(0, status.st_size - END_BYTES)):
            file.seek(start)
            content.update(file.read(END_BYTES))
        for kind, start, end in top_level_boxes(file):
            if kind == b"moov":
                file.seek(start)
                content.update(file.read(min(end - start, _MAX_INDEX_BYTES)))
                break
        return _Video(status.st_size, status.st_mtime_ns, content.hexdigest())
    return None


# --- bytes ------------------------------------------------------------------------------------------


def _bytes_of(found: Inspection, path: str, video: _Video) -> bytes:
    table, headers, packets = found.table, found.headers, found.table.packets
    header = _Header(
        name=shown(path),
        made_by=_made_by(),
        video=video,
        codec=headers.codec,
        rate=None if headers.rate is None else headers.rate.as_integer_ratio(),
        aspect=headers.aspect.as_integer_ratio(),
        start_timecode=headers.start_timecode,
        first=found.first,
        end_pts=table.end_pts,
        time_base=table.time_base.as_integer_ratio(),
        by_pts=table.by_pts,
        num_readable=table.num_readable,
        truncated=table.truncated,
        length_known=table.length_known,
        distrust=table.distrust,
        notes=tuple((note.kind, note.text) for note in table.notes),
        num_pieces=table.num_pieces,
        counts=_Counts(
            frames=len(table.pts),
            packets=None if packets is None else len(packets.frames),
            restarts=None if packets is None else len(packets.restarts),
            rows=None if table.rows is None else len(table.rows),
            losses=None if table.losses is None else len(table.losses),
        ),
    )
    arrays: list[npt.NDArray[np.generic]] = [table.pts]
    if packets is not None:
        arrays += [packets.frames, packets.referenced.view(np.uint8), packets.restarts]
    arrays += [each for each in (table.rows, table.losses) if each is not None]
    content = _MAGIC + json.dumps(asdict(header)).encode() + b"\n"
    content += b"".join(each.astype(each.dtype.newbyteorder("<")).tobytes() for each in arrays)
    return content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM_BYTES).digest()


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """A file to be read. Raises `OSError` where it is something that reading would wait for."""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no regular file")
        yield file


def _read(file: BinaryIO, video: _Video) -> Inspection | None:
    """What a kept file holds, if it is about this video. Raises `ValueError` and others where it is broken."""
    magic, line = file.readline(len(_MAGIC)), file.readline(_MAX_HEADER_BYTES)
    if magic != _MAGIC or not line.endswith(b"\n"):
        raise ValueError("it is no frame table")
    header = decode_table(_Header, parse_json(line), where="its header")
    if (header.video, header.made_by) != (video, _made_by()):
        return None
    arrays = file.read(_num_bytes(header.counts) + _CHECKSUM_BYTES + 1)
    if len(arrays) != _num_bytes(header.counts) + _CHECKSUM_BYTES:
        raise ValueError("it has another length")
    if _checksum(magic + line + arrays[:-_CHECKSUM_BYTES]) != arrays[-_CHECKSUM_BYTES:]:
        raise ValueError("it is not as it was written")
    return _inspection(header, arrays)


def _shapes(counts: _Counts) -> list[tuple[str, int]]:
    """The type and the length of each array, in order."""
    shapes = [
        ("<i8", counts.frames),
        ("<i4", counts.packets),
        ("u1", counts.packets),
        ("<i8", counts.restarts),
        ("<i8", counts.rows),
        ("<i8", counts.losses),
    ]
    return [(kind, count or 0) for kind, count in shapes]


def _num_bytes(counts: _Counts) -> int:
    """How many bytes the arrays have together. Raises `ValueError` for more than are read."""
    found = sum(np.dtype(kind).itemsize * count for kind, count in _shapes(counts))
    if found > _MAX_BYTES:
        raise ValueError("it is too large")
    return found


def _inspection(header: _Header, data: bytes) -> Inspection:
    at, arrays = 0, []
    for kind, count in _shapes(header.counts):
        array = np.frombuffer(data, dtype=kind, count=count, offset=at)
        arrays.append(array.astype(np.dtype(kind).newbyteorder("=")))
        at += array.nbytes
    pts, frames, referenced, restarts, rows, losses = arrays
    counts = header.counts
    packets = None if counts.packets is None else PacketOrder(frames, referenced.astype(np.bool_), restarts)
    table = FrameTable(
        pts=pts,
        end_pts=header.end_pts,
        time_base=Fraction(*header.time_base),
        by_pts=header.by_pts,
        num_readable=header.num_readable,
        truncated=header.truncated,
        length_known=header.length_known,
        packets=packets,
        distrust=header.distrust,
        rows=None if counts.rows is None else rows,
        losses=None if counts.losses is None else losses,
        notes=tuple(Note(kind, text) for kind, text in header.notes),
        num_pieces=header.num_pieces,
    )
    _check(table)
    rate = None if header.rate is None else Fraction(*header.rate)
    return Inspection(table, header.first, Headers(header.codec, rate, Fraction(*header.aspect), header.start_timecode))


def _check(table: FrameTable) -> None:
    """Raises `ValueError` for what cannot be a table: whoever reads by it finds a place for every number in it."""
    pts, packets, rows = table.pts, table.packets, table.rows
    is_right = bool(np.all((pts > -_MOST) & (pts < _MOST))) and (not table.by_pts or bool(np.all(np.diff(pts) > 0)))
    is_right = is_right and (rows is None or bool(np.all((rows >= 0) & (rows < len(pts)))))
    if packets is not None:
        is_right = is_right and table.by_pts and _is_order(packets) and table.num_readable <= len(packets.frames)
    if not is_right:
        raise ValueError("its numbers are of no video")


def _is_order(packets: PacketOrder) -> bool:
    """Whether each packet has a frame of its own, and restarts, from the first packet on, are as they must be."""
    frames, restarts, count = packets.frames, packets.restarts, len(packets.frames)
    if count == 0 or np.any((frames < 0) | (frames >= count)) or np.any(np.bincount(frames, minlength=count) != 1):
        return False
    if len(restarts) == 0 or restarts[0] != 0 or restarts[-1] >= count or np.any(np.diff(restarts) <= 0):
        return False
    shown_before = np.maximum.accumulate(frames)  # what comes before a restart is shown before it
    return bool(np.all(frames[restarts] == restarts)) and bool(np.all(shown_before[restarts[1:] - 1] < restarts[1:]))
