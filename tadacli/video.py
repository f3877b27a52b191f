"""Frames of a video by number: video files through FFmpeg (PyAV), and folders or tars of JPEG frames.

Frame i is the i-th frame that a full decode shows, and a frame that was asked for is either that very
frame or a `VideoError`: nothing is put in its place. Times are presentation times, never i / fps.
"""

from __future__ import annotations

import operator
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tadacli.errors import VideoError
from tadacli.frame_table import (
    FrameTable,
    Picture,
    Times,
    VideoPacket,
    build_table,
    decode_packet,
    decode_table,
    ends_beyond,
    open_stream,
    read_packets,
)
from tadacli.jpeg_frames import ARCHIVE_SUFFIXES, JpegSource, is_frames_folder
from tadacli.packets import MP4
from tadacli.results import VideoInfo
from tadacli.video_source import (
    DAMAGED_HINT,
    NOT_A_VIDEO_HINT,
    Pixels,
    VideoPath,
    VideoSource,
    as_numbers,
    shown,
    wanted_indices,
)


@contextmanager
def open_video(path: VideoPath, *, fps: float | Fraction | None = None) -> Iterator[VideoSource]:
    """A video file, or a folder or tar of JPEG frames, ready to be read.

    `fps` is the frame rate of JPEG frames, which cannot say it themselves; video files ignore it.
    Raises `VideoError` naming the reason when not one frame can be had.
    """
    name = os.fsdecode(path)
    _check_is_there(name)
    if os.path.isdir(name) or name.lower().endswith(ARCHIVE_SUFFIXES):
        yield JpegSource(name, fps)
    else:
        yield _FileSource(name)


def probe(path: VideoPath, *, fps: float | Fraction | None = None) -> VideoInfo:
    """What is known about a video; see `open_video` for `fps` and errors."""
    with open_video(path, fps=fps) as source:
        return source.info


def read_frames(path: VideoPath, indices: Iterable[int], *, fps: float | Fraction | None = None) -> Pixels:
    """uint8 (N, H, W, 3) RGB, row i being frame indices[i]; any order, duplicates allowed.

    Raises `VideoError` when a frame cannot be had; see `open_video` for `fps`.
    """
    numbers = as_numbers(indices)
    with open_video(path, fps=fps) as source:
        frames = np.empty((len(numbers), source.info.height, source.info.width, 3), dtype=np.uint8)
        for index, _, frame in source.iter_frames(numbers):
            frames[numbers == index] = frame
    return frames


def iter_frames(
    path: VideoPath, indices: Iterable[int], *, fps: float | Fraction | None = None
) -> Iterator[tuple[int, float, Pixels]]:
    """(index, time in seconds, frame) of each distinct index, ascending; see `VideoSource.iter_frames`."""
    with open_video(path, fps=fps) as source:
        yield from source.iter_frames(indices)


def _check_is_there(path: str) -> None:
    """Raises `VideoError` for a path that cannot be read, or where reading would wait forever."""
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()
        elif stat.S_ISREG(status.st_mode):
            Path(path).open("rb").close()
    except FileNotFoundError as error:
        raise VideoError(f"there is no file {shown(path)}", hint="check the path") from error
    except PermissionError as error:
        raise VideoError(f"no permission to read {shown(path)}", hint="check who may read it") from error
    except (OSError, ValueError) as error:
        raise VideoError(f"cannot open {shown(path)}: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        if not is_frames_folder(path):
            raise VideoError(f"{shown(path)} is a folder without frame_0000000001.jpg files", hint=NOT_A_VIDEO_HINT)
    elif not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{shown(path)} is not a regular file", hint=NOT_A_VIDEO_HINT)
    elif status.st_size == 0:
        raise VideoError(f"{shown(path)} is an empty file (0 bytes)", hint="fetch or record it again")


# --- video files ------------------------------------------------------------------------------------


class _TableError(Exception):
    """The frames that decode are not those of the table."""


class _FileSource:
    """A video file: its frame table, and decoding from the last safe place to start."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._table, self._picture, self.info = _inspect(path)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        return np.array([self._table.seconds(pts) for pts in self._table.pts], dtype=np.float64)

    def time_of(self, index: int) -> float:
        return self._table.seconds(self._table.pts[operator.index(index)])

    def iter_frames(self, indices: Iterable[int]) -> Iterator[tuple[int, float, Pixels]]:
        return self._iter_wanted(wanted_indices(indices, self.info))

    def _iter_wanted(self, wanted: Times) -> Iterator[tuple[int, float, Pixels]]:
        done = 0
        try:
            for item in self._decode_wanted(wanted):
                yield item
                done += 1
            return
        except _TableError:
            # The packets looked like frames, but decoding shows others: decoding is right.
            self._rebuild(was_read=done > 0)
        except av.error.FFmpegError as error:
            raise VideoError(f"{shown(self._path)} cannot be opened again: {error}") from error
        try:
            yield from self._decode_wanted(wanted)
        except _TableError as error:
            raise VideoError(f"{shown(self._path)} decodes differently each time") from error

    def _rebuild(self, *, was_read: bool) -> None:
        promised = self.info.num_frames
        self._table, self._picture, self.info = _inspect(self._path, by_decoding=True)
        if was_read or self.info.num_frames != promised:
            raise VideoError(
                f"the packets of {shown(self._path)} promise {promised} frames, but others decode",
                hint="re-encode the file, for example with ffmpeg -i IN OUT.mp4",
            )

    def _decode_wanted(self, wanted: Times) -> Iterator[tuple[int, float, Pixels]]:
        pictures = self._pictures(wanted)
        for index in map(int, wanted):
            found, frame, is_damaged = next((p for p in pictures if p[0] >= index), (-1, None, False))
            if found != index or frame is None:
                raise self._unreadable(index, "does not decode")
            if is_damaged:
                raise self._unreadable(index, "is damaged, or made from a damaged one")
            yield index, self.time_of(index), self._to_rgb(index, frame)

    def _pictures(self, wanted: Times) -> Iterator[tuple[int, VideoFrame | None, bool]]:
        """(index, frame, whether it is damaged) of what decodes, in order; only wanted ones have a frame.

        Groups of pictures without a wanted frame are not decoded, and nothing after the last wanted one.
        """
        with open_stream(self._path) as (container, stream):
            assert stream is not None
            recognizer, gops = _Recognizer(self._table), _Gops(self._table, wanted)
            watch = _DamageWatch(wanted, reorders=stream.codec_context.reorder_depth > 0)
            for packet in read_packets(container, stream):
                if packet is None:
                    watch.failed(None)
                elif gops.is_over(packet):
                    break
                elif gops.is_needed:
                    watch.sent(packet.pts)
                    frames = decode_packet(stream, packet)
                    if frames is None:
                        watch.failed(packet.pts)
                    for frame in frames or ():
                        watch.received(recognizer.index_of(frame), frame)
                    yield from watch.released()
            for frame in decode_packet(stream, None) or ():
                watch.received(recognizer.index_of(frame), frame)
            yield from watch.released(everything=True)

    def _to_rgb(self, index: int, frame: VideoFrame) -> Pixels:
        first = self._picture
        if (frame.height, frame.width) != (first.height, first.width):
            raise VideoError(
                f"frame {index} of {shown(self._path)} is {frame.width}x{frame.height} pixels, "
                f"the first one {first.width}x{first.height}",
                hint="a video must keep its frame size: cut it where the size changes, or re-encode it",
            )
        try:
            # One thread gives the same pixels as the default number, for a sixth of the time.
            pixels = frame.to_ndarray(format="rgb24", threads=1)
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoError(f"frame {index} of {shown(self._path)} has no RGB form: {error}") from error
        return upright(pixels.astype(np.uint8, copy=False), first.matrix)

    def _unreadable(self, index: int, what: str) -> VideoError:
        """The error for a frame that cannot be had; decodes the whole file to say how many can."""
        if index >= self._table.num_readable:
            what = "lies behind the point where the file was cut off"
        nothing = np.empty(0, dtype=np.int64)
        try:
            num_clean = sum(i >= 0 and not damaged for i, _, damaged in self._pictures(nothing))
        except _TableError:
            num_clean = self._table.num_readable
        return VideoError(
            f"frame {index} at {self.time_of(index):.2f} s of {shown(self._path)} {what}; "
            f"{num_clean} of {self.info.num_frames} frames decode",
            hint=DAMAGED_HINT,
        )


class _Recognizer:
    """Gives decoded frames their index, by time or by count; -1 to frames behind the cut of a file."""

    def __init__(self, table: FrameTable) -> None:
        self._table = table
        self._last = -1

    def index_of(self, frame: VideoFrame) -> int:
        table, sure = self._table, self._table.num_readable
        if not table.by_pts:
            index = self._last + 1
        elif frame.pts is None:
            raise _TableError
        else:
            index = int(np.searchsorted(table.pts[:sure], frame.pts))
            if index < sure and (table.pts[index] != frame.pts or index <= self._last):
                raise _TableError
        self._last = index
        if index < sure:
            return index
        if not table.truncated:
            raise _TableError
        return -1


class _Gops:
    """Which packets need decoding: those between two restarts with a wanted frame; without restarts, all."""

    def __init__(self, table: FrameTable, wanted: Times) -> None:
        self._restarts = table.restarts if len(wanted) else None
        self.is_needed = True
        if self._restarts is not None:
            self._needed = np.unique(np.searchsorted(self._restarts, table.pts[wanted], side="right") - 1)

    def is_over(self, packet: VideoPacket) -> bool:
        """Moves on to a packet, setting `is_needed`; True behind the last group with a wanted frame."""
        if self._restarts is None or not packet.is_keyframe or packet.pts is None:
            return False
        group = int(np.searchsorted(self._restarts, packet.pts))
        if group < len(self._restarts) and self._restarts[group] == packet.pts:
            self.is_needed = bool(np.isin(group, self._needed))
            return group > int(self._needed[-1])
        return False


class _DamageWatch:
    """Tells the frames that are damaged: flagged by the decoder, or decoded after such a one.

    A decoder conceals what it cannot read, flags that frame, and goes on predicting from it until
    the next key frame. Frames decoded later may be shown earlier, so each is held until all that
    were decoded before it have come out.
    """

    _MAX_INSIDE = 20  # a decoder holds back 16 frames at most

    def __init__(self, wanted: Times, *, reorders: bool) -> None:
        self._wanted, self._reorders = wanted, reorders
        self._inside: dict[int, int] = {}  # pts of the packets in the decoder -> their order
        self._held: deque[_Held] = deque()
        self._num_sent = 0
        self._bad_from: int | None = None  # frames are damaged from this place in decode order on
        self._has_received = False

    def sent(self, pts: int | None) -> None:
        """A packet goes to the decoder."""
        self._num_sent += 1
        if pts is not None:
            self._inside[pts] = self._num_sent
            if len(self._inside) > self._MAX_INSIDE:
                del self._inside[min(self._inside, key=self._inside.__getitem__)]

    def failed(self, pts: int | None) -> None:
        """A packet (None: some packets) could not be read or decoded."""
        order = self._num_sent + 1 if pts is None else self._inside.pop(pts, self._num_sent)
        if self._has_received:  # until then there was nothing to damage
            self._spoil(order)

    def received(self, index: int, frame: VideoFrame) -> None:
        """A frame comes out of the decoder."""
        self._has_received = True
        order = -1 if frame.pts is None else self._inside.pop(frame.pts, -1)
        if frame.is_corrupt:
            self._spoil(order)
        elif frame.key_frame and self._bad_from is not None and not 0 <= order < self._bad_from:
            self._bad_from = None
        is_bad = self._bad_from is not None and not 0 <= order < self._bad_from
        at = int(np.searchsorted(self._wanted, index))
        is_wanted = at < len(self._wanted) and self._wanted[at] == index
        self._held.append(_Held(index, frame if is_wanted else None, order, is_bad))

    def _spoil(self, order: int) -> None:
        self._bad_from = order if self._bad_from is None else min(order, self._bad_from)
        for held in self._held:
            held.is_damaged = held.is_damaged or held.order < 0 or held.order >= order

    def released(self, *, everything: bool = False) -> Iterator[tuple[int, VideoFrame | None, bool]]:
        """(index, frame if wanted, whether it is damaged) of the frames of which this is now sure."""
        oldest = min(self._inside.values(), default=self._num_sent) if self._reorders else self._num_sent
        while self._held and (everything or self._held[0].order <= oldest):
            held = self._held.popleft()
            yield held.index, held.frame, held.is_damaged


@dataclass
class _Held:
    """A frame that waits; `order` is its place in decode order, -1 if not known."""

    index: int
    frame: VideoFrame | None
    order: int
    is_damaged: bool


def _inspect(path: str, *, by_decoding: bool = False) -> tuple[FrameTable, Picture, VideoInfo]:
    """The frame table, the first frame and the facts about a video file; `VideoError` if not one decodes."""
    try:
        with open_stream(path) as (container, stream):
            if stream is None:
                kinds = sorted({str(s.type) for s in container.streams}) or ["nothing"]
                raise VideoError(f"{shown(path)} has no video stream, only {', '.join(kinds)}", hint=NOT_A_VIDEO_HINT)
            codec = _codec_name(path, stream)
            header_rate = stream.average_rate
            aspect = stream.sample_aspect_ratio or Fraction(1)
            built = None if by_decoding else build_table(path, container, stream)
        if by_decoding:
            built = decode_table(path, distrust="it was wrong")
    except av.error.FFmpegError as error:
        raise _unopenable(path, error) from error
    if built is None:
        why = "it is encrypted" if _is_encrypted(path) else "its data are damaged, encrypted or missing"
        raise VideoError(f"no frame of {shown(path)} ({codec}) decodes: {why}", hint=DAMAGED_HINT)
    table, picture = built
    is_turned = _is_turned(picture.matrix)
    seconds = [table.seconds(int(pts)) for pts in (table.pts[0], table.end_pts)]
    return (
        table,
        picture,
        VideoInfo(
            path=path,
            num_frames=len(table.pts),
            fps=average_fps(table, header_rate),
            duration_seconds=seconds[1] - seconds[0],
            height=picture.width if is_turned else picture.height,
            width=picture.height if is_turned else picture.width,
            rotation=picture.rotation,
            codec=codec,
            pixel_format=picture.pixel_format,
            sample_aspect_ratio=1 / aspect if is_turned else aspect,
            start_seconds=seconds[0],
            truncated=table.truncated,
            num_frames_known=table.length_known,
        ),
    )


def _codec_name(path: str, stream: VideoStream) -> str:
    if stream.codec_context is None:
        raise VideoError(
            f"there is no decoder for the video in {shown(path)}",
            hint="re-encode it to H.264, for example with ffmpeg -i IN -c:v libx264 OUT.mp4",
        )
    name = stream.codec_context.codec.canonical_name
    if name == "ansi":  # FFmpeg draws text files as if on an old terminal
        raise VideoError(f"{shown(path)} is a text file, not a video", hint=NOT_A_VIDEO_HINT)
    return name


def _unopenable(path: str, error: Exception) -> VideoError:
    """What is wrong with a file that FFmpeg cannot open, as far as its bytes tell."""
    if _is_encrypted(path):
        return VideoError(f"{shown(path)} is encrypted", hint="decrypt it first: no key can be given here")
    with Path(path).open("rb") as file:
        head = file.read(4096)
    if head[4:8] == b"ftyp":
        if ends_beyond(path, MP4):
            return VideoError(f"{shown(path)} was cut short: its index is missing", hint=DAMAGED_HINT)
        return VideoError(f"{shown(path)} is an MP4 file without a usable index", hint=DAMAGED_HINT)
    if b"\0" not in head:
        return VideoError(f"{shown(path)} is a text file, not a video", hint=NOT_A_VIDEO_HINT)
    reason = getattr(error, "strerror", None) or str(error)
    return VideoError(f"{shown(path)} is not a video that FFmpeg can read: {reason}", hint=NOT_A_VIDEO_HINT)


def _is_encrypted(path: str) -> bool:
    """Whether the headers of an MP4 or Matroska file announce encryption."""
    with Path(path).open("rb") as file:
        head = file.read(1 << 20)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return b"\x47\xe1\x81\x05" in head  # ContentEncAlgo: AES
    return head[4:8] == b"ftyp" and b"sinf" in head and b"encv" in head


def average_fps(table: FrameTable, header: Fraction | None) -> Fraction:
    """The average frame rate: what the header says if it is true, otherwise what the times say.

    It is true within 1 %, or half a frame over the whole video. A rate is measured from the first to
    the last frame; where that is no span (a single frame), the header is believed, and failing that 1.
    """
    pts = table.pts[: table.num_readable] if table.num_readable > 1 else table.pts
    span = (int(pts[-1]) - int(pts[0])) * table.time_base
    if len(pts) < 2 or span <= 0:
        return header if header is not None and header > 0 else Fraction(1)
    steps = len(pts) - 1
    measured = steps / span
    if header is not None and abs(header * span - steps) <= max(Fraction(1, 2), Fraction(steps, 100)):
        return header
    return measured.limit_denominator(1001) or measured


def _is_turned(matrix: tuple[int, int, int, int]) -> bool:
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def upright(pixels: Pixels, matrix: tuple[int, int, int, int]) -> Pixels:
    """The frame (H, W, 3) as it is meant to be seen, by the nearest quarter turn; mirrors it if need be."""
    a, b, c, d = matrix
    across, down = (c, b) if _is_turned(matrix) else (a, d)
    if _is_turned(matrix):
        pixels = pixels.transpose(1, 0, 2)
    if across < 0:
        pixels = pixels[:, ::-1]
    if down < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
