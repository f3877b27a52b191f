"""Projects of VIA 3, the VGG annotator, and its CSV: segments in time with their label, and their score as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from tadacli.files import csv_line
from tadacli.formats.labelled import LabelledSegment, LabelledVideo, class_names
from tadacli.formats.records import encode_json
from tadacli.formats.video_names import file_name, video_ids
from tadacli.video.inputs import is_url

_LABEL, _SCORE = "1", "2"
_TEXT, _SELECT = 1, 4  # kinds of attributes
_VIDEO = 4  # kind of file
_LOCAL, _REMOTE = 1, 2  # where a file is
_IN_TIME = "FILE1_Z2_XY0"  # what an attribute belongs to: a segment in time of one file
_CSV_COLUMNS = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"


def via(videos: Sequence[LabelledVideo]) -> bytes:
    """A project with the videos and their segments.

    Args:
        videos: The videos.

    Returns:
        The project; times in seconds. Its attribute `action` is the label, `score` the score.

    Raises:
        OutputError: Two videos have the same id.
    """
    options = _options(videos)
    numbers = [str(number) for number in range(1, len(videos) + 1)]
    project: dict[str, object] = {
        "project": {
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": "segments",
            "creator": "",
            "created": 0,
            "vid_list": numbers,
        },
        "config": {"file": {"loc_prefix": {str(place): "" for place in (1, 2, 3, 4)}}, "ui": {}},
        "attribute": _attributes(options),
        "file": {
            number: {
                "fid": number,
                "fname": _named(video),
                "type": _VIDEO,
                "loc": _REMOTE if is_url(video.path) else _LOCAL,
                "src": video.path if is_url(video.path) else "",
            }
            for number, video in zip(numbers, videos, strict=True)
        },
        "metadata": {
            name: {"vid": number, "flg": 0, "z": [each.start_seconds, each.end_seconds], "xy": [], "av": values}
            for name, number, _, each, values in _segments(videos, options)
        },
        "view": {number: {"fid_list": [number]} for number in numbers},
    }
    return encode_json(project) + b"\n"


def via_table(videos: Sequence[LabelledVideo]) -> bytes:
    """The segments as VIA exports them to a CSV, whose first lines say what its attributes mean.

    Args:
        videos: The videos.

    Returns:
        The table, a line for each segment; times in seconds.

    Raises:
        OutputError: Two videos have the same id.
    """
    options = _options(videos)
    lines = [
        "# Exported in the form of VGG Image Annotator 3\n",
        f"# ATTRIBUTE = {_json(_attributes(options))}\n",
        f"# CSV_HEADER = {_CSV_COLUMNS}\n",
    ]
    for name, _, video, each, values in _segments(videos, options):
        times = _json([each.start_seconds, each.end_seconds])
        lines.append(csv_line([name, _json([_named(video)]), 0, times, "[]", _json(values)]))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _named(video: LabelledVideo) -> str:
    return video.path if is_url(video.path) else file_name(video.path)


def _options(videos: Sequence[LabelledVideo]) -> dict[str, str]:
    """The labels by their number, as options are called. Raises `OutputError` if two videos have the same name."""
    video_ids([video.path for video in videos])  # VIA knows them by name alone
    return {str(number): label for number, label in enumerate(class_names(videos))}


def _attributes(options: Mapping[str, str]) -> dict[str, object]:
    described: tuple[tuple[str, str, int, Mapping[str, str]], ...] = (
        (_LABEL, "action", _SELECT, options),
        (_SCORE, "score", _TEXT, {}),
    )
    return {
        key: {
            "aname": name,
            "anchor_id": _IN_TIME,
            "type": kind,
            "desc": "",
            "options": listed,
            "default_option_id": "",
        }
        for key, name, kind, listed in described
    }


def _segments(
    videos: Sequence[LabelledVideo], options: Mapping[str, str]
) -> Iterator[tuple[str, str, LabelledVideo, LabelledSegment, dict[str, str]]]:
    """(name, number of the video, the video, the segment, its values by attribute)."""
    key_of = {label: key for key, label in options.items()}
    for number, video in enumerate(videos, start=1):
        for count, each in enumerate(video.segments, start=1):
            values = {_LABEL: key_of[each.label]}
            values |= {} if each.score is None else {_SCORE: repr(each.score)}
            yield f"{number}_{count}", str(number), video, each, values
