"""Which kinds of video can be decoded here, tried out on a few pictures encoded for the purpose."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Coding:
    """A kind of video: its software decoders, and encoders with their pixel format and options, to try it with.

    FFmpeg has decoders that need a GPU under these names as well; they are not counted.
    """

    decoders: tuple[str, ...]
    encoders: tuple[str, ...]
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] | None = None


# What cameras, phones and the web produce. FFmpeg's own "av1" decodes on GPUs only.
CODINGS: Mapping[str, Coding] = {
    "h264": Coding(("h264", "libopenh264"), ("libx264", "libopenh264")),
    "hevc": Coding(("hevc",), ("libx265",), options={"x265-params": "log-level=none"}),
    "vp8": Coding(("vp8", "libvpx"), ("libvpx",)),
    "vp9": Coding(("vp9", "libvpx-vp9"), ("libvpx-vp9",)),
    "av1": Coding(("libdav1d", "libaom-av1"), ("libsvtav1", "libaom-av1")),
    "mjpeg": Coding(("mjpeg",), ("mjpeg",), pix_fmt="yuvj420p"),
    "mpeg4": Coding(("mpeg4",), ("mpeg4",)),
}
# What editors, archives and old data sets hold.
LESS_COMMON = ("prores", "dnxhd", "cfhd", "mpeg1video", "mpeg2video", "vc1", "wmv3", "theora", "flv", "h263", "ffv1")

_SIZE = (96, 128)
_NUM_PICTURES = 4
# Mean difference from what was encoded; good decoders stay below 2 at this rate, a wrong picture is far above 20.
_MAX_DIFFERENCE = 10.0


@dataclass(frozen=True)
class CodecState:
    """What is known about one kind of video: its decoder, whether that was tried, and what went wrong.

    `encoder` is the one that made the pictures; empty where FFmpeg has none, so that nothing could be tried.
    """

    decoder: str
    encoder: str = ""
    error: str = ""


def check_codec(name: str) -> CodecState:
    """Whether a kind of video of `CODINGS` can be decoded, tried out where FFmpeg can encode it, too."""
    coding = CODINGS[name]
    decoder = _first(coding.decoders, "r")
    if not decoder:
        return CodecState("", error=f"this FFmpeg has no software decoder for {name}")
    encoder = _first(coding.encoders, "w")
    if not encoder:
        return CodecState(decoder)
    expected = _pictures()
    try:
        with tame_encoder():
            content = encode(expected, encoder, coding)
    except (av.FFmpegError, ValueError):
        return CodecState(decoder)  # only decoding matters here
    try:
        with av.open(io.BytesIO(content), "r") as container:
            decoder = container.streams.video[0].codec_context.codec.name
            found = [cast(Pixels, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        return CodecState(decoder, encoder, f"what {encoder} encoded is not decoded: {error}")
    return CodecState(decoder, encoder, _difference(found, expected))


def has_decoder(name: str) -> bool:
    """Whether FFmpeg has a decoder of this name."""
    return bool(_first((name,), "r"))


def _first(names: Sequence[str], mode: Any) -> str:
    """The first of the codecs that FFmpeg has, or nothing."""
    for name in names:
        try:
            av.Codec(name, mode)
        except ValueError:  # how PyAV says that it knows none
            continue
        return name
    return ""


def _pictures() -> list[Pixels]:
    """A few pictures of slow colours that move."""
    y, x = np.mgrid[0 : _SIZE[0], 0 : _SIZE[1]]
    return [
        np.stack([20 + x + 4 * number, 30 + 2 * y, np.full_like(x, 128)], axis=-1).astype(np.uint8)
        for number in range(_NUM_PICTURES)
    ]


@contextmanager
def tame_encoder() -> Iterator[None]:
    """Holds encoders to what a guest may do: SVT-AV1 writes to stderr, and a process of root becomes a realtime one."""
    is_silent = "SVT_LOG" not in os.environ
    if is_silent:
        os.environ["SVT_LOG"] = "0"
    scheduling = _scheduling()
    try:
        yield
    finally:
        if is_silent:
            del os.environ["SVT_LOG"]
        if sys.platform == "linux" and scheduling != _scheduling():
            os.sched_setscheduler(0, scheduling[0], os.sched_param(scheduling[1]))


def _scheduling() -> tuple[int, int]:
    """The policy and the priority of this thread, where the system says them."""
    if sys.platform != "linux":
        return (0, 0)
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def encode(pictures: Sequence[Pixels], encoder: str, coding: Coding) -> bytes:
    """A video of the pictures, uint8 (height, width, 3) each, in a container's bytes."""
    content = io.BytesIO()
    with av.open(content, "w", format="matroska") as container:
        stream = cast(av.VideoStream, container.add_stream(encoder, rate=25, options=dict(coding.options or {})))
        stream.height, stream.width = _SIZE
        stream.pix_fmt, stream.bit_rate = coding.pix_fmt, 2_000_000
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return content.getvalue()


def _difference(found: Sequence[Pixels], expected: Sequence[Pixels]) -> str:
    """What is wrong with decoded pictures; nothing if they are what was encoded."""
    if len(found) != len(expected):
        return f"{len(found)} of {len(expected)} pictures came out of the decoder"
    worst = max(float(np.abs(one.astype(int) - other).mean()) for one, other in zip(found, expected, strict=True))
    return f"decoded pictures are off by {worst:.0f} of 255 on average" if worst > _MAX_DIFFERENCE else ""
