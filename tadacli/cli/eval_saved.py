"""The part of `tada eval` that scores predictions which are there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.datasets.loading import DatasetName
    from tadacli.evaluation.report import EvalReport


def score_detections(
    dataset: Literal["ek100-detection", "activitynet"],
    annotations: Path | None,
    predictions: Path,
    split: str | None,
    tiou: str | None,
    submission: Path | None,
) -> EvalReport:
    """The report on detections; with `submission`, what `tada detect` wrote becomes the challenge's file, too."""
    from tadacli.evaluation.detection_metrics import ACTIVITYNET_TIOU, EPIC_TIOU
    from tadacli.evaluation.detections import evaluate_activitynet, evaluate_epic_detections, parse_tiou

    usual = ACTIVITYNET_TIOU if dataset == "activitynet" else EPIC_TIOU
    thresholds = usual if tiou is None else parse_tiou(tiou, usual=usual)
    if annotations is None:
        raise UsageError(f"{dataset} needs its annotations", hint="add --annotations FILE")
    if submission is not None:
        _submit_detections(dataset, predictions, submission)
    if dataset == "activitynet":
        return evaluate_activitynet(annotations, predictions, split=split or "validation", tiou=thresholds)
    from tadacli.datasets.loading import usual_split

    part = usual_split("ek100", split)
    if part not in ("train", "validation"):
        raise UsageError(f"EPIC-KITCHENS-100 has no annotated split {part!r}", hint="use --split validation or train")
    scored: Literal["train", "validation"] = "train" if part == "train" else "validation"
    return evaluate_epic_detections(annotations, predictions, split=scored, tiou=thresholds)


def _submit_detections(dataset: str, predictions: Path, submission: Path) -> None:
    from tadacli.files import write_new
    from tadacli.formats.epic_detection import epic_detection
    from tadacli.formats.results import read_detections

    if dataset != "ek100-detection":
        raise UsageError("--submission is for EPIC-KITCHENS-100", hint="leave it out")
    write_new(submission, epic_detection(read_detections(predictions)))


def score_files(
    name: DatasetName,
    annotations: Path | None,
    data_root: Path | None,
    split: str | None,
    paths: list[Path],
    submission: Path | None,
) -> EvalReport:
    """The report on saved predictions of a recognition data set."""
    from tadacli.datasets.loading import load_for_heads
    from tadacli.evaluation.prediction_file import is_prediction_file, read_predictions
    from tadacli.evaluation.predictions import read_classifications, read_recognition
    from tadacli.evaluation.recognition import (
        check_belongs,
        evaluate_classified,
        evaluate_saved,
        evaluate_scores,
        subsets_of,
    )

    if len(paths) > 1 or is_prediction_file(paths[0]):
        saved = read_predictions(paths)
        truth, part = load_for_heads(
            name, saved.header.heads, annotations=annotations, data_root=data_root, split=split
        )
        check_belongs(truth, saved.header, split=part)
        found = evaluate_saved(truth, saved, split=part, annotations=annotations)
        if submission is not None:
            from tadacli.cli.eval_run import submit

            submit(truth, saved, submission)
        return found
    if submission is not None:
        raise UsageError(
            "--submission needs the scores of all classes", hint="score with --model, or give our own file"
        )
    if name == "ek100":
        truth, part = load_for_heads(name, None, annotations=annotations, data_root=data_root, split=split)
        subsets = subsets_of(truth, annotations, part)
        return evaluate_scores(truth, read_recognition(paths[0]), split=part, scores_are="logits", subsets=subsets)
    from tadacli.zoo.manifest import manifest

    top = read_classifications(paths[0])
    spec = manifest().get(top.model)
    truth, part = load_for_heads(
        name, None if spec is None else spec.heads, annotations=annotations, data_root=data_root, split=split
    )
    return evaluate_classified(truth, top, split=part)
