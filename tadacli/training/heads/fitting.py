"""The training of a head on sequences of features: the same bits each time, resumable, the best by validation kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from tadacli.detection.head_decoding import Head, ScoredSpans, find_spans
from tadacli.distributed import Processes
from tadacli.errors import CheckpointError, SpecError, UsageError
from tadacli.evaluation.detection_metrics import DetectionMetrics, ScoredSegments, TimedLabels, average_precision
from tadacli.models import build_over_features
from tadacli.models.bmn import SNIPPETS_PER_BIN
from tadacli.models.bmn_head import BMNHead
from tadacli.models.ensemble import members_of
from tadacli.strict_tables import decode_table
from tadacli.training.clips import sample_at
from tadacli.training.heads.objectives import batch_targets, measure_normaliser, objective_of, rounded_up
from tadacli.training.heads.proposal_objective import ProposalObjective
from tadacli.training.heads.proposal_windows import ProposalWindows
from tadacli.training.heads.sequences import LabelledSequence, TrainingWindows, padded
from tadacli.training.heads.settings import HeadSettings
from tadacli.training.loop import StepReport, Trainer, TrainingBatch, TrainingSettings

_LEAST_DEVIATION = 1e-5


@dataclass(frozen=True, eq=False)
class Progress:
    """An evaluation during training; `is_best` says whether it is better than all before."""

    step: int
    num_steps: int
    epoch: float
    loss: float
    precision: float
    is_best: bool


@dataclass(frozen=True)
class Fitted:
    """The end of a training: the step that was the best, and its mean mAP on the validation sequences."""

    best_step: int
    precision: float
    num_steps: int


def build_head(settings: HeadSettings, *, in_channels: int, num_classes: Mapping[str, int]) -> Head:
    """The network of the settings as initialised, from their seed.

    Args:
        settings: Its kind and arguments.
        in_channels: Channels of the features.
        num_classes: By head, "" for a single one.

    Raises:
        SpecError: The network does not take the arguments, or not these heads, or there is no memory for it.
    """
    counts = num_classes.get("", dict(num_classes))
    if settings.kind == "temporal" and not isinstance(counts, int):
        raise SpecError("a temporal head has one kind of label", hint="use --head pyramid or bmn for verbs and nouns")
    sizes = {"in_channels": in_channels, "num_classes": counts}
    if fixed := sizes.keys() & settings.arguments.keys():
        raise SpecError(f"{min(fixed)} is that of the features and the data", hint="leave it out of the settings")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        try:
            return cast(
                Head,
                build_over_features(settings.architecture, members=settings.members, **sizes, **settings.arguments),
            )
        except RuntimeError as error:  # there is no memory for it
            raise SpecError(
                f"the {settings.kind} head cannot be built: {error}", hint="docs/finetune.md has its settings"
            ) from error


def fit_head(
    head: Head,
    train: Sequence[LabelledSequence],
    validation: Sequence[LabelledSequence],
    settings: HeadSettings,
    *,
    keep: Callable[[Head], object],
    labels: Mapping[str, Sequence[str]] | None = None,
    device: torch.device | None = None,
    processes: Processes | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[StepReport], object] = lambda _: None,
    on_evaluation: Callable[[Progress], object] = lambda _: None,
) -> Fitted:
    """Trains a head in place on the segments of sequences and on the time between them.

    Args:
        head: The network, as `build_head` made it.
        train: To train on.
        validation: Whose mean mAP says which weights are the best.
        settings: How.
        keep: Called with the network, averaged and in eval mode, whenever it is the best so far.
        labels: The names of the classes by head; a checkpoint goes on with the same ones only.
        device: What to train on; by default the CPU.
        processes: Those that train together; each takes its share of every batch.
        checkpoint: A file to go on from if it exists; it is written at every evaluation, after `keep`.
        on_step: Called after each step.
        on_evaluation: Called after each evaluation.

    Returns:
        Which step was the best. `head` is left as it was after the last one.

    Raises:
        UsageError: There is nothing to train or to validate on, or the sequences do not fit each other.
        CheckpointError: The checkpoint is of another training.
        TadaError: The loss is no number any more.
    """
    check_head_data(train, validation)
    processes = processes or Processes()
    _measure_scaling(head, train)
    batches = _Batches(head, train, settings, processes)
    steps_per_epoch = batches.num_windows / settings.batch_size
    loop = TrainingSettings(
        num_steps=max(1, round(settings.epochs * steps_per_epoch)),
        optimisation=settings.optimisation,
        steps_per_epoch=steps_per_epoch,
    )
    trainer = Trainer(
        head,
        loop,
        device=device,
        processes=processes,
        identity={
            "head": _plain(settings),
            "labels": {name: list(each) for name, each in (labels or {}).items()},
            "train": _digest(train),
            "validation": _digest(validation),
        },
        loss=batches.loss,
    )
    best = Fitted(0, -1.0, loop.num_steps)
    if checkpoint is not None and checkpoint.is_file():
        best = decode_table(Fitted, trainer.load(checkpoint), where=str(checkpoint), error=CheckpointError)
    every = max(1, round(settings.evaluate_every_epochs * steps_per_epoch))
    while trainer.step < loop.num_steps:
        report = trainer.run_step([batches.of(trainer.step)])
        on_step(report)
        if report.step % every and report.step != loop.num_steps:
            continue
        with trainer.result() as network:
            assert isinstance(network, Head)
            found = precision_of(network, validation, tiou=settings.tiou).average
            is_best = found >= best.precision  # of equal ones the last, which has learnt for longer
            if is_best:
                best = Fitted(report.step, found, loop.num_steps)
                if processes.is_first:
                    keep(network)
        if checkpoint is not None and processes.is_first:
            trainer.save(checkpoint, notes=asdict(best))
        epoch = report.step / steps_per_epoch
        on_evaluation(Progress(report.step, loop.num_steps, epoch, trainer.mean_loss, found, is_best))
    head.eval()
    return best


def precision_of(head: Head, sequences: Sequence[LabelledSequence], *, tiou: Sequence[float]) -> DetectionMetrics:
    """How well a head finds the segments of sequences.

    Args:
        head: The network, in eval mode.
        sequences: With their segments.
        tiou: The thresholds.

    Returns:
        Average precision; with a verb and a noun, of the pairs of both.
    """
    num_nouns = 0 if isinstance(head.num_classes, int) else head.num_classes.get("noun", 0)
    found = [find_spans(head, each.grid) for each in sequences]
    return precision_of_spans(found, sequences, tiou=tiou, num_nouns=num_nouns)


def precision_of_spans(
    found: Sequence[ScoredSpans], sequences: Sequence[LabelledSequence], *, tiou: Sequence[float], num_nouns: int = 0
) -> DetectionMetrics:
    """How well the spans that were found for each sequence are its segments.

    Args:
        found: By sequence.
        sequences: With their segments.
        tiou: The thresholds.
        num_nouns: Of the pairs of a verb and a noun, if the classes are these.

    Returns:
        Average precision.
    """
    return average_precision(*columns_of(found, sequences, num_nouns=num_nouns), tiou=tiou)


def columns_of(
    found: Sequence[ScoredSpans], sequences: Sequence[LabelledSequence], *, num_nouns: int = 0
) -> tuple[TimedLabels, ScoredSegments]:
    """The true segments of sequences and the spans that were found, as columns; arguments as `precision_of_spans`."""
    classes = [
        each.classes["verb"] * num_nouns + each.classes["noun"] if num_nouns else each.classes[""] for each in sequences
    ]
    starts, ends = np.concatenate([each.spans for each in sequences]).T
    videos = np.repeat(np.arange(len(sequences)), [len(each.spans) for each in sequences])
    truth = TimedLabels(videos, np.concatenate(classes), starts, ends)
    starts, ends = np.concatenate([each.seconds for each in found]).T
    detections = ScoredSegments(
        np.repeat(np.arange(len(found)), [len(each) for each in found]),
        np.concatenate([each.classes for each in found]),
        starts,
        ends,
        np.concatenate([each.scores for each in found]),
    )
    return truth, detections


class _Batches:
    """The batches of steps. All windows of a step are padded alike, so that their noise is the same in any process."""

    def __init__(
        self, head: Head, sequences: Sequence[LabelledSequence], settings: HeadSettings, processes: Processes
    ) -> None:
        if settings.batch_size % processes.count:
            raise UsageError(
                f"a batch of {settings.batch_size} windows cannot be shared by {processes.count} processes",
                hint="use a batch size that the number of processes divides",
            )
        self._settings, self._processes, self._multiple = settings, processes, head.step_multiple
        self._windows = _windows_of(head, sequences, settings)
        self.objective = objective_of(members_of(head)[0])
        if not isinstance(self.objective, ProposalObjective):
            first = [self._windows.at(0, number)[0] for number in range(len(sequences))]
            self.objective.normaliser = measure_normaliser(self.objective, first, self._multiple)

    @property
    def num_windows(self) -> int:
        """Of an epoch."""
        return len(self._windows)

    def loss(self, found: object, targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """That of a batch; the mean of those of the members."""
        of_each = found if isinstance(found, tuple) else (found,)
        return torch.stack([self.objective.loss(each, targets) for each in of_each]).mean()

    def of(self, step: int) -> TrainingBatch:
        """The share of this process in the batch of a step."""
        size, seed = self._settings.batch_size, self._settings.seed
        places = [sample_at(step * size + place, num_samples=len(self._windows), seed=seed) for place in range(size)]
        drawn = [self._windows.at(epoch, number) for epoch, number in places]
        num_steps = rounded_up(max(len(window) for window, _ in drawn), self._multiple)
        share = size // self._processes.count
        own = drawn[self._processes.rank * share : (self._processes.rank + 1) * share]
        windows = [window for window, _ in own]
        features, known = padded(windows, num_steps=num_steps)
        seeds = torch.tensor([noise for _, noise in own], dtype=torch.int64)
        return TrainingBatch(features, batch_targets(self.objective, windows, num_steps), seeds, known)


def _windows_of(
    head: Head, sequences: Sequence[LabelledSequence], settings: HeadSettings
) -> TrainingWindows | ProposalWindows:
    if not isinstance(head, BMNHead):
        return TrainingWindows(sequences, most_steps=settings.most_steps, seed=settings.seed)
    stride = SNIPPETS_PER_BIN * head.proposals.max_duration_bins
    return ProposalWindows(sequences, num_steps=head.step_multiple, stride_steps=stride, seed=settings.seed)


def check_head_data(train: Sequence[LabelledSequence], validation: Sequence[LabelledSequence]) -> None:
    """Raises `UsageError` for sequences that a head cannot be trained on."""
    for split, sequences in (("training", train), ("validation", validation)):
        if not any(len(each.spans) for each in sequences):
            raise UsageError(f"there are no segments of {split} videos", hint="check the annotations and their splits")
    first = train[0].grid
    for each in (*train, *validation):
        if not np.isfinite(each.grid.values).all():
            raise UsageError(f"some features of {each.name} are not numbers", hint="make them again")
        if each.grid.values.shape[1] != first.values.shape[1]:
            raise UsageError(
                f"the features of {each.name} have {each.grid.values.shape[1]} channels, those of {train[0].name} "
                f"{first.values.shape[1]}",
                hint="make all of them with one model",
            )
        if not np.isclose(each.grid.stride_seconds, first.stride_seconds, rtol=0.05):
            raise UsageError(
                f"the features of {each.name} are {each.grid.stride_seconds:g} s apart, those of {train[0].name} "
                f"{first.stride_seconds:g} s",
                hint="make all of them with one stride",
            )


def _measure_scaling(head: Head, sequences: Sequence[LabelledSequence]) -> None:
    """Sets mean and deviation of the features to those of the known steps of the sequences."""
    counts = sum(int(each.grid.known.sum()) for each in sequences)
    mean = sum(each.grid.values.sum(axis=0, dtype=np.float64) for each in sequences) / counts
    square = sum(np.square(each.grid.values[each.grid.known] - mean).sum(axis=0) for each in sequences) / counts
    with torch.no_grad():
        for each in members_of(head):
            each.scaling.mean.copy_(torch.from_numpy(np.asarray(mean)))
            each.scaling.deviation.copy_(torch.from_numpy(np.sqrt(np.asarray(square))).clamp(min=_LEAST_DEVIATION))


def _plain(settings: HeadSettings) -> dict[str, object]:
    """The settings as a checkpoint has them, those of a single head as before there were several."""
    found = {**asdict(settings), "tiou": list(settings.tiou), "arguments": dict(settings.arguments)}
    return found if settings.members > 1 else {name: each for name, each in found.items() if name != "members"}


def _digest(sequences: Sequence[LabelledSequence]) -> str:
    """A hash of what is in the sequences."""
    digest = hashlib.sha256()
    for each in sequences:
        digest.update(each.name.encode("utf-8", "surrogateescape"))
        for array in (each.grid.values, each.grid.known, each.spans, *each.classes.values(), each.ignored):
            digest.update(np.ascontiguousarray(array).tobytes())
    return f"{len(sequences)} sequences ({digest.hexdigest()[:12]})"
