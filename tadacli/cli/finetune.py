"""`tada finetune`: a model of one's own, from clips of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, TypeVar

from tadacli.cli import finetune_options as own
from tadacli.cli import options
from tadacli.cli.console import be_quiet, start_profile
from tadacli.cli.finetune_clips import start_of_training, train_network
from tadacli.cli.finetune_head import HeadOptions, refuse_unused, train_head
from tadacli.datasets.own_path import require_data
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.training.data import FinetuneData

T = TypeVar("T")


def finetune_command(
    data: own.Data = None,
    dataset: own.Dataset = None,
    annotations: options.Annotations = None,
    data_root: own.DataRoot = None,
    labels: own.LabelsFile = None,
    tier: own.Tiers = None,
    train_split: own.TrainSplit = None,
    validation_split: own.ValidationSplit = None,
    validation_share: own.ValidationShare = 0.2,
    group_by: own.GroupBy = "video",
    unlabelled: own.Unlabelled = None,
    negatives: own.Negatives = None,
    multi_label: own.MultiLabel = None,
    fps: options.Fps = None,
    allow_bad: own.AllowBad = 0,
    model: options.ModelName = None,
    weights: options.Weights = None,
    trust: options.TrustedSettings = None,
    fetch: options.Fetch = False,
    init: own.InitFrom = "weights",
    recipe: own.Recipe = None,
    setting: own.Settings = None,
    epochs: own.Epochs = None,
    batch_size: own.BatchSize = None,
    learning_rate: own.LearningRate = None,
    balance: own.Balance = False,
    seed: own.Seed = None,
    sampling: own.Sampling = None,
    clip_frames: own.ClipFrames = None,
    frame_stride: own.FrameStride = None,
    short_side: own.ShortSide = None,
    crop_size: own.CropSize = None,
    views: own.Views = None,
    task: own.Task = "classification",
    head: own.Head = "pyramid",
    features: own.Features = None,
    snippet: own.Snippet = None,
    stride: own.Stride = None,
    device: options.Device = "auto",
    workers: own.Workers = 2,
    index: options.Index = None,
    cache_frames: own.CacheFrames = None,
    profile: options.Profile = False,
    tensorboard: own.TensorBoard = False,
    output: own.RunFolder = None,
    resume: own.Resume = False,
    dry_run: own.DryRun = False,
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
    stopwatch = start_profile(profile)
    cache_bytes = 0 if cache_frames is None else options.num_bytes("--cache-frames", cache_frames)
    if output is None and not dry_run:
        raise UsageError("the run needs a folder", hint="--output runs/mine, or --dry-run to look first")
    require_data(data, dataset)
    from tadacli.training.background import with_background
    from tadacli.training.data import load_finetune_data

    kept = options.index_folder(index)

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
            # A head learns each segment by itself; only labels at the same times have to be asked for.
            multi_label=bool(multi_label) if task == "detection" else multi_label,
        )
        if task == "detection" or (unlabelled != "background" and negatives is None):
            return found
        return with_background(
            found,
            unlabelled=unlabelled or "ignore",
            negatives=negatives,
            validation_share=validation_share,
            seed=seed,
            index=kept,
        )

    changes = _settings(setting or [])
    common = _given({"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed})
    be_quiet(quiet)
    defaults = {name: each.default for name, each in signature(finetune_command).parameters.items()}
    refuse_unused(given, defaults, is_detection=task == "detection")
    if task == "detection":
        model, weights = options.model_and_weights(model, weights)
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
            trust=trust,
            fetch=fetch,
            settings=changes,
            numbers=numbers,
            device=device,
            index=kept,
            resume=resume,
        )
        train_head(load, chosen_head)
        return
    model, weights = start_of_training(model, weights, init=init, fetch=fetch)
    sizes = {"short_side": short_side, "crop_size": crop_size}
    train_network(
        load,
        {
            "model": model,
            "weights": weights,
            "trust": trust,
            "init": init,
            "recipe": recipe,
            "settings": {**changes, **common, **({"balance": True} if balance else {})},
            "clip": _given({"sampling": sampling, "clip_frames": clip_frames, "frame_stride": frame_stride, **sizes}),
            "allow_bad": allow_bad,
            "device": device,
            "workers": workers,
            "index": kept,
        },
        output=output,
        views=views,
        cache_bytes=cache_bytes,
        tensorboard=tensorboard,
        resume=resume,
        is_dry=dry_run,
        profile=stopwatch,
    )


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
