"""Predictions as arrays, whatever file they come from: row i of each column of one value is the same prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.tables import parse_json
from tadacli.errors import UsageError
from tadacli.results import Note

SEVERAL_HEADS = "the best classes of verbs and nouns do not tell the best actions"


@dataclass(frozen=True)
class ScoreTable:
    """All scores of N samples: `ids` (N,) text; `scores` maps heads to (N, num_classes), of the type in the file.

    Whether they are logits or probabilities, the file does not say.
    """

    ids: NDArray[np.str_]
    scores: Mapping[str, NDArray[Any]]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class TopScores:
    """The best classes of N videos: `paths` (N,) text; (N, k) class indices and scores, best first.

    A video with fewer than k has index -1 and score NaN after them. `depth` is how many classes every video has:
    top-1 to top-`depth` accuracy can be computed, and from top-1 the confusion matrix, the mean class accuracy and
    the calibration of the best class; what takes all scores cannot. `num_classes` is the number of the
    model's classes, `failed` maps the videos without a result to the reason. Relative paths may count from the
    `folder` of the file, too.
    """

    paths: NDArray[np.str_]
    indices: NDArray[np.int64]
    scores: NDArray[np.float64]
    depth: int
    num_classes: int
    model: str
    failed: Mapping[str, str]
    notes: tuple[Note, ...] = ()
    folder: str = ""


@dataclass(frozen=True)
class TimedScores:
    """N timed segments in the order of the file: `video_ids` (N,) text, times in seconds, `scores` float64.

    `classes` maps heads to (N,) int64. `labels` are the names of the classes of the head "", empty where the file
    has numbers. `result_videos` are the videos the file has an entry for, also those without a segment.
    """

    video_ids: NDArray[np.str_]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int64]]
    result_videos: tuple[str, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def timed_scores(
    segments: Sequence[tuple[str, float, float, float]],
    classes: Mapping[str, NDArray[np.int64]],
    results: Iterable[str],
    *,
    labels: tuple[str, ...] = (),
    notes: Iterable[Note] = (),
) -> TimedScores:
    """The columns of segments.

    Args:
        segments: (video, start, end, score) of each, times in seconds.
        classes: Their classes (N,) by head.
        results: The videos that the file has an entry for.
        labels: The names of the classes of the head "", if there are any.
        notes: What to know of the file.

    Returns:
        The segments, in their order.
    """
    videos, starts, ends, scores = zip(*segments, strict=True) if segments else ((), (), (), ())
    return TimedScores(
        video_ids=np.array(videos, dtype=np.str_),
        starts=np.array(starts, dtype=np.float64),
        ends=np.array(ends, dtype=np.float64),
        scores=np.array(scores, dtype=np.float64),
        classes=classes,
        result_videos=tuple(results),
        labels=labels,
        notes=tuple(notes),
    )


def check_once(names: Sequence[str], shown: str) -> None:
    """Check that a file has every result once.

    Args:
        names: The names of its results.
        shown: What the file is called.

    Raises:
        UsageError: A name is there twice.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"{shown} holds two results of {twice[0]}", hint="give the results of one run")


def json_value(content: bytes, shown: str) -> Any:
    """The value of a file of JSON.

    Args:
        content: Its content.
        shown: What the file is called.

    Returns:
        The value.

    Raises:
        UsageError: It is not JSON in UTF-8.
    """
    try:
        return parse_json(content.decode("utf-8-sig"), shown)
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not UTF-8 text (byte {error.start})", hint="give a JSON file") from error
