"""Why a file is no video that can be read, as far as its bytes tell."""

from __future__ import annotations

from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.errors import VideoError
from tadacli.video.bitstream import MP4
from tadacli.video.container import is_cover
from tadacli.video.container_bytes import count_recordings, ends_beyond, top_level_boxes
from tadacli.video.source import DAMAGED_HINT, MAX_PIXELS, NOT_A_VIDEO_HINT, shown, too_large

_PLAYLISTS = (b"#EXTM3U", b"ffconcat version", b"v=0")
_MAX_INDEX_BYTES = 1 << 26  # of an MP4 file's index, no more is searched for signs of encryption


def no_video(path: str, container: InputContainer) -> VideoError:
    """The error for a file without a video stream."""
    kinds = {"a cover picture" if is_cover(stream) else str(stream.type) for stream in container.streams}
    only = " and ".join(sorted(kinds, key=lambda kind: (kind == "a cover picture", kind))) or "nothing"
    return VideoError(f"{shown(path)} has no video stream, only {only}", hint=NOT_A_VIDEO_HINT)


def codec_name(path: str, stream: VideoStream) -> str:
    """FFmpeg's name of a stream's codec. Raises `VideoError` where nothing decodes it to a video."""
    if stream.codec_context is None:
        raise VideoError(
            f"there is no decoder for the video in {shown(path)}",
            hint="re-encode it to H.264, for example with ffmpeg -i IN -c:v libx264 OUT.mp4",
        )
    name = stream.codec_context.codec.canonical_name
    if name == "ansi":  # FFmpeg draws text files as if on an old terminal
        raise VideoError(f"{shown(path)} is a text file, not a video", hint=NOT_A_VIDEO_HINT)
    return name


def check_size(path: str, stream: VideoStream) -> bool:
    """Whether a stream says how large its frames are. Raises `VideoError` for frames too large to be read."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if problem := too_large(width, height):
        raise VideoError(f"a frame of {shown(path)} {problem}", hint="scale it down first, for example with ffmpeg")
    return bool(width and height)


def unopenable(path: str, error: Exception) -> VideoError:
    """The error for a file that FFmpeg cannot open."""
    if is_encrypted(path):
        return encrypted(path)
    head = _head(path, 4096)
    if head[4:8] == b"ftyp":
        if ends_beyond(path, MP4):
            return VideoError(f"{shown(path)} was cut short: its index is missing", hint=DAMAGED_HINT)
        return VideoError(f"{shown(path)} is an MP4 file without a usable index", hint=DAMAGED_HINT)
    if head.lstrip().startswith(_PLAYLISTS):
        return VideoError(
            f"{shown(path)} is a text file, a playlist, and what it names is not opened",
            hint="name the video files themselves",
        )
    if b"\0" not in head:
        return VideoError(f"{shown(path)} is a text file, not a video", hint=NOT_A_VIDEO_HINT)
    reason = getattr(error, "strerror", None) or str(error)
    return VideoError(f"{shown(path)} is not a video that FFmpeg can read: {reason}", hint=NOT_A_VIDEO_HINT)


def undecodable(path: str, codec: str, *, says_its_size: bool) -> VideoError:
    """The error for a file of which not one frame decodes."""
    if is_encrypted(path):
        return encrypted(path)
    if _is_animated_webp(_head(path, 32)):
        return VideoError(
            f"{shown(path)} is an animated WebP picture, and FFmpeg has no decoder for the animation",
            hint="convert it to a GIF or a video with another program",
        )
    # FFmpeg forgets a size that it was told to refuse.
    or_large = "" if says_its_size else f", or its frames have more than {MAX_PIXELS / 1e6:.0f} million pixels"
    return VideoError(
        f"no frame of {shown(path)} ({codec}) decodes: its data are damaged or missing{or_large}", hint=DAMAGED_HINT
    )


def encrypted(path: str) -> VideoError:
    """The error for a file that is encrypted."""
    return VideoError(f"{shown(path)} is encrypted", hint="decrypt it first: no key can be given here")


def check_not_joined(path: str, format_name: str) -> None:
    """Raises `VideoError` for a file that others were appended to, as bytes, of which nothing would be seen."""
    num_recordings = count_recordings(path, format_name)
    if num_recordings > 1:
        raise VideoError(
            f"{shown(path)} holds {num_recordings} recordings one after the other, and only one of them can be read",
            hint="join files with a program that knows them, for example ffmpeg -f concat -i LIST -c copy OUT.mp4",
        )


def is_encrypted(path: str) -> bool:
    """Whether the headers of an MP4 (common encryption, CENC) or Matroska file announce an encrypted video."""
    head = _head(path, 8)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return b"\x47\xe1\x81\x05" in _head(path, 1 << 20)  # ContentEncAlgo: AES
    if head[4:8] != b"ftyp":
        return False
    with Path(path).open("rb") as file:
        for kind, start, end in top_level_boxes(file):
            if kind == b"moov":
                file.seek(start)
                index = file.read(min(end - start, _MAX_INDEX_BYTES))
                return b"sinf" in index and b"encv" in index
    return False


def _is_animated_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20:21]) and bool(head[20] & 2)


def _head(path: str, num_bytes: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(num_bytes)
