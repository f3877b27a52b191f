"""Projects of BORIS (format 7.0), and its table of events: state events, each with its start and its stop.

A behaviour of BORIS is either on or off. Segments of one label that overlap or touch go to further observations of the
same video, `name (2)` and so on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from tadacli.formats.labelled import LabelledSegment, LabelledVideo, class_names, lanes
from tadacli.formats.records import encode_json
from tadacli.formats.video_names import file_name, video_ids

_DATE = "1970-01-01T00:00:00"  # the format wants one; equal segments are equal files
_COLUMNS = (
    "Observation id",
    "Observation date",
    "Description",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Media duration (s)",
    "FPS (frame/s)",
    "Subject",
    "Behavior",
    "Behavioral category",
    "Behavior type",
    "Time",
    "Media file name",
    "Comment",
)
_NOBODY = "No focal subject"
_NUM_PLAYERS = 8


def boris(videos: Sequence[LabelledVideo]) -> bytes:
    """A project with an observation for each video, and an ethogram of the labels.

    Args:
        videos: The videos.

    Returns:
        The project; times in seconds, to the millisecond.

    Raises:
        OutputError: Two videos have the same id.
    """
    behaviors = {
        str(number): {
            "type": "State event",
            "key": "",
            "code": label,
            "description": "",
            "category": "",
            "modifiers": "",
            "excluded": "",
            "coding map": "",
        }
        for number, label in enumerate(class_names(videos))
    }
    subjects = sorted({each.subject for video in videos for each in video.segments} - {""})
    project: dict[str, object] = {
        "time_format": "s",
        "project_date": _DATE,
        "project_name": "",
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {
            str(number): {"key": "", "name": name, "description": ""} for number, name in enumerate(subjects)
        },
        "behaviors_conf": behaviors,
        "observations": {name: _observation(video, lane) for name, video, lane in _observations(videos)},
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    return encode_json(project, indent=1) + b"\n"


def boris_table(videos: Sequence[LabelledVideo]) -> bytes:
    """The events of some videos as BORIS exports them, in tabular form.

    Args:
        videos: The videos.

    Returns:
        A CSV with a row for each start and each stop, in order of time; times in seconds, to the millisecond.

    Raises:
        OutputError: Two videos have the same id.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for name, video, lane in _observations(videos):
        for seconds, kind, segment in _events(lane):
            writer.writerow(
                {
                    "Observation id": name,
                    "Observation date": _DATE,
                    "Observation type": "Media file(s)",
                    "Source": f"player #1:{video.path}",
                    "Time offset (s)": 0,
                    "Media duration (s)": "" if video.duration_seconds is None else video.duration_seconds,
                    "FPS (frame/s)": "" if video.fps is None else video.fps,
                    "Subject": segment.subject or _NOBODY,
                    "Behavior": segment.label,
                    "Behavior type": kind,
                    "Time": f"{seconds:.3f}",
                    "Media file name": file_name(video.path),
                }
            )
    return text.getvalue().encode("utf-8", "surrogateescape")


def _observations(videos: Sequence[LabelledVideo]) -> Iterator[tuple[str, LabelledVideo, list[LabelledSegment]]]:
    ids = video_ids([video.path for video in videos])
    taken = set(ids.values())
    for video in videos:
        for number, lane in enumerate(lanes(video.segments, touching=False), start=1):
            name = ids[video.path] if number == 1 else f"{ids[video.path]} ({number})"
            while number > 1 and name in taken:
                number += 1
                name = f"{ids[video.path]} ({number})"
            taken.add(name)
            yield name, video, lane


def _events(lane: Sequence[LabelledSegment]) -> list[tuple[float, str, LabelledSegment]]:
    """(seconds, START or STOP, its segment) in order of time; a segment lasts at least a millisecond."""
    found = []
    for segment in lane:
        start = round(segment.start_seconds * 1000)
        end = max(round(segment.end_seconds * 1000), start + 1)
        found += [(start / 1000, "START", segment), (end / 1000, "STOP", segment)]
    return sorted(found, key=lambda event: event[0])


def _observation(video: LabelledVideo, lane: Sequence[LabelledSegment]) -> dict[str, object]:
    facts = {"length": video.duration_seconds, "fps": video.fps}
    known: dict[str, object] = {key: {video.path: value} for key, value in facts.items() if value is not None}
    players = {str(number): [video.path] if number == 1 else [] for number in range(1, _NUM_PLAYERS + 1)}
    return {
        "file": players,
        "type": "MEDIA",
        "date": _DATE,
        "description": "",
        "time offset": 0.0,
        "events": [[seconds, segment.subject, segment.label, "", ""] for seconds, _, segment in _events(lane)],
        "observation time interval": [0, 0],
        "independent_variables": {},
        "media_info": {**known, "hasVideo": {video.path: True}, "hasAudio": {video.path: False}},
    }
