"""The metadata of an ONNX file, read without the graph being built: the file is looked at before a runtime takes it.

Only what is needed is read of the wire format of protocol buffers: fields are (number, kind) followed by a number or by
so many bytes, and what is not asked for is passed over. Weights that lie outside of the file are refused: their place
is a path that the file chooses.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from tadacli.errors import CheckpointError
from tadacli.runtimes.metadata import KEY, MOST_CHARACTERS
from tadacli.strict_tables import refusing

# Numbers of fields in the published description of ONNX: of a model, its graph, a tensor and an entry of metadata.
_GRAPH, _METADATA = 7, 14
_INITIALIZER = 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_KEY_BYTES, _LONGEST_VARINT = 1 << 10, 10

Field = tuple[int, int, int]  # number, first byte and byte after the last one; of a number, that and 0


def metadata_text(file: Path) -> str | None:
    """The entry of ours in the metadata of an ONNX file, None where there is none.

    Raises:
        CheckpointError: It is no ONNX file, or its weights are not all in it.
    """
    with refusing(file, CheckpointError), file.open("rb") as stream:
        if not file.stat().st_size:
            raise ValueError("it is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _metadata_text(content, file)


def _metadata_text(content: mmap.mmap, file: Path) -> str | None:
    found, has_graph = None, False
    for number, start, end in _fields(content, 0, len(content)):
        if number == _GRAPH and end:
            has_graph = True
            _check_inside(content, start, end, file)
        elif number == _METADATA and end:
            key, value = _entry(content, start, end)
            found = value if key == KEY else found
    if not has_graph:
        raise ValueError("it holds no graph")
    return found


def _check_inside(content: mmap.mmap, start: int, end: int, file: Path) -> None:
    for number, first, after in _fields(content, start, end):
        if number != _INITIALIZER or not after:
            continue
        for part, value, size in _fields(content, first, after):
            if part == _EXTERNAL_DATA or (part == _DATA_LOCATION and not size and value):
                raise CheckpointError(
                    f"{file} has weights in other files", hint="export the model again: tada export writes one file"
                )


def _entry(content: mmap.mmap, start: int, end: int) -> tuple[str, str]:
    texts = {_ENTRY_KEY: "", _ENTRY_VALUE: ""}
    for number, first, after in _fields(content, start, end):
        if number in texts and after:
            most = _MOST_KEY_BYTES if number == _ENTRY_KEY else 4 * MOST_CHARACTERS
            if after - first > most:
                if number == _ENTRY_KEY:
                    continue
                raise ValueError("an entry of its metadata is too large")
            texts[number] = content[first:after].decode()
    return texts[_ENTRY_KEY], texts[_ENTRY_VALUE]


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[Field]:
    """The fields of a message between two bytes, in order. Raises `ValueError` where they are none."""
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at, end)
            yield number, value, 0
        elif kind == _BYTES:
            size, at = _varint(content, at, end)
            if at + size > end:
                raise ValueError("it is cut short, or no ONNX file")
            yield number, at, at + size
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("it is no ONNX file")
    if at != end:
        raise ValueError("it is cut short, or no ONNX file")


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number that begins at a byte, and the byte after it."""
    value = 0
    for position in range(_LONGEST_VARINT):
        if at >= end:
            raise ValueError("it is cut short, or no ONNX file")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << (7 * position)
        if not byte & 0x80:
            return value, at
    raise ValueError("it is no ONNX file")
