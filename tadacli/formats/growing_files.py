"""A results file that grows by whole items, survives being killed, and can be taken up again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Generic

from tadacli.errors import OutputError
from tadacli.files import companion_of, held_file, not_written, require_folder, write_new, write_once
from tadacli.formats.records import Format, Item
from tadacli.formats.rows import AnyRow

_WHAT_TO_DO = "what it holds is whole; free some space or give another --output, then use --resume"


class ResultStream(Generic[AnyRow]):
    """Results handed to a function in one format, each as it comes; it writes bytes to a pipe or terminal."""

    def __init__(self, write: Callable[[bytes], None], form: Format[AnyRow]) -> None:
        self._write, self._format, self._empty = write, form, True
        self._write(form.head)

    @property
    def done(self) -> dict[str, str]:
        """Nothing: a stream is always begun anew."""
        return {}

    def add(self, row: AnyRow) -> None:
        """Write one video's result."""
        lead = b"" if self._empty else self._format.separator
        self._write(lead + self._format.encode(row).content)
        self._empty = False

    def finish(self, order: Sequence[str]) -> None:  # noqa: ARG002 - rows came in this order
        """Write what ends the format."""
        self._write(self._format.tail)

    def close(self) -> None:
        """Leave the stream open; it is not ours."""


class ResultFile(Generic[AnyRow]):
    """Results on disk in one format.

    Items are appended as they come, so what is in the file is always worth having. A file that is there
    already is never overwritten: it is either resumed or refused; and one run at a time has it. `finish` puts the
    items into the order of the inputs if they came in another, adds the format's tail, and makes the file final.

    A table has a companion beside it, which says once what its lines have in common (see `tables.companion`). One that
    an earlier version began has none: its lines say it all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        form: Format[AnyRow],
        *,
        run_id: str,
        resume: bool,
        size_of: Callable[[str], int | None],
        companion: bytes | None = None,
    ) -> None:
        self._path, self._format, self._is_new = Path(path), form, not os.path.lexists(path)
        self._stream, self._items = self._opened(resume=resume), dict[str, Item]()
        self._companion: Path | None = None
        try:
            content = self._stream.read()
            self._format = form.as_begun(content)
            items = self._items_in(content, run_id)
            held = [item for item in items if item.size_bytes == size_of(item.path)]
            self._items = {item.path: replace(item, content=b"") for item in held}
            self._begin(content, items)
            if companion is not None and self._format is form:
                self._write_companion(companion, resume=resume)
        except OSError as error:
            self.close()
            raise self._failed(error) from error
        except OutputError:
            self.close()
            raise

    @property
    def done(self) -> dict[str, str]:
        """The status of each video whose result is in the file, by path."""
        return {path: item.status for path, item in self._items.items()}

    def add(self, row: AnyRow) -> None:
        """Append one video's result; when this returns, the file holds it."""
        item = self._format.encode(row)
        position = self._stream.tell()
        lead = self._format.separator if position > len(self._format.head) else b""
        try:
            self._stream.write(lead + item.content)
            self._stream.flush()
        except OSError as error:
            self._cut(position)
            raise self._failed(error) from error
        self._items[item.path] = replace(item, content=b"")

    def finish(self, order: Sequence[str]) -> None:
        """Make the file what an uninterrupted run over `order` gives."""
        try:
            self._stream.write(self._format.tail)
            self._stream.flush()
            os.fsync(self._stream.fileno())
            content = self._path.read_bytes()
        except OSError as error:
            raise self._failed(error) from error
        by_path = {item.path: item.content for item in self._format.decode(content)}
        body = self._format.separator.join(by_path[path] for path in order)
        final = self._format.head + body + self._format.tail
        if final != content:
            self._replace(final)

    def close(self) -> None:
        """Close the file as it is; it can be resumed. A new one in which there is nothing yet goes."""
        with contextlib.suppress(OSError):  # of a full disk: what could not be written has raised its error
            self._stream.close()
        if self._is_new and not self._items:
            self._path.unlink(missing_ok=True)
            if self._companion is not None:
                self._companion.unlink(missing_ok=True)

    def _opened(self, *, resume: bool) -> BinaryIO:
        """The file, which is this run's alone until it is closed."""
        if self._path.is_dir():
            raise OutputError(f"{self._path} is a folder", hint="name a file: --output results.jsonl")
        if self._path.exists() and not self._path.is_file():
            raise OutputError(f"{self._path} is not a regular file", hint="leave --output out to write to stdout")
        if not resume and os.path.lexists(self._path):
            raise OutputError(
                f"{self._path} exists and is not overwritten",
                hint="continue it with --resume, give another --output, or remove it",
            )
        require_folder(self._path)
        try:
            return held_file(self._path, create=True, resume=resume)
        except OSError as error:
            raise not_written(self._path, error) from error

    def _write_companion(self, content: bytes, *, resume: bool) -> None:
        file = companion_of(self._path)
        is_new = not os.path.lexists(file)
        if resume and file.is_file() and file.read_bytes() != content:
            write_new(file, content, replace=True)
        elif is_new:
            try:
                write_new(file, content)
            except OutputError as error:
                raise OutputError(error.message, hint=_WHAT_TO_DO) from error
        else:
            write_once(file, content)
        self._companion = file if is_new else None

    def _items_in(self, content: bytes, run_id: str) -> list[Item]:
        """The whole items of a file that was begun. Raises `OutputError` for one of another kind or run."""
        items = self._format.decode(content)
        if not items and not self._format.is_begun(content):
            raise OutputError(
                f"{self._path} does not hold results in this format",
                hint="give another --output, or its --format and --columns",
            )
        other = sorted({item.run for item in items} - {run_id})
        if other:
            raise OutputError(
                f"{self._path} was made with other settings (run {', '.join(other)}, now {run_id})",
                hint="resume with the same model, weights, options, version and number of threads (OMP_NUM_THREADS), "
                "or give another --output",
            )
        return items

    def _begin(self, content: bytes, items: Sequence[Item]) -> None:
        """Put the file's position after its last whole item, and remove what comes next."""
        body = self._format.separator.join(item.content for item in items)
        start = self._format.head + body
        if content.startswith(start):
            self._stream.truncate(len(start))
        elif start.startswith(content):
            self._stream.write(start[len(content) :])
            self._stream.flush()
        else:
            self._replace(start)
            self._stream.close()
            self._stream = held_file(self._path, create=False, resume=True)
        self._stream.seek(0, os.SEEK_END)

    def _replace(self, content: bytes) -> None:
        try:
            write_new(self._path, content, replace=True)
        except OutputError as error:
            raise OutputError(error.message, hint=_WHAT_TO_DO) from error

    def _cut(self, position: int) -> None:
        """Take back a half-written item, so that the file ends with a whole one."""
        with contextlib.suppress(OSError):  # the buffered half cannot be written; what was is removed next
            self._stream.close()
        os.truncate(self._path, position)

    def _failed(self, error: OSError) -> OutputError:
        return not_written(self._path, error, hint=_WHAT_TO_DO)
