"""Files that are written whole or not at all, by one run at a time, and never over one that a person has."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import os
import secrets
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tadacli.errors import OutputError

if sys.platform != "win32":
    import fcntl

# A file system without hard links says one of these.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
_MOST_NAME_BYTES = 255
_ANOTHER_NAME = "give another name, or remove it"
# What a file is called until it is whole. Its writer holds a lock on it, so that one without is what a kill left.
_PREFIX, _SUFFIX = ".tada-", ".part"


def refuse_existing(files: Sequence[Path], *, hint: str = _ANOTHER_NAME) -> None:
    """Check that files can be made without writing over any.

    Args:
        files: Their names.
        hint: What to do where one is there.

    Raises:
        OutputError: One of them is there already, or is a folder; the first such is named.
    """
    for file in files:
        if file.is_dir():
            raise OutputError(f"{file} is a folder", hint="give the name of a file")
        if os.path.lexists(file):
            raise _exists(file, hint=hint)


def require_folder(file: Path) -> None:
    """Check that there is a folder for a file to be in.

    Args:
        file: Its name.

    Raises:
        OutputError: There is none.
    """
    if not file.parent.is_dir():
        how = f"mkdir -p {shlex.quote(str(file.parent))}"
        raise OutputError(f"{file} cannot be written: there is no folder {file.parent}", hint=how)


def check_new_files(
    files: Sequence[Path], *, may_be_made: Path | None = None, replace: bool = False, hint: str = _ANOTHER_NAME
) -> None:
    """Check that files can be written, before the work that goes into them is done.

    Args:
        files: Their names.
        may_be_made: A folder that need not be there.
        replace: Whether they may be there already.
        hint: What to do where one is there and may not be.

    Raises:
        OutputError: One is there and may not be, or its folder is missing.
    """
    if not replace:
        refuse_existing(files, hint=hint)
    for file in files:
        if file.parent != may_be_made:
            require_folder(file)


def write_new(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file that is never seen unfinished.

    Args:
        path: The file.
        content: Its bytes.
        replace: Whether it may be there already.

    Raises:
        OutputError: It is there and may not be, or cannot be written; then nothing is left of it.
    """
    with new_file(path, replace=replace) as stream:
        stream.write(content)


def write_once(path: Path, content: bytes) -> None:
    """Write a file, or leave the one that has these very bytes, as a run that goes on finds it.

    Args:
        path: The file.
        content: Its bytes.

    Raises:
        OutputError: There is another file of that name, or it cannot be written.
    """
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    write_new(path, content)


def write_if_absent(path: Path, content: bytes, *, by_way_of: Path) -> bool:
    """Write a file that is never seen unfinished, unless there is one of that name.

    Args:
        path: The file; its folder is there.
        content: Its bytes.
        by_way_of: A folder of the same file system, in which it is unfinished.

    Returns:
        Whether it was written. Of several processes that try at once, one is told so. The disk may not have it yet:
        where power fails, a file may be left that is empty.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        with _temporary(by_way_of) as stream:
            try:
                stream.write(content)
                stream.flush()
                return _linked(Path(stream.name), path)
            finally:
                with contextlib.suppress(OSError):
                    Path(stream.name).unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


@contextlib.contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """A stream whose bytes become a file as a whole, when the context is left without an error.

    What a killed process left of other such files in the folder is removed.

    Args:
        path: The file.
        replace: Whether it may be there already.

    Returns:
        The stream, of a file with a random name in the same folder (`stream.name`).

    Raises:
        OutputError: The file is there and may not be, or cannot be written; then nothing is left of it. An `OSError`
            inside the context counts as that.
    """
    if not replace:
        refuse_existing([path])
    try:
        remove_leftovers(path.parent.absolute())
        with _temporary(path.parent) as stream:
            try:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                _publish(Path(stream.name), path, replace=replace)
            finally:
                with contextlib.suppress(OSError):
                    Path(stream.name).unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError, *, hint: str = "give another name, or free some space") -> OutputError:
    """The error that says which file cannot be written, and why."""
    return OutputError(f"{path} cannot be written: {error.strerror or error}", hint=hint)


def is_unfinished(name: str) -> bool:
    """Whether a file has the name of one that `new_file` has not finished."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def name_with(name: str, ending: str) -> str:
    """A file name that tells what it belongs to.

    Args:
        name: The name of another file.
        ending: What is put after it.

    Returns:
        Both, or where that is longer than file systems take, a digest of the name in its place.
    """
    if len(os.fsencode(name + ending)) <= _MOST_NAME_BYTES:
        return name + ending
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16] + ending


def companion_of(table: Path) -> Path:
    """The file beside a table that says once what its lines have in common: `found.csv.meta.json` of `found.csv`."""
    return table.with_name(name_with(table.name, ".meta.json"))


# --- one run at a time ---------------------------------------------------------------------------------


def held_file(path: Path, *, create: bool, resume: bool) -> BinaryIO:
    """A file opened for reading and writing, which no other run opens so until it is closed.

    Args:
        path: The file.
        create: Whether it is made if it is not there.
        resume: Whether it may be there.

    Returns:
        The stream, at the beginning of the file.

    Raises:
        OutputError: Another run has it open, or it is there and may not be.
        OSError: It cannot be opened.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | (0 if resume else os.O_EXCL)
    while True:
        try:
            stream = os.fdopen(os.open(path, flags, 0o666), "r+b")
        except FileExistsError as error:
            raise _exists(path) from error
        if not _locked(stream.fileno()):
            stream.close()
            raise _in_use(path)
        if _is_still(path, stream):
            return stream
        stream.close()  # another run has put a whole file in its place meanwhile


@contextlib.contextmanager
def held_folder(path: Path) -> Iterator[None]:
    """Keeps other runs from a folder while the context lasts.

    Args:
        path: The folder.

    Raises:
        OutputError: Another run has it.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _locked(descriptor):
            raise _in_use(path)
        yield
    finally:
        os.close(descriptor)


def shared_file(path: Path) -> BinaryIO | None:
    """A file opened for reading, which `remove_unshared` leaves where it is until it is closed; None without one."""
    while True:
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return None
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # the file system may know no locks
                fcntl.flock(stream.fileno(), fcntl.LOCK_SH)
        if _is_still(path, stream):
            return stream
        stream.close()


def remove_unshared(path: Path) -> bool:
    """Remove a file unless some process has it by `shared_file`; whether it is gone."""
    try:
        with path.open("rb") as stream:
            if not _locked(stream.fileno()):
                return False
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except OSError:  # of Windows, which removes no file that is open
        return False
    return True


def _locked(descriptor: int, *, wait: bool = False) -> bool:
    """Whether the file is now locked for this process; also where the file system knows no locks."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _is_still(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


# --- temporary names -----------------------------------------------------------------------------------


def _temporary(folder: Path) -> BinaryIO:
    """A new file with a random name, locked; what stands there under that name, a link above all, is not touched."""
    while True:
        name = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        with contextlib.suppress(FileExistsError):
            stream = open(name, "x+b", opener=_not_through_links)  # noqa: SIM115 - the caller closes it
            _locked(stream.fileno(), wait=True)
            if _is_still(name, stream):
                return stream
            stream.close()  # another run took it for what a kill left before it was locked


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@lru_cache(maxsize=16)  # once for each folder: there may be thousands of files in it, and as many to be written
def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left of files that `new_file` did not finish."""
    if sys.platform == "win32":
        return
    for entry in os.scandir(folder):
        if is_unfinished(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError), open(entry.path, "rb", opener=_not_through_links) as stream:
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
                os.unlink(entry.path)


def _publish(partial: Path, path: Path, *, replace: bool) -> None:
    """Rename a finished file to its name; where links allow it, not over one that came up in the meantime."""
    if replace:
        partial.replace(path)
    elif not _linked(partial, path):
        raise _exists(path)


def _linked(partial: Path, path: Path) -> bool:
    """Give a finished file its name unless another has it; whether it did."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        partial.rename(path)
    return True


def _exists(path: Path, *, hint: str = _ANOTHER_NAME) -> OutputError:
    return OutputError(f"{path} exists and is not overwritten", hint=hint)


def _in_use(path: Path) -> OutputError:
    return OutputError(f"another run is writing to {path}", hint="wait until it ends, or give another --output")


def csv_line(values: Iterable[object], *, delimiter: str = ",") -> str:
    """One line of a CSV table, a line feed at its end; a carriage return in a value is quoted, as a line feed is."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"
