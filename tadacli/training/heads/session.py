"""A head trained from data to a folder that holds it: what `tada finetune --task detection` does, as a function."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tadacli.detection.extraction import feature_job, iter_features
from tadacli.detection.feature_layouts import FeatureStore
from tadacli.detection.head_decoding import Head, find_spans
from tadacli.distributed import Processes, joined
from tadacli.errors import TadaError, UsageError
from tadacli.evaluation.detection_metrics import DetectionMetrics
from tadacli.evaluation.segment_f1 import TIOU, BestThreshold, best_threshold
from tadacli.files import held_folder, new_file, write_new
from tadacli.formats.records import encode_json
from tadacli.sampling.snippets import SnippetSettings
from tadacli.specs import FeatureSteps, HeadSpec, WeightsSource
from tadacli.strict_tables import in_one_line
from tadacli.training import HeadKind
from tadacli.training.data import FinetuneData
from tadacli.training.heads.data import HeadData, load_head_data, videos_of
from tadacli.training.heads.fitting import (
    Fitted,
    Progress,
    build_head,
    check_head_data,
    columns_of,
    fit_head,
    precision_of_spans,
)
from tadacli.training.heads.settings import HeadSettings, head_settings
from tadacli.training.loop import StepReport
from tadacli.training.model_card import escape_markdown
from tadacli.training.run_folder import RunFolder, check_run_folder, open_run, write_facts, write_splits
from tadacli.training.run_log import LogRow, RunLog
from tadacli.training.session import by_first, own_device
from tadacli.zoo.checkpoints import read_checkpoint, spec_of, write_checkpoint
from tadacli.zoo.loading import TRUNK_FILE, Model, load_model, resolve_device
from tadacli.zoo.manifest import cards

AnyPath = str | os.PathLike[str]
_LOGGED = "validation_mAP"


@dataclass(frozen=True, eq=False)
class HeadResult:
    """The end of a training: the best weights on the validation videos, and the threshold that was fitted there."""

    fitted: Fitted
    metrics: DetectionMetrics
    threshold: BestThreshold
    labels: tuple[str, ...]
    num_videos: int
    num_segments: int


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
    head: HeadKind = "temporal",
    trunk: Model | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
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
        features: The folder with the features of the videos (see `load_head_data`); or of which snippets to make them,
            with the model `trunk`. They are kept in the folder `features` of the run.
        head: The kind of head.
        trunk: The model whose features these are; it is kept with the head. By default a known one that they name.
        settings: Settings of the head to replace, by key (see `head_settings`).
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        resume: Whether to continue an unfinished folder.
        command: The words that begin this run, for the model card.
        listener: What is called while the run goes on.

    Returns:
        How good the best head is on the validation videos.

    Raises:
        UsageError: Data, features or settings are wrong or contradict each other.
        OutputError: The folder holds something else, or cannot be written.
        TadaError: The loss is no number any more.
    """
    path, chosen, listener = Path(output), head_settings(head, settings), listener or HeadListener()
    # Settings that no network takes are refused before features are made, which may take hours.
    build_head(chosen, in_channels=1, num_classes=_counts(data.heads))
    target = own_device(resolve_device(device))
    with joined(target) as processes, ExitStack() as held:

        def load() -> HeadData:
            check_run_folder(path, resume=resume)
            if isinstance(features, Path):
                return load_head_data(data, features)
            return load_head_data(data, _made(data, path, features, trunk, command, listener))

        found = by_first(processes, load)
        maker = _trunk_of(found.steps, trunk)
        network = build_head(chosen, in_channels=found.steps.num_channels, num_classes=_counts(found.heads))
        check_head_data(found.train, found.validation)
        spec = _spec(path.resolve().name, found, chosen)
        listener.on_plan(found, chosen)
        folder = by_first(processes, lambda: open_run(path, resume=True))  # it was looked at before anything was made
        if processes.is_first:
            held.enter_context(held_folder(path))
            _begin(folder, data, spec, maker, command)
        fitted = _fit(network, found, chosen, spec, folder, target, processes, listener)
        processes.wait()
        network.load_state_dict(dict(read_checkpoint(folder.model).state_dict))
        result = _measured(network.eval(), found, chosen, fitted)
        if processes.is_first:
            _publish(folder, network, spec, found, result)
        processes.wait()
    return result


def _made(
    data: FinetuneData,
    folder: Path,
    snippets: SnippetSettings,
    trunk: Model | None,
    command: Sequence[str],
    listener: HeadListener,
) -> dict[str, Path]:
    """The files of features of the videos, by path; those that an earlier run left whole are not made again."""
    if trunk is None:
        raise UsageError("features are made by a model, and none is given", hint="name it with --model")
    videos = videos_of(data)
    job = feature_job(videos, model=trunk, snippets=snippets)
    run = open_run(folder, resume=True)
    if not run.facts.is_file():  # by which the folder is known as a run's
        write_facts(run, command=command, spec=trunk.spec)
    store = FeatureStore(videos, folder / "features", resume=True)
    failed = []
    for number, made in enumerate(iter_features(job, store=store), start=1):
        listener.on_features(number, len(videos))
        if made.status == "error":
            failed.append(f"{in_one_line(made.path)}: {made.error}")
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(videos)} videos have no features: {failed[0]}",
            hint="take them out of the data, or mend them; then go on with --resume",
        )
    return store.files


def _counts(heads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {name: len(labels) for name, labels in heads.items()}


def _spec(name: str, data: HeadData, settings: HeadSettings) -> HeadSpec:
    return HeadSpec(
        name=f"{settings.kind}.{name}",
        architecture=settings.kind,
        task="action",
        dataset=data.name,
        heads=dict(data.heads),
        arguments={"in_channels": data.steps.num_channels, **settings.arguments},
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


def _begin(folder: RunFolder, data: FinetuneData, spec: HeadSpec, trunk: Model | None, command: Sequence[str]) -> None:
    """Writes what is known before training: the facts, the splits, and the trunk beside the head."""
    if folder.checkpoint.is_file():
        return
    write_facts(folder, command=command, spec=spec)
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
    steps_per_epoch = len(data.train) / settings.batch_size
    with ExitStack() as stack:
        logs = []
        if processes.is_first:
            logs = [stack.enter_context(RunLog(folder.path, accuracies=[_LOGGED], resume_step=resume_step))]

        def evaluated(now: Progress) -> None:
            row = LogRow(
                step=now.step,
                event="evaluation",
                epoch=now.step / steps_per_epoch,
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
            data.train,
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


def _measured(network: Head, data: HeadData, settings: HeadSettings, fitted: Fitted) -> HeadResult:
    """How good the best head is on the validation videos, and from which score on its segments are worth reporting."""
    found = [find_spans(network, each.grid) for each in data.validation]
    labels, num_nouns = data.heads.get(""), len(data.heads.get("noun", ()))
    metrics = precision_of_spans(found, data.validation, tiou=settings.tiou, num_nouns=num_nouns)
    truth, detections = columns_of(found, data.validation, num_nouns=num_nouns)
    threshold = best_threshold(truth, detections, tiou=TIOU)
    names = labels or tuple(f"{verb} {noun}" for verb in data.heads["verb"] for noun in data.heads["noun"])
    return HeadResult(
        fitted,
        metrics,
        threshold,
        tuple(names[number] for number in metrics.classes),
        len(data.validation),
        sum(len(each.spans) for each in data.validation),
    )


def _publish(folder: RunFolder, network: Head, spec: HeadSpec, data: HeadData, result: HeadResult) -> None:
    """Writes the head with its thresholds, the evaluation, and the card."""
    if "" in spec.heads and result.threshold.f1:
        # Of an action the thresholds of verb and noun would be needed apart.
        level = float(np.float32(result.threshold.threshold))
        spec = replace(spec, thresholds={"": (level,) * len(spec.heads[""])})
    write_checkpoint(folder.model, network.state_dict(), spec)
    metrics = result.metrics
    report = {
        "split": "validation",
        "num_videos": result.num_videos,
        "num_segments": result.num_segments,
        "tiou": list(metrics.tiou),
        "mAP": list(metrics.mean_average_precision),
        "average_precision": dict(zip(result.labels, map(list, metrics.average_precision), strict=True)),
        "threshold": result.threshold.threshold,
        "segment_f1": {"tiou": TIOU, "f1": result.threshold.f1},
        "best_step": result.fitted.best_step,
        "num_steps": result.fitted.num_steps,
        "features": asdict(spec.steps),
        "notes": list(data.remarks),
    }
    write_new(folder.report, encode_json(report, indent=2) + b"\n", replace=True)
    write_new(folder.card, _card(folder, spec, data, result).encode(), replace=True)


def _card(folder: RunFolder, spec: HeadSpec, data: HeadData, result: HeadResult) -> str:
    """The model card: what the head is, how it is used, and how good it was found to be."""
    metrics = result.metrics
    use = ["tada", "detect", "VIDEO", "--model", str(folder.path)]
    if not (folder.path / TRUNK_FILE).is_file():
        use = ["tada", "detect", "--features", "FOLDER", "--model", str(folder.path)]
    made_by = escape_markdown(spec.steps.model) if spec.steps.model else "a network that is not named"
    lines = [
        f"# {escape_markdown(spec.name)}",
        "",
        f"A {spec.architecture} head that finds segments of {len(result.labels)} classes in videos, from features of "
        f"{made_by}: {spec.steps.num_channels} channels, one every {spec.steps.stride_seconds:g} s.",
        "",
        "```sh",
        shlex.join(use),
        "```",
        "",
        f"Trained on {len(data.train)} videos with {sum(len(each.spans) for each in data.train)} segments; the time "
        "between them is background, so what is not labelled there is taken not to happen.",
        "",
        f"On the {result.num_videos} validation videos with {result.num_segments} segments, which also chose the best "
        f"of the {result.fitted.num_steps} steps ({result.fitted.best_step}) and the threshold, so that less is to be "
        "expected of other videos:",
        "",
        "| class | segments | " + " | ".join(f"AP at {each:.2g}" for each in metrics.tiou) + " |",
        "| --- " * (len(metrics.tiou) + 2) + "|",
    ]
    rows = zip(result.labels, metrics.num_truth, metrics.average_precision, strict=True)
    for label, count, precisions in rows:
        cells = " | ".join(f"{100 * each:.1f}" for each in precisions)
        lines.append(f"| {escape_markdown(label)} | {count} | {cells} |")
    mean = " | ".join(f"{100 * each:.1f}" for each in metrics.mean_average_precision)
    lines += [
        f"| mean | {result.num_segments} | {mean} |",
        "",
        f"At the threshold {result.threshold.threshold:.3g} (`--threshold auto`), segment F1 at an IoU of {TIOU:g} is "
        f"{100 * result.threshold.f1:.1f} %.",
        *(["", *(f"- {escape_markdown(each)}" for each in data.remarks)] if data.remarks else []),
    ]
    return "\n".join(lines) + "\n"
