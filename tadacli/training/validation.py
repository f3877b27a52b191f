"""How good a network is while it is trained: one centre view of every held-out item."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tadacli.concurrency import map_ahead
from tadacli.datasets.samples import Dataset
from tadacli.distributed import Resources
from tadacli.errors import TadaError, UsageError
from tadacli.evaluation.majority import MajorityClass, majority_classes, most_shown_class
from tadacli.evaluation.metrics import log_probabilities
from tadacli.evaluation.multi_label import LabelMetrics, label_metrics, logits_of_sigmoids, shown_classes
from tadacli.evaluation.prediction_file import ItemScores
from tadacli.evaluation.predictions import ScoreTable
from tadacli.evaluation.scoring import SampleScorer
from tadacli.models.inference import inference_form
from tadacli.scoring.options import ScoringOptions
from tadacli.specs import EvalProtocol, ModelSpec
from tadacli.training.kept_views import KeptViews
from tadacli.zoo.loading import Model

ONE_VIEW = EvalProtocol(num_clips=1, num_crops=1)
_BATCH_SIZE = 8  # part of what the result is: other sizes change the last bits


@dataclass(frozen=True, eq=False)
class Validation:
    """Scores of N of the M items of a data set, in its order.

    `table` has probabilities by head, `labels` the true classes (N,) by head, `failed` the reason of each item without
    scores. `loss` is the mean of -log p of the true class, summed over the heads; `top1` the percentage of items of
    which every head is right, `top1_by_head` that of each. `majority` is what always answering the most frequent class,
    or with several heads the most frequent combination, would reach.

    Of multi-label data `labels` say which classes each item shows, (N, num_classes), `loss` is summed over the classes,
    an item is right if its best class is one that it shows, and `several` are there: average precisions.
    """

    table: ScoreTable
    labels: Mapping[str, NDArray[np.generic]]
    failed: Mapping[str, str]
    loss: float
    top1: float
    top1_by_head: Mapping[str, float]
    majority: MajorityClass
    several: LabelMetrics | None = None

    @property
    def logits(self) -> dict[str, NDArray[np.floating]]:
        """What the scores are made of by head, (N, num_classes); of a softmax up to a number for each item."""
        inverse = log_probabilities if self.several is None else logits_of_sigmoids
        return {head: inverse(values) for head, values in self.table.scores.items()}

    @property
    def merit(self) -> float:
        """By which the best step is chosen, in percent: the mAP where there are several labels, or else top-1."""
        return self.top1 if self.several is None else self.several.mean_precision


def validate(
    network: nn.Module,
    spec: ModelSpec,
    dataset: Dataset,
    resources: Resources,
    *,
    views: EvalProtocol = ONE_VIEW,
    kept: KeptViews | None = None,
) -> Validation:
    """Scores every item of a data set with a network in eval mode, each process a part of them.

    Args:
        network: On its device.
        spec: Its input and labels.
        dataset: The held-out items.
        resources: The device, the processes, and how many threads decode.
        views: Of each item.
        kept: Where decoded items are, and are left; those of the same input and views alone. None: nowhere.

    Returns:
        The scores, the loss, and accuracies in percent.

    Raises:
        TadaError: Not one item can be scored, or the network's answers are not numbers.
    """
    model = Model(spec, inference_form(network), resources.device, torch.float32, Path(), "")
    processes, workers = resources.processes, resources.workers or 1
    samples = [sample for sample in dataset.samples if sample.labels]
    options = ScoringOptions(views, _BATCH_SIZE)
    own = samples[processes.rank :: processes.count]
    stop = threading.Event()
    scorer = SampleScorer(model, options, stop=stop, index=resources.index)
    decode = scorer.decode if kept is None else partial(kept.get, decode=scorer.decode)
    try:
        with torch.inference_mode(), closing(map_ahead(decode, own, workers=workers, stop=stop)) as coming:
            scored = list(scorer.score(coming))
    except UsageError:
        raise
    except TadaError as error:  # what is wrong with a video is no error here: its item has no scores
        raise TadaError(
            "the scores of held-out items are not numbers any more",
            hint="the weights have grown without bound: lower the learning rate, or clip gradients",
        ) from error
    by_id: dict[str, ItemScores] = {item.id: item for item in processes.gathered(scored)}
    items = [by_id[sample.id] for sample in samples]
    done = [number for number, item in enumerate(items) if item.scores]
    failed = {item.id: item.error for item in items if not item.scores}
    if not done:
        reason = next(iter(failed.values()), "there are none")
        raise TadaError(f"none of the {len(samples)} held-out items can be scored: {reason}", hint="check the videos")
    scores = {head: np.array([items[i].scores[head] for i in done]) for head in dataset.heads}
    table = ScoreTable(np.array([items[i].id for i in done]), scores)
    if spec.multi_label:
        shown = shown_classes([dataset.classes_of(samples[i], "") for i in done], len(dataset.heads[""]))
        return _measured_by_label(table, shown, failed, dataset.heads[""])
    labels = {head: np.array([samples[i].labels[head] for i in done], dtype=np.int64) for head in dataset.heads}
    return _measured(table, labels, failed, dataset.heads)


def _measured(
    table: ScoreTable,
    labels: Mapping[str, NDArray[np.int64]],
    failed: Mapping[str, str],
    heads: Mapping[str, tuple[str, ...]],
) -> Validation:
    loss, by_head, right = 0.0, {}, np.ones(len(table.ids), dtype=np.bool_)
    for head, values in table.scores.items():
        own = np.take_along_axis(values, labels[head][:, None], axis=1)[:, 0]
        loss -= math.fsum(log_probabilities(own)) / len(own)
        is_right = values.argmax(axis=1) == labels[head]
        by_head[head], right = percentage(is_right), right & is_right
    *_, majority = majority_classes(labels, heads).values()
    return Validation(table, labels, failed, loss, percentage(right), by_head, majority)


def _measured_by_label(
    table: ScoreTable, shown: NDArray[np.bool_], failed: Mapping[str, str], labels: tuple[str, ...]
) -> Validation:
    scores = table.scores[""]
    # To the seven digits that scores have, none is surer of itself than this.
    own = np.maximum(np.where(shown, scores, 1 - scores), 1e-7)
    metrics = label_metrics(scores, shown, labels)
    loss = -math.fsum(log_probabilities(own).ravel()) / len(own)
    majority = most_shown_class(shown, labels)
    return Validation(table, {"": shown}, failed, loss, metrics.hit1, {"": metrics.hit1}, majority, metrics)


def percentage(values: Sequence[bool] | NDArray[np.bool_]) -> float:
    """The share of true values, in percent."""
    return 100.0 * float(np.mean(values))
