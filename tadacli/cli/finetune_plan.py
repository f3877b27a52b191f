"""What `tada finetune` would do, in words: classes and counts, what becomes of the head, steps, time and memory."""

from __future__ import annotations

from pathlib import Path

from tadacli.cli.console import show
from tadacli.files import write_new
from tadacli.training.batch_sheet import batch_sheet
from tadacli.training.estimate import smaller
from tadacli.training.optimisation import describe_groups, parameter_groups
from tadacli.training.plan import FinetuneJob
from tadacli.training.session import DryRun

_SHOWN_CLASSES = 40
_SHOWN_NAMES = 10


def print_plan(found: DryRun, *, output: Path | None) -> None:
    """Prints what a run would do, and leaves a picture of its first clips beside `output`."""
    job = found.job
    show("\n".join(plan_lines(job)))
    show(describe_groups(parameter_groups(job.start.network, job.recipe.optimisation)))
    show("\n".join(_estimate_lines(found)))
    sheet, model_input = _free_name(_sheet_path(output)), job.start.spec.input
    write_new(sheet, batch_sheet(found.estimate.batch, job.data.heads, mean=model_input.mean, std=model_input.std))
    show(f"the first clips as the network sees them: {sheet}")
    show("nothing was trained")


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
    if data.multi_label:
        lines.append("  samples may show several of these, each learned by itself")
    lines.append(f"  {'all':<48} {len(data.train.samples):>7} {len(data.validation.samples):>11}")
    lines += head_lines(job)
    clip = start.spec.input
    lines.append(
        f"clips: {clip.clip_frames} frames ({clip.sampling} sampling), "
        f"{augmentation.crop_size}x{augmentation.crop_size}, flip: {augmentation.flip}"
        f"{', every class drawn equally often' if recipe.balance else ''}"
    )
    if job.chosen is not None:
        lines.append(f"recipe: {job.chosen.name}, {job.chosen.reason} (--recipe takes another)")
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
        fates = [f"{len(names)} {what} ({_some(names)})" for what, names in parts if names]
        lines.append(
            f"the {where} is {'as it was' if not change.new and not change.gone else 'REPLACED'}: {'; '.join(fates)}"
        )
    return lines


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _sheet_path(output: Path | None) -> Path:
    """Beside the folder that a run would have; here, where there is no such place yet."""
    if output is None:
        return Path("finetune.batch.jpg")
    name = f"{output.resolve().name}.batch.jpg"
    return output.parent / name if output.parent.is_dir() else Path(name)


def _estimate_lines(found: DryRun) -> list[str]:
    job, estimate = found.job, found.estimate
    seconds = estimate.seconds_per_step * job.settings.num_steps
    memory = f"about {estimate.memory_bytes / 2**30:.1f} GiB"
    if estimate.available_bytes is not None:
        memory += f" of {estimate.available_bytes / 2**30:.1f} GiB that are free"
    lines = [
        f"time: about {estimate.seconds_per_step:.2g} s a step, {_duration(seconds)} in all, evaluations not counted",
        f"memory: {memory}",
    ]
    if estimate.is_too_large:
        advice = smaller(job, estimate.clips_at_once, num_processes=found.num_processes)
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
