"""Labels as Create ML takes them for action classifiers: a list with an object for each segment."""

from __future__ import annotations

from collections.abc import Sequence

from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.records import encode_json
from tadacli.formats.video_names import file_name, video_ids


def createml(videos: Sequence[LabelledVideo]) -> bytes:
    """The list of some videos.

    Args:
        videos: The videos.

    Returns:
        JSON; `video` is the name of the file, `start` and `end` are seconds; `split` is there where it is known.

    Raises:
        OutputError: Two videos have the same id.
    """
    video_ids([video.path for video in videos])
    entries = [
        {
            "video": file_name(video.path),
            "label": each.label,
            "start": each.start_seconds,
            "end": each.end_seconds,
            **({"split": video.split} if video.split else {}),
        }
        for video in videos
        for each in video.segments
    ]
    return encode_json(entries) + b"\n"
