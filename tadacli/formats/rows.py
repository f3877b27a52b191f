"""What the machine-readable formats say of one video: one JSON-ready row, or several flat ones for CSV.

The types here are the one declaration of what a row holds: for what writes it, for all formats, for reading it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, NotRequired, TypeAlias, TypeVar

from typing_extensions import TypedDict

from tadacli.results import (
    Classification,
    DetectionStatus,
    Prediction,
    Run,
    RunSettings,
    SpecSummary,
    Status,
    VideoInfo,
)
from tadacli.strict_tables import Finite

Count: TypeAlias = Annotated[int, Finite]
Number: TypeAlias = Annotated[float, Finite]


class VideoRow(TypedDict):
    """Facts about a video; times in seconds, sides in pixels, rotation in degrees."""

    num_frames: Count
    fps: Number
    duration_seconds: Number
    start_seconds: Number
    height: Count
    width: Count
    rotation: Count
    codec: str
    truncated: bool


class RunRow(TypedDict):
    """What a result was made with, and of how large a file."""

    size_bytes: Count | None
    tool_version: str
    weights_sha256: str
    spec: SpecSummary
    settings: RunSettings
    run: str


class ResultRow(RunRow):
    """What every row says of one video; `error` is null unless it failed."""

    path: str
    error: str | None
    model: str
    task: str
    notes: list[str]


class PredictionRow(TypedDict):
    """A class with its score in 0..1."""

    label: str
    index: Count
    score: Number


class FrameRow(TypedDict):
    """A frame that the model saw, with its presentation time."""

    index: Count
    time_seconds: Number


class PredictionsRow(TypedDict, total=False):
    """The best classes: `topk` of a model with one head, `heads` by name of one with several."""

    topk: list[PredictionRow]
    heads: dict[str, list[PredictionRow]]


class ClassificationRow(ResultRow, PredictionsRow):
    """What one video was found to show; `clips` are the frames that the model saw."""

    status: Status
    video: VideoRow | None
    clips: list[list[FrameRow]]


class SpanRow(TypedDict):
    """A span in presentation time."""

    start_seconds: Number
    end_seconds: Number


class SegmentRow(SpanRow):
    """A labelled span with its score in 0..1; that of an action says its verb and its noun besides.

    `peak_score` is what met the threshold; earlier versions did not write it.
    """

    label: str
    index: Count
    score: Number
    peak_score: NotRequired[Number]
    verb: NotRequired[Count]
    noun: NotRequired[Count]
    action: NotRequired[str]
    verb_label: NotRequired[str]
    noun_label: NotRequired[str]
    verb_score: NotRequired[Number]
    noun_score: NotRequired[Number]


class GapRow(SpanRow):
    """A span of which frames cannot be read, and why."""

    reason: str


class FramesRow(TypedDict):
    """How many distinct frames the model saw."""

    used: Count


class CutsRow(TypedDict, total=False):
    """When shots begin across which nothing that is found or made reaches, where they were asked for."""

    cuts: list[Number]


class DetectionRow(ResultRow, CutsRow):
    """What happens in one video, and when. `start_seconds` is the presentation time of its first frame."""

    video: str
    status: DetectionStatus
    duration_seconds: Number | None
    start_seconds: Number | None
    fps: Number | None
    windows: Count
    windows_planned: Count
    segments: list[SegmentRow]
    gaps: list[GapRow]
    frames: FramesRow
    info: VideoRow | None


Row: TypeAlias = ClassificationRow | DetectionRow
# What takes the rows of one command takes those of no other.
AnyRow = TypeVar("AnyRow", bound=Row)
RowTaken = TypeVar("RowTaken", bound=Row, contravariant=True)

_ESCAPE = re.compile(r"\\u(005c|dc[89a-f][0-9a-f])")
_LIKE_AN_ESCAPE = re.compile(r"\\(?=u(005c|dc[89a-f][0-9a-f]))")

CSV_COLUMNS = (
    "path status error model task head rank label index score notes num_frames duration_seconds frames views "
    "weights_sha256 tool_version spec run size_bytes num_rows"
).split()


def classification_row(result: Classification, run: Run, *, size_bytes: int | None) -> ClassificationRow:
    """The row of one video. A model with one head has `topk`, one with several `heads` by name.

    Args:
        result: What the video was found to show.
        run: What the result was made with.
        size_bytes: The size of the video's file, by which a later run sees that it is still the same; None if unknown.

    Returns:
        The row, its keys in the order in which they are written.
    """
    names = run.spec["heads"]
    found: PredictionsRow = (
        {"topk": _predictions(result.heads.get("", ()))}
        if tuple(names) == ("",)
        else {"heads": {name: _predictions(result.heads.get(name, ())) for name in names}}
    )
    return {
        "path": result.path,
        "status": result.status,
        "error": result.error or None,
        "model": result.model,
        "task": run.spec["task"],
        **found,
        "notes": [note.text for note in result.notes],
        "video": None if result.video is None else video_facts(result.video),
        "clips": [
            [{"index": frame.index, "time_seconds": rounded_seconds(frame.time_seconds)} for frame in clip]
            for clip in result.clips
        ],
        **run_row(run, size_bytes),
    }


def run_row(run: Run, size_bytes: int | None) -> RunRow:
    """The end of a row: what the result was made with, and the size of the video's file."""
    return {
        "size_bytes": size_bytes,
        "tool_version": run.tool_version,
        "weights_sha256": run.weights_sha256,
        "spec": run.spec,
        "settings": run.settings,
        "run": run.id,
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
    common |= {
        "path": _LIKE_AN_ESCAPE.sub(r"\\u005c", row["path"]),
        "error": row["error"] or "",
        "notes": "; ".join(row["notes"]),
        "spec": json.dumps(row["spec"]),
        "size_bytes": csv_text(row["size_bytes"]),
        "num_rows": str(len(items) or 1),
    }
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


def csv_text(value: float | None) -> str:
    """A number in CSV, where one that is not known is empty."""
    return "" if value is None else str(value)


def _predictions(predictions: tuple[Prediction, ...]) -> list[PredictionRow]:
    return [{"label": each.label, "index": each.index, "score": each.score} for each in predictions]


def video_facts(info: VideoInfo) -> VideoRow:
    """What a row says of the video itself.

    Args:
        info: What is known of the video.

    Returns:
        The facts; times in seconds, rounded to microseconds.
    """
    return {
        "num_frames": info.num_frames,
        "fps": round(float(info.fps), 6),
        "duration_seconds": rounded_seconds(info.duration_seconds),
        "start_seconds": rounded_seconds(info.start_seconds),
        "height": info.height,
        "width": info.width,
        "rotation": info.rotation,
        "codec": info.codec,
        "truncated": info.truncated,
    }


def rounded_seconds(value: float) -> float:
    """A time in whole microseconds, which are finer than any container's clock ticks that matter."""
    return round(value, 6)


def _frames_text(clips: list[list[FrameRow]]) -> str:
    """Frames as `number@seconds`, clips divided by a bar."""
    return " | ".join(" ".join(f"{frame['index']}@{frame['time_seconds']}" for frame in clip) for clip in clips)
