"""The model card of a fine-tuning run, from the run itself."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import av
import torch

from tadacli.training.model_card import FinetunedModel, HeadClasses, Origin, TrainingData, model_card
from tadacli.training.recipes import recipe_toml
from tadacli.training.run import FinetuneJob, FinetuneResult
from tadacli.training.run_folder import RunFolder
from tadacli.version import __version__
from tadacli.zoo.manifest import cards
from tadacli.zoo.store import hash_file


def card_of(job: FinetuneJob, folder: RunFolder, result: FinetuneResult, *, command: Sequence[str]) -> str:
    """The card in Markdown; `command` are the words of the command line that trained the model."""
    data = job.data
    datasets = (data.train, data.validation)
    counts = {
        split: {head: list(by_class.values()) for head, by_class in by_head.items()}
        for split, by_head in data.counts.items()
    }
    num_items = sum(len(dataset.samples) for dataset in datasets)
    model = FinetunedModel(
        name=job.start.spec.name,
        path=str(folder.path),
        weights_sha256=hash_file(folder.model).sha256,
        architecture=job.start.spec.architecture,
        origin=_origin(job),
        heads={head: _head(job, result, head) for head in data.heads},
        data=TrainingData(
            data.name,
            counts,
            data.how_split,
            num_items=num_items,
            num_found=num_items + len(data.left_out),
            notes=(*data.notes, *data.left_out),
        ),
        recipe_toml=recipe_toml(job.recipe),
        command=command,
        versions={
            "tada": __version__,
            "torch": str(torch.__version__),
            "av": av.__version__,
            "python": platform.python_version(),
        },
        evaluation=result.report,
        selected_on="validation",
        fitted_on="validation, one view of each item",
        limits=result.fitted.notes,
    )
    return model_card(model)


def _origin(job: FinetuneJob) -> Origin | None:
    start = job.start
    if not start.weights_sha256:
        return None
    card = cards().get(start.origin)
    return Origin(start.origin, start.weights_sha256, "" if card is None else card.source.licence)


def _head(job: FinetuneJob, result: FinetuneResult, head: str) -> HeadClasses:
    labels, change = job.data.heads[head], job.start.heads[head]
    thresholds = result.fitted.thresholds.get(head, ())
    return HeadClasses(
        labels=tuple(labels),
        kept=change.kept,
        new=change.new,
        dropped=change.gone,
        temperature=result.fitted.temperatures.get(head),
        thresholds=dict(zip(labels, thresholds, strict=False)),
    )
