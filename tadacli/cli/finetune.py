"""`tada finetune`: a model of one's own, from clips of one's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import be_quiet
from tadacli.cli.finetune_head import HeadOptions, refuse_unused, train_head
from tadacli.cli.weights import model_here, whole_name
from tadacli.datasets import FinetuneDatasetName
from tadacli.errors import UsageError
from tadacli.training import HeadKind, Init, Unlabelled
from tadacli.zoo import DEFAULT_MODEL

T = TypeVar("T")


def finetune_command(
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with a folder for each class; a .csv, .json or .eaf of labels.", metavar="PATH"),
    ] = None,
    dataset: Annotated[
        FinetuneDatasetName | None, typer.Option(help="Or a data set by name, with --annotations.")
    ] = None,
    annotations: options.Annotations = None,
    data_root: Annotated[Path | None, typer.Option(help="The folder with the videos.", metavar="FOLDER")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The classes and their order, one on each line.", metavar="FILE")
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option(help="Of ELAN files: the tier with the labels; may be repeated.", metavar="NAME")
    ] = None,
    train_split: Annotated[
        str | None, typer.Option(help="The split of the data to train with. Default: train.", metavar="NAME")
    ] = None,
    validation_split: Annotated[
        str | None, typer.Option(help="The split to validate with. Default: validation.", metavar="NAME")
    ] = None,
    validation_share: Annotated[
        float, typer.Option(help="The share held out, where the data names no validation split.")
    ] = 0.2,
    group_by: Annotated[
        str, typer.Option(help="What stays on one side: video, folder, participant, a CSV column, re:PATTERN.")
    ] = "video",
    unlabelled: Annotated[
        Unlabelled | None,
        typer.Option(
            help="Whether time of long videos that has no label shows none of the classes. Default: ignore for clips, "
            "background for detection."
        ),
    ] = None,
    negatives: Annotated[
        Path | None, typer.Option(help="A folder of videos that hold none of the classes.", metavar="FOLDER")
    ] = None,
    fps: options.Fps = None,
    allow_bad: Annotated[int, typer.Option(min=0, help="Leave out up to so many videos that cannot be read.")] = 0,
    model: options.ModelName = DEFAULT_MODEL,
    weights: options.Weights = None,
    fetch: options.Fetch = False,
    init: Annotated[
        Init,
        typer.Option(help="Start from the model's weights, an image network's, or random ones."),
    ] = "weights",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe by name (docs/finetune.md), or a .toml file. Default: by the network's size.",
            metavar="NAME_OR_FILE",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting of the recipe.", metavar="KEY=VALUE")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training clips. Default: the recipe's.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Clips of a step, over all processes. Default: the recipe's.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest. Default: the recipe's.")] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Draw every class equally often, however few samples it has.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Of the split, the order and all random numbers. Default: the recipe's.")
    ] = None,
    sampling: Annotated[
        Literal["interval", "segment"] | None,
        typer.Option(help="Clips at a fixed rate, or frames over the whole item. Default: the model's."),
    ] = None,
    clip_frames: Annotated[int | None, typer.Option(help="Frames of a clip. Default: the model's.")] = None,
    frame_stride: Annotated[int | None, typer.Option(help="Take every n-th frame. Default: the model's.")] = None,
    short_side: Annotated[
        int | None, typer.Option(help="Size that frames are scaled to. Default: the model's.")
    ] = None,
    crop_size: Annotated[
        int | None, typer.Option(help="Size of the square the network sees. Default: the model's.")
    ] = None,
    views: Annotated[
        str | None, typer.Option(help="Of the evaluation at the end. Default: the model's.", metavar="10x3")
    ] = None,
    task: Annotated[
        Literal["classification", "detection"],
        typer.Option(help="Tell clips apart, or find segments in long videos: a head over features of the model."),
    ] = "classification",
    head: Annotated[HeadKind, typer.Option(help="Of detection: temporal for few data, or pyramid.")] = "temporal",
    features: Annotated[
        Path | None,
        typer.Option(help="Of detection: features that tada features made; else they are made.", metavar="FOLDER"),
    ] = None,
    snippet: Annotated[
        str | None, typer.Option(help="Of detection: length of a snippet. Default: a clip.", metavar="LENGTH")
    ] = None,
    stride: Annotated[
        str | None, typer.Option(help="Of detection: from a snippet to the next. Default: an eighth.", metavar="LENGTH")
    ] = None,
    device: options.Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that make clips; 0: the one that trains.")] = 2,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write a TensorBoard log, too (extra: tadacli[tensorboard]).")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new folder for the run.", metavar="FOLDER")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished --output.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show classes, counts, a batch, time and memory; train nothing.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model further on videos of your own.

    tada finetune --data clips --model tada2d_r50.k400_8x8 --output runs/mine

    where clips has a folder of videos for each class. Then runs/mine is a
    model: tada classify --model runs/mine VIDEO. The folder also has the
    evaluation on the videos that were held out, a model card, and the log.

    Every file is looked at before training starts. A run that was stopped
    goes on with --resume, to the same weights. Several processes share
    the work as

    torchrun --nproc-per-node 4 -m tadacli finetune ...

    --task detection trains a head on the segments of long videos and the
    time between them; then tada detect --model runs/mine VIDEO finds them.
    """
    given = locals().copy()
    if output is None and not dry_run:
        raise UsageError("the run needs a folder", hint="--output runs/mine, or --dry-run to look first")
    from tadacli.cli.finetune_output import RunView
    from tadacli.cli.finetune_plan import print_plan
    from tadacli.training import session
    from tadacli.training.background import with_background
    from tadacli.training.data import FinetuneData, load_finetune_data

    def load(seed: int) -> FinetuneData:
        found = load_finetune_data(
            data,
            dataset=dataset,
            annotations=annotations,
            data_root=data_root,
            labels=labels,
            tier=tier or None,
            train_split=train_split,
            validation_split=validation_split,
            validation_share=validation_share,
            group_by=group_by,
            seed=seed,
            fps=fps,
        )
        if task == "detection" or (unlabelled != "background" and negatives is None):
            return found
        return with_background(
            found, unlabelled=unlabelled or "ignore", negatives=negatives, validation_share=validation_share, seed=seed
        )

    changes = _settings(setting or [])
    common = _given({"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed})
    be_quiet(quiet)
    defaults = {name: each.default for name, each in signature(finetune_command).parameters.items()}
    refuse_unused(given, defaults, is_detection=task == "detection")
    if task == "classification":
        if init == "weights":
            model = model_here(model, weights=weights, fetch=fetch, or_network=True)
        else:
            model = whole_name(model, or_network=True)
    if task == "detection":
        # A part of an epoch stays one, and is refused: it is not rounded without a word.
        whole = {name: int(value) for name, value in common.items() if float(value).is_integer()}
        numbers: dict[str, float] = {**common, **whole}
        chosen_head = HeadOptions(
            output=output,
            head=head,
            features=features,
            negatives=negatives,
            validation_share=validation_share,
            unlabelled=unlabelled or "background",
            snippet=snippet,
            stride=stride,
            fps=fps,
            model=model,
            weights=weights,
            fetch=fetch,
            settings=changes,
            numbers=numbers,
            device=device,
            resume=resume,
        )
        train_head(load, chosen_head)
        return
    settings = {**changes, **common, **({"balance": True} if balance else {})}
    sizes = {"short_side": short_side, "crop_size": crop_size}
    clip = _given({"sampling": sampling, "clip_frames": clip_frames, "frame_stride": frame_stride, **sizes})
    view = RunView(output, is_dry=output is None or dry_run)
    chosen: session.FinetuneOptions = {
        "model": model,
        "weights": weights,
        "init": init,
        "recipe": recipe,
        "settings": settings,
        "clip": clip,
        "allow_bad": allow_bad,
        "device": device,
        "workers": workers,
        "listener": view.listener,
    }
    with view:
        if output is None or dry_run:
            name = output.resolve().name if output is not None else "mine"
            found = session.dry_run(load, name=name, **chosen)
            if found is not None:  # in the first process
                print_plan(found, output=output)
            return
        command = ["tada", *sys.argv[1:]]
        result = session.finetune(
            load, output=output, views=views, tensorboard=tensorboard, resume=resume, command=command, **chosen
        )
    view.say_result(result)
    if result.report.unscored:
        raise typer.Exit(exits.SOME_FAILED)


def _given(options: Mapping[str, T | None]) -> dict[str, T]:
    return {name: value for name, value in options.items() if value is not None}


def _settings(texts: list[str]) -> dict[str, str]:
    """The changes of --set KEY=VALUE."""
    changes = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(
                f"--set {text!r} changes nothing", hint="write --set KEY=VALUE, for example --set epochs=5"
            )
        changes[key.strip()] = value.strip()
    return changes
