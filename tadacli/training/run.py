"""Fine-tuning: a model trained further on one's own videos, evaluated, calibrated, and left in a folder to be used."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from tadacli.datasets.samples import Dataset
from tadacli.distributed import Processes, Resources
from tadacli.errors import CheckpointError, OutputError, TadaError, UsageError
from tadacli.evaluation.calibration import FittedScores, fit_scores
from tadacli.evaluation.recognition import evaluate_scores
from tadacli.evaluation.report import EvalReport
from tadacli.scoring.provenance import describe_run
from tadacli.specs import EvalProtocol, ModelSpec
from tadacli.strict_decoding import decode_table
from tadacli.training.augmentation import mirrored_pairs
from tadacli.training.clips import TrainingClips, batches
from tadacli.training.data import FinetuneData
from tadacli.training.loop import StepReport, Trainer, TrainingSettings
from tadacli.training.run_folder import RunFolder, write_splits
from tadacli.training.run_log import Event, LogRow, RunLog, TensorBoardLog, accuracy_columns, tensorboard_writer
from tadacli.training.settings import Recipe
from tadacli.training.starting_point import StartingPoint
from tadacli.training.validation import ONE_VIEW, Validation, validate
from tadacli.video.inputs import file_size
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tadacli.zoo.loading import Model
from tadacli.zoo.store import hash_file

# A checkpoint is written at every evaluation, and in between when this time has passed.
SAVE_EVERY_SECONDS = 120.0
_ROWS_PER_EVALUATION = 50
Log = RunLog | TensorBoardLog


@dataclass(frozen=True)
class FinetuneJob:
    """What is to be trained, on what, how; `evaluate_every` is in steps."""

    data: FinetuneData
    start: StartingPoint
    recipe: Recipe
    settings: TrainingSettings
    evaluate_every: int

    def positions(self, step: int, processes: Processes) -> list[range]:
        """The places in the endless order of samples that one process takes at a step, a range for each part of it.

        Together the processes take `batch_size` places, whatever their number.
        """
        share = self.clips_at_once(processes.count)
        first = step * self.recipe.batch_size + processes.rank * self.recipe.accumulate * share
        return [range(first + part * share, first + (part + 1) * share) for part in range(self.recipe.accumulate)]

    def clips_at_once(self, num_processes: int) -> int:
        """How many clips one process takes in one pass."""
        return self.recipe.batch_size // (num_processes * self.recipe.accumulate)

    def identity(self, processes: Processes) -> dict[str, object]:
        """What a checkpoint must agree on besides the settings of the loop.

        The clips of a step may be shared out otherwise, among more or fewer processes, unless batch norms learn: these
        see the clips of one pass alone.
        """
        recipe = {
            key: value for key, value in self.recipe.flat().items() if key not in ("source", "note", "accumulate")
        }
        norms_learn = self.settings.freeze == "nothing" and not self.settings.freeze_norms
        return {
            "recipe": recipe,
            "clips_at_once": self.clips_at_once(processes.count) if norms_learn else None,
            "start": {"weights": self.start.origin, "sha256": self.start.weights_sha256},
            "input": asdict(self.start.spec.input),
            "classes": {head: list(labels) for head, labels in self.data.heads.items()},
            "data": {split: _contents(dataset) for split, dataset in self.splits.items()},
        }

    def clips(self) -> TrainingClips:
        """The training clips. Raises `UsageError` for pairs of mirrored labels that are not those of the data."""
        return TrainingClips(
            self.data.train.samples,
            heads=self.data.heads,
            input=self.start.spec.input,
            augmentation=self.recipe.augmentation,
            seed=self.recipe.seed,
        )

    @property
    def splits(self) -> dict[str, Dataset]:
        """The two sides of the data by name."""
        return {"train": self.data.train, "validation": self.data.validation}


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An evaluation during training; `is_best` says whether it is better than all before."""

    step: int
    epoch: float
    validation: Validation
    is_best: bool


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """The end of a run: the report on the held-out items, and what was fitted on them."""

    report: EvalReport
    fitted: FittedScores
    best_step: int
    num_steps: int
    stopped_early: bool


@dataclass(frozen=True, kw_only=True)
class Listener:
    """What is called while a run goes on.

    `on_files` gets the number of files that were looked at, and of all, before the run is planned; `on_plan` the job
    once everything is checked and before the first step.
    """

    on_files: Callable[[int, int], object] = lambda _, __: None
    on_plan: Callable[[FinetuneJob], object] = lambda _: None
    on_step: Callable[[StepReport], object] = lambda _: None
    on_evaluation: Callable[[Evaluated], object] = lambda _: None


@dataclass(frozen=True)
class _Best:
    """The best evaluation so far: its step, its accuracy in percent and its loss."""

    step: int
    top1: float
    loss: float


@dataclass
class _State:
    """What a checkpoint holds of a run beside the state of its trainer."""

    best: _Best | None = None
    evaluations_without_better: int = 0
    stopped_early: bool = False
    elapsed_seconds: float = 0.0

    def notes(self) -> dict[str, object]:
        """The state as a checkpoint has it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def plan_finetuning(data: FinetuneData, start: StartingPoint, recipe: Recipe, *, num_processes: int = 1) -> FinetuneJob:
    """The job of training this on that. Raises `UsageError` where batches cannot be shared out."""
    recipe = _with_flip(recipe.for_input(start.spec.input), data)
    parts = num_processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise UsageError(
            f"a batch of {recipe.batch_size} clips cannot be shared by {num_processes} processes in "
            f"{recipe.accumulate} parts each",
            hint=f"use a batch size that {parts} divides",
        )
    steps_per_epoch = len(data.train.samples) / recipe.batch_size
    settings = TrainingSettings(
        num_steps=max(1, math.ceil(recipe.epochs * steps_per_epoch)),
        optimisation=recipe.optimisation,
        steps_per_epoch=steps_per_epoch,
        label_smoothing=recipe.label_smoothing,
        precision=recipe.precision,
        freeze=recipe.freeze,
        freeze_norms=recipe.freeze_norms,
        recompute=recipe.checkpoint_activations,
    )
    settings.learning_rate_at(0)  # a warm-up that is longer than the run is said now
    every = max(1, round(recipe.evaluate_every_epochs * steps_per_epoch))
    job = FinetuneJob(data, start, recipe, settings, every)
    if all(sample.path is not None for sample in data.train.samples):  # files that are missing are found by the check
        job.clips()
    return job


def _contents(dataset: Dataset) -> str:
    """A hash of what is in a split: ids, spans and classes of the samples, and the sizes of their files."""
    samples = [
        [
            sample.id,
            sample.start_seconds,
            sample.end_seconds,
            sorted(dataset.names_of(sample).items()),
            file_size(str(sample.path)) if sample.path else None,
        ]
        for sample in dataset.samples
    ]
    digest = hashlib.sha256(json.dumps(samples).encode()).hexdigest()[:12]
    return f"{len(samples)} samples ({digest})"


def _with_flip(recipe: Recipe, data: FinetuneData) -> Recipe:
    """The recipe with a flip that turns no label into a wrong one: a mirrored "left" is a "right"."""
    if recipe.augmentation.flip != "plain":
        return recipe
    found = [mirrored_pairs(labels) for labels in data.heads.values()]
    if any(unpaired for _, unpaired in found):
        return replace(recipe, augmentation=replace(recipe.augmentation, flip="none"))
    pairs = tuple(pair for of_head, _ in found for pair in of_head)
    labels = replace(recipe.augmentation, flip="labels", flip_pairs=pairs) if pairs else recipe.augmentation
    return replace(recipe, augmentation=labels)


def builder_arguments(recipe: Recipe) -> dict[str, float]:
    """The arguments of a network's builder that belong to training alone."""
    given = {"dropout": recipe.dropout, "drop_path": recipe.drop_path}
    return {name: value for name, value in given.items() if value is not None}


def run_finetuning(
    job: FinetuneJob,
    folder: RunFolder,
    resources: Resources,
    *,
    views: EvalProtocol | None = None,
    tensorboard: bool = False,
    save_every_seconds: float = SAVE_EVERY_SECONDS,
    listener: Listener | None = None,
) -> FinetuneResult:
    """Trains, from the folder's checkpoint if it has one, and leaves the best model evaluated and calibrated there.

    Killed at any moment and run again, it ends with the same weights.

    Args:
        job: What is trained, on what, how.
        folder: Where the run is; it must be there.
        resources: What it may use.
        views: Those of the last evaluation, by default the model's own.
        tensorboard: Whether to write a TensorBoard log, too.
        save_every_seconds: A checkpoint is written at every evaluation, and in between when this time has passed.
        listener: What is called after each step and each evaluation.

    Returns:
        The report on the held-out items, and what was fitted on them.

    Raises:
        TadaError: The loss is no number; the folder then has the last good state.
        CheckpointError: The folder's checkpoint is that of another job.
        OutputError: A file cannot be written.
    """
    run = _Run(job, folder, resources, save_every_seconds, listener or Listener())
    run.train(tensorboard=tensorboard)
    return run.finish(views or job.start.spec.protocol)


class _Run:
    """A run while it goes on. Only the first process writes."""

    def __init__(
        self, job: FinetuneJob, folder: RunFolder, resources: Resources, save_every_seconds: float, listener: Listener
    ) -> None:
        self.job, self.folder, self.resources, self.processes = job, folder, resources, resources.processes
        self.save_every_seconds, self.listener = save_every_seconds, listener
        self.trainer = Trainer(
            job.start.network,
            job.settings,
            device=resources.device,
            processes=self.processes,
            identity=job.identity(self.processes),
        )
        self.state = _State()
        if folder.checkpoint.is_file():
            notes = self.trainer.load(folder.checkpoint)
            self.state = decode_table(_State, notes, where=str(folder.checkpoint), error=CheckpointError)
        self.elapsed_before = self.state.elapsed_seconds
        self.started = self.saved = time.monotonic()
        self.processes.wait()

    def train(self, *, tensorboard: bool) -> None:
        job, trainer = self.job, self.trainer
        if self._is_over:
            return
        with ExitStack() as stack:
            logs = self._logs(stack, tensorboard=tensorboard) if self.processes.is_first else []
            if self.processes.is_first and trainer.step == 0:
                write_splits(self.folder, job.splits)
            coming = batches(
                job.clips(),
                lambda step: job.positions(step, self.processes),
                first_step=trainer.step,
                num_steps=job.settings.num_steps - trainer.step,
                workers=self.resources.workers,
            )
            for parts in stack.enter_context(closing(coming)):
                report = trainer.run_step(parts)
                self._log_step(logs, report)
                self.listener.on_step(report)
                is_last = report.step == job.settings.num_steps
                is_due = is_last or report.step % job.evaluate_every == 0
                if is_due:
                    self._evaluate(logs)
                if is_due or time.monotonic() - self.saved > self.save_every_seconds:
                    self._save(logs)
                if self._is_over:
                    return

    @property
    def _is_over(self) -> bool:
        return self.trainer.step >= self.job.settings.num_steps or self.state.stopped_early

    def _evaluate(self, logs: Sequence[Log]) -> None:
        """Measures the network as it is, and keeps it if it is the best so far."""
        trainer, state = self.trainer, self.state
        with trainer.result() as network:
            try:
                found = self._validated(ONE_VIEW)
            except TadaError as error:
                message = f"training stopped at step {trainer.step}: {error.message}"
                raise TadaError(message, hint=error.hint) from error
            is_best = state.best is None or (found.top1, -found.loss) > (state.best.top1, -state.best.loss)
            if is_best:
                state.best = _Best(trainer.step, found.top1, found.loss)
                if self.processes.is_first:
                    _write_model(self.folder.model, network, self.job.start.spec)
            is_last = trainer.step == self.job.settings.num_steps
            state.evaluations_without_better = 0 if is_best else state.evaluations_without_better + 1
            patience = self.job.recipe.early_stop
            if patience and state.evaluations_without_better >= patience and not is_last:
                state.stopped_early = True
            if self.processes.is_first and self._is_over:
                _write_model(self.folder.last, network, self.job.start.spec)
        row = replace(self._row("evaluation"), validation_loss=found.loss, accuracies=self._accuracies(found))
        for log in logs:
            log.add(row)
        self.listener.on_evaluation(Evaluated(trainer.step, row.epoch, found, is_best))

    def _accuracies(self, found: Validation) -> dict[str, float]:
        columns = accuracy_columns(list(self.job.data.heads))
        by_head = [found.top1_by_head[head] for head in self.job.data.heads]
        return dict(zip(columns, [*by_head, found.top1], strict=False))

    def _save(self, logs: Sequence[Log]) -> None:
        self.saved = time.monotonic()
        if not self.processes.is_first:
            return
        for log in logs:
            log.sync()
        self.state.elapsed_seconds = self.elapsed_before + self.saved - self.started
        try:
            self.trainer.save(self.folder.checkpoint, notes=self.state.notes())
        except OSError as error:
            raise _not_written(self.folder.checkpoint, error) from error

    # --- the log -------------------------------------------------------------------------------------------

    def _logs(self, stack: ExitStack, *, tensorboard: bool) -> list[Log]:
        step = self.trainer.step if self.folder.checkpoint.is_file() else None
        if step is None:
            self.folder.log.unlink(missing_ok=True)  # of a run that was killed before its first checkpoint
        columns = accuracy_columns(list(self.job.data.heads))
        logs: list[Log] = [stack.enter_context(RunLog(self.folder.path, accuracies=columns, resume_step=step))]
        if tensorboard:
            logs.append(stack.enter_context(closing(tensorboard_writer(self.folder.path, resume_step=step))))
        return logs

    def _log_step(self, logs: Sequence[Log], report: StepReport) -> None:
        every = max(1, self.job.evaluate_every // _ROWS_PER_EVALUATION)
        if logs and (report.step % every == 0 or report.step == self.job.settings.num_steps):
            row = replace(
                self._row("train"),
                train_loss=report.loss,
                learning_rate=report.learning_rate,
                grad_norm=report.grad_norm,
            )
            for log in logs:
                log.add(row)

    def _row(self, event: Event) -> LogRow:
        step = self.trainer.step
        return LogRow(
            step=step,
            event=event,
            epoch=step / self.job.settings.steps_per_epoch,
            num_examples=step * self.job.recipe.batch_size,
            elapsed_seconds=self.elapsed_before + time.monotonic() - self.started,
        )

    # --- the end -------------------------------------------------------------------------------------------

    def finish(self, views: EvalProtocol) -> FinetuneResult:
        """Calibrates and evaluates the best model."""
        self.processes.wait()
        job, network = self.job, self.job.start.network
        network.load_state_dict(dict(read_checkpoint(self.folder.model).state_dict))
        network.eval()
        single = self._validated(ONE_VIEW)
        fitted = fit_scores(single.log_probabilities, single.labels)
        spec = replace(job.start.spec, temperatures=fitted.temperatures, thresholds=fitted.thresholds)
        if self.processes.is_first:
            _write_model(self.folder.model, network, spec)
        self.processes.wait()
        found = self._validated(views, spec)
        model = Model(
            spec, network, self.resources.device, torch.float32, self.folder.model, hash_file(self.folder.model).sha256
        )
        run = describe_run(model, {"views": str(views)})
        report = evaluate_scores(
            job.data.validation, found.table, split="validation", scores_are="probabilities", failed=found.failed
        )
        assert self.state.best is not None  # the last step is evaluated
        return FinetuneResult(
            replace(report, dataset=job.data.name, run=dict(vars(run))),
            fitted,
            best_step=self.state.best.step,
            num_steps=self.trainer.step,
            stopped_early=self.state.stopped_early,
        )

    def _validated(self, views: EvalProtocol, spec: ModelSpec | None = None) -> Validation:
        return validate(
            self.job.start.network,
            spec or self.job.start.spec,
            self.job.data.validation,
            self.resources,
            views=views,
        )


def _write_model(path: Path, network: torch.nn.Module, spec: ModelSpec) -> None:
    try:
        write_checkpoint(path, network.state_dict(), spec)
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}", hint="free some space, then go on with --resume"
    )
