"""The part of `tada finetune` that runs: what will be done, progress, and what the folder holds in the end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli.console import say
from tadacli.files import write_new
from tadacli.training.estimate import Estimate, estimate, smaller
from tadacli.training.loop import StepReport
from tadacli.training.optimisation import describe_groups, parameter_groups
from tadacli.training.run import Evaluated, FinetuneJob, FinetuneResult, Listener
from tadacli.training.run_folder import RunFolder
from tadacli.training.session import complete_run

if TYPE_CHECKING:
    import torch

    from tadacli.distributed import Processes
    from tadacli.evaluation.report import EvalReport
    from tadacli.specs import EvalProtocol

_SHOWN_CLASSES = 40
_SHOWN_NAMES = 10


def describe(job: FinetuneJob, *, device: torch.device, num_processes: int, workers: int, output: Path | None) -> None:
    """Says what a run would do, on stdout, and leaves a picture of its first clips."""
    print("\n".join(plan_lines(job)))
    print(describe_groups(parameter_groups(job.start.network, job.recipe.optimisation)))
    found = estimate(job, device=device, num_processes=num_processes, workers=workers)
    print("\n".join(_estimate_lines(job, found, num_processes=num_processes)))
    picture = _free_name(_picture_path(output))
    from tadacli.training.clips import batch_picture

    told = job.start.spec.input
    write_new(picture, batch_picture(found.batch, job.data.heads, mean=told.mean, std=told.std))
    print(f"the first clips as the network sees them: {picture}")
    print("nothing was trained")


def plan_lines(job: FinetuneJob) -> list[str]:
    """Data, starting point and steps, in words."""
    data, start, recipe = job.data, job.start, job.recipe
    optimisation, augmentation = recipe.optimisation, recipe.augmentation
    lines = [f"data: {data.name}; {data.how_split}"]
    counts = data.counts
    for head, names in data.heads.items():
        title = f"{f'{head}: ' if head else ''}{len(names)} classes"
        lines.append(f"{title:<50} {'train':>7} {'validation':>11}")
        for label in names[:_SHOWN_CLASSES]:
            train, held_out = (counts[split][head][label] for split in ("train", "validation"))
            lines.append(f"  {label[:48]:<48} {train:>7} {held_out:>11}")
        if len(names) > _SHOWN_CLASSES:
            lines.append(f"  and {len(names) - _SHOWN_CLASSES} more")
    lines.append(f"  {'all':<48} {len(data.train.samples):>7} {len(data.validation.samples):>11}")
    lines += head_lines(job)
    told = start.spec.input
    lines.append(
        f"clips: {told.clip_frames} frames ({told.sampling} sampling), "
        f"{augmentation.crop_size}x{augmentation.crop_size}, flip: {augmentation.flip}"
    )
    lines.append(
        f"steps: {job.settings.num_steps} of {recipe.batch_size} clips ({recipe.epochs:g} epochs of "
        f"{job.settings.steps_per_epoch:.1f}), an evaluation every {job.evaluate_every}; "
        f"{optimisation.optimizer}, rate {optimisation.learning_rate:g}, seed {recipe.seed}"
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


def _picture_path(output: Path | None) -> Path:
    """Beside the folder that a run would have; here, where there is no such place yet."""
    if output is None:
        return Path("finetune.batch.jpg")
    name = f"{output.resolve().name}.batch.jpg"
    return output.parent / name if output.parent.is_dir() else Path(name)


def _estimate_lines(job: FinetuneJob, found: Estimate, *, num_processes: int) -> list[str]:
    seconds = found.seconds_per_step * job.settings.num_steps
    memory = f"about {found.memory_bytes / 2**30:.1f} GiB"
    if found.available_bytes is not None:
        memory += f" of {found.available_bytes / 2**30:.1f} GiB that are free"
    lines = [
        f"time: about {found.seconds_per_step:.2g} s a step, {_duration(seconds)} in all, evaluations not counted",
        f"memory: {memory}",
    ]
    if found.is_too_large:
        advice = smaller(job, found.clips_at_once, num_processes=num_processes)
        lines.append(f"WARNING: that is more than there is. Of the clips that are taken at once, {advice}")
    return lines


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


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
    views: EvalProtocol | None,
    tensorboard: bool,
    resume: bool,
    quiet: bool,
) -> bool:
    """Trains and writes the folder; whether some held-out items could not be scored."""
    for line in plan_lines(job):
        say(line, quiet=quiet)
    progress = _Progress(quiet=quiet)
    try:
        result = complete_run(
            job,
            output,
            device=device,
            command=["tada", *sys.argv[1:]],
            processes=processes,
            workers=workers,
            views=views,
            tensorboard=tensorboard,
            resume=resume,
            listener=Listener(progress.step, progress.evaluation),
        )
    except KeyboardInterrupt:
        progress.close()
        again = [*sys.argv[1:], *(() if resume else ("--resume",))]
        say(f"interrupted; to go on: {shlex.join(['tada', *again])}", quiet=quiet)
        raise
    finally:
        progress.close()
    _say_result(job, RunFolder(output), result, quiet=quiet)
    return bool(result.report.unscored)


class _Progress:
    """A bar over the steps, with the loss and the last accuracy."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._accuracy = quiet, ""
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


def _say_result(job: FinetuneJob, folder: RunFolder, result: FinetuneResult, *, quiet: bool) -> None:
    report = result.report
    if result.stopped_early:
        say(f"stopped early, after step {result.num_steps} of {job.settings.num_steps}", quiet=quiet)
    for line in result.fitted.notes:
        say(f"note: {line}", quiet=quiet)
    if not folder.curves.is_file():
        say('note: no picture of the curves; pip install "tadacli[curves]" draws one', quiet=quiet)
    scored = f"{report.num_scored} of {report.num_items} held-out items"
    say(f"the best model, of step {result.best_step}, on {scored}: {_told(report)}", quiet=quiet)
    say(f"{folder.card} says more; to use it: tada classify --model {shlex.quote(str(folder.path))} VIDEO", quiet=quiet)


def _told(report: EvalReport) -> str:
    """The accuracies, with their intervals where there is one head."""
    spreads = report.heads[""].intervals if "" in report.heads else {}
    told = []
    for name, value in report.metrics.items():
        if name in spreads or not spreads:
            low, high = spreads.get(name, (None, None))
            told.append(f"{name} {value:.1f} %" + ("" if low is None else f" ({low:.1f} to {high:.1f})"))
    return ", ".join(told)
