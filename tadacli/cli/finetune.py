"""`tada finetune`: a model of one's own, from clips of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import StepProgress, say
from tadacli.cli.repeatable import make_repeatable
from tadacli.errors import TadaError, UsageError

if TYPE_CHECKING:
    import torch

    from tadacli.finetune_data import FinetuneData
    from tadacli.finetuning import FinetuneJob
    from tadacli.processes import Processes

T = TypeVar("T")
DatasetName = Literal["k400", "ssv2", "ek100", "activitynet", "segments", "ucf101", "hmdb51", "folder", "csv"]


def finetune_command(
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with a folder for each class; a .csv, .json or .eaf of labels.", metavar="PATH"),
    ] = None,
    dataset: Annotated[DatasetName | None, typer.Option(help="Or a data set by name, with --annotations.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Its annotations, as published.", metavar="FILE_OR_FOLDER")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="The folder with the videos.", metavar="FOLDER")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The classes and their order, one on each line.", metavar="FILE")
    ] = None,
    tier: Annotated[str | None, typer.Option(help="Of ELAN files: the tier with the labels.")] = None,
    validation_share: Annotated[float, typer.Option(help="Held out, where the data names no validation split.")] = 0.2,
    group_by: Annotated[
        str, typer.Option(help="What stays on one side: video, folder, participant, or a regular expression.")
    ] = "video",
    allow_bad: Annotated[int, typer.Option(help="Leave out up to so many videos that cannot be read.")] = 0,
    model: options.ModelName = "r2plus1d_tiny.camera_motion",
    weights: options.Weights = None,
    init: Annotated[
        Literal["weights", "imagenet", "random"],
        typer.Option(help="Start from the model's weights, an image network's, or random ones."),
    ] = "weights",
    recipe: Annotated[str, typer.Option(help="A known recipe, or a .toml file.", metavar="NAME_OR_FILE")] = "finetune",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting of the recipe.", metavar="KEY=VALUE")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training clips.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips in a step, over all processes.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, the order and all random numbers.")] = None,
    sampling: Annotated[
        Literal["interval", "segment"] | None,
        typer.Option(help="Clips at a fixed rate, or frames over the whole item. Default: the model's."),
    ] = None,
    clip_frames: Annotated[int | None, typer.Option(help="Frames of a clip. Default: the model's.")] = None,
    frame_stride: Annotated[int | None, typer.Option(help="Every so manieth frame. Default: the model's.")] = None,
    short_side: Annotated[int | None, typer.Option(help="Size that frames are scaled to.")] = None,
    crop_size: Annotated[int | None, typer.Option(help="Size of the square the network sees.")] = None,
    views: Annotated[
        str | None, typer.Option(help="Of the evaluation at the end. Default: the model's.", metavar="10x3")
    ] = None,
    device: options.Device = "auto",
    workers: Annotated[int, typer.Option(help="Processes that make clips; 0: none but the one that trains.")] = 2,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write a TensorBoard log, too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the run.", metavar="FOLDER")
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
    goes on with --resume, to the same weights. Several processes:
    torchrun --nproc-per-node 4 -m tadacli finetune ...
    """
    if output is None and not dry_run:
        raise UsageError("the run needs a folder", hint="--output runs/mine, or --dry-run to look first")
    from tadacli.processes import joined
    from tadacli.recipes import load_recipe
    from tadacli.zoo import resolve_device

    target = _own_device(resolve_device(device))
    common = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    chosen = load_recipe(recipe, {**_settings(setting or []), **{k: v for k, v in common.items() if v is not None}})
    make_repeatable(chosen.seed)
    clip = {
        "sampling": sampling,
        "clip_frames": clip_frames,
        "frame_stride": frame_stride,
        "short_side": short_side,
        "crop_size": crop_size,
    }
    with joined(target) as processes:
        quiet = quiet or not processes.is_first
        if output is not None and not dry_run and processes.is_first:
            _check_output(output, resume=resume)

        def read() -> FinetuneData:
            from tadacli.finetune_data import load_finetune_data

            return load_finetune_data(
                data,
                dataset=dataset,
                annotations=annotations,
                data_root=data_root,
                labels=labels,
                tier=tier,
                validation_share=validation_share,
                group_by=group_by,
                seed=chosen.seed,
            )

        found = _by_first(processes, read)
        job = _job(
            found,
            model,
            chosen,
            weights=weights,
            init=init,
            clip={name: value for name, value in clip.items() if value is not None},
            name=output.name if output is not None else "mine",
            allow_bad=allow_bad,
            processes=processes,
            quiet=quiet,
        )
        from tadacli.cli import finetune_run

        if dry_run:
            if processes.is_first:
                finetune_run.describe(job, device=target, num_processes=processes.count, workers=workers, output=output)
            return
        assert output is not None
        failed = finetune_run.run(
            job,
            output,
            device=target,
            processes=processes,
            workers=workers,
            views=views,
            tensorboard=tensorboard,
            resume=resume,
            quiet=quiet,
        )
    if failed:
        raise typer.Exit(exits.SOME_FAILED)


def _job(
    found: FinetuneData,
    model: str,
    recipe: Any,
    *,
    weights: str | None,
    init: Any,
    clip: Mapping[str, Any],
    name: str,
    allow_bad: int,
    processes: Processes,
    quiet: bool,
) -> FinetuneJob:
    from tadacli.finetune_data import check_finetune_data
    from tadacli.finetuning import builder_arguments, plan_finetuning
    from tadacli.starting_point import starting_point

    start = starting_point(
        model,
        heads=found.heads,
        name=name,
        dataset=found.name,
        weights=weights,
        init=init,
        clip=clip,
        arguments=builder_arguments(recipe),
        seed=recipe.seed,
    )
    plan_finetuning(found, start, recipe, num_processes=processes.count)  # what cannot be is said before files are read

    def check() -> FinetuneData:
        from tadacli.dataset_scoring import default_workers

        with StepProgress("looking at the videos", unit="file", quiet=quiet) as progress:
            return check_finetune_data(
                found,
                input_spec=start.spec.input,
                workers=default_workers(),
                allow_bad=allow_bad,
                on_progress=progress.reach,
            )

    checked = _by_first(processes, check)
    for line in checked.notes:
        say(f"note: {line}", quiet=quiet)
    return plan_finetuning(checked, start, recipe, num_processes=processes.count)


def _check_output(output: Path, *, resume: bool) -> None:
    from tadacli.run_folder import check_run_folder

    check_run_folder(output, resume=resume)


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


def _own_device(device: torch.device) -> torch.device:
    """Of several GPUs, the one that belongs to this process."""
    import os

    import torch

    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def _by_first(processes: Processes, make: Callable[[], T]) -> T:
    """What the first process makes; what it raises is raised in all of them."""
    made: T | TadaError | None = None
    if processes.is_first:
        try:
            made = make()
        except TadaError as error:
            if not processes.are_many:
                raise
            made = error
    found = processes.from_first(made)
    if isinstance(found, TadaError):
        raise found
    return found  # type: ignore[no-any-return]
