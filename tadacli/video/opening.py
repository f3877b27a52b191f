"""Opening a file to read its frames, without what FFmpeg decodes at each opening.

To learn the format of pixels and how far frames are reordered, FFmpeg decodes the first frames of a file before it
gives out a packet, and throws them away. Where headers say the same, or the first frame is decoded here anyway, a file
is opened as if there were no decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.video.bitstream import MATROSKA, MP4
from tadacli.video.container import open_stream
from tadacli.video.h264 import plain_h264
from tadacli.video.watched_decoding import open_watched

# These reorder nothing, and what else a decoder tells is in their key frames, or is learned from the first of them.
_IN_ORDER = ("vp8", "vp9")
_MATROSKA_HEAD, _MP4_HEAD = b"\x1a\x45\xdf\xa3", b"ftyp"
_FULL_RANGE = 2


@contextmanager
def open_for_frames(path: str) -> Iterator[tuple[InputContainer, VideoStream | None]]:
    """As `open_stream` does; what only decoding tells may be missing where it is told by headers.

    A file is opened in the same way each time. Raises what PyAV raises.
    """
    if _may_say_all(path):
        with open_stream(path, may_decode=False) as (container, stream):
            if stream is not None and _says_all(container, stream):
                yield container, stream
                return
    with open_stream(path) as opened:
        yield opened


def _may_say_all(path: str) -> bool:
    """Whether a file begins as one of the kinds do whose headers may say all."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(8)
    except OSError:
        return False  # for FFmpeg to say why
    return head.startswith(_MATROSKA_HEAD) or head[4:] == _MP4_HEAD


def _says_all(container: InputContainer, stream: VideoStream) -> bool:
    """Whether decoding would tell nothing more of the one video stream of a file; its decoder is told what it says."""
    if len(container.streams.video) != 1 or stream.codec_context is None:
        return False
    decoder, name = stream.codec_context, container.format.name
    if not (decoder.width and decoder.height and stream.average_rate):
        return False
    codec = decoder.codec.canonical_name
    if codec in _IN_ORDER:
        return name in (MP4, MATROSKA)
    if codec != "h264" or name not in (MP4, MATROSKA) or decoder.color_range == _FULL_RANGE:
        return False
    said = plain_h264(decoder.extradata or b"")
    if said is None or not (said.is_square or stream.sample_aspect_ratio):
        return False
    decoder.pix_fmt = "yuv420p"
    decoder.reorder_depth = max(decoder.reorder_depth, said.reorder_depth)
    return open_watched(decoder)
