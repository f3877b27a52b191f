"""What reading one file comes to: right frames, told damage, a named error, or a fault of the reader."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tadacli.errors import VideoError
from tadacli.video.reading import open_video
from tadacli.video.source import Frame

_MAX_FRAMES = 200
_MAX_READ_ERRORS = 100


class Outcome(StrEnum):
    """What reading a file came to; all from WRONG on are faults of the reader."""

    WHOLE = "whole"
    """Every frame as a decode-through gives it, and as it was before the file was damaged."""
    UNSEEN = "unseen"
    """Every frame as a decode-through gives it, which is not what was there: the codec cannot tell."""
    TOLD = "told"
    """Frames are refused, or the file is said to be cut short or odd; all others as a decode-through gives them."""
    ERROR = "error"
    """An error that names the file."""
    UNDEFINED = "undefined"
    """A frame that a decode-through gives differently each time, as its decoder leaves parts of it unwritten."""
    WRONG = "wrong"
    TRACEBACK = "traceback"
    HANG = "hang"
    DIED = "died"


FAULTS = (Outcome.WRONG, Outcome.TRACEBACK, Outcome.HANG, Outcome.DIED)


@dataclass(frozen=True)
class Verdict:
    """An outcome, and what there is to say about it."""

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class _Shown:
    """A decoded frame: a checksum of its pixels, and its presentation time if it has one."""

    checksum: int
    time_seconds: float | None


def checksum(pixels: np.ndarray) -> int:
    """A checksum of a picture (H, W, 3) that is the same however it is turned: damage may change its orientation."""
    if pixels.ndim < 3:
        return -1
    turned = (np.rot90(side, quarter) for side in (pixels, pixels[:, ::-1]) for quarter in range(4))
    return min(zlib.crc32(np.ascontiguousarray(picture)) for picture in turned)


@dataclass(frozen=True)
class Whole:
    """What is known of a video before the damage: checksums of its frames, and how many notes there are about it."""

    checksums: list[int]
    num_notes: int


def whole_of(path: Path) -> Whole:
    """What is to be known of a whole video."""
    with open_video(path) as source:
        frames = source.require_frames(range(source.info.num_frames))
        return Whole([checksum(frame.pixels) for frame in frames], len(source.info.notes))


def judge(path: Path, whole: Whole, seed: int) -> Verdict:
    """What reading a file comes to.

    Args:
        path: The file, or a folder of JPEG frames.
        whole: What it was before the damage.
        seed: Which frames are read once more by themselves.
    """
    try:
        with open_video(path) as source:
            info = source.info
            num_frames = min(info.num_frames, _MAX_FRAMES)
            found = list(source.iter_frames(range(num_frames), skip_unreadable=True))
        given = {f.index: _Shown(checksum(f.pixels), f.time_seconds) for f in found if isinstance(f, Frame)}
        again = _alone(path, sorted(random.Random(seed).sample(range(num_frames), min(3, num_frames))))
    except VideoError as error:
        return Verdict(Outcome.ERROR, error.message)
    if [frame.index for frame in found] != list(range(num_frames)):
        return Verdict(Outcome.WRONG, "frames are missing in the answer")
    if any(given.get(index) != shown for index, shown in again.items()):
        return Verdict(Outcome.WRONG, "a frame depends on what else is read")
    is_told = (
        info.truncated or len(info.notes) > whole.num_notes or len(given) < num_frames or not info.num_frames_known
    )
    fault = _difference(path, given, is_told=is_told, is_all=num_frames == info.num_frames)
    if fault:
        is_undefined = _checksums(path, holds=True) != _checksums(path, holds=False)
        return Verdict(Outcome.UNDEFINED if is_undefined else Outcome.WRONG, fault)
    if is_told:
        return Verdict(Outcome.TOLD)
    return Verdict(Outcome.WHOLE if [shown.checksum for shown in given.values()] == whole.checksums else Outcome.UNSEEN)


def _alone(path: Path, indices: list[int]) -> dict[int, _Shown | None]:
    with open_video(path) as source:
        found = [next(source.iter_frames([index], skip_unreadable=True)) for index in indices]
    return {
        frame.index: _Shown(checksum(frame.pixels), frame.time_seconds) if isinstance(frame, Frame) else None
        for frame in found
    }


def _difference(path: Path, given: dict[int, _Shown], *, is_told: bool, is_all: bool) -> str:
    """What is wrong with the frames that were given, by a decode-through of the same file."""
    expected = list(_decoded_through(path))
    times = [shown.time_seconds for shown in expected]
    is_timed = path.suffix != ".avi"  # FFmpeg counts its packets; where one is destroyed, the index knows better
    ascend = is_timed and all(a is not None and b is not None and a < b for a, b in itertools.pairwise(times))
    at = 0
    for index, shown in given.items():
        while at < len(expected) and expected[at].checksum != shown.checksum:
            at += 1
            if not is_told:
                return f"frame {index} is not frame {at - 1} of a decode-through"
        if at == len(expected):
            return f"frame {index} does not come out of a decode-through in this order"
        time = expected[at].time_seconds
        if not is_told and ascend and time is not None and abs(time - (shown.time_seconds or 0)) > 1e-6:
            return f"frame {index} is shown at {time} s, not at {shown.time_seconds} s"
        at += 1
    if not is_told and is_all and at < len(expected):
        return f"{len(expected) - at} frames at the end are not seen"
    return ""


def _decoded_through(path: Path) -> Iterator[_Shown]:
    if path.is_dir() or ".tar" in path.name:
        yield from _jpegs(path)
        return
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        best = container.streams.best("video")
        assert isinstance(best, av.VideoStream)
        base = best.time_base or 0
        for frame in _frames(container, best):
            time = None if frame.pts is None else float(frame.pts * base)
            yield _Shown(checksum(_pixels(frame)), time)
            del frame


def _checksums(path: Path, *, holds: bool) -> list[int]:
    """Checksums of a decode-through, by a decoder that gets its memory back from each frame, or from none."""
    if path.is_dir() or ".tar" in path.name:
        return []
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        best = container.streams.best("video")
        assert isinstance(best, av.VideoStream)
        frames = _frames(container, best)
        return [checksum(_pixels(frame)) for frame in (list(frames) if holds else frames)]


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    try:
        pixels = frame.to_ndarray(format="rgb24", threads=1)
    except (av.error.FFmpegError, ValueError):
        return np.empty(0, dtype=np.uint8)
    return np.ascontiguousarray(pixels)


def _frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    stream.codec_context.thread_type = "SLICE"
    stream.codec_context.thread_count = 1
    for packet in [*_packets(container, stream), None]:
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            continue


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                errors = 0
                if packet.size:
                    yield packet
            return
        except av.error.FFmpegError:
            errors += 1


def _jpegs(path: Path) -> Iterator[_Shown]:
    """The pictures that Pillow decodes, in the order of their numbers."""
    for data in _jpeg_files(path):
        try:
            image = Image.open(io.BytesIO(data), formats=("JPEG",)).convert("RGB")
        except (OSError, ValueError, SyntaxError):
            continue
        yield _Shown(checksum(np.array(image)), None)


def _jpeg_files(path: Path) -> list[bytes]:
    if path.is_dir():
        return [file.read_bytes() for file in sorted(path.iterdir())]
    found = {}
    with contextlib.suppress(tarfile.TarError, EOFError, OSError, zlib.error, ValueError), tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            found[member.name] = b"" if content is None else content.read()
    return [data for _, data in sorted(found.items())]
