"""A model measured on a data set in one call: its items scored, kept as they come, and the report on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import cast

from tadacli.datasets import DatasetName, EvalDatasetName
from tadacli.datasets.loading import DatasetSource, load_for_heads
from tadacli.datasets.rates import with_rates
from tadacli.datasets.samples import Dataset
from tadacli.datasets.tables import AnyPath
from tadacli.errors import TadaError, UsageError
from tadacli.evaluation.prediction_file import (
    Header,
    ItemScores,
    PredictionFile,
    SavedPredictions,
    Shard,
    of_items,
    parse_shard,
    read_predictions,
    samples_digest,
)
from tadacli.evaluation.recognition import evaluate_saved, unlabelled_report
from tadacli.evaluation.report import EvalReport
from tadacli.evaluation.saved import evaluate_predictions, refuse_submission, refuse_tiou, write_submission
from tadacli.evaluation.scoring import check_heads, score_samples, shard_of
from tadacli.profiling import Stage, during
from tadacli.results import Run, RunSettings, counted
from tadacli.scoring import DEFAULT_BATCH_SIZE
from tadacli.scoring.options import ScoringOptions, scoring_options
from tadacli.scoring.provenance import describe_run
from tadacli.specs import EvalProtocol
from tadacli.zoo.loading import Model, load_model


@dataclass(frozen=True)
class EvalStart:
    """Where a run begins: `num_done` of `num_items` items are there already; a `shard` has a part of `num_in_split`."""

    shard: Shard | None
    num_in_split: int
    num_items: int
    num_done: int


class EvalInterrupted(KeyboardInterrupt):
    """Ctrl-C during `evaluate`: `num_done` of `num_items` items are done.

    `report` is on these, with the others listed as not scored; None if nothing can be measured yet, for the `reason`.
    """

    def __init__(self, report: EvalReport | None, num_done: int, num_items: int, *, reason: str = "") -> None:
        super().__init__(f"{num_done} of {num_items} items are done")
        self.report, self.num_done, self.num_items, self.reason = report, num_done, num_items, reason


def evaluate(
    dataset: EvalDatasetName | Dataset,
    *,
    model: AnyPath | Model | None = None,
    weights: AnyPath | None = None,
    annotations: AnyPath | None = None,
    data_root: AnyPath | None = None,
    split: str | None = None,
    views: str | EvalProtocol | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    fill_batches: bool = False,
    workers: int | None = None,
    fps: float | None = None,
    index: AnyPath | None = None,
    device: str = "auto",
    dtype: str = "float32",
    shard: str | None = None,
    save_predictions: AnyPath | None = None,
    resume: bool = False,
    predictions: AnyPath | Sequence[AnyPath] | None = None,
    tiou: str | Sequence[float] | None = None,
    submission: AnyPath | None = None,
    on_start: Callable[[EvalStart], object] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> EvalReport:
    """How good a model, or saved predictions, are on a data set, by its official measures.

    A video that cannot be scored stops nothing: it is listed in the report with the reason.

    Args:
        dataset: a known name, whose samples are found as `datasets.loading.DatasetSource` says, or samples in memory;
            then `split` is what the report calls them, and `annotations` only the place of the lists of
            EPIC-KITCHENS-100's unseen participants and tail classes.
        model: a known name, a run's folder, a weights file that says what it is, or what `load_model` returned; then
            `weights`, `device` and `dtype` are not used. By default `weights`, or else the built-in model.
        weights: a file of weights for a known name; by default those that were fetched.
        annotations: the annotations of the data set, as published.
        data_root: the folder with its videos.
        split: the split that is scored; by default the one that results are published for.
        views: how many views of each item are averaged: "CLIPSxCROPS"; by default as the model was published with.
        batch_size: views scored at once.
        fill_batches: whether the views of several items share a batch.
        workers: videos decoded at once; by default by the number of cores.
        fps: frames a second of folders and tars of frames whose rate the annotations do not say; by default what their
            name says, or else 30, with a note.
        index: a folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16", "float16", or "auto" for the faster here.
        shard: "3/8" for the third of eight parts of the items; the report is on that part.
        save_predictions: a file (.jsonl) that keeps the scores of every item as it is done.
        resume: whether a file that is there is continued, from the first item that it does not hold.
        predictions: files of saved predictions, which are scored in place of a model (see `evaluate_predictions`).
        tiou: of detections, the thresholds on the temporal IoU, in 0..1.
        submission: the EPIC-KITCHENS challenge's file, which is written when all items are done.
        on_start: called once, before anything is decoded, with what is to be done.
        on_progress: called after each item with (items done, items in all).

    Returns:
        The report: accuracies in percent, mean average precision as fractions in 0..1. Its `metrics` are None for a
        split whose annotations name no classes, which can be scored if its predictions are kept.

    Raises:
        UsageError: for data and settings that contradict each other, and for classes that are not the model's, before
            anything is decoded.
        OutputError: for a file of predictions that cannot be written, or is of another run.
        TadaError: if not one item can be scored.
        EvalInterrupted: a `KeyboardInterrupt` with the report on what was done.

    Example:
        >>> import os, tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.mkdir(f"{folder}/pan left")
        ...     _ = render_sample(f"{folder}/pan left/video.mp4")
        ...     report = tadacli.evaluate("folder", data_root=folder, views="1x1", device="cpu")
        >>> report.percent["top1"], report.num_scored, report.num_items
        (100.0, 1, 1)
    """
    if predictions is not None:
        if isinstance(dataset, Dataset):
            raise UsageError("saved predictions are compared with a data set by name", hint="give its name")
        return evaluate_predictions(
            dataset,
            predictions,
            annotations=annotations,
            data_root=data_root,
            split=split,
            tiou=tiou,
            submission=submission,
        )
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    if isinstance(dataset, Dataset):
        if data_root is not None:
            raise UsageError("samples in memory have paths, and a folder of videos was given", hint="leave it out")
        truth, split = dataset, split or "all"
    else:
        refuse_tiou(dataset, tiou)
        source = DatasetSource(cast("DatasetName", dataset), annotations, data_root, split)
        truth = load_for_heads(source, model.spec.heads, multi_label=model.spec.multi_label)
        split = source.split_name
    truth = of_model(truth, model, fps=fps)
    if submission is not None:
        refuse_submission(truth)
    elif save_predictions is None or not truth.samples:
        _refuse_unlabelled(truth, split)
    scoring = scoring_options(views=views, batch_size=batch_size, fill_batches=fill_batches)
    header = Header(
        dataset=truth.name,
        split=split,
        num_items=len(truth.samples),
        shard=None if shard is None else parse_shard(shard),
        run=scores_run(truth, model, scoring, fps=fps),
        heads=model.spec.heads,
    )
    if header.shard is not None:
        truth = replace(truth, samples=tuple(shard_of(truth.samples, header.shard)))
    paths = {sample.id: os.fspath(sample.path or "") for sample in truth.samples}
    file = None if save_predictions is None else PredictionFile(save_predictions, header, paths=paths, resume=resume)
    done = frozenset(() if file is None else file.done)
    in_memory: list[ItemScores] = []
    keep = in_memory.append if file is None else file.add
    with nullcontext() if file is None else closing(file):
        if on_start is not None:
            on_start(EvalStart(header.shard, header.num_items, len(truth.samples), len(done)))
        items = score_samples(truth.samples, model=model, options=scoring, workers=workers, done=done, index=index)
        interrupted = _keep_all(items, keep, len(done), len(truth.samples), on_progress)
    saved = of_items(header, in_memory) if save_predictions is None else read_predictions([save_predictions])
    if submission is not None and not interrupted:
        write_submission(truth, saved, submission)
    try:
        report = _report(truth, saved, split, annotations)
    except TadaError as error:
        if interrupted:
            raise EvalInterrupted(None, saved.num_items, len(truth.samples), reason=str(error)) from error
        raise
    if interrupted:
        raise EvalInterrupted(report, saved.num_items, len(truth.samples))
    return report


def _refuse_unlabelled(truth: Dataset, split: str) -> None:
    """Raises `UsageError` for no samples, or none with a class: if no file takes scores, nothing comes of scoring."""
    if not truth.samples:
        raise UsageError(f"{truth.name}, {split}, has no samples", hint="check --annotations, --data-root and --split")
    if not any(sample.labels for sample in truth.samples):
        every = counted(len(truth.samples), "samples")
        raise UsageError(
            f"not one of {every} of {truth.name}, {split}, has a class to compare with",
            hint="give annotations that name classes, or keep the scores: --save-predictions FILE",
        )


def of_model(truth: Dataset, model: Model, *, fps: float | None) -> Dataset:
    """The samples as a model scores them. Raises `UsageError` where its classes are others."""
    check_heads(truth, model)
    return with_rates(replace(truth, multi_label=model.spec.multi_label), fps)


def scores_run(truth: Dataset, model: Model, scoring: ScoringOptions, *, fps: float | None) -> Run:
    """The run that the scores of these samples belong to."""
    settings: RunSettings = {
        "views": str(scoring.views_of(model.spec)),
        "batch_size": scoring.views_at_once,
        "samples_sha256": samples_digest(truth.samples),
    }
    if scoring.fill_batches:
        settings["fill_batches"] = True
    if fps is not None:
        settings["fps"] = fps
    return describe_run(model, settings)


def _keep_all(
    items: Generator[ItemScores, None, None],
    keep: Callable[[ItemScores], object],
    num_done: int,
    num_items: int,
    on_progress: Callable[[int, int], object] | None,
) -> bool:
    """Keep the items as they come after those that are done; whether that was interrupted."""
    try:
        with closing(items):
            for done, item in enumerate(items, start=num_done + 1):
                with during(Stage.OUTPUT):
                    keep(item)
                if on_progress is not None:
                    on_progress(done, num_items)
    except KeyboardInterrupt:
        return True
    return False


def _report(truth: Dataset, saved: SavedPredictions, split: str, annotations: AnyPath | None) -> EvalReport:
    """The report on what is done."""
    if not any(sample.labels for sample in truth.samples):
        return unlabelled_report(truth, saved, split=split)
    return evaluate_saved(truth, saved, split=split, annotations=annotations)
