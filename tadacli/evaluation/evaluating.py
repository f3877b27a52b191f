"""A model measured on a data set in one call: its items scored, and the report on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

from tadacli.datasets.loading import DatasetName, load_for_heads
from tadacli.datasets.samples import Dataset
from tadacli.errors import UsageError
from tadacli.evaluation.prediction_file import Header, of_items, samples_digest
from tadacli.evaluation.recognition import evaluate_saved
from tadacli.evaluation.report import EvalReport
from tadacli.evaluation.scoring import check_heads, default_workers, score_samples
from tadacli.results import RunSettings
from tadacli.scoring.options import DEFAULT_BATCH_SIZE, scoring_options
from tadacli.scoring.provenance import describe_run
from tadacli.specs import EvalProtocol
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.loading import Model, load_model

AnyPath = str | os.PathLike[str]


def evaluate(
    dataset: DatasetName | Dataset,
    *,
    model: AnyPath | Model = DEFAULT_MODEL,
    weights: AnyPath | None = None,
    annotations: AnyPath | None = None,
    data_root: AnyPath | None = None,
    split: str | None = None,
    views: str | EvalProtocol | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    workers: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    on_progress: Callable[[int, int], object] | None = None,
) -> EvalReport:
    """The report of `tada eval` on a model: metrics in percent, and every item that could not be scored.

    `dataset` is a known name, whose samples are found as `datasets.loading.load_dataset` says, or samples in memory;
    then `split` is what the report calls them, and `annotations` only the place of the lists of EPIC-KITCHENS-100's
    unseen participants and tail classes. `model`, `weights`, `device`, `dtype` and `views` are those of `classify`;
    `workers` threads decode. `on_progress` is told (items done, items in all).

    Raises `UsageError` for data and settings that cannot be meant, and for classes that are not the model's, before
    anything is decoded; `TadaError` if not one item can be scored.
    """
    scoring = scoring_options(views=views, batch_size=batch_size)
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    if isinstance(dataset, Dataset):
        if data_root is not None:
            raise UsageError("samples in memory have paths, and a folder of videos was given", hint="leave it out")
        truth, part = dataset, split or "all"
    else:
        truth, part = load_for_heads(
            dataset, annotations=annotations, data_root=data_root, split=split, heads=model.spec.heads
        )
    check_heads(truth, model)
    if not any(sample.labels for sample in truth.samples):
        raise UsageError(
            f"not one of {len(truth.samples)} samples of {truth.name}, {part}, has a class to compare with",
            hint="give annotations that name classes",
        )
    protocol = scoring.views_of(model.spec)
    settings: RunSettings = {
        "views": str(protocol),
        "batch_size": batch_size,
        "samples_sha256": samples_digest(truth.samples),
    }
    run = describe_run(model, settings)
    header = Header(truth.name, part, len(truth.samples), None, run, model.spec.heads)
    workers = default_workers() if workers is None else workers
    coming = score_samples(truth.samples, model=model, views=protocol, batch_size=batch_size, workers=workers)
    items = []
    with closing(coming):
        for item in coming:
            items.append(item)
            if on_progress is not None:
                on_progress(len(items), len(truth.samples))
    return evaluate_saved(truth, of_items(header, items), split=part, annotations=annotations)
