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

from tadacli.errors import FetchError, OutputError
from tadacli.files import write_new
from tadacli.zoo.sources import RemoteStream, Source, TransferError, open_source

OnProgress = Callable[[int, int | None], None]
OnMessage = Callable[[str], None]
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Patience:
    """How often and how long to wait for a server.

    `attempts` are those that bring nothing new; one that does starts the count again. The wait doubles from one to
    the next, or is what the server asks for, up to `longest_wait_seconds`.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 120.0
    timeout_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep


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
    patience: Patience | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
    on_message: OnMessage = lambda _text: None,
) -> None:
    """Bring the whole file into `part`, going on from what an earlier run left there.

    `on_progress` gets the bytes that are here and how many there will be, if known; `on_message` what is waited for.

    Raises `FetchError` if the source has no such file, another size than `expected_bytes`, a web page in place of the
    file, or fails too often; `OutputError` if it cannot be kept here. What arrived stays in `part` where it is of use.
    """
    patience = patience or Patience()
    furthest, failures = _size(part), 0
    while True:
        try:
            with storing(part.parent):
                _go_on(source, part, expected_bytes, patience.timeout_seconds, on_progress)
            return
        except TransferError as failure:
            if failure.is_stale:
                part.unlink(missing_ok=True)
            failures = 1 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures >= patience.attempts:
                kept = f"; {_size(part):,} bytes are kept, the same command goes on from there" if _size(part) else ""
                raise FetchError(
                    f"{source.url} could not be downloaded: {failure.reason} ({failures} attempts){kept}"
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
def storing(folder: Path) -> Iterator[None]:
    """Turns what the disk refuses, within, into an `OutputError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise OutputError(
                f"no space is left in {folder}",
                hint="free some, or set TADA_HOME to a folder on another disk; what has arrived is kept",
            ) from error
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}", hint="set TADA_HOME to a folder that can"
        ) from error


def _go_on(
    source: Source, part: Path, expected_bytes: int | None, timeout_seconds: float, on_progress: OnProgress
) -> None:
    """One connection: ask for what is missing and append it."""
    known = _known(source, part)
    have = _size(part) if known else 0
    if known and known.total_bytes == have and have:
        on_progress(have, have)
        return
    validator = known.validator if known else ""
    with closing(open_source(source, start=have, validator=validator, timeout_seconds=timeout_seconds)) as stream:
        if stream.is_page:
            raise FetchError(f"{source.url} gives a web page, not the file")
        found = _PartOf(source.url, stream.validator, stream.total_bytes)
        if stream.start != have or (have and known and not _is_same(known, found)):
            if stream.start:
                raise TransferError("the file has changed since its first part was downloaded", is_stale=True)
            have = 0
        if expected_bytes is not None and found.total_bytes not in (None, expected_bytes):
            raise FetchError(f"{source.url} has {found.total_bytes:,} bytes, not the {expected_bytes:,} it should have")
        _check_space(part.parent, have, found.total_bytes)
        if have == 0:
            part.write_bytes(b"")  # before the note, which would otherwise vouch for bytes of another file
            write_new(_note(part), json.dumps(asdict(found)).encode(), replace=True)
        have = _append(stream, part, have, found.total_bytes, on_progress)
    if found.total_bytes is None:
        write_new(_note(part), json.dumps({**asdict(found), "total_bytes": have}).encode(), replace=True)


def _append(stream: RemoteStream, part: Path, have: int, total: int | None, on_progress: OnProgress) -> int:
    on_progress(have, total)
    # Unbuffered: whatever stops us, the file holds the first bytes of the whole and nothing else.
    with part.open("ab", buffering=0) as file:
        while chunk := stream.read():
            if total is not None and have + len(chunk) > total:
                raise TransferError(f"more than the {total:,} bytes arrive that were announced", is_stale=True)
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


def _check_space(folder: Path, have: int, total: int | None) -> None:
    if total is None:
        return
    # The converted weights are about as large as the original, and both are here for a moment.
    needed, free = 2 * total - have, shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder} has {free:,} bytes free; {needed:,} are needed to download and convert the file",
            hint="free some space, or set TADA_HOME to a folder on another disk",
        )


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
