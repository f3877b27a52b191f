"""JSON Schemas of the files that are written, made of the types that declare what they hold.

`python -m tadacli.reports.schemas FOLDER` writes them, one for each kind of file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tadacli.evaluation.prediction_file import HeaderLine, ItemLine
from tadacli.formats.excerpt_rows import ExcerptRow
from tadacli.formats.feature_rows import FeatureRow
from tadacli.formats.records import encode_json
from tadacli.formats.rows import ClassificationRow, DetectionRow
from tadacli.formats.tables import Companion
from tadacli.reports.eval_json import EvalDocument

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class ClassificationDocument(TypedDict):
    """What `tada classify` writes as JSON."""

    results: list[ClassificationRow]


class DetectionDocument(TypedDict):
    """What `tada detect` writes as JSON of several videos."""

    results: list[DetectionRow]


# By the name of the schema: what it is of, and the type of a file, or of each line of one.
_KINDS: Mapping[str, tuple[str, Any]] = {
    "classify": ("tada classify: JSON, or each line of JSON lines", ClassificationRow | ClassificationDocument),
    "detect": ("tada detect: JSON, or each line of JSON lines", DetectionRow | DetectionDocument),
    "features": ("tada features: each line on stdout", FeatureRow),
    "clip": ("tada clip: each line on stdout", ExcerptRow),
    "eval": ("tada eval: the report as JSON", EvalDocument),
    "predictions": ("tada eval --save-predictions: the first line, and each other one", HeaderLine | ItemLine),
    "meta": ("NAME.csv.meta.json: the companion of a table", Companion),
}


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by name, JSON-ready.

    Returns:
        JSON Schema, draft 2020-12: `classify`, `detect`, `features`, `clip`, `eval`, `predictions` and `meta`. Keys
        that a schema does not name may come with later versions; `schema_version` changes when a reader would be
        misled.
    """
    made = {}
    for name, (title, kind) in _KINDS.items():
        schema = TypeAdapter(kind).json_schema(mode="serialization")
        made[name] = {"$schema": _DIALECT, **schema, "title": title}
    return made


def write_schemas(folder: Path) -> list[Path]:
    """Write the schemas into a folder, over those that are there.

    Args:
        folder: It is made if it is missing.

    Returns:
        The files: `classify.schema.json` and so on.

    Raises:
        OSError: They cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, schema in schemas().items():
        file = folder / f"{name}.schema.json"
        file.write_bytes(encode_json(schema, indent=2) + b"\n")
        files.append(file)
    return files


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1])):
        print(written)
