"""Labels as Ego4D publishes its moments: one clip for each video, as long as the video."""

from __future__ import annotations

from collections.abc import Sequence

from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.records import encode_json
from tadacli.formats.video_names import video_ids

_ANNOTATOR = "tada"


def ego4d_moments(videos: Sequence[LabelledVideo]) -> bytes:
    """The moments of some videos.

    Args:
        videos: The videos.

    Returns:
        JSON; every moment is primary, with its times in the clip, which are those in the video, in seconds.

    Raises:
        OutputError: Two videos have the same id.
    """
    ids = video_ids([video.path for video in videos])
    content = {"version": "v1", "description": "moments", "videos": [_video(ids[each.path], each) for each in videos]}
    return encode_json(content) + b"\n"


def _video(name: str, video: LabelledVideo) -> dict[str, object]:
    length = video.duration_seconds
    if length is None:
        length = max((each.end_seconds for each in video.segments), default=0.0)
    moments = {"annotator_uid": _ANNOTATOR, "labels": [_moment(each) for each in video.segments]}
    clip = {"clip_uid": name, "video_start_sec": 0.0, "video_end_sec": length, "annotations": [moments]}
    return {"video_uid": name, "split": video.split, "clips": [clip]}


def _moment(segment: LabelledSegment) -> dict[str, object]:
    start, end = segment.start_seconds, segment.end_seconds
    return {
        "label": segment.label,
        "primary": True,
        "start_time": start,
        "end_time": end,
        "video_start_time": start,
        "video_end_time": end,
    }
