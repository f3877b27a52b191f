"""How a page finds its videos: inside itself where they are small and browsers play them, else by their files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tadacli.errors import VideoError
from tadacli.video.boundary import VideoBoundary
from tadacli.video.reading import probe

# Of all videos inside one page.
MAX_INLINE_BYTES = 24_000_000

_PLAYED_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
_PLAYED_CODECS = ("", "h264", "vp8", "vp9", "av1")


@dataclass(frozen=True)
class VideoLink:
    """Where the page finds its video: inside itself (`content`), at a relative `url`, or nowhere (neither)."""

    name: str = ""
    url: str = ""
    content: bytes = b""
    media_type: str = ""


def video_link(
    path: str | os.PathLike[str],
    page_path: str | os.PathLike[str],
    *,
    codec: str = "",
    max_inline: int = MAX_INLINE_BYTES,
) -> VideoLink:
    """How a page shows its video: inside if browsers play it and it is small, else by its file.

    Args:
        path: The video.
        page_path: The file that the page is for.
        codec: FFmpeg's name of the video's codec, if known.
        max_inline: A video of up to so many bytes is put inside.

    Returns:
        The link; an empty one for a folder or archive of frames, and for a path that is no file.

    Raises:
        OSError: The file cannot be read.
    """
    file = Path(path)
    if not file.is_file() or file.suffix.lower() in (".tar", ".zip"):
        return VideoLink()
    name = os.fsencode(file.name).decode("utf-8", "replace")
    media_type = _PLAYED_TYPES.get(file.suffix.lower(), "")
    if media_type and codec in _PLAYED_CODECS and file.stat().st_size <= max_inline:
        return VideoLink(name=name, content=file.read_bytes(), media_type=media_type)
    try:
        # Browsers resolve ".." in the address itself, so symbolic links are left as they are.
        relative = os.path.relpath(os.path.abspath(file), os.path.dirname(os.path.abspath(page_path)))
    except ValueError:  # another drive
        return VideoLink(name=name, url=file.absolute().as_uri())
    return VideoLink(name=name, url=quote(os.fsencode(relative.replace(os.sep, "/"))))


@dataclass(frozen=True)
class PlayedVideo:
    """Where a page finds one of its videos, and the codec if it is known; or the `reason` why it has none to play."""

    link: VideoLink
    codec: str = ""
    reason: str = ""


def played_videos(
    paths: Iterable[str], page_path: str | os.PathLike[str], *, max_inline: int | None = None
) -> dict[str, PlayedVideo]:
    """Where a page of many videos finds each of them.

    Args:
        paths: The videos, those that matter most first; they may repeat.
        page_path: The file that the page is for.
        max_inline: So many bytes of videos are put inside, as they come; by default `MAX_INLINE_BYTES`.

    Returns:
        The videos by path, in this order, each once.
    """
    left = MAX_INLINE_BYTES if max_inline is None else max_inline
    found: dict[str, PlayedVideo] = {}
    for path in dict.fromkeys(paths):
        try:
            video = _played(path, page_path, left)
        except OSError as error:
            video = PlayedVideo(VideoLink(), reason=f"the file cannot be read: {error.strerror}")
        left -= len(video.link.content)
        found[path] = video
    return found


def _played(path: str, page_path: str | os.PathLike[str], left: int) -> PlayedVideo:
    file = Path(path)
    if not file.exists():
        return PlayedVideo(VideoLink(), reason="the file is not there")
    codec = ""
    is_small = file.is_file() and file.suffix.lower() in _PLAYED_TYPES and file.stat().st_size <= left
    if is_small:
        try:
            with VideoBoundary(path):
                codec = probe(path).codec
        except VideoError as error:
            return PlayedVideo(VideoLink(), reason=f"the video cannot be read: {error}")
    link = video_link(path, page_path, codec=codec, max_inline=left if is_small else -1)
    if not link.url and not link.content:
        return PlayedVideo(link, reason="these are pictures, which a page does not play")
    return PlayedVideo(link, codec)
