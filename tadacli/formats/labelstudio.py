"""Tasks for Label Studio, with timeline labels that count frames.

What a model found becomes predictions with scores (pre-annotations), which a person corrects; what people labelled
becomes annotations. The control is called `videoLabels`, the video `video`, as in Label Studio's own template:
`<TimelineLabels name="videoLabels" toName="video">` and `<Video name="video" value="$video" frameRate="$fps"/>`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.records import encode_json
from tadacli.video.inputs import is_url

_CONTROL, _OBJECT, _TYPE = "videoLabels", "video", "timelinelabels"


def labelstudio(videos: Sequence[LabelledVideo]) -> bytes:
    """The tasks of some videos, one for each.

    Args:
        videos: The videos, of which the rate is known.

    Returns:
        The JSON list; `data` has the video and the rate that its frames are counted at.

    Raises:
        UsageError: The rate of a video with segments is not known.
    """
    is_found = any(segment.score is not None for video in videos for segment in video.segments)
    tasks = [_task(number, video, is_found=is_found) for number, video in enumerate(videos, start=1)]
    return b"[" + b",".join(b"\n" + encode_json(task) for task in tasks) + b"\n]\n"


def _task(number: int, video: LabelledVideo, *, is_found: bool) -> dict[str, object]:
    results = [_result(f"{number}-{count}", each, video) for count, each in enumerate(video.segments, start=1)]
    url = video.path if is_url(video.path) else urllib.parse.quote(video.path, errors="surrogateescape")
    data: dict[str, object] = {"video": url}
    if video.fps:
        data["fps"] = video.fps
    given: dict[str, object] = {"result": results}
    if is_found:
        scores = [each.score for each in video.segments if each.score is not None]
        given |= {"model_version": video.made_with} if video.made_with else {}
        given |= {"score": sum(scores) / len(scores)} if scores else {}
    return {"id": number, "data": data, "predictions" if is_found else "annotations": [given]}


def _result(name: str, segment: LabelledSegment, video: LabelledVideo) -> dict[str, object]:
    start, end = video.frame(segment.start_seconds), video.frame(segment.end_seconds)
    result: dict[str, object] = {
        "id": name,
        "from_name": _CONTROL,
        "to_name": _OBJECT,
        "type": _TYPE,
        "value": {"ranges": [{"start": start, "end": end}], _TYPE: [segment.label]},
    }
    return result if segment.score is None else result | {"score": segment.score}
