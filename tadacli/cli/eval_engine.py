"""`tada eval` with `--engine`: workers score the samples, and what they made is measured as saved predictions are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tadacli.cli import exits
from tadacli.cli.engine_options import AskedEngine, run_folder
from tadacli.cli.engine_run import have_made
from tadacli.errors import UsageError
from tadacli.video.stores import place_of

if TYPE_CHECKING:
    from tadacli.cli.eval_output import Destination
    from tadacli.cluster.items import Item
    from tadacli.cluster.work import EvalWork


def evaluate_on_engine(
    engine: AskedEngine,
    work: EvalWork,
    destination: Destination,
    *,
    save_predictions: Path | None,
    resume: bool,
    submission: Path | None,
) -> None:
    """Have workers score a data set, keep the scores in a file, and publish the report on it.

    Args:
        engine: The workers.
        work: What they do.
        destination: Where the report goes.
        save_predictions: The file of scores, beside which the run is kept.
        resume: Whether a run goes on.
        submission: The challenge's file.

    Raises:
        UsageError: There is no file for the scores.
        typer.Exit: Some samples have no scores, or it was interrupted.
        TadaError: The run cannot go on, or not one sample can be measured.
    """
    from tadacli.cluster.collecting import collect
    from tadacli.evaluation.saved import evaluate_predictions
    from tadacli.files import check_new_files

    if save_predictions is None:
        raise UsageError("an engine keeps its work beside a file of scores", hint="add --save-predictions FILE.jsonl")
    hint = "go on with --resume, or give another name"
    check_new_files([save_predictions], replace=resume, hint=hint)
    folder = run_folder(save_predictions)
    ledger = have_made(engine, work, _items(work, folder), folder, resume=resume, what="eval")
    collect(ledger, save_predictions, form="jsonl", replace=resume)
    found = evaluate_predictions(
        work.dataset,
        [save_predictions],
        annotations=work.annotations,
        data_root=work.data_root,
        split=work.split,
        submission=submission,
    )
    destination.publish(found)
    if found.num_items and not found.is_complete:
        raise typer.Exit(exits.SOME_FAILED)


def _items(work: EvalWork, folder: Path) -> Iterator[Item]:
    """The samples; which there are is known when a worker has said which classes the model knows."""
    from tadacli.cluster.collecting import require_begun
    from tadacli.cluster.items import Item
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.stores import open_store
    from tadacli.datasets.loading import DatasetSource, load_for_heads
    from tadacli.video.inputs import file_size

    about = require_begun(Ledger(open_store(place_of(folder)))).about
    heads = {name: tuple(labels) for name, labels in about["heads"].items()}
    source = DatasetSource(work.dataset, work.annotations, work.data_root, work.split)
    for sample in load_for_heads(source, heads, multi_label=about["multi_label"]).samples:
        path = os.fspath(sample.path or "")
        yield Item(path, file_size(path) if path else None, sample=sample.id)
