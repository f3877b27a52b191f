"""The segments of many videos as ActivityNet predicts them, version 1.3 (HACS reads the same), and as it labels them.

ActionFormer, OpenTAD and others read their labels in the same form, with frames and the numbers of classes besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tadacli.formats.labelled import LabelledSegment, LabelledVideo, class_names
from tadacli.formats.records import encode_json
from tadacli.formats.video_names import video_ids


def activitynet(videos: Sequence[LabelledVideo]) -> bytes:
    """The prediction file of some videos.

    Args:
        videos: The videos.

    Returns:
        For each video's id its segments, in their order; a label of a person has the score 1.

    Raises:
        OutputError: Two videos have the same id.
    """
    ids = video_ids([video.path for video in videos])
    made_with = sorted({video.made_with for video in videos if video.made_with})
    predictions = {
        "version": "VERSION 1.3",
        "external_data": {"details": "; ".join(made_with)},
        "results": {ids[video.path]: [_prediction(each) for each in video.segments] for video in videos},
    }
    return encode_json(predictions) + b"\n"


def _prediction(segment: LabelledSegment) -> dict[str, object]:
    return {
        "label": segment.label,
        "score": 1.0 if segment.score is None else segment.score,
        "segment": [segment.start_seconds, segment.end_seconds],
    }


def actionformer(videos: Sequence[LabelledVideo]) -> bytes:
    """The annotation file of some videos.

    Args:
        videos: The videos.

    Returns:
        For each video's id its split, length, rate and labels. Frames are as many as the rate gives, not whole ones.

    Raises:
        OutputError: Two videos have the same id.
    """
    ids = video_ids([video.path for video in videos])
    number_of = {label: number for number, label in enumerate(class_names(videos))}
    return (
        encode_json({"version": "", "database": {ids[each.path]: _entry(each, number_of) for each in videos}}) + b"\n"
    )


def _entry(video: LabelledVideo, number_of: Mapping[str, int]) -> dict[str, object]:
    known = {"duration": video.duration_seconds, "fps": video.fps}
    annotations: list[dict[str, object]] = []
    for segment in video.segments:
        times = [segment.start_seconds, segment.end_seconds]
        frames = {} if not video.fps else {"segment(frames)": [round(time * video.fps, 3) for time in times]}
        annotations.append({"label": segment.label, "segment": times, **frames, "label_id": number_of[segment.label]})
    return {
        "subset": video.split,
        **{key: value for key, value in known.items() if value is not None},
        "annotations": annotations,
    }
