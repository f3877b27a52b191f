"""Decoding one packet, and hearing what the decoder has against it.

A decoder that meets damage often fills it in and gives a frame without any flag; only FFmpeg's log tells.
"""

from __future__ import annotations

from contextlib import suppress

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from tadacli.video.container import VideoPacket
from tadacli.video.ffmpeg_log import Listening


def open_watched(decoder: VideoCodecContext) -> bool:
    """Opens a decoder; whether it has nothing against the headers of the file."""
    listening = Listening()
    listening.begin()
    try:
        decoder.open(strict=False)
        return not listening.had_error
    except av.error.FFmpegError:
        return False
    finally:
        listening.end()


def decode_watched(
    decoder: VideoCodecContext, packet: VideoPacket | None, listening: Listening
) -> tuple[list[VideoFrame] | None, bool]:
    """What one packet decodes to, and whether the decoder had an error with it.

    Args:
        decoder: A decoder without threads of its own.
        packet: The next packet; None after the last one.
        listening: Has begun afterwards, and goes on.

    Returns:
        The frames that come out, None if the packet was refused; and whether an error was logged.
    """
    if not decoder.is_open:
        # What it has against the headers of the file is not about this packet, and not said again by an open decoder.
        with suppress(av.error.FFmpegError):
            decoder.open(strict=False)
    listening.begin()
    listening.forget()
    try:
        frames: list[VideoFrame] | None = decoder.decode(packet)
    except av.error.FFmpegError:
        frames = None
    return frames, frames is None or listening.had_error
