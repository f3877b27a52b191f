"""`tada eval`: how good a model, or saved predictions, are on a data set, by its official measures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast, get_args

import typer

from tadacli.cli import engine_options, exits, options
from tadacli.cli import eval_options as own
from tadacli.cli.console import be_quiet, start_profile
from tadacli.cli.eval_output import Destination
from tadacli.cli.sinks import choose_format
from tadacli.datasets import DatasetName, DetectionDatasetName
from tadacli.errors import UsageError
from tadacli.formats.registry import REPORT_SUFFIXES
from tadacli.scoring import DEFAULT_BATCH_SIZE


def eval_command(
    dataset: own.Dataset,
    files: own.Files = None,
    annotations: options.Annotations = None,
    data_root: own.DataRoot = None,
    split: own.Split = None,
    predictions: own.Predictions = None,
    tiou: own.Tiou = None,
    merge: own.Merge = False,
    check: own.Check = False,
    model: options.ModelName = None,
    weights: options.Weights = None,
    trust: options.TrustedSettings = None,
    fetch: options.Fetch = False,
    views: own.Views = None,
    batch_size: own.BatchSize = DEFAULT_BATCH_SIZE,
    fill_batches: options.FillBatches = False,
    workers: own.Workers = None,
    index: options.Index = None,
    fps: options.Fps = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    shard: own.Shard = None,
    save_predictions: own.SavePredictions = None,
    resume: own.Resume = False,
    submission: own.Submission = None,
    report: own.Report = None,
    output_format: own.Format = None,
    output: options.Output = None,
    profile: options.Profile = False,
    quiet: options.Quiet = False,
    engine: engine_options.Engine = None,
    engine_workers: engine_options.EngineWorkers = None,
    address: engine_options.Address = None,
    gpus_per_worker: engine_options.GpusPerWorker = None,
    cpus_per_worker: engine_options.CpusPerWorker = None,
) -> None:
    """Measure a model on a data set, or score predictions that are there.

    k400, ssv2, ucf101, hmdb51, folder (one for each class), csv (path,label):
    top-1, top-5 and mean class accuracy, in percent. ek100: verbs, nouns and
    actions, unseen participants and tail classes. ek100-detection and
    activitynet: mean average precision of --predictions, in fractions.

    A video that cannot be scored is counted and listed, never replaced; the
    exit code is then 3, as it is for predictions that lack items.
    """
    be_quiet(quiet)
    stopwatch = start_profile(profile)
    on_engine = engine_options.asked_engine(
        engine,
        engine_workers,
        address=address,
        gpus=gpus_per_worker,
        cpus=cpus_per_worker,
        device=device,
        output=save_predictions,
        without={
            "--shard": shard,
            "--fill-batches": fill_batches,
            "--workers": workers,
            "--profile": profile,
            "--predictions": predictions,
            "--merge": merge,
            "--check": check,
        },
    )
    of_runs: dict[str, object] = {
        "--shard": shard,
        "--save-predictions": save_predictions,
        "--views": views,
        "--weights": weights,
        "--trust": trust,
        "--index": index,
    }
    of_runs["--fps"] = None if check else fps
    given = [name for name, value in of_runs.items() if value is not None] + ["--profile"] * profile
    modes = {"--predictions": predictions is not None, "--merge": merge, "--check": check}
    _refuse_modes([name for name, is_on in modes.items() if is_on], files or [], given)
    if resume and save_predictions is None:
        raise UsageError("--resume continues a file of predictions", hint="add --save-predictions FILE")
    if check and (report is not None or submission is not None):
        raise UsageError("--check has no scores for a page or a submission", hint="leave out --report and --submission")
    is_detection = dataset in get_args(DetectionDatasetName)
    if tiou is not None and not is_detection:
        from tadacli.evaluation.saved import refuse_tiou

        refuse_tiou(dataset, tiou)
    chosen = choose_format(output_format, output, by_suffix=REPORT_SUFFIXES, plain=("table", "json"))
    destination = Destination(chosen, output, report, submission)
    destination.check(may_be_there=resume)
    if not (is_detection or predictions or merge or data_root or dataset in ("folder", "csv")):
        raise UsageError(f"the videos of {dataset} are needed", hint="say where they are: --data-root FOLDER")
    if is_detection or predictions or merge:
        from tadacli.evaluation.saved import evaluate_predictions

        saved = [predictions] if predictions else [] if is_detection else list(files or [])
        found = evaluate_predictions(
            dataset, saved, annotations=annotations, data_root=data_root, split=split, tiou=tiou, submission=submission
        )
        destination.publish(found)
        if not found.is_complete:
            raise typer.Exit(exits.SOME_FAILED)
        return
    if check:
        from tadacli.cli.eval_check import check_files
        from tadacli.datasets.loading import DatasetSource

        source = DatasetSource(cast("DatasetName", dataset), annotations, data_root, split)
        check_files(source, destination, workers=workers, fps=fps)
        return
    model, weights = options.model_and_weights(model, weights)
    if on_engine is not None:
        from tadacli.cli.engine_run import chosen_model
        from tadacli.cli.eval_engine import evaluate_on_engine
        from tadacli.cluster.work import EvalWork
        from tadacli.scoring.options import scoring_options

        choice = chosen_model(model, weights=weights, dtype=dtype, fetch=fetch, trust=trust, labels=None)
        work = EvalWork(
            choice,
            cast("DatasetName", dataset),
            None if annotations is None else str(annotations),
            None if data_root is None else str(data_root),
            split,
            scoring_options(views=views, batch_size=batch_size),
            fps,
            options.index_folder(index),
        )
        evaluate_on_engine(
            on_engine, work, destination, save_predictions=save_predictions, resume=resume, submission=submission
        )
        return
    from tadacli.cli.eval_run import publish_run
    from tadacli.evaluation.evaluating import evaluate

    loaded = options.repeatable_model(model, weights=weights, device=device, dtype=dtype, fetch=fetch, trust=trust)
    run = partial(
        evaluate,
        dataset,
        model=loaded,
        annotations=annotations,
        data_root=data_root,
        split=split,
        views=views,
        batch_size=batch_size,
        fill_batches=fill_batches,
        workers=workers,
        fps=fps,
        index=options.index_folder(index),
        shard=shard,
        save_predictions=save_predictions,
        resume=resume,
        submission=submission,
    )
    publish_run(run, destination, name=dataset, keeps=save_predictions is not None, profile=stopwatch)


def _refuse_modes(modes: list[str], files: list[Path], of_runs: list[str]) -> None:
    """Raises `UsageError` for modes that exclude each other, and for files or options that the mode does not take."""
    merge = "--merge" in modes
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} exclude each other")
    if files and not merge:
        raise UsageError(f"{files[0]} is not expected", hint="score one file with --predictions, shards with --merge")
    if merge and not files:
        raise UsageError("--merge needs the files of the shards", hint="tada eval ... --merge shard-*.jsonl")
    if modes and of_runs:
        raise UsageError(f"{modes[0]} runs no model", hint=f"leave out {' and '.join(of_runs)}")
