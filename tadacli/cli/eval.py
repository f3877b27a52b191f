"""`tada eval`: how good a model, or saved predictions, are on a data set, by its official measures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tadacli.cli import options
from tadacli.cli.console import be_quiet, say, start_profile
from tadacli.cli.eval_output import Destination, EvalFormat, choose_eval_format
from tadacli.errors import UsageError
from tadacli.zoo import DEFAULT_MODEL

DatasetName = Literal["k400", "ssv2", "ek100", "ek100-detection", "activitynet", "ucf101", "hmdb51", "folder", "csv"]


def eval_command(
    dataset: Annotated[DatasetName, typer.Option(help="The data set, and its official metrics.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="With --merge: the predictions of all shards.", metavar="FILE")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Its annotations, as published.", metavar="FILE_OR_FOLDER")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="The folder with its videos.", metavar="FOLDER")] = None,
    split: Annotated[
        str | None, typer.Option(help="Part that is scored. Default: the one results are published for.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score saved predictions: .json, .jsonl, .pkl, .pt; also .gz.", metavar="FILE")
    ] = None,
    tiou: Annotated[
        str | None,
        typer.Option(
            help="Detections: thresholds on temporal IoU, start:step:end or a list. Default: the official ones.",
            metavar="0.1:0.1:0.5",
        ),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Score the predictions of all shards together.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Probe every video without a model; takes --split train,val, too.")
    ] = False,
    model: options.ModelName = DEFAULT_MODEL,
    weights: options.Weights = None,
    views: Annotated[
        str | None, typer.Option(help="Clips x crops. Default: as the model was published.", metavar="10x3")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Views scored at once.")] = 8,
    fill_batches: options.FillBatches = False,
    workers: Annotated[int | None, typer.Option(help="Videos decoded at once. Default: by the cores.")] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    shard: Annotated[str | None, typer.Option(help="Only this part of the items.", metavar="3/8")] = None,
    save_predictions: Annotated[
        Path | None,
        typer.Option(help="Keep the scores of every item as it is done: .jsonl.", metavar="FILE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue --save-predictions.")] = False,
    submission: Annotated[
        Path | None, typer.Option(help="Write the EPIC-KITCHENS challenge's file: .json or .zip.", metavar="FILE")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page to look at: .html.", metavar="FILE")] = None,
    output_format: Annotated[
        EvalFormat | None,
        typer.Option("--format", help="Default: by the name of --output, else table on a terminal, json in a pipe."),
    ] = None,
    output: options.Output = None,
    profile: options.Profile = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model on a data set, or score predictions that are there.

    k400, ssv2, ucf101, hmdb51, folder (one for each class), csv (path,label):
    top-1, top-5 and mean class accuracy, in percent. ek100: verbs, nouns and
    actions, unseen participants and tail classes. ek100-detection and
    activitynet: mean average precision of --predictions, in fractions.

    A video that cannot be scored is counted and listed, never replaced; the
    exit code of the run is then 3.
    """
    be_quiet(quiet)
    stopwatch = start_profile(profile)
    modes = [name for name, given in (("--predictions", predictions), ("--merge", merge), ("--check", check)) if given]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} exclude each other")
    if files and not merge:
        raise UsageError(f"{files[0]} is not expected", hint="score one file with --predictions, shards with --merge")
    if merge and not files:
        raise UsageError("--merge needs the files of the shards", hint="tada eval ... --merge shard-*.jsonl")
    if resume and save_predictions is None:
        raise UsageError("--resume continues a file of predictions", hint="add --save-predictions FILE")
    idle = {"--shard": shard, "--save-predictions": save_predictions, "--views": views, "--weights": weights}
    given = [name for name, value in idle.items() if value is not None] + ["--profile"] * profile
    if modes and given:
        raise UsageError(f"{modes[0]} runs no model", hint=f"leave out {' and '.join(given)}")
    if tiou is not None and dataset not in ("ek100-detection", "activitynet"):
        raise UsageError(
            f"--tiou is for detections, and {dataset} is measured by accuracies",
            hint="leave out --tiou, or score --dataset ek100-detection or activitynet",
        )
    if check and (report is not None or submission is not None):
        raise UsageError("--check has no scores for a page or a submission", hint="leave out --report and --submission")
    destination = Destination(choose_eval_format(output_format, output), output, report)
    destination.refuse_existing(*([submission] if submission is not None else []))
    if dataset == "ek100-detection" or dataset == "activitynet":
        if predictions is None:
            raise UsageError(
                f"{dataset} is scored from predictions",
                hint="tada detect VIDEOS -o found.json, then tada eval ... --predictions found.json",
            )
        from tadacli.cli.eval_saved import score_detections

        destination.publish(score_detections(dataset, annotations, predictions, split, tiou, submission))
        return
    if predictions is None and not merge and data_root is None and dataset not in ("folder", "csv"):
        raise UsageError(f"the videos of {dataset} are needed", hint="say where they are: --data-root FOLDER")
    if check:
        from tadacli.cli.eval_check import check_files

        check_files(dataset, annotations, data_root, split, workers, form=destination.form, output=output)
        return
    if not modes:
        from tadacli.cli.eval_run import run_model
        from tadacli.datasets.loading import load_for_heads
        from tadacli.zoo.loading import load_model

        loaded = load_model(model, weights=weights, device=device, dtype=dtype)
        for note in loaded.notes:
            say(note)
        truth, part = load_for_heads(
            dataset, loaded.spec.heads, annotations=annotations, data_root=data_root, split=split
        )
        run_model(
            truth,
            part,
            loaded,
            annotations=annotations,
            views=views,
            batch_size=batch_size,
            fill_batches=fill_batches,
            workers=workers,
            shard=shard,
            save_predictions=save_predictions,
            resume=resume,
            submission=submission,
            destination=destination,
            profile=stopwatch,
        )
        return
    from tadacli.cli.eval_saved import score_files

    paths = [predictions] if predictions is not None else list(files or [])
    destination.publish(score_files(dataset, annotations, data_root, split, paths, submission))
