"""Files that are written whole or not at all, and never over one that a person has."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tadacli.errors import OutputError

# A file system without hard links says one of these.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def refuse_existing(files: Sequence[Path]) -> None:
    """Check that files can be made without writing over any.

    Args:
        files: Their names.

    Raises:
        OutputError: One of them is there already, or is a folder; the first such is named.
    """
    for file in files:
        if file.is_dir():
            raise OutputError(f"{file} is a folder", hint="give the name of a file")
        if os.path.lexists(file):
            raise _exists(file)


def check_new_files(files: Sequence[Path], *, may_be_made: Path | None = None, replace: bool = False) -> None:
    """Raise `OutputError` for files that are not to be written, before the work that goes into them is done.

    That is one that is there already, unless it is to be replaced, and one in a folder that is not there, unless it is
    the one that may be made.
    """
    if not replace:
        refuse_existing(files)
    for file in files:
        if not file.parent.is_dir() and file.parent != may_be_made:
            raise OutputError(f"{file} cannot be written: there is no folder {file.parent}")


def write_new(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file that is never seen unfinished.

    Args:
        path: The file.
        content: Its bytes.
        replace: Whether it may be there already.

    Raises:
        OutputError: It is there and may not be, or cannot be written; then nothing is left of it.
    """
    if not replace:
        refuse_existing([path])
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        publish(partial, path, replace=replace)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}", hint="give another name, or free some space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path, *, replace: bool = False) -> None:
    """Rename a finished file to its name; where links allow it, not over one that came up in the meantime.

    Args:
        partial: The finished file.
        path: The name it gets.
        replace: Whether a file of that name may be there.

    Raises:
        OutputError: A file of that name is there and may not be.
        OSError: It cannot be renamed.
    """
    if replace:
        partial.replace(path)
        return
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        partial.rename(path)
    else:
        partial.unlink()


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path} exists and is not overwritten", hint="give another name, or remove it")


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
