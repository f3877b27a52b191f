"""From what a person names on the command line to the videos it means, each by its own path."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from tadacli.errors import FetchError, OutputError, UsageError, VideoError
from tadacli.zoo.downloading import Patience, Room, download
from tadacli.zoo.sources import Source

VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .dv .flv .gif .h264 .h265 .hevc .ivf .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov "
    ".mp4 .mpeg .mpg .mts .mxf .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)
# Longest first: what is left of a name must not end in a part of its suffix.
ARCHIVE_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar", ".tgz")
# Other videos wait for one whose server does not answer.
URL_PATIENCE = Patience(attempts=3, longest_wait_seconds=30, timeout_seconds=30)


def expand_inputs(inputs: Iterable[str], *, recursive: bool = False, stdin: TextIO | None = None) -> list[str]:
    """The videos that `inputs` name, in order, each once.

    A name that exists is taken as it is, whatever characters it has. What does not exist is kept, so that it gets a
    result of its own saying so.

    Args:
        inputs: Files, folders (their videos by name), folders or tars of JPEG frames, globs, http(s) URLs, `@FILE`
            for a list of inputs (one a line, # starts a comment line), `-` for such a list on `stdin`.
        recursive: Take what is below the folders, too.
        stdin: Where `-` is read from.

    Returns:
        Paths and URLs.

    Raises:
        UsageError: A list file cannot be read, a folder or glob has no videos, or nothing was named.
    """
    videos = list(dict.fromkeys(video for item in inputs for video in _expand(item, recursive=recursive, stdin=stdin)))
    if not videos:
        raise UsageError("no video was named", hint="give files, folders, globs, URLs, @list.txt, or - for stdin")
    return videos


def is_url(text: str) -> bool:
    """Whether the input is fetched from a web server."""
    return text.lower().startswith(("http://", "https://"))


def is_video_name(name: str) -> bool:
    """Whether a file name ends as those of videos do."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def file_size(path: str) -> int | None:
    """Size of a file in bytes, None for what is no file; tells whether an input is still the same."""
    try:
        return os.stat(path).st_size if os.path.isfile(path) else None
    except OSError:
        return None


@contextlib.contextmanager
def local_path(video: str, *, patience: Patience = URL_PATIENCE) -> Iterator[str]:
    """The path to open for a video: its own, or that of a temporary download of a URL.

    Args:
        video: A path or a URL.
        patience: How often and how long to wait for the server.

    Raises:
        VideoError: The download fails for good, ends before its announced length, or has no room.
    """
    if not is_url(video):
        yield video
        return
    try:
        suffix = Path(urllib.parse.urlsplit(video).path).suffix
    except ValueError as error:
        raise VideoError(f"{video} is not a URL that can be read: {error}") from error
    with tempfile.TemporaryDirectory(prefix="tada-") as folder:
        target = Path(folder, f"download{suffix}")
        try:
            download(Source(video), target, room=Room(variable="TMPDIR"), patience=patience)
        except (FetchError, OutputError) as error:
            raise VideoError(error.message) from error
        yield str(target)


def _expand(item: str, *, recursive: bool, stdin: TextIO | None) -> Iterator[str]:
    if item == "-":
        yield from _expand_list(stdin.read() if stdin else "", recursive=recursive)
    elif is_url(item) or os.path.isfile(item):
        yield item
    elif os.path.isdir(item):
        yield from _expand_folder(item, recursive=recursive)
    elif item.startswith("@"):
        yield from _expand_list(_read_list(item[1:]), recursive=recursive)
    elif glob.has_magic(item):
        yield from _expand_glob(item, recursive=recursive)
    else:
        yield item


def _read_list(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"the list {path} cannot be read: {error.strerror}") from error


def _expand_list(text: str, *, recursive: bool) -> Iterator[str]:
    for line in text.split("\n"):  # not splitlines(): a file name may hold what that takes for a line's end
        entry = line.removesuffix("\r")
        if entry.strip() and not entry.startswith("#"):
            yield from _expand(entry, recursive=recursive, stdin=None)


def _expand_folder(folder: str, *, recursive: bool) -> Iterator[str]:
    from tadacli.video.jpeg_frames import is_frames_folder

    if is_frames_folder(folder):
        yield folder
        return
    found = False
    for parent, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = sorted(folders) if recursive else []
        for name in list(folders):
            if is_frames_folder(os.path.join(parent, name)):
                found = True
                folders.remove(name)
                yield os.path.join(parent, name)
        for name in sorted(files):
            if is_video_name(name):
                found = True
                yield os.path.join(parent, name)
    if not found:
        raise UsageError(
            f"the folder {folder} holds no video",
            hint="" if recursive else "use --recursive to look below it",
        )


def _cannot_list(error: OSError) -> None:
    raise UsageError(f"the folder {error.filename} cannot be listed: {error.strerror}") from error


def _expand_glob(pattern: str, *, recursive: bool) -> Iterator[str]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise UsageError(f"nothing matches {pattern}")
    for match in matches:
        yield from _expand_folder(match, recursive=recursive) if os.path.isdir(match) else [match]
