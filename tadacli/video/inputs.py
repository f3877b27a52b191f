"""From what a person names on the command line to the videos it means, each by its own path."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import tempfile
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tadacli.errors import FetchError, OutputError, UsageError, VideoError
from tadacli.video.copies import FOLDER, kept_copies
from tadacli.video.frame_names import is_first_name, is_published_name
from tadacli.video.lists import ListedPart, listed_lines, listed_rows
from tadacli.video.stores import is_in_store, listed_in_store, version_in_store
from tadacli.zoo.addresses import address, credentials_of
from tadacli.zoo.downloading import Limit, OnProgress, Patience, Room, discard, download
from tadacli.zoo.sources import Source, version_of_source

if TYPE_CHECKING:
    from fractions import Fraction

    from tadacli.results import Note
    from tadacli.video.source import Pixels, Seconds

# What FFmpeg reads as video and what is seldom anything else: not .dat, .ogg or .webp, which mostly are.
VIDEO_SUFFIXES = frozenset(
    ".264 .265 .266 .360 .3g2 .3gp .3gpp .amv .apng .asf .av1 .avc .avi .avs2 .avs3 .bik .cavs .cine .dav .dif "
    ".divx .dv .dvr-ms .evo .f4v .flc .fli .flv .gif .gxf .h261 .h263 .h264 .h265 .h266 .h26l .hevc .insv .ism "
    ".ismv .ivf .ivr .lxf .m1v .m2p .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv .mod .mov .mp4 .mpe .mpeg "
    ".mpg .mpv .mts .mxf .nsv .nut .nuv .obu .ogm .ogv .ogx .ps .psp .qt .rcv .rm .rmvb .roq .smk .tod .trp .ts "
    ".ty .vc1 .viv .vob .vro .vvc .webm .wm .wmv .wtv .xmv .y4m".split()
)
# Longest first: what is left of a name must not end in a part of its suffix.
ARCHIVE_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar", ".tgz")
_MOST_KINDS = 5
# Other videos wait for one whose server does not answer.
URL_PATIENCE = Patience(attempts=3, longest_wait_seconds=30, timeout_seconds=30)
DEFAULT_MAX_DOWNLOAD = 4_000_000_000  # bytes
_IN_CACHE = Room(variable=FOLDER)
# A download has as much time as one takes at this rate, and a minute at least.
_SLOWEST_BYTES_PER_SECOND, _LEAST_SECONDS = 1_000_000, 60.0


class FrameArray(str):
    """What frames in memory are called, with the frames: it is a video wherever a path is one.

    `pixels` are uint8 (T, H, W, 3), RGB, `times` and `end_seconds` when each of them is shown and the last one ends,
    `fps` their average rate, and `notes` what else to know.
    """

    pixels: Pixels
    times: Seconds
    end_seconds: float
    fps: Fraction
    notes: tuple[Note, ...]

    @classmethod
    def of(
        cls,
        name: str,
        pixels: Pixels,
        times: Seconds,
        end_seconds: float,
        fps: Fraction,
        notes: tuple[Note, ...] = (),
    ) -> FrameArray:
        """Frames with their name."""
        video = cls(name)
        video.pixels, video.times, video.end_seconds, video.fps, video.notes = pixels, times, end_seconds, fps, notes
        return video


class PassedOver:
    """Counts what a walk through folders does not take for a video."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()

    def add(self, name: str, *, is_folder: bool) -> None:
        """Counts a file or a folder by its name."""
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith("."):
            kind = "hidden"
        elif is_folder:
            kind = "folder below (see --recursive)"
        elif re.fullmatch(r"\.[a-z0-9_-]{1,8}", suffix):  # others may be anything, and need not be shown
            kind = suffix
        else:
            kind = "other"
        self._kinds[kind] += 1

    def __str__(self) -> str:
        """What there was, in one line; empty if there was nothing."""
        kinds = [f"{count} {kind}" for kind, count in self._kinds.most_common(_MOST_KINDS)]
        rest = self._kinds.total() - sum(count for _, count in self._kinds.most_common(_MOST_KINDS))
        kinds += [f"{rest} of {len(self._kinds) - _MOST_KINDS} more kinds"] if rest else []
        return f"passed over in folders: {', '.join(kinds)}" if kinds else ""


def expand_inputs(
    inputs: Iterable[str],
    *,
    recursive: bool = False,
    stdin: TextIO | None = None,
    passed_over: PassedOver | None = None,
    parts: bool = False,
) -> list[str]:
    """The videos that `inputs` name, in order, each once.

    A name that exists is taken as it is, whatever characters it has. What does not exist is kept, and so is a folder
    without a video, so that it gets a result of its own saying so.

    Args:
        inputs: Files, folders (their videos by name), folders or tars of pictures that are frames, globs, http(s) URLs,
            URLs of object stores such as s3:// (of files, of folders with a slash at their end, or globs), `@FILE` for
            a list of inputs (one a line, # starts a comment line; or in Parquet), `-` for such a list on `stdin`.
        recursive: Take what is below the folders, too.
        stdin: Where `-` is read from.
        passed_over: Counts what is in folders and no video.
        parts: Whether lists may name parts of videos, or give them an id; such a row is one video, and not expanded.

    Returns:
        Paths and URLs, those of which a list says more as `ListedPart`.

    Raises:
        UsageError: A list file cannot be read, a glob matches nothing, or nothing was named.
    """
    found = iter_inputs(inputs, recursive=recursive, stdin=stdin, passed_over=passed_over, parts=parts)
    return list(dict.fromkeys(found))


def iter_inputs(
    inputs: Iterable[str],
    *,
    recursive: bool = False,
    stdin: TextIO | None = None,
    passed_over: PassedOver | None = None,
    parts: bool = False,
) -> Iterator[str]:
    """The videos that `inputs` name, in order, as `expand_inputs` finds them, but read as they are asked for.

    One that is named twice comes twice. A long list is never in memory as a whole.

    Args:
        inputs: As there.
        recursive: As there.
        stdin: As there.
        passed_over: As there.
        parts: As there.

    Yields:
        Paths and URLs.

    Raises:
        UsageError: As there, when it comes to that.
    """
    walk, is_any = _Walk(recursive, stdin, passed_over or PassedOver(), parts), False
    for item in inputs:
        for video in walk.expand(item):
            is_any = True
            yield video
    if not is_any:
        raise UsageError("no video was named", hint="give files, folders, globs, URLs, @list.txt, or - for stdin")


def is_url(text: str) -> bool:
    """Whether the input is fetched from a web server or an object store."""
    return text.lower().startswith(("http://", "https://")) or is_in_store(text)


def is_video_name(name: str) -> bool:
    """Whether a file name ends as those of videos do; that of a hidden file, such as ._clip.mp4 of a Mac, is none."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not os.path.basename(name).startswith(".")


def is_frames_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds the numbered frames of a video; looks no further than a name as EPIC-KITCHENS has it.

    Other names count from 0 or 1, and no video lies beside them: the pictures of a camera are no frames, nor is the
    picture of a video.
    """
    has_first = has_videos = False
    try:
        with os.scandir(os.fsdecode(path)) as entries:
            for entry in entries:
                if is_published_name(entry.name):
                    return True
                has_first = has_first or is_first_name(entry.name)
                has_videos = has_videos or is_video_name(entry.name)
    except (OSError, ValueError):
        return False
    return has_first and not has_videos


def is_pictures(path: str) -> bool:
    """Whether a video that is there is a folder or tar of pictures; asks the disk only where the name may be that."""
    return path.lower().endswith(ARCHIVE_SUFFIXES) or (not is_video_name(path) and os.path.isdir(path))


def file_size(path: str) -> int | None:
    """Size of a file in bytes, None for what is no file; tells whether an input is still the same."""
    if isinstance(path, FrameArray):
        return None
    try:
        return os.stat(path).st_size if os.path.isfile(path) else None
    except OSError:
        return None


def version_of(path: str, *, cached: bool = False) -> int | str | None:
    """What changes when a video does: the size of a file, the etag of one in a store; None where that is not known.

    Args:
        path: A path or URL.
        cached: Whether what a listing of a store said will do.
    """
    return version_in_store(path, cached=cached) if is_in_store(path) else file_size(path)


@contextlib.contextmanager
def local_path(
    video: str, *, patience: Patience = URL_PATIENCE, max_bytes: int = DEFAULT_MAX_DOWNLOAD
) -> Iterator[str]:
    """The path to open for a video: its own, or that of a copy of what is elsewhere.

    The copy is temporary, or kept in the folder that TADA_CACHE names (see `copies`).

    Args:
        video: A path or a URL.
        patience: How often and how long to wait for the server.
        max_bytes: The largest file that is fetched. Its time is limited, too: to what it takes at 1 MB a second.

    Raises:
        VideoError: The download fails for good, ends before its announced length, has no room, or is too large or slow;
            or the file has changed meanwhile.
        UsageError: The environment names a size that is none.
    """
    video = address(video)
    if not is_url(video):
        yield video
        return
    try:
        suffix = Path(urllib.parse.urlsplit(video).path).suffix
    except ValueError as error:
        raise VideoError(f"{video} is not a URL that can be read: {error}") from error
    limit = Limit(max_bytes, max(_LEAST_SECONDS, max_bytes / _SLOWEST_BYTES_PER_SECOND))
    source, copies = Source(video, credentials=credentials_of(video)), kept_copies()
    stored = is_in_store(video)
    ask = partial(version_in_store, video) if stored else partial(version_of_source, source, patience.timeout_seconds)
    version = ask() if stored or copies is not None else None

    def fetch(target: Path, room: Room, on_progress: OnProgress) -> None:
        try:
            download(source, target, room=room, patience=patience, limit=limit, on_progress=on_progress)
        except (FetchError, OutputError) as error:
            raise VideoError(error.message) from error
        if version is not None and ask() != version:
            discard(target)
            raise VideoError(f"{video} has changed while it was fetched", hint="run it again")

    with contextlib.ExitStack() as opened:
        if copies is not None and version is not None:
            kept = copies.copy_of(video, str(version), lambda *to: fetch(to[0], _IN_CACHE, to[1]), suffix=suffix)
            yield opened.enter_context(kept)
            return
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="tada-"))
        target = Path(folder, f"download{suffix}")
        fetch(target, Room(variable="TMPDIR"), lambda *_: None)
        yield str(target)


def is_kept(file: str, video: str) -> bool:
    """Whether the file that `local_path` gave for a video may be there the next time: its own, or a kept copy."""
    if file == address(video):
        return True
    copies = kept_copies()
    return copies is not None and Path(file).parent == copies.folder


@dataclass(frozen=True)
class _Walk:
    """How inputs are expanded."""

    recursive: bool
    stdin: TextIO | None
    passed_over: PassedOver
    parts: bool
    _open_lists: set[str] = field(default_factory=set, init=False)

    def expand(self, item: str, *, in_list: bool = False) -> Iterator[str]:
        """The videos that one input means."""
        if item == "-":
            yield from self._list(self.stdin if self.stdin and not in_list else ())
        elif is_in_store(item):
            yield from self._store(item)
        elif is_url(item):
            yield address(item)
        elif os.path.isfile(item):
            yield item
        elif os.path.isdir(item):
            yield from self._folder(item)
        elif item.startswith("@"):
            yield from self._list_file(item[1:])
        elif glob.has_magic(item):
            yield from self._glob(item)
        else:
            yield item

    def _store(self, url: str) -> Iterator[str]:
        """The videos that a URL of an object store means."""
        for name in listed_in_store(url, recursive=self.recursive):
            if name == url or is_video_name(name):
                yield name
            else:
                self.passed_over.add(os.path.basename(name), is_folder=False)

    def _list_file(self, path: str) -> Iterator[str]:
        place = path if is_in_store(path) else os.path.realpath(path)
        if place in self._open_lists:
            raise UsageError(f"the list {path} names itself, by way of its entries", hint="take that entry out")
        self._open_lists.add(place)
        is_table = path.lower().endswith(".parquet")
        yield from self._list(listed_rows(path, parts=self.parts) if is_table else listed_lines(path))
        self._open_lists.remove(place)

    def _list(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            if isinstance(line, ListedPart):
                yield line
                continue
            entry = line.removesuffix("\n").removesuffix("\r")
            if entry.strip() and not entry.startswith("#"):
                yield from self.expand(entry, in_list=True)

    def _folder(self, folder: str) -> Iterator[str]:
        """The videos of a folder; those folders that hold none, or cannot be listed, as they are."""
        if is_frames_folder(folder):
            yield folder
            return
        found, unlisted = False, list[OSError]()
        for parent, folders, files in os.walk(folder, onerror=unlisted.append):
            below = sorted(folders)
            folders.clear()
            for name in below:
                path = os.path.join(parent, name)
                if not name.startswith(".") and is_frames_folder(path):
                    found = True
                    yield path
                elif self.recursive and not name.startswith("."):
                    folders.append(name)
                else:
                    self.passed_over.add(name, is_folder=True)
            for name in sorted(files):
                if is_video_name(name):
                    found = True
                    yield os.path.join(parent, name)
                else:
                    self.passed_over.add(name, is_folder=False)
        yield from (str(error.filename) for error in unlisted)
        if not found and not unlisted:
            yield folder

    def _glob(self, pattern: str) -> Iterator[str]:
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise UsageError(f"nothing matches {pattern}")
        for match in matches:
            yield from self._folder(match) if os.path.isdir(match) else [match]
