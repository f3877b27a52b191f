"""ActivityNet's predictions, and its captions: JSON in which videos are the keys, and spans are their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tadacli.datasets.foreign.marks import Mark, Marks, decoded
from tadacli.datasets.tables import AnyPath, bad_line

_PREDICTIONS, _CAPTIONS = "ActivityNet's predictions", "ActivityNet Captions"


@dataclass(frozen=True)
class _Prediction:
    label: str
    segment: tuple[float, float]
    score: float | None = None


@dataclass(frozen=True)
class _Captions:
    timestamps: tuple[tuple[float, float], ...]
    sentences: tuple[str, ...]


def is_predictions(content: Any) -> bool:
    """Whether a JSON value has results by video, each with a label; submissions of EPIC-KITCHENS have none."""
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not results or "challenge" in content:
        return False
    listed = [each for each in results.values() if isinstance(each, list)]
    first = next((each[0] for each in listed if each), None)
    return len(listed) == len(results) and (first is None or (isinstance(first, dict) and "label" in first))


def read_predictions(content: Any, file: AnyPath) -> Marks:
    """The segments that a model found.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each, with its score.

    Raises:
        UsageError: A segment has no label or no times.
    """
    kind = Mapping[str, tuple[_Prediction, ...]]
    videos = decoded(kind, content["results"], file, _PREDICTIONS)  # type: ignore[type-abstract]
    marks = tuple(
        Mark(f"video {video}, segment {number}", video, each.label, *each.segment, score=each.score)
        for video, found in videos.items()
        for number, each in enumerate(found)
    )
    return Marks(marks, ("the labels are predictions of a model",) if marks else ())


def is_captions(content: Any) -> bool:
    """Whether a JSON value has timestamps and sentences for each video."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(each, dict) and {"timestamps", "sentences"} <= each.keys() for each in content.values())
    )


def read_captions(content: Any, file: AnyPath) -> Marks:
    """The sentences of all videos; each is a label of its own, as captions have no others.

    Args:
        content: The JSON value.
        file: Its name, for errors.

    Returns:
        A mark for each sentence.

    Raises:
        UsageError: A video has not a sentence for each span.
    """
    videos = decoded(Mapping[str, _Captions], content, file, _CAPTIONS)  # type: ignore[type-abstract]
    marks = []
    for video, found in videos.items():
        if len(found.sentences) != len(found.timestamps):
            raise bad_line(
                file, f"video {video}", f"{len(found.timestamps)} timestamps and {len(found.sentences)} sentences"
            )
        marks += [
            Mark(f"video {video}, sentence {number}", video, sentence.strip(), *times)
            for number, (sentence, times) in enumerate(zip(found.sentences, found.timestamps, strict=True))
        ]
    return Marks(tuple(marks), (f"labels are sentences, {len({mark.label for mark in marks})} different ones",))
