"""How good saved predictions are, by the official measures of their dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from tadacli.datasets import GroundTruth
from tadacli.datasets.activitynet import load_activitynet
from tadacli.datasets.epic import load_epic, load_epic_detection, load_epic_subsets
from tadacli.detection_metrics import (
    ACTIVITYNET_TIOU,
    EPIC_TIOU,
    DetectionMetrics,
    ScoredSegments,
    TimedLabels,
    average_precision,
)
from tadacli.errors import UsageError
from tadacli.metrics import action_ranks, ek100_metrics, outcomes
from tadacli.predictions import TimedScores, read_activitynet, read_epic_detections, read_recognition, relabelled

AnyPath = str | os.PathLike[str]
EpicSplit = Literal["train", "validation"]
ScoredDataset = Literal["ek100", "ek100-detection", "activitynet"]


@dataclass(frozen=True)
class EvalReport:
    """What predictions reach: `metrics` by task (detection, in fractions) or by official name (EK100, in percent).

    `num_scored` of `num_items` items have predictions: videos in detection, actions in recognition. `notes` say
    what was left out, and why.
    """

    dataset: str
    num_scored: int
    num_items: int
    metrics: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def evaluate_predictions(
    dataset: ScoredDataset, *, annotations: AnyPath, predictions: AnyPath, split: str = "validation"
) -> EvalReport:
    """The official metrics of a predictions file on a dataset.

    "ek100": EPIC-KITCHENS-100 recognition, scores as .pkl, .pt or challenge JSON; "ek100-detection": its
    detection, challenge JSON; "activitynet": detections in ActivityNet's JSON. Files may be gzipped. Raises
    `UsageError` for files that are not what they should be.
    """
    if dataset == "activitynet":
        return _activitynet(annotations, predictions, split)
    if dataset not in get_args(ScoredDataset):
        raise UsageError(f"unknown dataset {dataset!r}", hint="one of: " + ", ".join(get_args(ScoredDataset)))
    if split not in ("train", "validation"):
        raise UsageError(f"EPIC-KITCHENS-100 has no annotated split {split!r}", hint="use --split validation or train")
    epic_split = cast("EpicSplit", split)
    if dataset == "ek100":
        return _ek100_recognition(annotations, predictions, epic_split)
    return _ek100_detection(annotations, predictions, epic_split)


def _ek100_recognition(annotations: AnyPath, predictions: AnyPath, split: EpicSplit) -> EvalReport:
    truth = load_epic(annotations, split=split)
    found = read_recognition(predictions)
    sample_of = {sample.id: sample for sample in truth.samples if sample.labels}
    unknown = [name for name in found.ids.tolist() if name not in sample_of]
    if unknown:
        raise UsageError(
            f"{len(unknown)} of {len(found.ids)} predictions are of actions that the annotations do not have, "
            f"{unknown[0]} first",
            hint="give the annotations of the same split",
        )
    samples = [sample_of[name] for name in found.ids.tolist()]
    verb, noun = (np.array([sample.labels[head] for sample in samples], dtype=np.int64) for head in ("verb", "noun"))
    folder = Path(annotations)
    subsets = load_epic_subsets(folder if folder.is_dir() else folder.parent, split=split)
    unseen = subsets.unseen_participants or frozenset()
    lists = {"unseen participants": subsets.unseen_participants, "tail verbs": subsets.tail_verbs}
    lists["tail nouns"] = subsets.tail_nouns
    measured = ek100_metrics(
        outcomes(found.scores["verb"], verb),
        outcomes(found.scores["noun"], noun),
        action_ranks(found.scores["verb"], found.scores["noun"], verb_labels=verb, noun_labels=noun),
        unseen=np.array([sample.participant in unseen for sample in samples], dtype=np.bool_),
        tail_verbs=subsets.tail_verbs or (),
        tail_nouns=subsets.tail_nouns or (),
    )
    absent = [f"the list of {name} is not beside the annotations" for name, value in lists.items() if value is None]
    notes = (*(note for note in truth.notes if "video file" not in note), *found.notes, *absent)
    return EvalReport("ek100", len(samples), len(sample_of), dict(measured.percent), notes)


def _ek100_detection(annotations: AnyPath, predictions: AnyPath, split: EpicSplit) -> EvalReport:
    truth = load_epic_detection(annotations, split=split)
    found = read_epic_detections(predictions)
    pairs = truth.classes["verb"] * len(truth.heads["noun"]) + truth.classes["noun"]
    tasks = {
        task: _precision(truth, found, true_classes, found.classes[task], tiou=EPIC_TIOU)
        for task, true_classes in {**truth.classes, "action": pairs}.items()
    }
    return _detection_report("ek100-detection", truth, found, tasks)


def _activitynet(annotations: AnyPath, predictions: AnyPath, split: str) -> EvalReport:
    truth = load_activitynet(annotations, subset=split)
    found = relabelled(read_activitynet(predictions), truth.heads[""])
    measured = _precision(truth, found, truth.classes[""], found.classes[""], tiou=ACTIVITYNET_TIOU)
    return _detection_report("activitynet", truth, found, {"all": measured})


def _precision(
    truth: GroundTruth,
    found: TimedScores,
    true_classes: np.ndarray[Any, Any],
    found_classes: np.ndarray[Any, Any],
    *,
    tiou: Sequence[float],
) -> DetectionMetrics:
    names = np.unique(np.concatenate([truth.video_ids, found.video_ids]))
    return average_precision(
        TimedLabels(np.searchsorted(names, truth.video_ids), true_classes, truth.starts, truth.ends),
        ScoredSegments(np.searchsorted(names, found.video_ids), found_classes, found.starts, found.ends, found.scores),
        tiou=tiou,
    )


def _detection_report(
    dataset: str, truth: GroundTruth, found: TimedScores, tasks: Mapping[str, DetectionMetrics]
) -> EvalReport:
    videos = {video.id for video in truth.videos}
    metrics = {
        task: {
            "tiou": [float(value) for value in measured.tiou],
            "mAP": [float(value) for value in measured.mean_average_precision],
            "avg_mAP": float(measured.average),
            "num_classes": len(measured.classes),
            "num_detections": measured.num_detections,
            "num_scored": measured.num_scored,
        }
        for task, measured in tasks.items()
    }
    notes = (*(note for note in truth.notes if "video file" not in note), *found.notes)
    return EvalReport(dataset, len(videos & set(found.result_videos)), len(videos), metrics, notes)
