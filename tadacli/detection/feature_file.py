"""Features on disk: one file a video, with all that is known of how they were made."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from tadacli.detection.array_files import ABOUT, about_array, read_arrays
from tadacli.detection.features import FeatureContract, VideoFeatures
from tadacli.errors import UsageError
from tadacli.files import new_file
from tadacli.results import Gap, Note, NoteKind, RunSettings
from tadacli.results.json_ready import Count, GapRow, Number
from tadacli.specs import spec_from_dict
from tadacli.strict_tables import decode_table

SUFFIX = ".npz"
StoredType = Literal["float32", "float16"]
_KIND = "tada features 1"
VALUES, _SCORES = "values", "scores"
# So many rows are turned into bytes at once.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Columns:
    """Arrays (N, C) by name that come in pieces, so that none is in memory as a whole.

    `pieces` gives the C of each, and a function that gives its pieces from the first one on.
    """

    num_rows: int
    pieces: Mapping[str, tuple[int, Callable[[], Iterable[NDArray[np.float32]]]]]

    @classmethod
    def of(cls, features: VideoFeatures) -> Columns:
        """Those of features in memory."""
        arrays = {VALUES: features.values, **{score_name(name): each for name, each in features.scores.items()}}
        return cls(
            len(features.values),
            {name: (values.shape[1], partial(_pieces, values, _ROWS_AT_ONCE)) for name, values in arrays.items()},
        )

    def rounded(self, name: str, stored: StoredType) -> Iterator[NDArray[Any]]:
        """The pieces of an array in the type that is stored.

        Raises:
            UsageError: A value is too large for the type.
            ValueError: There are fewer or more rows than there should be.
        """
        num_given = 0
        for piece in self.pieces[name][1]():
            with np.errstate(over="ignore"):
                rounded = piece.astype(stored)
            if not np.isfinite(rounded).all():
                raise UsageError(
                    f"the {name} hold a number that {stored} has no place for", hint="keep them as float32"
                )
            yield rounded
            num_given += len(piece)
        if num_given != self.num_rows:
            raise ValueError(f"{name} has {num_given} rows, not {self.num_rows}")

    def write_npy(self, stream: IO[bytes], name: str, stored: StoredType) -> None:
        """Write an array as a .npy file, with the errors of `rounded`."""
        shape = (self.num_rows, self.pieces[name][0])
        header = {"descr": np.dtype(stored).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for piece in self.rounded(name, stored):
            stream.write(np.ascontiguousarray(piece).tobytes())


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
    write_columns(path, features, Columns.of(features), stored=stored, replace=replace)


def write_columns(
    path: Path, features: VideoFeatures, columns: Columns, *, stored: StoredType, replace: bool = False
) -> None:
    """Write a feature file whose features and scores come in pieces.

    Args:
        path: The file, a .npz.
        features: Everything else of the file; the values and scores in it are not looked at.
        columns: The features as `VALUES`, and the scores of heads by `score_name`.
        stored: The type that they are rounded to.
        replace: Whether the file may be there already.

    Raises:
        OutputError: It is there and may not be, or cannot be written.
        UsageError: A value is too large for the type.
    """
    with new_file(path, replace=replace) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        small = {ABOUT: about_array(facts_of(features)), "spans": features.spans, "centres": features.centres}
        for name, array in small.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        for name in columns.pieces:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                columns.write_npy(member, name, stored)


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
        return decode_facts(
            arrays.about,
            arrays["spans"],
            arrays["centres"],
            _narrow(arrays[VALUES]),
            lambda head: _narrow(arrays[score_name(head)]),
        )


def read_feature_facts(path: str | os.PathLike[str]) -> tuple[VideoFeatures, int]:
    """All of a feature file but its features and scores, which may be large, and how many columns the features have.

    Raises `UsageError` as `read_features` does.
    """
    with read_arrays(path, content="features", made_by="tada features") as arrays:
        num_rows, num_columns = arrays.shape_of(VALUES)
        nothing = np.empty((num_rows, 0), np.float32)
        return decode_facts(arrays.about, arrays["spans"], arrays["centres"], nothing), num_columns


def read_feature_pieces(path: str | os.PathLike[str]) -> tuple[VideoFeatures, Columns]:
    """What `read_features` gives, with the features in pieces that are read when their turn comes.

    Args:
        path: The file.

    Returns:
        All but the features and scores, and the features.

    Raises:
        UsageError: As `read_features`; what is wrong with the features themselves comes up while they are read.
    """
    facts, num_columns = read_feature_facts(path)

    def pieces() -> Iterator[NDArray[np.float32]]:
        with read_arrays(path, content="features", made_by="tada features") as arrays:
            for piece in arrays.pieces_of(VALUES, _ROWS_AT_ONCE):
                values = _narrow(piece)
                if not np.isfinite(values).all():
                    raise ValueError(f"{VALUES} holds values that are not finite")
                yield values

    return facts, Columns(len(facts.values), {VALUES: (num_columns, pieces)})


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
    start_seconds: Number
    duration_seconds: Number
    num_planned: Count | None
    gaps: list[GapRow]
    notes: list[_Note]
    contract: _Contract | None
    spec: None  # read apart
    scores: list[str]
    cuts: NotRequired[list[Number]]


def facts_of(features: VideoFeatures) -> dict[str, object]:
    """What is known of features besides their arrays, JSON-ready."""
    contract = features.contract
    facts: dict[str, object] = {
        "kind": _KIND,
        "path": features.path,
        "size_bytes": features.size_bytes,
        "stride_seconds": features.stride_seconds,
        "start_seconds": features.start_seconds,
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
    if features.cuts is not None:
        facts["cuts"] = list(features.cuts)
    return facts


def decode_facts(
    facts: Any,
    spans: NDArray[np.float64],
    centres: NDArray[np.float64],
    values: NDArray[np.float32],
    scores_of: Callable[[str], NDArray[np.float32]] | None = None,
) -> VideoFeatures:
    """The features that `facts_of` told of.

    Args:
        facts: What it told, from anywhere.
        spans: (N, 2).
        centres: (N,).
        values: (N, C).
        scores_of: Gives the scores of a head; without it heads have scores without columns.

    Returns:
        The features.

    Raises:
        ValueError: Facts and arrays do not fit, or are none.
        TadaError: The facts are of another type.
    """
    if not isinstance(facts, dict) or facts.get("kind") != _KIND:
        raise ValueError("it holds something else")
    about = decode_table(_About, {**facts, "spec": None}, where=ABOUT, error=UsageError)
    contract = None
    if about["contract"] is not None:
        contract = FeatureContract(spec=spec_from_dict(facts["spec"]), **about["contract"])
    scores = {}
    for head in about["scores"]:
        scores[head] = values[:, :0] if scores_of is None else scores_of(head)
        num_classes = None if contract is None else len(contract.spec.heads.get(head, ()))
        if scores_of is not None and scores[head].shape[1:] != (num_classes or scores[head].shape[-1],):
            raise ValueError(f"scores of the head {head!r} do not fit its model")
    return VideoFeatures(
        path=about["path"],
        values=values,
        spans=spans,
        centres=centres,
        stride_seconds=about["stride_seconds"],
        duration_seconds=about["duration_seconds"],
        gaps=tuple(Gap(**gap) for gap in about["gaps"]),
        contract=contract,
        scores=scores,
        start_seconds=about["start_seconds"],
        size_bytes=about["size_bytes"],
        num_planned=about["num_planned"],
        notes=tuple(Note(NoteKind(note["kind"]), note["text"]) for note in about["notes"]),
        cuts=tuple(about["cuts"]) if "cuts" in about else None,
    )


def _narrow(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype not in (np.float16, np.float32):
        raise ValueError(f"features of type {values.dtype}")
    return values.astype(np.float32, copy=False)


def _pieces(values: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]
