"""Features on disk: one file a video, with all that is known of how they were made."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from tadacli.detection.array_files import ABOUT, Arrays, about_array, read_arrays
from tadacli.detection.features import FeatureContract, VideoFeatures
from tadacli.errors import UsageError
from tadacli.files import new_file
from tadacli.formats.rows import Count, GapRow, Number
from tadacli.results import Gap, Note, NoteKind, RunSettings
from tadacli.specs import spec_from_dict
from tadacli.strict_tables import decode_table

SUFFIX = ".npz"
StoredType = Literal["float32", "float16"]
_KIND = "tada features 1"
_VALUES, _SCORES = "values", "scores"
# So many rows are turned into bytes at once.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Column:
    """An array (N, C) that comes in pieces, so that it need not be in memory as a whole."""

    num_rows: int
    num_columns: int
    pieces: Iterable[NDArray[np.float32]]


def write_features(
    path: Path, features: VideoFeatures, *, stored: StoredType = "float32", replace: bool = False
) -> None:
    """Write the features of a video as one file, whole or not at all.

    Args:
        path: The file, a .npz.
        features: What is written.
        stored: The type that features and scores are rounded to.
        replace: Whether the file may be there already.

    Raises:
        OutputError: It is there and may not be, or cannot be written.
        UsageError: A value is too large for the type.
    """
    arrays = {_VALUES: features.values, **{score_name(name): values for name, values in features.scores.items()}}
    columns = {
        name: Column(len(values), values.shape[1], _pieces(values, _ROWS_AT_ONCE)) for name, values in arrays.items()
    }
    with new_file(path, replace=replace) as stream:
        write_columns(stream, features, columns, stored=stored)


def write_columns(
    stream: BinaryIO, features: VideoFeatures, columns: Mapping[str, Column], *, stored: StoredType
) -> None:
    """Write a feature file whose features and scores come in pieces.

    Args:
        stream: Where its bytes go.
        features: Everything else of the file; the values and scores in it are not looked at.
        columns: The features as "values", and the scores of heads by `score_name`.
        stored: The type that they are rounded to.

    Raises:
        UsageError: A value is too large for the type.
        ValueError: There are fewer or more rows than a column says.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        small = {ABOUT: about_array(_facts(features)), "spans": features.spans, "centres": features.centres}
        for name, array in small.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        for name, column in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_column(member, column, np.dtype(stored), name)


def read_features(path: str | os.PathLike[str]) -> VideoFeatures:
    """The features of a file that `write_features` wrote, as float32.

    Args:
        path: The file.

    Returns:
        The features with their contract.

    Raises:
        UsageError: The file is missing, cannot be read, or is none of this tool.
    """
    with read_arrays(path, content="features", made_by="tada features") as arrays:
        return _decode(arrays)


def score_name(head: str) -> str:
    """The name of the array that holds the scores of a head."""
    return f"{_SCORES}_{head}" if head else _SCORES


class _Note(TypedDict):
    """A note as JSON says it."""

    kind: str
    text: str


class _Contract(TypedDict):
    """A contract as JSON says it; the spec is read by `specs`."""

    weights_sha256: str
    tool_version: str
    fps: Number
    snippet_seconds: Number
    stride_seconds: Number
    first_centre_seconds: Number
    crops: Count
    settings: RunSettings


class _About(TypedDict):
    """What the JSON of a feature file says, but for the spec."""

    kind: str
    path: str
    size_bytes: Count | None
    stride_seconds: Number
    duration_seconds: Number
    num_planned: Count | None
    gaps: list[GapRow]
    notes: list[_Note]
    contract: _Contract | None
    scores: list[str]


def _facts(features: VideoFeatures) -> dict[str, object]:
    contract = features.contract
    facts: dict[str, object] = {
        "kind": _KIND,
        "path": features.path,
        "size_bytes": features.size_bytes,
        "stride_seconds": features.stride_seconds,
        "duration_seconds": features.duration_seconds,
        "num_planned": features.num_planned,
        "gaps": [asdict(gap) for gap in features.gaps],
        "notes": [{"kind": str(note.kind), "text": note.text} for note in features.notes],
        "contract": None,
        "spec": None,
        "scores": list(features.scores),
    }
    if contract is not None:
        facts["contract"] = {name: getattr(contract, name) for name in _Contract.__annotations__}
        facts["spec"] = contract.spec.to_dict()
    return facts


def _decode(arrays: Arrays) -> VideoFeatures:
    table = arrays.about
    if not isinstance(table, dict) or table.get("kind") != _KIND:
        raise ValueError("it holds something else")
    spec = table.pop("spec", None)
    about = decode_table(_About, table, where=ABOUT, error=UsageError)
    contract = None
    if about["contract"] is not None:
        contract = FeatureContract(spec=spec_from_dict(spec), **about["contract"])
    scores = {head: _narrow(arrays[score_name(head)]) for head in about["scores"]}
    if contract is not None:
        for head, values in scores.items():
            if head not in contract.spec.heads or values.shape[1:] != (len(contract.spec.heads[head]),):
                raise ValueError(f"scores of the head {head!r} do not fit its model")
    return VideoFeatures(
        path=about["path"],
        values=_narrow(arrays[_VALUES]),
        spans=arrays["spans"],
        centres=arrays["centres"],
        stride_seconds=about["stride_seconds"],
        duration_seconds=about["duration_seconds"],
        gaps=tuple(Gap(**gap) for gap in about["gaps"]),
        contract=contract,
        scores=scores,
        size_bytes=about["size_bytes"],
        num_planned=about["num_planned"],
        notes=tuple(Note(NoteKind(note["kind"]), note["text"]) for note in about["notes"]),
    )


def _narrow(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype not in (np.float16, np.float32):
        raise ValueError(f"features of type {values.dtype}")
    return values.astype(np.float32, copy=False)


def _pieces(values: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _write_column(stream: Any, column: Column, dtype: np.dtype[Any], name: str) -> None:
    shape: Sequence[int] = (column.num_rows, column.num_columns)
    header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    num_written = 0
    for piece in column.pieces:
        with np.errstate(over="ignore"):
            rounded = piece.astype(dtype)
        if not np.isfinite(rounded).all():
            raise UsageError(f"the {name} hold a number that {dtype} has no place for", hint="keep them as float32")
        stream.write(np.ascontiguousarray(rounded).tobytes())
        num_written += len(piece)
    if num_written != column.num_rows:
        raise ValueError(f"{name} has {num_written} rows, not {column.num_rows}")
