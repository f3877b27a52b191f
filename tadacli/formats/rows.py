"""What the machine-readable formats say of one video: one JSON-ready row, or several flat ones for CSV.

The types here are the one declaration of what a row holds: for what writes it, for all formats, for reading it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypeAlias, TypeVar, cast

from typing_extensions import TypedDict

from tadacli.results import Classification, Run, RunSettings, SpecSummary
from tadacli.results.json_ready import (
    ClassificationFacts,
    Count,
    DetectionFacts,
    FrameRow,
    Number,
    classification_facts,
)
from tadacli.video.lists import ListedPart


class RunRow(TypedDict):
    """What a result was made with, and of how large a file."""

    size_bytes: Count | None
    tool_version: str
    weights_sha256: str
    spec: SpecSummary
    settings: RunSettings
    run: str
    schema_version: NotRequired[Count]  # earlier versions wrote none


class ResultRow(RunRow):
    """What every row says of one video; `error` is null unless it failed."""

    path: str
    error: str | None
    model: str
    task: str
    notes: list[str]


class PartRow(TypedDict, total=False):
    """What a list said of a video besides its path: an id, and which part is meant; null where it said nothing.

    Only rows of such videos have it.
    """

    id: str | None
    part_start_seconds: Number | None
    part_end_seconds: Number | None


class ClassificationRow(ResultRow, ClassificationFacts, PartRow):
    """The row of `tada classify`."""


class DetectionRow(ResultRow, DetectionFacts, PartRow):
    """The row of `tada detect`."""


Row: TypeAlias = ClassificationRow | DetectionRow
# What takes the rows of one command takes those of no other.
AnyRow = TypeVar("AnyRow", bound=Row)
RowTaken = TypeVar("RowTaken", bound=Row, contravariant=True)

# Of every row and file of results; it grows when a reader of the last one would be misled.
SCHEMA_VERSION = 1
_PART_TIMES = ("part_start_seconds", "part_end_seconds")
_ESCAPE = re.compile(r"\\u(005c|dc[89a-f][0-9a-f])")
_LIKE_AN_ESCAPE = re.compile(r"\\(?=u(005c|dc[89a-f][0-9a-f]))")


def classification_row(result: Classification, run: Run, *, size_bytes: int | None) -> ClassificationRow:
    """The row of one video. A model with one head has `topk`, one with several `heads` by name.

    Args:
        result: What the video was found to show.
        run: What the result was made with.
        size_bytes: The size of the video's file, by which a later run sees that it is still the same; None if unknown.

    Returns:
        The row, its keys in the order in which they are written.
    """
    facts = classification_facts(result, heads=run.spec["heads"])
    return cast("ClassificationRow", whole_row(facts, run, size_bytes))


def whole_row(facts: Mapping[str, object], run: Run, size_bytes: int | None) -> dict[str, object]:
    """What is known of one video, and what it was made with, in the order in which rows are written.

    That order stays: what is new comes last, as do the cuts of a video, and what a list said of it.
    """
    first = list(facts)[: list(facts).index("model") + 1]
    last = {key: value for key, value in facts.items() if key not in first}
    cuts = {"cuts": last.pop("cuts")} if "cuts" in last else {}
    return {
        **{key: facts[key] for key in first},
        "task": run.spec["task"],
        **last,
        **run_row(run, size_bytes),
        **cuts,
        **_part_row(facts["path"]),
    }


def _part_row(video: object) -> PartRow:
    """What a list said of a video."""
    if not isinstance(video, ListedPart):
        return {}
    return {"id": video.id, "part_start_seconds": video.start_seconds, "part_end_seconds": video.end_seconds}


def video_in(row: Mapping[str, Any]) -> str:
    """The video that a row is of, as the input was named: its path, or the part of it that a list named."""
    if "part_start_seconds" not in row:
        return str(row["path"])
    return ListedPart.of(row["path"], row["part_start_seconds"], row["part_end_seconds"], row["id"])


def run_row(run: Run, size_bytes: int | None) -> RunRow:
    """The end of a row: what the result was made with, and the size of the video's file."""
    return {
        "size_bytes": size_bytes,
        "tool_version": run.tool_version,
        "weights_sha256": run.weights_sha256,
        "spec": run.spec,
        "settings": run.settings,
        "run": run.id,
        "schema_version": SCHEMA_VERSION,
    }


def csv_rows(row: ClassificationRow) -> list[dict[str, str]]:
    """The lines of CSV that one row becomes.

    Args:
        row: One video.

    Returns:
        A flat row for each head and rank, or a single one without a rank if there is no prediction.
    """
    facts = row["video"]
    common = {
        "num_frames": csv_text(facts and facts["num_frames"]),
        "duration_seconds": csv_text(facts and facts["duration_seconds"]),
        "frames": _frames_text(row["clips"]),
        "views": row["settings"]["views"] or "",
    }
    heads = row["heads"] if "heads" in row else {"": row["topk"]}
    ranked = [
        {
            "head": head,
            "rank": str(rank),
            "label": prediction["label"],
            "index": str(prediction["index"]),
            "score": repr(prediction["score"]),
        }
        for head, predictions in heads.items()
        for rank, prediction in enumerate(predictions, start=1)
    ]
    return flat_rows(row, common, ranked)


def flat_rows(row: Row, common: dict[str, str], items: list[dict[str, str]]) -> list[dict[str, str]]:
    """A flat row for each of the items, with what they have in common, or a single one if there are none."""
    values: Mapping[str, object] = row
    texts = ("status", "model", "task", "weights_sha256", "tool_version", "run")
    common |= {key: str(values[key]) for key in texts}
    path = _LIKE_AN_ESCAPE.sub(r"\\u005c", row["path"])
    common |= {
        "path": path,
        "video": path,
        "error": row["error"] or "",
        "notes": "; ".join(row["notes"]),
        "spec": json.dumps(row["spec"]),
        "settings": json.dumps(row["settings"]),
        "size_bytes": csv_text(row["size_bytes"]),
        "num_rows": str(len(items) or 1),
    }
    if "part_start_seconds" in row:
        common |= {"id": str(values["id"] or ""), **{name: csv_text(values[name]) for name in _PART_TIMES}}  # type: ignore[arg-type]
    return [{**common, **item} for item in items or [{}]]


def path_in_csv(cell: str) -> str:
    """The path that a cell of CSV stands for.

    Args:
        cell: The cell, in which `\\udcff` is the byte FF of a name that is not UTF-8, and `\\u005c` a backslash that
            would otherwise look like the beginning of one of the two.

    Returns:
        The path; such bytes are lone surrogates, which `os.fsencode` turns back into them.
    """
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), cell)


def video_in_csv(line: Mapping[str, str], cell: str) -> str:
    """The video that a line of CSV is of, as `video_in`; `cell` is that of its path."""
    path = path_in_csv(cell)
    if "part_start_seconds" not in line:
        return path
    start, end = (float(line[name]) if line[name] else None for name in _PART_TIMES)
    if (start, end, line["id"]) == (None, None, ""):
        return path
    return ListedPart.of(path, start, end, line["id"] or None)


def csv_text(value: float | None) -> str:
    """A number in CSV, where one that is not known is empty."""
    return "" if value is None else str(value)


def _frames_text(clips: list[list[FrameRow]]) -> str:
    """Frames as `number@seconds`, clips divided by a bar."""
    return " | ".join(" ".join(f"{frame['index']}@{frame['time_seconds']}" for frame in clip) for clip in clips)
