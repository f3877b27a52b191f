"""A head trained from data to a folder that holds it: what `tada finetune --task detection` does, as a function."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tadacli.detection.head_decoding import Head
from tadacli.distributed import Processes, joined
from tadacli.errors import TadaError, UsageError
from tadacli.files import held_folder, new_file
from tadacli.models.bmn import SNIPPETS_PER_BIN
from tadacli.models.bmn_head import BMNHead
from tadacli.sampling.snippets import SnippetSettings
from tadacli.specs import FeatureSteps, HeadSpec, WeightsSource
from tadacli.strict_tables import in_one_line
from tadacli.training import HeadKind, Unlabelled
from tadacli.training.data import FinetuneData
from tadacli.training.heads.data import HeadData, load_head_data
from tadacli.training.heads.feature_files import FeatureFiles, files_in, made_files
from tadacli.training.heads.fitting import Fitted, Progress, build_head, check_head_data, fit_head
from tadacli.training.heads.proposal_windows import too_long
from tadacli.training.heads.publishing import HeadResult, measured, publish
from tadacli.training.heads.settings import HeadSettings, head_settings
from tadacli.training.loop import StepReport
from tadacli.training.negatives import Negatives
from tadacli.training.run_folder import (
    RunFolder,
    check_run_folder,
    open_run,
    require_negatives,
    write_facts,
    write_splits,
)
from tadacli.training.run_log import LogRow, RunLog
from tadacli.training.session import by_first, own_device
from tadacli.zoo.checkpoints import read_checkpoint, spec_of, write_checkpoint
from tadacli.zoo.loading import TRUNK_FILE, Model, load_model, resolve_device
from tadacli.zoo.manifest import cards

AnyPath = str | os.PathLike[str]
_LOGGED = "validation_mAP"
_SOME_CHANNELS = 4  # which every kind of head takes


@dataclass(frozen=True, kw_only=True)
class HeadListener:
    """What is called while a training goes on.

    `on_features` gets the number of videos whose features are there, and of all; `on_plan` is called once, when
    everything is checked.
    """

    on_features: Callable[[int, int], object] = lambda _, __: None
    on_plan: Callable[[HeadData, HeadSettings], object] = lambda _, __: None
    on_step: Callable[[StepReport], object] = lambda _: None
    on_evaluation: Callable[[Progress], object] = lambda _: None


def finetune_head(
    data: FinetuneData,
    *,
    output: AnyPath,
    features: Path | SnippetSettings,
    head: HeadKind = "pyramid",
    trunk: Model | None = None,
    negatives: Negatives | None = None,
    unlabelled: Unlabelled = "background",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    index: AnyPath | None = None,
    resume: bool = False,
    command: Sequence[str] = (),
    listener: HeadListener | None = None,
) -> HeadResult:
    """Trains a head on the segments of videos and the time between them, and leaves it in the folder `output`.

    A run that was stopped at any moment and is resumed ends with the same weights. Under `torchrun` the processes share
    the batches.

    Args:
        data: Samples with spans, split by video.
        output: The new folder of the run; afterwards `tada detect` takes it.
        features: The folder with the features of the videos (see `files_in`); or of which snippets to make them, with
            the model `trunk`. They are kept in the folder `features` of the run; a video that cannot be read is left
            out.
        head: The kind of head.
        trunk: The model whose features these are; it is kept with the head. By default a known one that they name.
        negatives: Videos that hold none of the classes (see `find_negatives`). All of their time is background. Those
            that are held out, the same as `with_background` holds out to validate clips, have no part in the mAP, nor
            in the choice of the best step: the threshold is fitted with what is found in them, too.
        unlabelled: Whether time of training videos that no segment covers is background, or is not learnt from.
        settings: Settings of the head to replace, by key (see `head_settings`).
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).
        resume: Whether to continue an unfinished folder.
        command: The words that begin this run, for the model card.
        listener: What is called while the run goes on.

    Returns:
        How good the best head is on the validation videos.

    Raises:
        UsageError: Data, features or settings are wrong or contradict each other, or of a class no video can be read.
        OutputError: The folder holds something else, or cannot be written.
        CheckpointError: The folder was begun with other data, settings or negatives.
        TadaError: The loss is no number any more.
    """
    path, chosen, listener = Path(output), head_settings(head, settings), listener or HeadListener()
    negatives = negatives or Negatives()
    # Settings that no network takes are refused before features are made, which may take hours.
    build_head(chosen, in_channels=_SOME_CHANNELS, num_classes=_counts(data.heads))
    target = own_device(resolve_device(device))
    with joined(target) as processes, ExitStack() as held:

        def load() -> HeadData:
            check_run_folder(path, resume=resume)
            require_negatives(RunFolder(path), negatives.names)
            if isinstance(features, Path):
                files = files_in(features, data, negatives)
            else:
                files = _made(data, negatives, path, features, trunk, command, index, listener)
            return load_head_data(data, files, negatives=negatives, unlabelled=unlabelled)

        found = by_first(processes, load)
        maker = _trunk_of(found.steps, trunk)
        network = build_head(chosen, in_channels=found.steps.num_channels, num_classes=_counts(found.heads))
        check_head_data(found.trained_on, (*found.validation, *found.held_out_negatives))
        if isinstance(network, BMNHead):
            most = SNIPPETS_PER_BIN * network.proposals.max_duration_bins
            notes = too_long((*found.train, *found.validation), max_duration_steps=most)
            found = replace(found, remarks=(*found.remarks, *notes))
        spec = _spec(path.resolve().name, found, chosen)
        listener.on_plan(found, chosen)
        folder = by_first(processes, lambda: open_run(path, resume=True))  # it was looked at before anything was made
        if processes.is_first:
            held.enter_context(held_folder(path))
            _begin(folder, found.samples, negatives, spec, maker, command)
        fitted = _fit(network, found, chosen, spec, folder, target, processes, listener)
        processes.wait()
        network.load_state_dict(dict(read_checkpoint(folder.model).state_dict))
        result = measured(network.eval(), found, chosen, fitted)
        if processes.is_first:
            publish(folder, network, spec, found, result)
        processes.wait()
    return result


def _made(
    data: FinetuneData,
    negatives: Negatives,
    folder: Path,
    snippets: SnippetSettings,
    trunk: Model | None,
    command: Sequence[str],
    index: AnyPath | None,
    listener: HeadListener,
) -> FeatureFiles:
    """The features of all videos, in the folder of the run."""
    if trunk is None:
        raise UsageError("features are made by a model, and none is given", hint="name it with --model")
    run = open_run(folder, resume=True)
    if not run.facts.is_file():  # by which the folder is known as a run's
        write_facts(run, command=command, spec=trunk.spec, negatives=negatives.names)
    return made_files(
        data, negatives, folder / "features", snippets, trunk, on_features=listener.on_features, index=index
    )


def _counts(heads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {name: len(labels) for name, labels in heads.items()}


def _spec(name: str, data: HeadData, settings: HeadSettings) -> HeadSpec:
    of_several = {"members": settings.members} if settings.members > 1 else {}
    return HeadSpec(
        name=f"{settings.kind}.{name}",
        architecture=settings.architecture,
        task="action",
        dataset=data.samples.name,
        heads=dict(data.heads),
        arguments={"in_channels": data.steps.num_channels, **of_several, **settings.arguments},
        source=WeightsSource(),
        steps=data.steps,
    )


def _trunk_of(steps: FeatureSteps, given: Model | None) -> Model | None:
    """The model that made the features: the one that was given, or a known one; None if neither is.

    Raises:
        UsageError: The one that was given did not make them.
    """
    if given is None:
        if steps.model not in cards():
            return None
        try:
            found = load_model(steps.model, device="cpu")
        except TadaError:  # it is not on this machine
            return None
        return found if found.weights_sha256 == steps.weights_sha256 else None
    if given.weights_sha256 != steps.weights_sha256:
        made_by = f"made with {in_one_line(steps.model)}" if steps.model else "of others, which do not say their model"
        raise UsageError(
            f"the features are {made_by}, and not known to be of the weights in {given.weights_path}",
            hint="give the model that they were made with, or leave --model out",
        )
    return given


def _begin(
    folder: RunFolder,
    data: FinetuneData,
    negatives: Negatives,
    spec: HeadSpec,
    trunk: Model | None,
    command: Sequence[str],
) -> None:
    """Writes what is known before training: the facts, the splits, and the trunk beside the head."""
    if folder.checkpoint.is_file():
        return
    write_facts(folder, command=command, spec=spec, negatives=negatives.names)
    write_splits(folder, {"train": data.train, "validation": data.validation})
    if trunk is None:
        return
    file = folder.path / TRUNK_FILE
    if spec_of(trunk.weights_path) is None:  # a published file; its names are those of the network
        write_checkpoint(file, read_checkpoint(trunk.weights_path).state_dict, trunk.spec)
        return
    with new_file(file, replace=True) as stream, trunk.weights_path.open("rb") as source:
        shutil.copyfileobj(source, stream)


def _fit(
    network: Head,
    data: HeadData,
    settings: HeadSettings,
    spec: HeadSpec,
    folder: RunFolder,
    device: torch.device,
    processes: Processes,
    listener: HeadListener,
) -> Fitted:
    """Trains from the folder's checkpoint if it has one; the best weights are in the folder when it ends."""
    resume_step = None
    if folder.checkpoint.is_file():
        resume_step = int(torch.load(folder.checkpoint, map_location="cpu", weights_only=True)["step"])
    elif processes.is_first:
        folder.log.unlink(missing_ok=True)
    started = time.monotonic()
    with ExitStack() as stack:
        logs = []
        if processes.is_first:
            logs = [stack.enter_context(RunLog(folder.path, accuracies=[_LOGGED], resume_step=resume_step))]

        def evaluated(now: Progress) -> None:
            row = LogRow(
                step=now.step,
                event="evaluation",
                epoch=now.epoch,
                num_examples=now.step * settings.batch_size,
                elapsed_seconds=time.monotonic() - started,
                train_loss=now.loss,
                accuracies={_LOGGED: 100 * now.precision},
            )
            for log in logs:
                log.add(row)
                log.sync()
            listener.on_evaluation(now)

        return fit_head(
            network,
            data.trained_on,
            data.validation,
            settings,
            keep=lambda best: write_checkpoint(folder.model, best.state_dict(), spec),
            labels=data.heads,
            device=device,
            processes=processes,
            checkpoint=folder.checkpoint,
            on_step=listener.on_step,
            on_evaluation=evaluated,
        )
