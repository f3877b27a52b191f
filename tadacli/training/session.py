"""Fine-tuning from data to a folder that holds the model: what `tada finetune` does, as functions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from tadacli.distributed import Processes, joined
from tadacli.errors import CheckpointError, TadaError, UsageError
from tadacli.evaluation.scoring import default_workers
from tadacli.files import write_new
from tadacli.reports.eval_json import eval_json
from tadacli.reports.eval_page import encode_eval_page
from tadacli.reports.eval_thumbnails import worst_thumbnails
from tadacli.scoring.options import parse_views
from tadacli.specs import EvalProtocol
from tadacli.training.data import FinetuneData, check_finetune_data, load_finetune_data
from tadacli.training.estimate import out_of_memory
from tadacli.training.finetune_card import card_of
from tadacli.training.recipes import load_recipe, recipe_toml
from tadacli.training.run import (
    FinetuneJob,
    FinetuneResult,
    Listener,
    builder_arguments,
    plan_finetuning,
    run_finetuning,
)
from tadacli.training.run_folder import RunFolder, check_run_folder, open_run, write_facts
from tadacli.training.run_log import read_log
from tadacli.training.settings import DEFAULT_RECIPE, Init, Recipe
from tadacli.training.starting_point import starting_point
from tadacli.version import __version__
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.loading import resolve_device

AnyPath = str | os.PathLike[str]
T = TypeVar("T")


def finetune(
    data: AnyPath | FinetuneData,
    *,
    output: AnyPath,
    model: AnyPath = DEFAULT_MODEL,
    weights: AnyPath | None = None,
    init: Init = "weights",
    recipe: AnyPath | Recipe = DEFAULT_RECIPE,
    settings: Mapping[str, object] | None = None,
    clip: Mapping[str, Any] | None = None,
    allow_bad: int = 0,
    views: str | EvalProtocol | None = None,
    device: str = "auto",
    workers: int = 2,
    tensorboard: bool = False,
    resume: bool = False,
    listener: Listener | None = None,
) -> FinetuneResult:
    """Trains a model further on one's own videos, and leaves it in the folder `output`, evaluated and calibrated.

    `data` is a path as `load_finetune_data` takes it, a fifth of it held out, or what that function returned. `model`
    is a known name, a weights file of our own or the folder of an earlier run; `weights` and `init` are those of
    `starting_point`. `recipe` is a known name or a .toml file, of which `settings` replace some, or a `Recipe`. `clip`
    replaces fields of the model's `InputSpec`. Up to `allow_bad` videos that cannot be read are left out. `views` are
    those of the last evaluation. `workers` processes make clips; with 1 or more, a script needs the usual
    `if __name__ == "__main__":`. `resume` continues an unfinished folder, to the same weights; under `torchrun` the
    processes share the batches.

    Raises `TadaError` children: for what cannot be meant before training starts, `OutputError` for a folder that is not
    empty, and while training for a loss that is no number.
    """
    protocol = parse_views(views) if isinstance(views, str) else views
    if isinstance(recipe, Recipe):
        if settings:
            raise UsageError("settings change a recipe of a known name or a file", hint="use dataclasses.replace")
        chosen = recipe
    else:
        chosen = load_recipe(os.fspath(recipe), {**_sizes_left_to(clip or {}), **(settings or {})})
    folder = Path(os.path.abspath(output))
    target = own_device(resolve_device(device))
    with _repeatable(), joined(target) as processes:
        by_first(processes, lambda: check_run_folder(folder, resume=resume))
        found = data if isinstance(data, FinetuneData) else _loaded(data, processes, seed=chosen.seed)
        job = prepare_finetuning(
            found,
            model,
            chosen,
            name=folder.name,
            weights=weights,
            init=init,
            clip=clip,
            allow_bad=allow_bad,
            processes=processes,
        )
        return complete_run(
            job,
            Path(output),
            device=target,
            command=("python", *filter(None, sys.argv)),
            processes=processes,
            workers=workers,
            views=protocol,
            tensorboard=tensorboard,
            resume=resume,
            listener=listener,
        )


def prepare_finetuning(
    data: FinetuneData,
    model: AnyPath,
    recipe: Recipe,
    *,
    name: str,
    weights: AnyPath | None = None,
    init: Init = "weights",
    clip: Mapping[str, Any] | None = None,
    allow_bad: int = 0,
    processes: Processes | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> FinetuneJob:
    """The job of training a model on data, after every file was looked at; `name` is the new model's.

    What cannot be is said before files are read. The job's `data.notes` are what the files gave reason to say.
    `on_progress` is told (files done, files in all), in the first process. Raises as `starting_point`,
    `plan_finetuning` and `check_finetune_data` do, in all processes.
    """
    processes = processes or Processes()
    start = starting_point(
        model,
        heads=data.heads,
        name=name,
        dataset=data.name,
        weights=weights,
        init=init,
        clip=clip,
        arguments=builder_arguments(recipe),
        seed=recipe.seed,
    )
    plan_finetuning(data, start, recipe, num_processes=processes.count)
    checked = by_first(
        processes,
        lambda: check_finetune_data(
            data,
            input_spec=start.spec.input,
            workers=default_workers(),
            allow_bad=allow_bad,
            on_progress=on_progress,
        ),
    )
    return plan_finetuning(checked, start, recipe, num_processes=processes.count)


def complete_run(
    job: FinetuneJob,
    output: Path,
    *,
    device: torch.device,
    command: Sequence[str],
    processes: Processes | None = None,
    workers: int = 2,
    views: EvalProtocol | None = None,
    tensorboard: bool = False,
    resume: bool = False,
    listener: Listener | None = None,
) -> FinetuneResult:
    """Trains, and writes everything that a run's folder holds (see `RunFolder`).

    `command` are the words that begin the run, for the card. A picture of the curves is drawn if matplotlib is there.
    Raises as `open_run` and `run_finetuning` do, and `TadaError` where the memory does not do; the hint then names the
    last good checkpoint if there is one.
    """
    processes = processes or Processes()
    folder = by_first(processes, lambda: _opened(job, output, command, resume=resume))
    result = None
    try:
        result = run_finetuning(
            job,
            folder,
            device=device,
            processes=processes,
            workers=workers,
            views=views,
            tensorboard=tensorboard,
            listener=listener,
        )
    except torch.OutOfMemoryError:
        pass  # until it is over, it holds on to the memory of the step
    except TadaError as error:
        raise _with_checkpoint(error, folder) from error
    if result is None:
        raise _with_checkpoint(out_of_memory(job, device=device, num_processes=processes.count), folder)
    if processes.is_first:
        _publish(job, folder, result)
    processes.wait()
    return result


def by_first(processes: Processes, make: Callable[[], T]) -> T:
    """What the first process makes; a `TadaError` that it raises is raised in all of them."""
    if not processes.are_many:
        return make()
    made: T | TadaError | None = None
    if processes.is_first:
        try:
            made = make()
        except TadaError as error:
            made = error
    found = processes.from_first(made)
    if isinstance(found, TadaError):
        raise found
    return found  # type: ignore[no-any-return]


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs, the one that belongs to this process."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def _repeatable() -> Any:
    """On a GPU, one algorithm each time and none of them below float32, until the run ends."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False)


def _sizes_left_to(clip: Mapping[str, Any]) -> dict[str, object]:
    """The settings by which a recipe leaves its sizes to the model, if they are chosen for the model's clips."""
    return {"crop_size": 0, "short_sides": (0, 0)} if {"crop_size", "short_side"} & set(clip) else {}


def _loaded(data: AnyPath, processes: Processes, *, seed: int) -> FinetuneData:
    return by_first(processes, lambda: load_finetune_data(data, seed=seed))


def _opened(job: FinetuneJob, output: Path, command: Sequence[str], *, resume: bool) -> RunFolder:
    folder = open_run(output, resume=resume)
    if not folder.checkpoint.is_file():  # a run that has begun is what it was begun as
        write_facts(folder, {"tada": __version__, "command": list(command), "model": job.start.spec.to_dict()})
        write_new(folder.recipe, recipe_toml(job.recipe).encode(), replace=True)
    return folder


def _with_checkpoint(error: TadaError, folder: RunFolder) -> TadaError:
    """The error with what the folder still has."""
    if isinstance(error, CheckpointError) or not folder.checkpoint.is_file():
        return error
    kept = f"{folder.checkpoint} is the last good checkpoint"
    return type(error)(error.message, hint=f"{error.hint}; {kept}" if error.hint else kept)


def _publish(job: FinetuneJob, folder: RunFolder, result: FinetuneResult) -> None:
    """Writes the evaluation, the curves and the card, which tells the command that the run began with."""
    report = result.report
    write_new(folder.report, eval_json(report), replace=True)
    write_new(folder.page, encode_eval_page(report, worst_thumbnails(report)), replace=True)
    if find_spec("matplotlib") is not None:
        from tadacli.training.curves import write_curves

        write_curves(folder.curves, read_log(folder.log))
    command = json.loads(folder.facts.read_text(encoding="utf-8", errors="surrogateescape"))["command"]
    write_new(folder.card, card_of(job, folder, result, command=command).encode(), replace=True)
