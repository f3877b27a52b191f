"""Fine-tuning: a model trained further on one's own videos, evaluated, calibrated, and left in a folder to be used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from tadacli.distributed import Processes, Resources
from tadacli.errors import CheckpointError, OutputError, TadaError
from tadacli.evaluation.calibration import FittedScores, fit_scores
from tadacli.evaluation.recognition import evaluate_scores
from tadacli.evaluation.report import EvalReport, run_facts
from tadacli.profiling import Stage, as_one, count, during
from tadacli.scoring.provenance import describe_run
from tadacli.specs import EvalProtocol, ModelSpec
from tadacli.strict_tables import decode_table
from tadacli.training.clips import batches
from tadacli.training.frame_cache import CacheUse, FrameCache
from tadacli.training.kept_views import KeptViews
from tadacli.training.loop import StepReport, Trainer
from tadacli.training.plan import FinetuneJob
from tadacli.training.run_folder import RunFolder, write_splits
from tadacli.training.run_log import Event, LogRow, RunLog, TensorBoardLog, accuracy_columns, tensorboard_writer
from tadacli.training.segment_thresholds import SegmentThresholds, thresholds_on_windows
from tadacli.training.validation import ONE_VIEW, Validation, validate
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tadacli.zoo.loading import Model
from tadacli.zoo.store import hash_file

# A checkpoint is written at every evaluation, and in between when this time has passed.
SAVE_EVERY_SECONDS = 120.0
_ROWS_PER_EVALUATION = 50
Log = RunLog | TensorBoardLog


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An evaluation during training; `is_best` says whether it is better than all before."""

    step: int
    epoch: float
    validation: Validation
    is_best: bool


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """The end of a run: the report on the held-out items, and what was fitted on them.

    The report is on `views` of each item; `one_view_top1` is the accuracy, in percent, that the log has of the best
    step: with one view of each; of multi-label data `one_view_map` is its mAP. `segments` are the thresholds for
    windows, None where no spans were labelled.
    """

    report: EvalReport
    views: EvalProtocol
    one_view_top1: float
    fitted: FittedScores
    segments: SegmentThresholds | None
    best_step: int
    num_steps: int
    stopped_early: bool
    one_view_map: float | None = None


@dataclass(frozen=True, kw_only=True)
class Listener:
    """What is called while a run goes on.

    `on_files` gets the number of files that were looked at, and of all, before the run is planned; `on_plan` the job
    once everything is checked and before the first step, `on_cache` after each evaluation what is kept of frames, if
    they are kept, `on_searched_video` the number of held-out videos that were searched for segments at the end, and of
    all.
    """

    on_files: Callable[[int, int], object] = lambda _, __: None
    on_plan: Callable[[FinetuneJob], object] = lambda _: None
    on_step: Callable[[StepReport], object] = lambda _: None
    on_evaluation: Callable[[Evaluated], object] = lambda _: None
    on_cache: Callable[[CacheUse], object] = lambda _: None
    on_searched_video: Callable[[int, int], object] = lambda _, __: None


@dataclass(frozen=True)
class _Best:
    """The best evaluation so far: its step, its accuracy in percent, of multi-label data its mAP, and its loss."""

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


def run_finetuning(
    job: FinetuneJob,
    folder: RunFolder,
    resources: Resources,
    *,
    views: EvalProtocol | None = None,
    tensorboard: bool = False,
    save_every_seconds: float = SAVE_EVERY_SECONDS,
    cache_bytes: int = 0,
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
        cache_bytes: Decoded frames are kept in so much memory, for all that make clips together; 0: none are.
        listener: What is called after each step and each evaluation.

    Returns:
        The report on the held-out items, and what was fitted on them.

    Raises:
        TadaError: The loss is no number; the folder then has the last good state.
        CheckpointError: The folder's checkpoint is that of another job.
        OutputError: A file cannot be written.
    """
    run = _Run(job, folder, resources, save_every_seconds, cache_bytes, listener or Listener())
    run.train(tensorboard=tensorboard)
    with as_one(Stage.EVALUATE):
        return run.finish(views or job.start.spec.protocol)


class _Run:
    """A run while it goes on. Only the first process writes."""

    def __init__(
        self,
        job: FinetuneJob,
        folder: RunFolder,
        resources: Resources,
        save_every_seconds: float,
        cache_bytes: int,
        listener: Listener,
    ) -> None:
        self.job, self.folder, self.resources, self.processes = job, folder, resources, resources.processes
        self.save_every_seconds, self.listener = save_every_seconds, listener
        self.kept, self.frame_bytes = _shared_out(cache_bytes, job, resources.processes)
        self.trainer = Trainer(
            job.start.network,
            job.settings,
            device=resources.device,
            processes=self.processes,
            identity=job.identity(self.processes),
            loss=job.loss,
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
            num_samples = len(job.data.train.samples)
            cache = stack.enter_context(FrameCache(self.frame_bytes, num_samples)) if self.frame_bytes else None
            coming = batches(
                job.clips(self.resources.index, cache),
                lambda step: job.positions(step, self.processes),
                first_step=trainer.step,
                num_steps=job.settings.num_steps - trainer.step,
                workers=self.resources.workers,
            )
            for parts in stack.enter_context(closing(coming)):
                with during(Stage.STEP):
                    report = trainer.run_step(parts)
                count(views=sum(len(part.clips) for part in parts))
                self._log_step(logs, report)
                self.listener.on_step(report)
                is_last = report.step == job.settings.num_steps
                is_due = is_last or report.step % job.evaluate_every == 0
                if is_due:
                    with as_one(Stage.EVALUATE):
                        self._evaluate(logs)
                    self._tell(cache)
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
            is_best = state.best is None or (found.merit, -found.loss) > (state.best.top1, -state.best.loss)
            if is_best:
                state.best = _Best(trainer.step, found.merit, found.loss)
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
        columns = self._columns
        if found.several is not None:
            return dict(zip(columns, (found.several.hit1, found.several.mean_precision), strict=True))
        by_head = [found.top1_by_head[head] for head in self.job.data.heads]
        return dict(zip(columns, [*by_head, found.top1], strict=False))

    @property
    def _columns(self) -> tuple[str, ...]:
        """The accuracies in the log."""
        return accuracy_columns(list(self.job.data.heads), multi_label=self.job.data.multi_label)

    def _save(self, logs: Sequence[Log]) -> None:
        self.saved = time.monotonic()
        if not self.processes.is_first:
            return
        for log in logs:
            log.sync()
        self.state.elapsed_seconds = self.elapsed_before + self.saved - self.started
        with during(Stage.OUTPUT), _resumable():
            self.trainer.save(self.folder.checkpoint, notes=self.state.notes())

    def _tell(self, cache: FrameCache | None) -> None:
        """Says what is kept in memory, of training clips and of held-out items."""
        if cache is not None and self.kept is not None:
            use, kept = cache.use, self.kept
            self.listener.on_cache(
                replace(use, used_bytes=use.used_bytes + kept.used_bytes, num_bytes=use.num_bytes + kept.num_bytes)
            )

    # --- the log -------------------------------------------------------------------------------------------

    def _logs(self, stack: ExitStack, *, tensorboard: bool) -> list[Log]:
        step = self.trainer.step if self.folder.checkpoint.is_file() else None
        if step is None:
            self.folder.log.unlink(missing_ok=True)  # of a run that was killed before its first checkpoint
        columns = self._columns
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
        fitted = fit_scores(single.logits, single.labels)
        spec = replace(job.start.spec, temperatures=fitted.temperatures, thresholds=fitted.thresholds)
        segments = thresholds_on_windows(
            network, spec, job.data, self.resources, on_video=self.listener.on_searched_video
        )
        if segments is not None:
            spec = replace(spec, segment_thresholds=segments.thresholds, segment_low_share=segments.low_share)
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
            replace(report, dataset=job.data.name, run=run_facts(run)),
            views,
            single.top1,
            fitted,
            segments,
            best_step=self.state.best.step,
            num_steps=self.trainer.step,
            stopped_early=self.state.stopped_early,
            one_view_map=None if single.several is None else single.several.mean_precision,
        )

    def _validated(self, views: EvalProtocol, spec: ModelSpec | None = None) -> Validation:
        return validate(
            self.job.start.network,
            spec or self.job.start.spec,
            self.job.data.validation,
            self.resources,
            views=views,
            kept=self.kept if views == ONE_VIEW else None,
        )


def _shared_out(cache_bytes: int, job: FinetuneJob, processes: Processes) -> tuple[KeptViews | None, int]:
    """Of the memory for frames, what this process has: for its held-out items, up to a half, and for training clips.

    The former are the same in every evaluation and small, so they come first.
    """
    own = cache_bytes // processes.local_count
    clip = job.start.spec.input
    view_bytes = 4 * 3 * clip.clip_frames * clip.crop_size**2
    for_views = min(own // 2, math.ceil(len(job.data.validation.samples) / processes.count) * view_bytes)
    return (KeptViews(for_views), own - for_views) if own else (None, 0)


def _write_model(path: Path, network: torch.nn.Module, spec: ModelSpec) -> None:
    with _resumable():
        write_checkpoint(path, network.state_dict(), spec)


@contextmanager
def _resumable() -> Iterator[None]:
    """Of what cannot be written within, the hint says how the run goes on."""
    try:
        yield
    except OutputError as error:
        raise OutputError(error.message, hint="free some space, then go on with --resume") from error
