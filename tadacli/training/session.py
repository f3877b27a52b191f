"""Fine-tuning from data to a folder that holds the model: what `tada finetune` does, as functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import torch

from tadacli.concurrency import default_workers
from tadacli.distributed import Processes, Resources, joined
from tadacli.errors import CheckpointError, TadaError, UsageError
from tadacli.files import held_folder, write_new
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.profiling import Stage, as_one
from tadacli.reports.eval_json import eval_json
from tadacli.reports.eval_page import eval_page
from tadacli.scoring.options import parse_views
from tadacli.specs import EvalProtocol
from tadacli.training import Init
from tadacli.training.data import FinetuneData, check_finetune_data, load_finetune_data
from tadacli.training.default_recipe import default_recipe
from tadacli.training.estimate import Estimate, estimate, out_of_memory
from tadacli.training.model_card import model_card
from tadacli.training.plan import FinetuneJob, builder_arguments, plan_finetuning
from tadacli.training.recipes import RecipeChoice, load_recipe, recipe_toml
from tadacli.training.run import FinetuneResult, Listener, run_finetuning
from tadacli.training.run_folder import RunFolder, check_run_folder, open_run, read_choice, read_command, write_facts
from tadacli.training.run_log import read_log, require_tensorboard
from tadacli.training.settings import Recipe
from tadacli.training.starting_point import starting_point
from tadacli.zoo import DEFAULT_MODEL, Trust
from tadacli.zoo.loading import resolve_device
from tadacli.zoo.store import hash_file

AnyPath = str | os.PathLike[str]
# Data that are read when they are needed, by one process for all; called with the seed of the run.
LoadData = Callable[[int], FinetuneData]
_WORKERS = 2
T = TypeVar("T")


class FinetuneOptions(TypedDict, total=False):
    """What a run and a dry run are both asked for, as `finetune` explains it."""

    model: AnyPath
    weights: AnyPath | None
    trust: Trust | None
    init: Init
    recipe: AnyPath | Recipe | None
    settings: Mapping[str, object] | None
    clip: Mapping[str, Any] | None
    allow_bad: int
    device: str
    workers: int
    index: AnyPath | None
    listener: Listener


def finetune(
    data: AnyPath | FinetuneData | LoadData,
    *,
    output: AnyPath,
    model: AnyPath = DEFAULT_MODEL,
    weights: AnyPath | None = None,
    trust: Trust | None = None,
    init: Init = "weights",
    recipe: AnyPath | Recipe | None = None,
    settings: Mapping[str, object] | None = None,
    clip: Mapping[str, Any] | None = None,
    allow_bad: int = 0,
    views: str | EvalProtocol | None = None,
    device: str = "auto",
    workers: int = _WORKERS,
    index: AnyPath | None = None,
    cache_bytes: int = 0,
    tensorboard: bool = False,
    resume: bool = False,
    command: Sequence[str] | None = None,
    listener: Listener | None = None,
) -> FinetuneResult:
    """Trains a model further on one's own videos, and leaves it in the folder `output`, evaluated and calibrated.

    Every file is looked at before training starts. A run that was stopped at any moment and is resumed ends with the
    same weights. Under `torchrun` the processes share the batches.

    Args:
        data: A path as `load_finetune_data` takes it, of which a fifth is held out; what that function returned; or a
            function of the seed that returns it, which the first process calls for all.
        output: The new folder of the run; afterwards `load_model` takes it.
        model: The name of a known model, a weights file of our own, or the folder of an earlier run.
        weights: A file of weights for a known model, or of an image network for `init="imagenet"` and "clip".
        trust: Whose settings to take where `weights` states others than are known of the model: "manifest" or "file";
            None to refuse that.
        init: What the trunk starts from: the model's "weights", an "imagenet" or "clip" network of pictures, or
            "random" numbers.
        recipe: The name of a known recipe, a .toml file, or a `Recipe`; by default one that suits the size
            of the network.
        settings: Settings of a named recipe to replace, by key (docs/finetune.md).
        clip: Fields of the model's `InputSpec` to replace: clip_frames, frame_stride, target_fps; short_side and
            crop_size, in pixels; sampling.
        allow_bad: Up to so many videos that cannot be read are left out.
        views: Of the last evaluation, as "10x3" for 10 clips of 3 crops; by default the model's.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        workers: Processes that make clips; with 1 or more, a script needs the usual `if __name__ == "__main__":`.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).
        cache_bytes: Decoded frames are kept in so much memory, of all processes together, and read in later epochs;
            the weights are the same to the byte. 0: none are kept.
        tensorboard: Whether to write a TensorBoard log, too.
        resume: Whether to continue an unfinished folder.
        command: The words that begin this run, for the model card; by default those of the script.
        listener: What is called while the run goes on.

    Returns:
        The report on the held-out items, in percent, what was fitted on them, and which step was the best.

    Raises:
        UsageError: Data, settings or options are wrong or contradict each other; nothing was written.
        OutputError: The folder holds something else, or cannot be written.
        TadaError: The loss is no number any more, or the memory does not do; the hint names the last checkpoint. Other
            children are those of `load_model` and of reading videos.

    Example:
        It is not run with the other examples, since it trains; `clips` has a folder of videos for each class.

        >>> import tadacli
        >>> settings = {"epochs": 1, "batch_size": 4, "warmup_epochs": 0}
        >>> result = tadacli.finetune("clips", output="mine", settings=settings, workers=0)  # doctest: +SKIP
        >>> result.report.num_items  # doctest: +SKIP
        2
        >>> tadacli.load_model("mine").spec.heads  # doctest: +SKIP
        {'': ('moving', 'still')}
    """
    if tensorboard:
        require_tensorboard()
    _check_memory(cache_bytes)
    folder = Path(output)
    protocol = parse_views(views) if isinstance(views, str) else views
    words = ("python", *filter(None, sys.argv)) if command is None else command
    listener = listener or Listener()
    with _prepared(
        data,
        name=folder.resolve().name,
        check=lambda: check_run_folder(folder, resume=resume),
        begun=read_choice(RunFolder(folder)) if resume else None,
        model=model,
        weights=weights,
        trust=trust,
        init=init,
        recipe=recipe,
        settings=settings,
        clip=clip,
        allow_bad=allow_bad,
        device=device,
        workers=workers,
        index=index,
        listener=listener,
    ) as (job, resources):
        processes = resources.processes
        try:
            with ExitStack() as held:
                opened = by_first(processes, lambda: _opened(job, folder, words, held, resume=resume))
                result = _run_in(
                    opened,
                    job,
                    resources,
                    views=protocol,
                    cache_bytes=cache_bytes,
                    tensorboard=tensorboard,
                    listener=listener,
                )
                if processes.is_first:
                    _publish(job, opened, result)
                processes.wait()
        except TadaError as error:
            if processes.is_first:
                raise
            raise type(error)(f"process {processes.rank}: {error.message}", hint=error.hint) from error
    return result


@dataclass(frozen=True, eq=False)
class DryRun:
    """What a run would do (`job`), and the time and memory it would take in each of `num_processes`."""

    job: FinetuneJob
    estimate: Estimate
    num_processes: int


def dry_run(
    data: AnyPath | FinetuneData | LoadData, *, name: str = "mine", **options: Unpack[FinetuneOptions]
) -> DryRun | None:
    """What `finetune` would do with the same arguments, measured on a few clips; nothing is trained or written.

    Args:
        data: As `finetune` takes them.
        name: That of the new model.
        options: Those of `finetune` that are not about the folder, with the same defaults.

    Returns:
        The plan and the estimate; None in all processes but the first.

    Raises:
        TadaError: As `finetune` does before it trains.
    """
    with _prepared(data, name=name, **options) as (job, resources):
        if not resources.processes.is_first:
            return None
        return DryRun(job, estimate(job, resources), resources.processes.count)


def _check_memory(cache_bytes: int) -> None:
    """Raise `UsageError` for more memory than this machine has, where that is known."""
    if cache_bytes < 0:
        raise UsageError(f"{cache_bytes} bytes cannot be kept", hint="give 0 or more")
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return
    if cache_bytes > there:
        raise UsageError(
            f"kept frames may take {cache_bytes / 1e9:.1f} GB, and this machine has {there / 1e9:.1f} GB of memory",
            hint="keep fewer: a second of video of 320x240 takes 5.8 MB at 25 frames a second",
        )


def _recipe(
    recipe: AnyPath | Recipe | None, settings: Mapping[str, object] | None, clip: Mapping[str, Any] | None
) -> Recipe:
    if isinstance(recipe, Recipe):
        if settings:
            raise UsageError("settings change a recipe of a known name or a file", hint="use dataclasses.replace")
        return recipe
    assert recipe is not None
    # Sizes that are chosen for the model's clips hold for training, too, unless the settings say more.
    sizes = {"crop_size": 0, "short_sides": (0, 0)} if {"crop_size", "short_side"} & set(clip or {}) else {}
    return load_recipe(os.fspath(recipe), {**sizes, **(settings or {})})


@contextmanager
def _prepared(
    data: AnyPath | FinetuneData | LoadData,
    *,
    name: str,
    check: Callable[[], object] = lambda: None,
    begun: RecipeChoice | None = None,
    **options: Unpack[FinetuneOptions],
) -> Iterator[tuple[FinetuneJob, Resources]]:
    """The job, after every file was looked at, and what it may use, while the processes of the run work together.

    What cannot be is said before files are read, in all processes. Where no recipe is named, it is that of the
    run that has `begun`, or one that suits the network.
    """
    clip, listener = options.get("clip"), options.get("listener", Listener())
    model, init, named = options.get("model", DEFAULT_MODEL), options.get("init", "weights"), options.get("recipe")
    chosen = None if named is not None else begun or default_recipe(model, init=init)
    recipe = _recipe(named if chosen is None else chosen.name, options.get("settings"), clip)
    target = own_device(resolve_device(options.get("device", "auto")))
    with repeatable_arithmetic(), joined(target) as processes:

        def load() -> FinetuneData:
            check()
            if isinstance(data, FinetuneData):
                return data
            return data(recipe.seed) if callable(data) else load_finetune_data(data, seed=recipe.seed)

        found = by_first(processes, load)
        start = starting_point(
            model,
            heads=found.heads,
            name=name,
            dataset=found.name,
            weights=options.get("weights"),
            trust=options.get("trust"),
            init=init,
            clip=clip,
            arguments=builder_arguments(recipe),
            seed=recipe.seed,
            background=found.background,
            multi_label=found.multi_label,
        )
        plan_finetuning(found, start, recipe, num_processes=processes.count)

        def look() -> FinetuneData:
            with as_one(Stage.LOOK):
                return check_finetune_data(
                    found,
                    input_spec=start.spec.input,
                    workers=default_workers(),
                    allow_bad=options.get("allow_bad", 0),
                    index=options.get("index"),
                    on_progress=listener.on_files,
                )

        checked = by_first(processes, look)
        job = plan_finetuning(checked, start, recipe, num_processes=processes.count, chosen=chosen)
        listener.on_plan(job)
        yield job, Resources(target, processes, options.get("workers", _WORKERS), options.get("index"))


def _run_in(
    folder: RunFolder,
    job: FinetuneJob,
    resources: Resources,
    *,
    views: EvalProtocol | None,
    cache_bytes: int,
    tensorboard: bool,
    listener: Listener,
) -> FinetuneResult:
    """Trains and evaluates; of errors, the hint names the last good checkpoint if there is one."""
    try:
        return run_finetuning(
            job,
            folder,
            resources,
            views=views,
            cache_bytes=cache_bytes,
            tensorboard=tensorboard,
            listener=listener,
        )
    except torch.OutOfMemoryError:
        pass  # until it is over, it holds on to the memory of the step
    except TadaError as error:
        raise _with_checkpoint(error, folder) from error
    raise _with_checkpoint(out_of_memory(job, resources), folder)


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


def _opened(job: FinetuneJob, output: Path, command: Sequence[str], held: ExitStack, *, resume: bool) -> RunFolder:
    """The folder, from which other runs are kept until `held` is closed."""
    folder = open_run(output, resume=resume)
    held.enter_context(held_folder(output))
    if not folder.checkpoint.is_file():  # a run that has begun is what it was begun as
        write_facts(folder, command=command, spec=job.start.spec, chosen=job.chosen)
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
    write_new(folder.page, eval_page(report, folder.page), replace=True)
    if find_spec("matplotlib") is not None:
        from tadacli.training.curves import curves_png

        write_new(folder.curves, curves_png(read_log(folder.log)), replace=True)
    sha256 = hash_file(folder.model).sha256
    card = model_card(job, result, path=folder.path, weights_sha256=sha256, command=read_command(folder))
    write_new(folder.card, card.encode(), replace=True)
