"""Labels as AVA has them: a line for every whole second at which an action goes on, with a box and a person."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from tadacli.files import csv_line
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.video_names import video_ids
from tadacli.formats.word_lists import class_numbers

# Segments have no box: it is the whole picture, from left and top to right and bottom.
_BOX = ("0.000", "0.000", "1.000", "1.000")


def ava(videos: Sequence[LabelledVideo]) -> bytes:
    """The table of some videos.

    Args:
        videos: The videos.

    Returns:
        Lines of video, second, box, number of the class (see `word_lists.class_numbers`) and person. Persons are
        numbers from 0, and as few as it takes for segments of a label in a video to stay apart.

    Raises:
        OutputError: Two videos have the same id.
    """
    ids = video_ids([video.path for video in videos])
    numbers = class_numbers(videos)
    lines = []
    for video in videos:
        last_seconds: dict[str, list[int]] = defaultdict(list)  # of each label, by person
        for each in sorted(video.segments, key=lambda each: (each.start_seconds, each.end_seconds)):
            seconds = whole_seconds(each)
            # A reader takes seconds one after the other for one action of a person.
            lasts = last_seconds[each.label]
            person = next((number for number, last in enumerate(lasts) if last + 1 < seconds[0]), len(lasts))
            lasts[person : person + 1] = [seconds[-1]]
            lines += [
                csv_line([ids[video.path], f"{second:04d}", *_BOX, numbers[each.label], person]) for second in seconds
            ]
    return "".join(lines).encode("utf-8", "surrogateescape")


def whole_seconds(segment: LabelledSegment) -> range:
    """The whole seconds at which a segment goes on, its ends included; if it has none, the one next to its middle."""
    first = math.ceil(round(segment.start_seconds, 6))
    last = math.floor(round(segment.end_seconds, 6))
    if last < first:
        first = last = math.floor((segment.start_seconds + segment.end_seconds) / 2 + 0.5)
    return range(first, last + 1)
