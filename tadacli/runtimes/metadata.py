"""What an exported file says of itself: all that is needed to use it, as JSON in one entry of its metadata.

The entry is called `tada`. Its `spec` is that of a weights file of our own, with labels, input, temperatures and
thresholds; `format` counts what readers of an earlier version could not read correctly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tadacli.errors import CheckpointError, SpecError
from tadacli.specs import AnySpec, any_spec_from_dict
from tadacli.strict_tables import Finite, decode_table, parse_json

KEY = "tada"
FORMAT = 1
MOST_CHARACTERS = 1 << 24  # the labels of a hundred thousand classes are fewer
_MOST_ENTRIES, _MOST_TEXT = 64, 200
_ANOTHER_TOOL = "only files of tada export can be used: others do not say how clips are taken and what labels mean"

Precision = Literal["float32", "int8"]
ProofKind = Literal["rendered", "videos", "noise"]  # what a file was proven on


@dataclass(frozen=True)
class Proof:
    """What a file gave on the clips that it was proven on, against the network.

    `num_clips` clips, of a head sequences of features, went through both in batches of each of `batch_sizes`.
    `relative_error` is the largest difference of any output, relative to the largest value of that output; `agreement`
    is the share of clips with the same best class in every head.
    """

    clips: ProofKind
    num_clips: int
    batch_sizes: tuple[int, ...]
    relative_error: Annotated[float, Finite]
    agreement: Annotated[float, Finite]


@dataclass(frozen=True)
class ExportFacts:
    """The metadata of an exported file.

    `weights_sha256` is the hash of the weights that were exported, "" for random ones. `versions` are those of the
    libraries that wrote the file.
    """

    spec: AnySpec
    weights_sha256: str
    precision: Precision
    tool_version: str
    versions: Mapping[str, str]
    proof: Proof

    def to_json(self) -> str:
        """The text that `facts_in` reads."""
        values = {"format": FORMAT, **asdict(self), "spec": self.spec.to_dict()}
        return json.dumps(values, ensure_ascii=True)


@dataclass(frozen=True)
class _Table:
    """The same as it stands in the file, but for the spec."""

    format: int
    spec: Mapping[str, Any]
    weights_sha256: str
    precision: Precision
    tool_version: str
    versions: Mapping[str, str]
    proof: Proof

    def __post_init__(self) -> None:
        """Raises `ValueError` for texts that are none of ours."""
        digest = self.weights_sha256
        if digest and (len(digest) != 64 or not set(digest) <= set("0123456789abcdef")):
            raise ValueError("weights_sha256 is no SHA-256")
        texts = [self.tool_version, *self.versions, *self.versions.values()]
        if len(self.versions) > _MOST_ENTRIES or any(len(text) > _MOST_TEXT for text in texts):
            raise ValueError("versions has too many entries, or one of them is too long")


def facts_in(text: str | None, *, file: Path) -> ExportFacts:
    """What an exported file says of itself.

    Args:
        text: The entry of its metadata, None where it has none.
        file: Its name, for errors.

    Returns:
        The facts, each of its declared type.

    Raises:
        CheckpointError: The file is of another tool or of a newer version, or the entry is damaged.
    """
    if text is None:
        raise CheckpointError(f"{file} says nothing of the model it holds", hint=_ANOTHER_TOOL)
    try:
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"it is larger than {MOST_CHARACTERS:,} characters")
        values = parse_json(text)
        if not isinstance(values, dict):
            raise ValueError("it is no table")
        found = values.get("format")
        if isinstance(found, int) and found > FORMAT:
            raise CheckpointError(
                f"{file} was exported by a newer version of tada (format {found}, this one reads up to {FORMAT})",
                hint="update tada, or export the model again with this version",
            )
        table = decode_table(_Table, values, where="its metadata")
        spec = any_spec_from_dict(table.spec)
    except (ValueError, SpecError) as error:
        raise CheckpointError(
            f"{file} has damaged metadata: {error}", hint="export the model again with tada export"
        ) from error
    return ExportFacts(spec, table.weights_sha256, table.precision, table.tool_version, table.versions, table.proof)
