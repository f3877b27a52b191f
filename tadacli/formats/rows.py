"""What the machine-readable formats say of one video: one JSON-ready row, or several flat ones for CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tadacli.results import Classification, Prediction, VideoInfo

if TYPE_CHECKING:
    from tadacli.results import Run

Row = dict[str, Any]

CSV_COLUMNS = (
    "path",
    "status",
    "error",
    "model",
    "task",
    "head",
    "rank",
    "label",
    "index",
    "score",
    "notes",
    "num_frames",
    "duration_seconds",
    "frames",
    "views",
    "weights_sha256",
    "tool_version",
    "spec",
    "run",
    "size_bytes",
    "num_rows",
)


def classification_row(result: Classification, run: Run, *, size_bytes: int | None) -> Row:
    """The row of one video. A model with one head has `topk`, one with several `heads` by name."""
    row: Row = {
        "path": result.path,
        "status": result.status,
        "error": result.error or None,
        "model": result.model,
        "task": run.spec["task"],
    }
    if tuple(run.spec["heads"]) == ("",):
        row["topk"] = _predictions(result.heads.get("", ()))
    else:
        names = run.spec["heads"]
        row["heads"] = {name: _predictions(result.heads.get(name, ())) for name in names}
    row["notes"] = [note.text for note in result.notes]
    row["video"] = None if result.video is None else video_facts(result.video)
    row["clips"] = [
        [{"index": frame.index, "time_seconds": rounded_seconds(frame.time_seconds)} for frame in clip]
        for clip in result.clips
    ]
    row["size_bytes"] = size_bytes
    row["tool_version"] = run.tool_version
    row["weights_sha256"] = run.weights_sha256
    row["spec"] = run.spec
    row["settings"] = run.settings
    row["run"] = run.id
    return row


def csv_rows(row: Row) -> list[dict[str, str]]:
    """One flat row for each (video, head, rank), or a single one without a rank if there is no prediction."""
    common = {
        "path": row["path"],
        "status": row["status"],
        "error": row["error"] or "",
        "model": row["model"],
        "task": row["task"],
        "notes": "; ".join(row["notes"]),
        "num_frames": str(row["video"]["num_frames"]) if row["video"] else "",
        "duration_seconds": str(row["video"]["duration_seconds"]) if row["video"] else "",
        "frames": _frames_text(row["clips"]),
        "views": row["settings"]["views"] or "",
        "weights_sha256": row["weights_sha256"],
        "tool_version": row["tool_version"],
        "spec": json.dumps(row["spec"]),
        "run": row["run"],
        "size_bytes": "" if row["size_bytes"] is None else str(row["size_bytes"]),
    }
    heads = row["heads"] if "heads" in row else {"": row["topk"]}
    ranked = [
        {
            **common,
            "head": head,
            "rank": str(rank),
            "label": prediction["label"],
            "index": str(prediction["index"]),
            "score": repr(prediction["score"]),
        }
        for head, predictions in heads.items()
        for rank, prediction in enumerate(predictions, start=1)
    ]
    rows = ranked or [common]
    return [{**flat, "num_rows": str(len(rows))} for flat in rows]


def _predictions(predictions: tuple[Prediction, ...]) -> list[Row]:
    return [{"label": each.label, "index": each.index, "score": each.score} for each in predictions]


def video_facts(info: VideoInfo) -> Row:
    """What a row says of the video itself."""
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


def _frames_text(clips: list[list[Row]]) -> str:
    """Frames as `number@seconds`, clips divided by a bar."""
    return " | ".join(" ".join(f"{frame['index']}@{frame['time_seconds']}" for frame in clip) for clip in clips)
