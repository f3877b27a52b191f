"""Copies of videos from elsewhere in a folder of this machine: of so many bytes at most, for all processes that use it.

The copy that was used least recently goes first, and none goes that is in use. Beside the copies lie, while one is
fetched, `KEY.part`, which a later download goes on with, and `KEY.room`, which whoever fetches it holds, and which says
how many bytes it will be.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from filelock import FileLock

from tadacli.errors import OutputError, UsageError, VideoError
from tadacli.files import held_file, is_unfinished, not_written, remove_unshared, shared_file
from tadacli.zoo.downloading import OnProgress, discard

FOLDER, SIZE = "TADA_CACHE", "TADA_CACHE_SIZE"
DEFAULT_SIZE = "50GB"
# Writes a video to a file, and says how much of it is there, and of how much if that is known.
Fetch: TypeAlias = Callable[[Path, OnProgress], object]

_PART, _ROOM, _LOCK = ".part", ".room", ".lock"
_OWN = (_PART, _ROOM, _LOCK, ".json")
_LONGEST_SIZE = 18  # digits
_STEP_BYTES = 1 << 28  # of a file whose size is not announced
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 300.0  # shorter than a worker's with its input


def num_bytes(option: str, text: str) -> int:
    """The bytes of a size such as 500MB, 4GB or 2GiB. Raises `UsageError` for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) ?([kMGT]?)(i?)B?", text.strip())
    size = 0 if found is None else int(float(found[1]) * (1024 if found[3] else 1000) ** " kMGT".index(found[2] or " "))
    if size < 1:
        raise UsageError(f"{option} {text} is no size", hint=f"give bytes, or for example {option} 4GB")
    return size


def kept_copies() -> KeptCopies | None:
    """The folder that the environment names, None where it names none. Raises `UsageError` for a size that is none."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    return KeptCopies(Path(folder), num_bytes(SIZE, os.environ.get(SIZE) or DEFAULT_SIZE))


@dataclass(frozen=True)
class KeptCopies:
    """A folder of copies.

    Attributes:
        folder: The folder, on a disk of this machine; it is made if need be.
        max_bytes: How much the copies may take, those that are being fetched with all that they will be.
        patience_seconds: How long to wait for copies that others use, where there is no room for another one.
    """

    folder: Path
    max_bytes: int
    patience_seconds: float = _PATIENCE_SECONDS

    @contextmanager
    def copy_of(self, url: str, version: str, fetch: Fetch, *, suffix: str = "") -> Iterator[str]:
        """The copy of a video, which stays while the context lasts; it is fetched if it is not there.

        Args:
            url: The video.
            version: What changes when the video does, such as its etag.
            fetch: Fetches it. Of several processes that want a copy, one calls it, and the others wait.
            suffix: How the name of the copy ends.

        Raises:
            VideoError: There is no room for it.
            OutputError: Nothing can be kept there.
            TadaError: What `fetch` raises.
        """
        key = hashlib.sha256(f"{url}\n{version}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        is_plain = re.fullmatch(r"\.\w{1,8}", suffix, re.ASCII) and suffix.lower() not in _OWN
        file = self.folder / (key + suffix if is_plain else key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stream = self._used(file)
            while stream is None:
                self._fetch(url, file, self.folder / key, fetch)
                stream = self._used(file)
        except OSError as error:
            raise not_written(self.folder, error, hint="give another --cache") from error
        with stream:
            yield str(file)

    def _used(self, file: Path) -> BinaryIO | None:
        """The copy, if it is there: no process removes it until it is closed."""
        stream = shared_file(file)
        if stream is not None:
            with suppress(OSError):  # the disk may be full
                changed = os.fstat(stream.fileno()).st_mtime_ns  # a frame table of the copy goes by it
                os.utime(file, ns=(time.time_ns(), changed))
        return stream

    def _fetch(self, url: str, file: Path, key: Path, fetch: Fetch) -> None:
        """Fetch a copy, or wait a moment where another process does it."""
        part, room = key.with_name(key.name + _PART), key.with_name(key.name + _ROOM)
        try:
            held = held_file(room, create=True, resume=True)
        except OutputError:
            time.sleep(_POLL_SECONDS)
            return
        reserved = 0

        def make_room(done: int, total: int | None) -> None:
            nonlocal reserved
            wanted = (done // _STEP_BYTES + 1) * _STEP_BYTES if total is None else total
            if wanted > reserved:
                self._reserve(url, wanted, room, held)
                reserved = wanted

        with held:
            try:
                if not file.exists():
                    fetch(part, make_room)
                    part.replace(file)
                    discard(part)
            finally:
                room.unlink(missing_ok=True)

    def _reserve(self, url: str, wanted: int, room: Path, held: BinaryIO) -> None:
        """Make room for so many bytes, and say that they are taken."""
        hint = "allow more: --cache-size"
        if wanted > self.max_bytes:
            text = f"{url} has {wanted:,} bytes, and the copies in {self.folder} may have {self.max_bytes:,}"
            raise VideoError(text, hint=hint)
        until = time.monotonic() + self.patience_seconds
        while True:
            with FileLock(self.folder / _LOCK):
                if self._has_room(wanted, room):
                    held.seek(0)
                    held.write(b"%d" % wanted)
                    held.flush()
                    return
            if time.monotonic() > until:
                raise VideoError(f"there is no room for {url} in {self.folder}: its copies are in use", hint=hint)
            time.sleep(_POLL_SECONDS)

    def _has_room(self, wanted: int, own: Path) -> bool:
        """Whether there is room, after what may go has gone."""
        left, kept = self.max_bytes - wanted, list[tuple[float, int, Path]]()
        for entry in os.scandir(self.folder):
            file = Path(entry.path)
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if file.suffix == _ROOM:
                    left -= 0 if file == own else _reserved(file)
                elif file.suffix == _PART and _is_fetched(file.with_suffix(_ROOM)):
                    continue  # its room is taken already
                elif file.suffix != ".json" and entry.name != _LOCK and not is_unfinished(entry.name):
                    left -= status.st_size
                    kept.append((max(status.st_atime, status.st_mtime), status.st_size, file))
        for _, size, file in sorted(kept):
            if left >= 0:
                break
            is_gone = _discard_part(file) if file.suffix == _PART else remove_unshared(file)
            left += size if is_gone else 0
        return left >= 0


def _reserved(room: Path) -> int:
    """The bytes that whoever fetches a copy will need; none where a kill left it."""
    if not _is_fetched(room):
        return 0
    with suppress(OSError), room.open("rb") as file:
        content = file.read(_LONGEST_SIZE + 1)
        if content.isdigit() and len(content) <= _LONGEST_SIZE:
            return int(content)
    return 0


def _is_fetched(room: Path) -> bool:
    """Whether some process fetches a copy."""
    try:
        held = held_file(room, create=False, resume=True)
    except OutputError:
        return True
    except FileNotFoundError:
        return False
    with held:
        room.unlink(missing_ok=True)
    return False


def _discard_part(part: Path) -> bool:
    """Remove what a kill left of a copy, unless a process goes on with it by now."""
    room = part.with_suffix(_ROOM)
    try:
        held = held_file(room, create=True, resume=True)
    except OutputError:
        return False
    with held:
        discard(part)
        room.unlink(missing_ok=True)
    return True
