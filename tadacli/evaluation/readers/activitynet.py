"""Reads predictions in the form of ActivityNet, which HACS and others have, too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tadacli.datasets.activitynet import check_segment
from tadacli.datasets.tables import AnyPath, bad_line, is_number, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.predictions import TimedScores, json_value, timed_scores
from tadacli.results import Note, NoteKind


def read_activitynet(path: AnyPath) -> TimedScores:
    """Predictions in the form of ActivityNet.

    Args:
        path: The JSON, which may be gzipped.

    Returns:
        The segments, their labels numbered in alphabetical order (see `relabelled`). Top keys that the official
        evaluation asks for, and nothing depends on, are only noted if they are missing.

    Raises:
        UsageError: The file has another form.
    """
    shown = os.fspath(path)
    content = json_value(read_bytes(path), shown)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise UsageError(f"{shown} has no object 'results'", hint="give predictions in the form of ActivityNet")
    entries = []
    for video, listed in results.items():
        if not isinstance(listed, list):
            raise bad_line(shown, f"video {video}", "not a list of predictions")
        for number, entry in enumerate(listed):
            place = f"video {video}, prediction {number}"
            check_segment(entry, shown, place)
            if not is_number(entry.get("score")):
                raise bad_line(shown, place, f"score is {entry.get('score')!r}, not a finite number")
            entries.append((video, entry))
    labels = tuple(sorted({entry["label"] for _, entry in entries}))
    index_of = {label: index for index, label in enumerate(labels)}
    missing = [key for key in ("version", "external_data") if key not in content]
    notes = [
        Note(NoteKind.PREDICTIONS, f"the official evaluation refuses this file: {key!r} is missing") for key in missing
    ]
    classes = np.array([index_of[entry["label"]] for _, entry in entries], dtype=np.int64)
    segments = [(video, *entry["segment"], entry["score"]) for video, entry in entries]
    return timed_scores(segments, {"": classes}, results, labels=labels, notes=notes)


def relabelled(predictions: TimedScores, labels: Sequence[str]) -> TimedScores:
    """Predictions with the class numbers of the ground truth.

    Predictions of other labels are left out and noted: the official evaluation stops there, and they belong to
    classes that have no average precision.

    Args:
        predictions: The segments, with labels of their own.
        labels: The labels of the ground truth.

    Returns:
        The segments of these labels.

    Raises:
        UsageError: That leaves none.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    unknown = [label for label in predictions.labels if label not in index_of]
    numbers = np.array([index_of.get(label, -1) for label in predictions.labels], dtype=np.int64)
    classes = numbers[predictions.classes[""]] if len(numbers) else predictions.classes[""]
    kept = classes >= 0
    if len(kept) and not kept.any():
        raise UsageError(
            f"none of the predicted labels is in the ground truth ({', '.join(map(repr, unknown[:3]))}, ...)",
            hint="give predictions and annotations that name classes in the same way",
        )
    note = (
        f"{len(kept) - int(kept.sum())} of {len(kept)} predictions are left out: their labels are not in the ground "
        f"truth ({', '.join(map(repr, unknown[:3]))}{', ...' if len(unknown) > 3 else ''})"
    )
    return replace(
        predictions,
        video_ids=predictions.video_ids[kept],
        starts=predictions.starts[kept],
        ends=predictions.ends[kept],
        scores=predictions.scores[kept],
        classes={"": classes[kept]},
        labels=tuple(labels),
        notes=(*predictions.notes, *([Note(NoteKind.PREDICTIONS, note)] if unknown else [])),
    )
