"""Reads timed segments whose classes are numbers: ActionFormer's pickle, and the text of THUMOS's evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tadacli.datasets.foreign.numbered import numbered_segments
from tadacli.datasets.tables import AnyPath, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.predictions import TimedScores, timed_scores
from tadacli.results import Note, NoteKind


def read_numbered(path: AnyPath) -> TimedScores:
    """The segments of a file, in its order.

    Args:
        path: The file: a pickle of the columns video-id, t-start, t-end (seconds), label and score, of which nothing
            is run; or text, a line for each segment with the same five fields, blanks between them. It may be gzipped.

    Returns:
        The segments; the classes of the head "" are the numbers that the file has, and `labels` are empty.

    Raises:
        UsageError: The file is something else, or holds a number that is none.
    """
    content, shown = read_bytes(path), os.fspath(path)
    rows = numbered_segments(content, shown)
    segments = [(each.video, each.start, each.end, each.score) for each in rows]
    classes = np.array([each.number for each in rows], dtype=np.int64)
    return timed_scores(segments, {"": classes}, dict.fromkeys(each.video for each in rows))


def with_names(found: TimedScores, class_numbers: Mapping[int, str], shown: str) -> TimedScores:
    """Segments of numbered classes as segments of named ones.

    Args:
        found: The segments.
        class_numbers: The names of classes by number. A class whose number is not among them is named by it.
        shown: What their file is called.

    Returns:
        The segments, their labels in alphabetical order, with a note on where the names are from.

    Raises:
        UsageError: There are segments, and no class has a number.
    """
    numbers = found.classes[""]
    if len(numbers) and not class_numbers:
        raise UsageError(
            f"{shown} names classes by number, and the annotations do not say which class has which number",
            hint="give each annotation its number as label_id, or predictions in ActivityNet's form, which have labels",
        )
    there, place = np.unique(numbers, return_inverse=True)
    names = [class_numbers.get(number, f"class {number}") for number in there.tolist()]
    labels = tuple(sorted(names))
    index_of = {name: index for index, name in enumerate(labels)}
    classes = np.array([index_of[name] for name in names], dtype=np.int64)[place] if names else numbers
    note = Note(NoteKind.READING, "the numbers of classes in the predictions are those of label_id in the annotations")
    return replace(found, classes={"": classes}, labels=labels, notes=(*found.notes, note))
