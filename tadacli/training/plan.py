"""What a fine-tuning run will do: data, starting point, recipe and steps, as one job."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, replace
from functools import partial

from tadacli.datasets.samples import Dataset, Sample
from tadacli.distributed import Processes
from tadacli.errors import UsageError
from tadacli.training.augmentation import mirrored_pairs
from tadacli.training.clips import TrainingClips
from tadacli.training.data import FinetuneData
from tadacli.training.frame_cache import FrameCache
from tadacli.training.loop import TrainingSettings
from tadacli.training.losses import Loss, binary_cross_entropy, cross_entropy
from tadacli.training.recipes import RecipeChoice
from tadacli.training.settings import Recipe
from tadacli.training.starting_point import StartingPoint
from tadacli.video.inputs import file_size


@dataclass(frozen=True)
class FinetuneJob:
    """What is to be trained, on what, how.

    `evaluate_every` is in steps. `chosen` says which recipe it is where nobody named one.
    """

    data: FinetuneData
    start: StartingPoint
    recipe: Recipe
    settings: TrainingSettings
    evaluate_every: int
    chosen: RecipeChoice | None = None

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
        if not self.recipe.balance:
            del recipe["balance"]  # runs of earlier versions do not have it
        labels = {"multi_label": True} if self.data.multi_label else {}  # nor this
        clip = self.start.spec.input
        norms_learn = self.settings.freeze == "nothing" and not self.settings.freeze_norms
        return {
            "recipe": recipe,
            "clips_at_once": self.clips_at_once(processes.count) if norms_learn else None,
            "start": {"weights": self.start.origin, "sha256": self.start.weights_sha256},
            "input": {**clip.to_dict(), "mean": clip.mean, "std": clip.std},  # tuples, as in runs of earlier versions
            "classes": {head: list(names) for head, names in self.data.heads.items()},
            **labels,
            "data": {split: _contents(dataset) for split, dataset in self.splits.items()},
        }

    def clips(self, index: str | os.PathLike[str] | None = None, cache: FrameCache | None = None) -> TrainingClips:
        """The training clips, of videos whose frame tables are kept in a folder `index` if there is one.

        Their frames are kept in a cache with a place for each sample, if there is one.

        Raises `UsageError` for pairs of mirrored labels that are not those of the data.
        """
        return TrainingClips(
            self.data.train.samples,
            heads=self.data.heads,
            input=self.start.spec.input,
            augmentation=self.recipe.augmentation,
            seed=self.recipe.seed,
            balance=self.recipe.balance,
            multi_label=self.data.multi_label,
            index=index,
            cache=cache,
            num_epochs=self.recipe.epochs,
        )

    @property
    def loss(self) -> Loss:
        """What is made small: with several labels at a time, each is a question of its own."""
        entropy = binary_cross_entropy if self.data.multi_label else cross_entropy
        return partial(entropy, smoothing=self.settings.label_smoothing)

    @property
    def splits(self) -> dict[str, Dataset]:
        """The two sides of the data by name."""
        return {"train": self.data.train, "validation": self.data.validation}


def plan_finetuning(
    data: FinetuneData,
    start: StartingPoint,
    recipe: Recipe,
    *,
    num_processes: int = 1,
    chosen: RecipeChoice | None = None,
) -> FinetuneJob:
    """The job of training a model on data.

    Args:
        data: To train on and to validate with.
        start: The network, as it starts.
        recipe: How; what it leaves to the model is filled in, and a flip that would make labels wrong is turned off.
        num_processes: That share each batch.
        chosen: Which recipe it is, where nobody named one.

    Returns:
        The job.

    Raises:
        UsageError: Batches cannot be shared out, the warm-up is longer than the run, or pairs of mirrored labels are
            not those of the data.
    """
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
    job = FinetuneJob(data, start, recipe, settings, every, chosen)
    if all(sample.path is not None for sample in data.train.samples):  # files that are missing are found by the check
        job.clips()
    return job


def _contents(dataset: Dataset) -> str:
    """A hash of what is in a split: ids, spans, classes and rates of the samples, and the sizes of their files."""
    samples = [
        [
            sample.id,
            sample.start_seconds,
            sample.end_seconds,
            _own_names(dataset, sample),
            file_size(str(sample.path)) if sample.path else None,
            *([] if sample.fps is None else [sample.fps]),
        ]
        for sample in dataset.samples
    ]
    digest = hashlib.sha256(json.dumps(samples).encode()).hexdigest()[:12]
    return f"{len(samples)} samples ({digest})"


def _own_names(dataset: Dataset, sample: Sample) -> list[tuple[str, str]]:
    """The classes that the annotations give to a sample, by head; those that overlap it are of other samples."""
    if dataset.multi_label:
        return [("", dataset.heads[""][index]) for index in sample.own_classes]
    return sorted(dataset.names_of(sample).items())


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
