"""The part of `tada finetune` that runs: what will be done, progress, and what the folder holds in the end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli.console import say
from tadacli.errors import TadaError
from tadacli.finetune_card import card_of
from tadacli.finetune_estimate import Estimate, estimate
from tadacli.finetuning import Evaluated, FinetuneJob, FinetuneResult, Listener, run_finetuning
from tadacli.new_files import write_new
from tadacli.optimisation import describe_groups, parameter_groups
from tadacli.recipes import recipe_toml
from tadacli.run_folder import RunFolder, open_run, write_facts
from tadacli.training import StepReport
from tadacli.version import __version__

if TYPE_CHECKING:
    import torch

    from tadacli.processes import Processes

_SHOWN_CLASSES = 40
_SHOWN_NAMES = 10


def describe(job: FinetuneJob, *, device: torch.device, num_processes: int, workers: int, output: Path | None) -> None:
    """Says what a run would do, on stdout, and leaves a picture of its first clips."""
    print("\n".join(plan_lines(job)))
    print(describe_groups(parameter_groups(job.start.network, job.recipe.optimisation)))
    found = estimate(job, device=device, num_processes=num_processes, workers=workers)
    print("\n".join(_estimate_lines(job, found)))
    picture = _free_name(Path(f"{output or 'finetune'}.batch.jpg"))
    from tadacli.training_clips import batch_picture

    told = job.start.spec.input
    write_new(picture, batch_picture(found.batch, job.data.heads, mean=told.mean, std=told.std))
    print(f"the first clips as the network sees them: {picture}")
    print("nothing was trained")


def plan_lines(job: FinetuneJob) -> list[str]:
    """Data, starting point and steps, in words."""
    data, start, recipe = job.data, job.start, job.recipe
    lines = [f"data: {data.name}; {data.how_split}"]
    counts = data.counts
    for head, names in data.heads.items():
        lines.append(f"{f'{head}: ' if head else ''}{len(names)} classes{'':<20} train  validation")
        for label in names[:_SHOWN_CLASSES]:
            train, held_out = (counts[split][head][label] for split in ("train", "validation"))
            lines.append(f"  {label[:48]:<48} {train:>7} {held_out:>11}")
        if len(names) > _SHOWN_CLASSES:
            lines.append(f"  and {len(names) - _SHOWN_CLASSES} more")
    lines.append(f"  {'all':<48} {len(data.train.samples):>7} {len(data.validation.samples):>11}")
    lines += head_lines(job)
    told = start.spec.input
    lines.append(
        f"clips: {told.clip_frames} frames ({told.sampling} sampling), {recipe.crop_size}x{recipe.crop_size}, flip: "
        f"{recipe.flip}"
    )
    lines.append(
        f"steps: {job.settings.num_steps} of {recipe.batch_size} clips ({recipe.epochs:g} epochs of "
        f"{job.settings.steps_per_epoch:.1f}), an evaluation every {job.evaluate_every}; {recipe.optimizer}, rate "
        f"{recipe.learning_rate:g}, seed {recipe.seed}"
    )
    return lines


def head_lines(job: FinetuneJob) -> list[str]:
    """What the run starts from, and what becomes of the classes."""
    start = job.start
    lines = [f"starts from {start.origin}" + (f" ({start.weights_sha256[:12]})" if start.weights_sha256 else "")]
    if start.fresh:
        lines.append(f"  {len(start.fresh)} of its weights are as initialised: {_some(start.fresh)}")
    for head, change in start.heads.items():
        where = f"head {head}" if head else "head"
        parts = (("new", change.new), ("kept", change.kept), ("dropped", change.gone))
        told = [f"{len(names)} {what} ({_some(names)})" for what, names in parts if names]
        lines.append(
            f"the {where} is {'as it was' if not change.new and not change.gone else 'REPLACED'}: {'; '.join(told)}"
        )
    return lines


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _estimate_lines(job: FinetuneJob, found: Estimate) -> list[str]:
    minutes = found.seconds_per_step * job.settings.num_steps / 60
    memory = f"about {found.memory_bytes / 2**30:.1f} GiB"
    if found.available_bytes is not None:
        memory += f" of {found.available_bytes / 2**30:.1f} GiB that are free"
    lines = [
        f"time: about {found.seconds_per_step:.2f} s a step, {minutes:.0f} minutes in all, evaluations not counted",
        f"memory: {memory}",
    ]
    if found.is_too_large:
        lines.append(f"WARNING: that is more than there is; {_smaller(job)}")
    return lines


def _smaller(job: FinetuneJob) -> str:
    return (
        f"use --set accumulate={2 * job.recipe.accumulate}, --set checkpoint_activations=true or a smaller --batch-size"
    )


def _free_name(path: Path) -> Path:
    """The path, or one beside it that is not taken."""
    taken, number = path, 2
    while taken.exists():
        taken, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return taken


def run(
    job: FinetuneJob,
    output: Path,
    *,
    device: torch.device,
    processes: Processes,
    workers: int,
    views: str | None,
    tensorboard: bool,
    resume: bool,
    quiet: bool,
) -> bool:
    """Trains and writes the folder; whether some held-out items could not be scored."""
    from tadacli.classification import parse_views

    protocol = None if views is None else parse_views(views)
    folder = RunFolder(output)
    if processes.is_first:
        folder = open_run(output, resume=resume)
        for line in plan_lines(job):
            say(line, quiet=quiet)
        write_new(folder.recipe, recipe_toml(job.recipe).encode(), replace=True)
        write_facts(folder, {"tada": __version__, "command": sys.argv[1:], "model": job.start.spec.to_dict()})
    processes.wait()
    progress = _Progress(job, quiet=quiet)
    try:
        result = run_finetuning(
            job,
            folder,
            device=device,
            processes=processes,
            workers=workers,
            views=protocol,
            tensorboard=tensorboard,
            listener=Listener(progress.step, progress.evaluation),
        )
    except KeyboardInterrupt:
        progress.close()
        say(
            f"interrupted: {shlex.join(['tada', *sys.argv[1:]])} --resume goes on from the last checkpoint", quiet=quiet
        )
        raise
    except TadaError as error:
        progress.close()
        raise _with_checkpoint(error, folder) from error
    finally:
        progress.close()
    if processes.is_first:
        _publish(job, folder, result, quiet=quiet)
    return bool(result.report.unscored)


def _with_checkpoint(error: TadaError, folder: RunFolder) -> TadaError:
    """The error with what the folder still has."""
    if not folder.checkpoint.is_file():
        return error
    kept = f"{folder.checkpoint} is the last good checkpoint"
    return type(error)(error.message, hint=f"{error.hint}; {kept}" if error.hint else kept)


class _Progress:
    """A bar over the steps, with the loss and the last accuracy."""

    def __init__(self, job: FinetuneJob, *, quiet: bool) -> None:
        self._job, self._quiet, self._accuracy = job, quiet, ""
        self._bar: object | None = None

    def step(self, report: StepReport) -> None:
        """A step is done."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=report.num_steps,
                initial=report.step - 1,
                unit="step",
                file=sys.stderr,
                disable=True if self._quiet else None,
                dynamic_ncols=True,
                leave=False,
            )
        self._bar.set_postfix_str(f"loss {report.loss:.3f}{self._accuracy}", refresh=False)  # type: ignore[attr-defined]
        self._bar.update(1)  # type: ignore[attr-defined]

    def evaluation(self, found: Evaluated) -> None:
        """The held-out items were scored."""
        validation = found.validation
        self._accuracy = f", top-1 {validation.top1:.1f} %"
        if self._bar is not None:
            self._bar.clear()  # type: ignore[attr-defined]
        count = f"{len(validation.table.ids)} of {len(validation.table.ids) + len(validation.failed)} items"
        best = ", the best so far" if found.is_best else ""
        say(
            f"step {found.step}, epoch {found.epoch:.1f}: top-1 {validation.top1:.1f} %, loss {validation.loss:.3f} "
            f"on {count}{best}",
            quiet=self._quiet,
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()  # type: ignore[attr-defined]


def _publish(job: FinetuneJob, folder: RunFolder, result: FinetuneResult, *, quiet: bool) -> None:
    """Writes the evaluation, the curves and the card, and says where they are."""
    from tadacli.eval_thumbnails import worst_thumbnails
    from tadacli.writers.eval_json import eval_json
    from tadacli.writers.eval_page import encode_eval_page

    report = result.report
    write_new(folder.report, eval_json(report), replace=True)
    write_new(folder.page, encode_eval_page(report, worst_thumbnails(report)), replace=True)
    _draw_curves(folder, quiet=quiet)
    card = card_of(job, folder, result, command=["tada", *sys.argv[1:]])
    write_new(folder.card, card.encode(), replace=True)
    if result.stopped_early:
        say(f"stopped early, after step {result.num_steps} of {job.settings.num_steps}", quiet=quiet)
    for line in result.fitted.notes:
        say(f"note: {line}", quiet=quiet)
    top1 = {name: value for name, value in report.metrics.items() if isinstance(value, float)}
    told = ", ".join(f"{name} {value:.1f} %" for name, value in top1.items())
    say(f"the best model is that of step {result.best_step}: {told}", quiet=quiet)
    say(f"{report.num_scored} of {report.num_items} held-out items scored; {folder.card} says the rest", quiet=quiet)
    say(f"tada classify --model {shlex.quote(str(folder.path))} VIDEO", quiet=quiet)


def _draw_curves(folder: RunFolder, *, quiet: bool) -> None:
    from importlib.util import find_spec

    from tadacli.run_log import read_log

    if find_spec("matplotlib") is None:
        say('note: no picture of the curves; pip install "tadacli[curves]" draws one', quiet=quiet)
        return
    from tadacli.writers.curves import write_curves

    write_curves(folder.curves, read_log(folder.log))
