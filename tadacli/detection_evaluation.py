"""How good detections are: the official mean average precision of EPIC-KITCHENS-100 and ActivityNet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tadacli.datasets import GroundTruth
from tadacli.datasets.activitynet import load_activitynet
from tadacli.datasets.epic import load_epic_detection
from tadacli.datasets.tables import read_bytes
from tadacli.detection_metrics import (
    ACTIVITYNET_TIOU,
    EPIC_TIOU,
    DetectionMetrics,
    ScoredSegments,
    TimedLabels,
    average_precision,
)
from tadacli.detection_predictions import DetectResults, is_detect_results, read_detected_actions, read_detected_labels
from tadacli.eval_report import EvalReport, UnscoredItem
from tadacli.predictions import TimedScores, read_activitynet, read_epic_detections, relabelled

AnyPath = str | os.PathLike[str]
NOT_PREDICTED = "the predictions have no entry for it"


def evaluate_epic_detections(
    annotations: AnyPath, predictions: AnyPath, *, split: Literal["train", "validation"] = "validation"
) -> EvalReport:
    """mAP for verbs, nouns and actions at tIoU 0.1 to 0.5, of the challenge's JSON or of what `tada detect` wrote."""
    truth = load_epic_detection(annotations, split=split)
    ours = read_detected_actions(predictions) if _is_ours(predictions) else None
    found = read_epic_detections(predictions) if ours is None else ours.predictions
    pairs = truth.classes["verb"] * len(truth.heads["noun"]) + truth.classes["noun"]
    tasks = {
        task: _precision(truth, found, true_classes, found.classes[task], tiou=EPIC_TIOU)
        for task, true_classes in {**truth.classes, "action": pairs}.items()
    }
    return _report("ek100-detection", split, truth, found, tasks, ours)


def evaluate_activitynet(annotations: AnyPath, predictions: AnyPath, *, split: str = "validation") -> EvalReport:
    """mAP at tIoU 0.5 to 0.95, of predictions in ActivityNet's JSON or of what `tada detect` wrote."""
    truth = load_activitynet(annotations, subset=split)
    ours = read_detected_labels(predictions) if _is_ours(predictions) else None
    found = relabelled(read_activitynet(predictions) if ours is None else ours.predictions, truth.heads[""])
    measured = _precision(truth, found, truth.classes[""], found.classes[""], tiou=ACTIVITYNET_TIOU)
    return _report("activitynet", split, truth, found, {"all": measured}, ours)


def _is_ours(predictions: AnyPath) -> bool:
    return is_detect_results(read_bytes(predictions))


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


def _report(
    dataset: str,
    split: str,
    truth: GroundTruth,
    found: TimedScores,
    tasks: Mapping[str, DetectionMetrics],
    ours: DetectResults | None,
) -> EvalReport:
    videos = {video.id: video for video in truth.videos}
    predicted = set(found.result_videos)
    failed = {} if ours is None else {video.id: video.reason for video in ours.failed}
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
    unscored = tuple(
        UnscoredItem(name, os.fspath(video.path or ""), failed.get(name, NOT_PREDICTED))
        for name, video in videos.items()
        if name not in predicted
    )
    return EvalReport(
        dataset=dataset,
        split=split,
        unit="videos",
        num_scored=len(videos) - len(unscored),
        num_items=len(videos),
        metrics=metrics,
        unscored=unscored,
        run=None if ours is None else ours.run,
        notes=(*(note for note in truth.notes if "video file" not in note), *found.notes),
    )
