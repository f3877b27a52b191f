"""What opening a video file finds out, once: its frame table, its first frame, and what its headers say."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.results import VideoInfo
from tadacli.video.bitstream import MATROSKA, MP4
from tadacli.video.container import open_stream, start_timecode
from tadacli.video.decoder import ReadFile
from tadacli.video.frame_table import FrameTable, ReadSoFar, build_table, decode_table
from tadacli.video.full_decode import FirstFrame
from tadacli.video.opening import open_for_frames
from tadacli.video.refusals import (
    check_not_joined,
    check_size,
    codec_name,
    encrypted,
    is_encrypted,
    no_video,
    undecodable,
    unopenable,
)
from tadacli.video.seeking import read_packets_again


@dataclass(frozen=True)
class Headers:
    """What the headers of a file say of its video, and is taken from them.

    `rate` is the frame rate that they claim, None without one; `aspect` the shape of a pixel as it is stored, width
    over height.
    """

    codec: str
    rate: Fraction | None
    aspect: Fraction
    start_timecode: str


@dataclass(frozen=True)
class Inspection:
    """All that is known of a video file before a frame of it is asked for."""

    table: FrameTable
    first: FirstFrame
    headers: Headers

    def info(self, path: str) -> VideoInfo:
        """The facts, for people."""
        table, first, headers = self.table, self.first, self.headers
        turned = is_turned(first.matrix)
        seconds = [table.seconds(int(pts)) for pts in (table.pts[0], table.end_pts)]
        return VideoInfo(
            path=path,
            num_frames=len(table.pts),
            fps=average_fps(table, headers.rate),
            duration_seconds=seconds[1] - seconds[0],
            height=first.width if turned else first.height,
            width=first.height if turned else first.width,
            rotation=first.rotation,
            codec=headers.codec,
            pixel_format=first.pixel_format,
            sample_aspect_ratio=1 / headers.aspect if turned else headers.aspect,
            start_seconds=seconds[0],
            truncated=table.truncated,
            num_frames_known=table.length_known,
            notes=table.notes,
            start_timecode=headers.start_timecode,
        )


def inspect_file(path: str, *, by_decoding: bool = False) -> tuple[Inspection, ReadFile | None]:
    """What is known of a video file, and the file itself if its packets are believed.

    Args:
        path: The file.
        by_decoding: Whether it is decoded once, whatever its packets say.

    Raises:
        VideoError: Not one frame decodes; it names the reason.
    """
    so_far, read_file = ReadSoFar(), None
    try:
        with ExitStack() as files:
            container, stream = files.enter_context(open_for_frames(path))
            if stream is None:
                raise no_video(path, container)
            codec = codec_name(path, stream)
            says_its_size = check_size(path, stream)
            headers = _headers_of(codec, container, stream)
            format_name = container.format.name
            built = None if by_decoding else build_table(path, container, stream, so_far=so_far)
            if built is not None and built[0].packets is not None:
                with suppress(av.error.FFmpegError):  # then it is opened again
                    packets = so_far.packets or read_packets_again(stream, built[0])
                    read_file = ReadFile(stream, packets, so_far.has_first, files.pop_all())
        if by_decoding:
            built = decode_table(path, distrust="it was wrong")
        if built is not None and built[0].packets is None and format_name in (MP4, MATROSKA):
            # It may have been opened by headers, which say less than the frames do.
            with open_stream(path) as (container, stream):
                assert stream is not None
                headers = _headers_of(codec, container, stream)
    except av.error.FFmpegError as error:
        raise unopenable(path, error) from error
    if built is None:
        raise undecodable(path, codec, says_its_size=says_its_size)
    check_not_joined(path, format_name)
    if format_name == MP4 and built[0].packets is None and is_encrypted(path):
        raise encrypted(path)  # what comes out is noise, or a start that is not encrypted
    return Inspection(*built, headers), read_file


def _headers_of(codec: str, container: InputContainer, stream: VideoStream) -> Headers:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return Headers(codec, stream.average_rate, aspect, start_timecode(container, stream))


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


def is_turned(matrix: tuple[int, int, int, int]) -> bool:
    """Whether a display transformation (a, b, c, d) exchanges height and width."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)
