"""The groups of windows of one video that are done, on disk until the video's result is."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tadacli.errors import OutputError
from tadacli.files import held_file, not_written
from tadacli.video.lists import ListedPart

if TYPE_CHECKING:
    from tadacli.detection.window_pass import Group

_JOURNAL = b'{"journal": '  # how a journal begins


class WindowJournal:
    """Keeps groups of windows of one video in a file, and gives them back.

    One line of JSON for each group, after a first one that says what for. A line that was not written to
    its end is dropped. A journal of another video or other settings is begun anew; a file that is none is refused.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, kind: str, run_id: str, video: str, size_bytes: int | None
    ) -> None:
        self._path = Path(path)
        head: dict[str, object] = {"journal": kind, "run": run_id, "video": video, "size_bytes": size_bytes}
        if isinstance(video, ListedPart):
            head["part"] = video.part
        self._head = json.dumps(head).encode() + b"\n"
        self._stream: BinaryIO | None = None

    def saved(self) -> Iterator[Group]:
        """The groups on disk, in order, one in memory at a time; opens the journal for more."""
        try:
            self._stream = held_file(self._path, create=True, resume=True)
            begin = self._stream.read(len(self._head))
            if not begin.startswith(_JOURNAL[: len(begin)]):
                raise OutputError(
                    f"{self._path} is no journal of this tool, and is not overwritten",
                    hint="give another --output, or move it away",
                )
            if begin != self._head:
                self._stream.truncate(0)
                self._stream.seek(0)
                self._write(self._head)
            whole = len(self._head)
            for line, _ in _whole_lines(self._stream):
                whole += len(line)
            self._stream.truncate(whole)
            self._stream.seek(0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from error
        return self.groups()

    def groups(self) -> Iterator[Group]:
        """The groups on disk, in order, one in memory at a time; those that are added meanwhile come, too."""
        with self._path.open("rb") as stream:
            stream.seek(len(self._head))
            for _, body in _whole_lines(stream):
                yield _decode_group(body)

    def add(self, group: Group) -> None:
        """Keep a group; when this returns, it is on disk."""
        line = _encode_group(group)
        try:
            self._write(_digest(line) + b" " + line + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Leave the journal as it is."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # of a full disk: the half of a line that is left is dropped later
                self._stream.close()
            self._stream = None

    def _write(self, line: bytes) -> None:
        assert self._stream is not None
        self._stream.write(line)
        self._stream.flush()

    def _failed(self, error: OSError) -> OutputError:
        hint = "what was saved is whole; free some space or give another --output, then use --resume"
        return not_written(self._path, error, hint=hint)


def _whole_lines(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(line, group in it) from where the stream stands, up to the first line that was not written as it should be."""
    for line in stream:
        digest, _, body = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or _digest(body) != digest:
            return
        yield line, body


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest()[:16].encode()


def _encode_group(group: Group) -> bytes:
    rows = {
        name: [list(values.shape), base64.b64encode(values.astype("<f4").tobytes()).decode()]
        for name, values in group.rows.items()
    }
    unreadable = {str(index): reason for index, reason in group.unreadable.items()}
    # Called scores since there was nothing else to keep of a window.
    row = {"windows": group.num_windows, "missing": group.missing, "scores": rows, "unreadable": unreadable}
    if group.interpolated:
        row["interpolated"] = group.interpolated
    return json.dumps(row).encode()


def _decode_group(line: bytes) -> Group:
    row = json.loads(line)
    rows = {
        name: np.frombuffer(base64.b64decode(data), dtype="<f4").reshape(shape)
        for name, (shape, data) in row["scores"].items()
    }
    unreadable = {int(index): reason for index, reason in row["unreadable"].items()}
    from tadacli.detection.window_pass import Group

    return Group(row["windows"], tuple(row["missing"]), rows, unreadable, tuple(row.get("interpolated", ())))
