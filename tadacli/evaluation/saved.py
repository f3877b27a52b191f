"""Reports on predictions that are there already: our own files, results of `tada classify` and `tada detect`, and those
of challenges.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast, get_args

from tadacli.datasets import DatasetName, DetectionDatasetName, EvalDatasetName
from tadacli.datasets.loading import DatasetSource, load_for_heads, usual_spelling
from tadacli.datasets.samples import Dataset
from tadacli.datasets.tables import AnyPath
from tadacli.errors import UsageError
from tadacli.evaluation.detections import USUAL_TIOU, evaluate_activitynet, evaluate_epic_detections, parse_tiou
from tadacli.evaluation.prediction_file import SavedPredictions, is_prediction_file, read_predictions
from tadacli.evaluation.readers.epic import read_recognition
from tadacli.evaluation.readers.own_results import read_classifications
from tadacli.evaluation.recognition import (
    check_belongs,
    evaluate_classified,
    evaluate_saved,
    evaluate_scores,
    logits_of,
    subsets_of,
    unlabelled_report,
)
from tadacli.evaluation.report import EvalReport
from tadacli.files import write_new
from tadacli.formats.epic_detection import epic_detection
from tadacli.formats.epic_recognition import write_recognition_submission
from tadacli.formats.results import read_detections
from tadacli.results import Note, NoteKind
from tadacli.strict_tables import refusing


def evaluate_predictions(
    dataset: EvalDatasetName,
    files: AnyPath | Sequence[AnyPath],
    *,
    annotations: AnyPath | None = None,
    data_root: AnyPath | None = None,
    split: str | None = None,
    tiou: str | Sequence[float] | None = None,
    submission: AnyPath | None = None,
) -> EvalReport:
    """The report on saved predictions, which say by themselves what they are.

    Args:
        dataset: the data set by name.
        files: one file of predictions, or those of all shards of a run: our own (.jsonl), what `tada classify` or
            `tada detect` wrote, EPIC-KITCHENS recognition (.pkl, .pt, .json) or detection results, or ActivityNet's.
        annotations: its annotations, as published.
        data_root: the folder with its videos; only pages show them.
        split: the split that the predictions are of; by default the one that results are published for.
        tiou: of detections, the thresholds on the temporal IoU, in 0..1, or their text (see `parse_tiou`).
        submission: the EPIC-KITCHENS challenge's file, which is written from the predictions, too.

    Returns:
        The report: accuracies in percent, mean average precision as fractions in 0..1.

    Raises:
        UsageError: for files that are not what they should be, or not of this data set.
    """
    paths = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    if dataset in get_args(DetectionDatasetName):
        if len(paths) != 1:
            raise UsageError(
                f"{dataset} is scored from predictions",
                hint="tada detect VIDEOS -o found.json, then tada eval ... --predictions found.json",
            )
        found_in = cast("DetectionDatasetName", dataset)
        return _detections(found_in, annotations, paths[0], split, tiou, submission, data_root)
    refuse_tiou(dataset, tiou)
    source = DatasetSource(cast("DatasetName", dataset), annotations, data_root, split)
    if len(paths) > 1 or is_prediction_file(paths[0]):
        with refusing(", ".join(os.fspath(path) for path in paths), UsageError):
            saved = read_predictions(paths)
        multi_label = saved.header.run.spec.get("multi_label", False)
        truth = load_for_heads(source, saved.header.heads, multi_label=multi_label)
        truth = replace(truth, multi_label=multi_label)
        check_belongs(truth, saved.header, split=source.split_name)
        found = _on_saved(truth, saved, source.split_name, annotations)
        if submission is not None:
            write_submission(truth, saved, submission)
        return found
    if submission is not None:
        raise UsageError(
            "--submission needs the scores of all classes", hint="score with --model, or give our own file"
        )
    if dataset == "ek100":
        truth = load_for_heads(source, None)
        subsets = subsets_of(truth, annotations, source.split_name)
        with refusing(os.fspath(paths[0]), UsageError):
            table = read_recognition(paths[0])
        return evaluate_scores(truth, table, split=source.split_name, scores_are="logits", subsets=subsets)
    from tadacli.zoo.manifest import cards

    with refusing(os.fspath(paths[0]), UsageError):
        top = read_classifications(paths[0])
    card = cards().get(top.model)
    truth = load_for_heads(source, None if card is None else card.heads or None)
    return evaluate_classified(truth, top, split=source.split_name)


def _on_saved(truth: Dataset, saved: SavedPredictions, split: str, annotations: AnyPath | None) -> EvalReport:
    """The report on our own files; without metrics if the annotations name no classes."""
    if not any(sample.labels for sample in truth.samples):
        return unlabelled_report(truth, saved, split=split)
    found = evaluate_saved(truth, saved, split=split, annotations=annotations)
    if not saved.missing:
        return found
    missing = ", ".join(map(str, saved.missing))
    note = Note(NoteKind.PREDICTIONS, f"shards of the run are missing: {missing}; their items have no prediction")
    return replace(found, notes=(*found.notes, note))


def refuse_tiou(dataset: str, tiou: str | Sequence[float] | None) -> None:
    """Check that thresholds on the IoU are asked for detections only.

    Args:
        dataset: The data set by name.
        tiou: The thresholds, None if none were given.

    Raises:
        UsageError: They were given for another data set.
    """
    if tiou is not None and dataset not in get_args(DetectionDatasetName):
        raise UsageError(
            f"--tiou is for detections, and {dataset} is measured by accuracies",
            hint=f"leave out --tiou, or score --dataset {' or '.join(get_args(DetectionDatasetName))}",
        )


def refuse_submission(truth: Dataset) -> None:
    """Check that there is a challenge that takes the recognition scores of a data set.

    Args:
        truth: The data set.

    Raises:
        UsageError: There is none.
    """
    if set(truth.heads) != {"verb", "noun"}:
        raise UsageError("--submission is for EPIC-KITCHENS-100", hint="leave it out")


def write_submission(truth: Dataset, saved: SavedPredictions, path: AnyPath) -> None:
    """Write the recognition challenge's file.

    Args:
        truth: The data set, of which every action must have scores.
        saved: The scores.
        path: The file.

    Raises:
        UsageError: There is no challenge of this data set.
        OutputError: An action is missing, or the file holds something else or cannot be written.
    """
    refuse_submission(truth)
    logits = logits_of(saved.table.scores)
    expected = [sample.id for sample in truth.samples]
    write_recognition_submission(
        Path(path), saved.table.ids.tolist(), logits["verb"], logits["noun"], expected_ids=expected
    )


def _detections(
    dataset: DetectionDatasetName,
    annotations: AnyPath | None,
    predictions: AnyPath,
    split: str | None,
    tiou: str | Sequence[float] | None,
    submission: AnyPath | None,
    data_root: AnyPath | None,
) -> EvalReport:
    """The report on detections; with `submission`, what `tada detect` wrote becomes the challenge's file, too."""
    usual = USUAL_TIOU[dataset]
    thresholds = parse_tiou(tiou, usual=usual) if isinstance(tiou, str) else tiou or usual
    if annotations is None:
        raise UsageError(f"{dataset} needs its annotations", hint="add --annotations FILE")
    if submission is not None:
        if dataset != "ek100-detection":
            raise UsageError("--submission is for EPIC-KITCHENS-100", hint="leave it out")
        write_new(Path(submission), epic_detection(read_detections(predictions)))
    if dataset == "activitynet":
        return evaluate_activitynet(
            annotations, predictions, split=split or "validation", tiou=thresholds, data_root=data_root
        )
    part = "validation" if split is None else usual_spelling(split)
    if part not in ("train", "validation"):
        raise UsageError(f"EPIC-KITCHENS-100 has no annotated split {part!r}", hint="use --split validation or train")
    scored: Literal["train", "validation"] = "train" if part == "train" else "validation"
    return evaluate_epic_detections(annotations, predictions, split=scored, tiou=thresholds, data_root=data_root)
