"""Lists of segments whose labels are words or numbers: those of Charades, and predictions for THUMOS's evaluation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from tadacli.errors import OutputError
from tadacli.files import csv_line
from tadacli.formats.labelled import LabelledVideo, as_word, class_names
from tadacli.formats.records import encode_json
from tadacli.formats.video_names import video_ids

_CHARADES_COLUMNS = "id subject scene quality relevance verified script objects descriptions actions length".split()
_DIGITS = re.compile(r"\d{1,9}")


def charades(videos: Sequence[LabelledVideo]) -> bytes:
    """The table of some videos as Charades has it, a row for each.

    Args:
        videos: The videos.

    Returns:
        The CSV; its actions are `label start end`, divided by semicolons, in seconds to the millisecond. A label is one
        word; blanks, commas and semicolons in it become "_".

    Raises:
        OutputError: Two videos have the same id, or two labels become the same word.
    """
    ids = video_ids([video.path for video in videos])
    words = _words(class_names(videos))
    lines = [csv_line(_CHARADES_COLUMNS)]
    for video in videos:
        actions = ";".join(
            f"{words[each.label]} {each.start_seconds:.3f} {each.end_seconds:.3f}" for each in video.segments
        )
        length = "" if video.duration_seconds is None else f"{video.duration_seconds:.3f}"
        lines.append(csv_line([ids[video.path], *[""] * 8, actions, length]))
    return "".join(lines).encode("utf-8", "surrogateescape")


def charades_json(videos: Sequence[LabelledVideo]) -> bytes:
    """The actions of some videos as I3D's code reads them, for Charades and for MultiTHUMOS.

    Args:
        videos: The videos.

    Returns:
        JSON: for each video's id its subset, its length, and its actions, (class, start, end), in seconds. A class is a
        number, see `class_numbers`. The split to train with is the subset `training`; the one to validate with is
        `testing`, as in these data sets, where no video is of a test split.

    Raises:
        OutputError: Two videos have the same id.
    """
    ids = video_ids([video.path for video in videos])
    numbers = class_numbers(videos)
    subsets = {"train": "training"}
    if all(video.split != "test" for video in videos):
        subsets["validation"] = "testing"
    content = {
        ids[video.path]: {
            "subset": subsets.get(video.split, video.split),
            **({} if video.duration_seconds is None else {"duration": video.duration_seconds}),
            "actions": [[numbers[each.label], each.start_seconds, each.end_seconds] for each in video.segments],
        }
        for video in videos
    }
    return encode_json(content) + b"\n"


def thumos(videos: Sequence[LabelledVideo]) -> bytes:
    """The predictions of some videos as THUMOS's evaluation takes them.

    Args:
        videos: The videos; ids with blanks get "_" for each.

    Returns:
        A line `video start end class score` for each segment, times in seconds to the millisecond. A class is a number,
        see `class_numbers`; a label of a person has the score 1.

    Raises:
        OutputError: Two videos have the same id.
    """
    words = _words(list(video_ids([video.path for video in videos]).values()), what="videos")
    ids = video_ids([video.path for video in videos])
    numbers = class_numbers(videos)
    lines = [
        f"{words[ids[video.path]]} {each.start_seconds:.3f} {each.end_seconds:.3f} {numbers[each.label]} "
        f"{1.0 if each.score is None else each.score!r}\n"
        for video in videos
        for each in video.segments
    ]
    return "".join(lines).encode("utf-8", "surrogateescape")


def class_numbers(videos: Sequence[LabelledVideo]) -> Mapping[str, int]:
    """The number of each label: itself where all labels are numbers, else that of the class in the model, from 0.

    Args:
        videos: The videos.

    Returns:
        Numbers by label. Two labels of one index, as of several models, are numbered by their order.
    """
    labels = class_names(videos)
    if all(_DIGITS.fullmatch(label) and str(int(label)) == label for label in labels):
        return {label: int(label) for label in labels}
    index_of = {each.label: each.index for video in videos for each in video.segments}
    if len(set(index_of.values())) == len(index_of):
        return index_of
    return {label: number for number, label in enumerate(labels)}


def _words(labels: Sequence[str], *, what: str = "labels") -> dict[str, str]:
    words = {label: as_word(label) for label in labels}
    twice = [word for word, number in Counter(words.values()).items() if number > 1]
    if twice:
        same = ", ".join(repr(label) for label, word in words.items() if word == twice[0])
        raise OutputError(f"the {what} {same} would all be {twice[0]!r} in this format", hint="rename one of them")
    return words
