"""The segments of many videos as ActivityNet predicts them, version 1.3; HACS reads the same."""

from __future__ import annotations

from collections.abc import Sequence

from tadacli.formats.captions import player_segments
from tadacli.formats.records import encode_json
from tadacli.formats.rows import DetectionRow
from tadacli.formats.video_names import video_ids
from tadacli.results.json_ready import SegmentRow


def activitynet(rows: Sequence[DetectionRow]) -> bytes:
    """The prediction file of some videos.

    Args:
        rows: The videos.

    Returns:
        For each video's id its segments, in the order of the rows.

    Raises:
        OutputError: Two videos have the same id.
    """
    ids = video_ids([row["path"] for row in rows])
    made_with = sorted({f"{row['model']}, tada {row['tool_version']}" for row in rows})
    predictions = {
        "version": "VERSION 1.3",
        "external_data": {"details": "; ".join(made_with)},
        "results": {ids[row["path"]]: [_prediction(each) for each in player_segments(row)] for row in rows},
    }
    return encode_json(predictions) + b"\n"


def _prediction(segment: SegmentRow) -> dict[str, object]:
    return {
        "label": segment["label"],
        "score": segment["score"],
        "segment": [segment["start_seconds"], segment["end_seconds"]],
    }
