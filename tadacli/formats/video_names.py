"""Short names for videos: the ids that data sets know them by, and files that are named after them."""

from __future__ import annotations

import itertools
import os
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tadacli.errors import OutputError
from tadacli.video.inputs import ARCHIVE_SUFFIXES, VIDEO_SUFFIXES, is_url

_URL_CHARACTERS = "%:/?#[]@!$&'()*+,;="  # those that URLs are made of


def file_name(path: str) -> str:
    """The last part of a path or URL.

    Args:
        path: The path or URL.

    Returns:
        The name of the file, or of the folder of frames.
    """
    return _parts(path)[-1]


def media_url(path: str) -> str:
    """The address of a video, as editors find it.

    Args:
        path: A path or URL.

    Returns:
        A URL as it is; that of the whole path for a file that is there; else the path, quoted as in URLs.
    """
    if is_url(path):
        return urllib.parse.quote(path, safe=_URL_CHARACTERS, errors="replace")
    if os.path.exists(path):
        return Path(os.path.abspath(path)).as_uri()
    try:
        return urllib.parse.quote(os.fsencode(path))
    except UnicodeEncodeError:  # no name of a file
        return urllib.parse.quote(path, errors="replace")


def video_id(path: str) -> str:
    """The name by which data sets know a video: `P01_11` for a/P01_11.MP4 and for a/P01_11/.

    Args:
        path: The path or URL of a video.

    Returns:
        The file name without the suffix of a video or archive. Any other suffix stays, as the name of a folder of
        frames may have a dot in it.
    """
    name = file_name(path)
    archive = next((suffix for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)), "")
    stem, suffix = os.path.splitext(name)
    if archive:
        stem = name[: -len(archive)]
    elif suffix.lower() not in VIDEO_SUFFIXES:
        stem = name
    return stem or name


def video_ids(paths: Sequence[str]) -> dict[str, str]:
    """The id of each video.

    Args:
        paths: Paths or URLs.

    Returns:
        The ids by path.

    Raises:
        OutputError: Two videos have the same id; both are named.
    """
    paths_by_id: dict[str, str] = {}
    for path in paths:
        other = paths_by_id.setdefault(video_id(path), path)
        if other != path:
            raise OutputError(
                f"{other} and {path} would both be the video {video_id(path)}",
                hint="rename one of them, or write them to two files",
            )
    return {path: name for name, path in paths_by_id.items()}


def output_names(paths: Sequence[str], suffix: str) -> dict[str, str]:
    """A file name for each video, each another one, also where case or accents do not count.

    A name is the video's id. Videos that share it get their suffix, if that tells them apart, or as many of
    the folders they are in as it takes; numbers are the last resort.

    Args:
        paths: Paths or URLs of videos.
        suffix: The suffix of the files, with its dot.

    Returns:
        The names by path.
    """
    candidates = {path: list(_candidates(path)) for path in paths}
    while True:
        counts = Counter(_folded(shortest) for shortest, *_ in candidates.values())
        shared = [each for each in candidates.values() if len(each) > 1 and counts[_folded(each[0])] > 1]
        if not shared:
            break
        for each in shared:
            del each[0]
    taken: set[str] = set()
    names = {}
    for path, (base, *_) in candidates.items():
        numbered = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
        name = next(each for each in numbered if _folded(each) not in taken)
        taken.add(_folded(name))
        names[path] = name + suffix
    return names


def _candidates(path: str) -> Iterator[str]:
    """Names from short to long; the folders stand before the name, divided by dashes."""
    *folders, name = _parts(path)
    stem = video_id(path)
    for depth in range(len(folders) + 1):
        lead = "".join(f"{folder}-" for folder in folders[len(folders) - depth :])
        yield lead + stem
        if name != stem:
            yield lead + name


def _parts(path: str) -> list[str]:
    """Folders and name of a path or URL, without those that say nothing."""
    text = path
    if is_url(path):
        with_host = path.split("://", 1)[1]
        text = urllib.parse.urldefrag(with_host).url.split("?", 1)[0]
    return [part for part in text.split("/") if part not in ("", ".", "..")] or ["video"]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
