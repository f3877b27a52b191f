"""One file from one source onto this disk, however often the connection or the process dies on the way.

What has arrived is kept in a part file. Beside it stands which file it is a part of (its ETag, or whatever else the
source has to tell files apart), so that it is only ever continued with bytes of that very file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from tadacli.errors import FetchError, NoConnectionError, OutputError
from tadacli.files import write_new
from tadacli.zoo.sources import RemoteStream, Source, TransferError, open_source

OnProgress = Callable[[int, int | None], None]
OnMessage = Callable[[str], None]
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Patience:
    """How often and how long to wait for a server.

    `attempts` are those that bring nothing new; one that does starts the count again. The wait doubles from one to
    the next, or is what the server asks for, up to `longest_wait_seconds`. A server to which there was no connection
    since the download began gets `attempts_to_reach`: without a network nobody waits long.
    """

    attempts: int = 6
    attempts_to_reach: int = 2
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 120.0
    timeout_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Room:
    """What a download needs of the disk: how many times its size, and the environment variable that chooses another."""

    copies: int = 1
    variable: str = "TADA_HOME"


@dataclass(frozen=True)
class Limit:
    """The most that a download may be: in bytes, and in seconds from its begin to its end; None for no limit."""

    num_bytes: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic


class _Deadline:
    """When a download must be done, counted from now on, and how large it may be."""

    def __init__(self, source: Source, limit: Limit) -> None:
        self._source, self._limit, self._began = source, limit, limit.clock()

    @property
    def seconds_left(self) -> float | None:
        """What is left; None without a limit."""
        if self._limit.seconds is None:
            return None
        return self._limit.seconds - (self._limit.clock() - self._began)

    def check(self, num_bytes: int) -> None:
        """Raises `FetchError` if so many bytes are too many, or it is too late."""
        if self._limit.num_bytes is not None and num_bytes > self._limit.num_bytes:
            raise FetchError(
                f"{self._source.url} has more than the {self._limit.num_bytes:,} bytes that are fetched at most",
                hint=_LIMIT_HINT,
            )
        if self.seconds_left is not None and self.seconds_left <= 0:
            raise FetchError(
                f"{self._source.url} takes longer than the {self._limit.seconds:.0f} s that it may", hint=_LIMIT_HINT
            )


PATIENCE, ROOM, NO_LIMIT = Patience(), Room(), Limit()
_LIMIT_HINT = "allow more, for example --max-download 20GB"


@dataclass(frozen=True)
class _PartOf:
    """The file that a part belongs to."""

    url: str
    validator: str
    total_bytes: int | None


def download(
    source: Source,
    part: Path,
    *,
    expected_bytes: int | None = None,
    room: Room = ROOM,
    patience: Patience = PATIENCE,
    limit: Limit = NO_LIMIT,
    on_progress: OnProgress = lambda _done, _total: None,
    on_message: OnMessage = lambda _text: None,
) -> None:
    """Bring the whole file into `part`, going on from what an earlier run left there.

    Args:
        source: Where the file is.
        part: The file to write; what is known of its beginning stands beside it, in `PART.json`, until `discard`.
        expected_bytes: The size that the file has to have, if it is known.
        room: What the file needs of the disk.
        patience: How often and how long to wait for the server.
        limit: How large it may be, and how long it may take.
        on_progress: Gets the bytes that are here and how many there will be, if known.
        on_message: Gets what is waited for, in words.

    Raises:
        FetchError: The source has no such file, one beyond the limit, another size than `expected_bytes`, a web page in
            place of the file, or fails too often. What arrived stays in `part` where it is of use.
        NoConnectionError: There is no connection to the source.
        OutputError: The file cannot be kept here.
    """
    furthest, failures, deadline, was_reached = _size(part), 0, _Deadline(source, limit), False
    while True:
        try:
            with storing(part.parent, room):
                _go_on(source, part, expected_bytes, room, patience.timeout_seconds, deadline, on_progress)
            return
        except TransferError as failure:
            deadline.check(_size(part))
            if failure.is_stale:
                part.unlink(missing_ok=True)
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            was_reached = was_reached or not failure.is_unreachable
            if failures >= (patience.attempts if was_reached else min(patience.attempts_to_reach, patience.attempts)):
                raise (FetchError if was_reached else NoConnectionError)(
                    f"{source.url} could not be downloaded: {failure.reason} ({failures} attempts)",
                    hint=f"{_size(part):,} bytes are kept, the same command goes on from there" if _size(part) else "",
                ) from failure
            wait = failure.wait_seconds
            wait = patience.first_wait_seconds * 2 ** (failures - 1) if wait is None else wait
            wait = min(wait, patience.longest_wait_seconds)
            on_message(f"{failure.reason}; trying again in {wait:.0f} s")
            patience.sleep(wait)


def discard(part: Path) -> None:
    """Remove a part and what is known of it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


@contextlib.contextmanager
def storing(folder: Path, room: Room = ROOM) -> Iterator[None]:
    """Turns what the disk refuses, within, into an `OutputError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise OutputError(
                f"no space is left in {folder}",
                hint=f"free some, or set {room.variable} to a folder on another disk",
            ) from error
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}", hint=f"set {room.variable} to a folder that can"
        ) from error


def _go_on(
    source: Source,
    part: Path,
    expected_bytes: int | None,
    room: Room,
    timeout_seconds: float,
    deadline: _Deadline,
    on_progress: OnProgress,
) -> None:
    """One connection: ask for what is missing and append it."""
    known = _known(source, part)
    have = _size(part) if known else 0
    if known and known.total_bytes == have and have:
        on_progress(have, have)
        return
    validator = known.validator if known else ""
    deadline.check(have)
    opened = open_source(
        source,
        start=have,
        validator=validator,
        timeout_seconds=timeout_seconds,
        seconds_left=deadline.seconds_left,
    )
    with closing(opened) as stream:
        if stream.is_page:
            raise FetchError(f"{source.url} gives a web page, not the file")
        found = _PartOf(source.url, stream.validator, stream.total_bytes)
        if stream.start != have or (have and known and not _is_same(known, found)):
            if stream.start:
                raise TransferError("the file has changed since its first part was downloaded", is_stale=True)
            have = 0
        if expected_bytes is not None and found.total_bytes not in (None, expected_bytes):
            raise FetchError(f"{source.url} has {found.total_bytes:,} bytes, not the {expected_bytes:,} it should have")
        if found.total_bytes is not None:
            deadline.check(found.total_bytes)
            _check_space(part.parent, room.copies * found.total_bytes - have, room)
        if have == 0:
            part.write_bytes(b"")  # before the note, which would otherwise vouch for bytes of another file
            write_new(_note(part), json.dumps(asdict(found)).encode(), replace=True)
        have = _append(stream, part, have, found.total_bytes, deadline, on_progress)
    if found.total_bytes is None:
        write_new(_note(part), json.dumps({**asdict(found), "total_bytes": have}).encode(), replace=True)


def _append(
    stream: RemoteStream, part: Path, have: int, total: int | None, deadline: _Deadline, on_progress: OnProgress
) -> int:
    on_progress(have, total)
    # Unbuffered: whatever stops us, the file holds the first bytes of the whole and nothing else.
    with part.open("ab", buffering=0) as file:
        while chunk := stream.read():
            if total is not None and have + len(chunk) > total:
                raise TransferError(f"more than the {total:,} bytes arrive that were announced", is_stale=True)
            deadline.check(have + len(chunk))
            left = memoryview(chunk)
            while left:
                left = left[file.write(left) or 0 :]
            have += len(chunk)
            on_progress(have, total)
        os.fsync(file.fileno())
    if total is not None and have < total:
        raise TransferError(f"the connection ended after {have:,} of {total:,} bytes")
    return have


def _known(source: Source, part: Path) -> _PartOf | None:
    """The file that the part belongs to, if it may be continued: same source, and a way to see changes."""
    try:
        known = _PartOf(**json.loads(_note(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    is_complete = known.total_bytes is not None and known.total_bytes == _size(part)
    return known if known.url == source.url and (known.validator or is_complete) else None


def _is_same(known: _PartOf, found: _PartOf) -> bool:
    sizes = {known.total_bytes, found.total_bytes} - {None}
    return known.validator == found.validator and len(sizes) < 2


def _check_space(folder: Path, needed: int, room: Room) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder} has {free:,} bytes free; {needed:,} are needed for the file",
            hint=f"free some space, or set {room.variable} to a folder on another disk",
        )


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
