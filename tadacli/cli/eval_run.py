"""The part of `tada eval` that runs a model: progress, predictions that survive, and what is left after Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import Progress, say, showing
from tadacli.errors import TadaError, UsageError

if TYPE_CHECKING:
    from tadacli.cli.eval_output import Destination
    from tadacli.datasets.samples import Dataset
    from tadacli.evaluation.prediction_file import Header, SavedPredictions
    from tadacli.evaluation.scoring import ItemScores
    from tadacli.profiling import Profile
    from tadacli.results import RunSettings
    from tadacli.zoo.loading import Model

# A run of more items than this should not be lost.
_LONG_RUN = 200


def run_model(
    truth: Dataset,
    split: str,
    model: Model,
    *,
    annotations: Path | None,
    views: str | None,
    batch_size: int,
    fill_batches: bool,
    workers: int | None,
    shard: str | None,
    save_predictions: Path | None,
    resume: bool,
    submission: Path | None,
    destination: Destination,
    profile: Profile | None,
) -> None:
    """Score a data set and publish the report, also when interrupted."""
    from tadacli.evaluation.prediction_file import Header, parse_shard, samples_digest
    from tadacli.evaluation.scoring import check_heads, default_workers, score_samples, shard_of
    from tadacli.scoring.options import scoring_options
    from tadacli.scoring.provenance import describe_run

    check_heads(truth, model)
    if submission is not None:
        check_submittable(truth)
    protocol = scoring_options(views=views, batch_size=batch_size).views_of(model.spec)
    part = None if shard is None else parse_shard(shard)
    options.make_repeatable()
    settings: RunSettings = {
        "views": str(protocol),
        "batch_size": batch_size,
        "samples_sha256": samples_digest(truth.samples),
    }
    if fill_batches:
        settings["fill_batches"] = True
    run = describe_run(model, settings)
    header = Header(truth.name, split, len(truth.samples), part, run, model.spec.heads)
    paths = {sample.id: os.fspath(sample.path or "") for sample in truth.samples}
    keeper = _Keeper(header, save_predictions, paths, resume=resume)
    if part is not None:
        truth = replace(truth, samples=tuple(shard_of(truth.samples, part.number, part.count)))
        say(f"shard {part}: {len(truth.samples)} of {header.num_items} items")
    left = [sample for sample in truth.samples if sample.id not in keeper.done]
    if len(left) < len(truth.samples):
        say(f"resuming: {len(truth.samples) - len(left)} of {len(truth.samples)} items are done")
    if save_predictions is None and len(left) > _LONG_RUN:
        say("note: nothing is kept if this run stops; --save-predictions FILE keeps every item")
    workers = default_workers() if workers is None else workers
    items = score_samples(
        left,
        model=model,
        views=protocol,
        batch_size=batch_size,
        fill_batches=fill_batches,
        workers=workers,
    )
    with showing(profile):
        interrupted = _keep_all(items, keeper, name=truth.name, num_items=len(truth.samples))
    saved = keeper.predictions()
    if submission is not None and not interrupted:
        submit(truth, saved, submission)
    _report(truth, saved, destination, split=split, annotations=annotations, interrupted=interrupted)
    if interrupted:
        how = "--resume continues" if save_predictions else "add --save-predictions FILE to go on later"
        say(f"interrupted: {saved.num_items} of {len(truth.samples)} items are done; {how}", always=True)
        raise typer.Exit(exits.INTERRUPTED)
    if saved.failed:
        raise typer.Exit(exits.SOME_FAILED)


def _keep_all(
    items: Generator[ItemScores, None, None],
    keeper: _Keeper,
    *,
    name: str,
    num_items: int,
) -> bool:
    """Keep the items as they come; whether that was interrupted."""
    from tadacli.profiling import Stage, during

    num_done = len(keeper.done)
    try:
        with closing(keeper), Progress(name, unit="item") as progress, closing(items) as coming:
            for number, item in enumerate(coming, start=1):
                with during(Stage.OUTPUT):
                    keeper.add(item)
                progress.reach(num_done + number, num_items)
    except KeyboardInterrupt:
        return True
    return False


def _report(
    truth: Dataset,
    saved: SavedPredictions,
    destination: Destination,
    *,
    split: str,
    annotations: Path | None,
    interrupted: bool,
) -> None:
    from tadacli.evaluation.recognition import evaluate_saved

    if not any(sample.labels for sample in truth.samples):
        say(f"the annotations of {truth.name}, {split}, name no classes, so there are no metrics", always=True)
        return
    try:
        found = evaluate_saved(truth, saved, split=split, annotations=annotations)
    except TadaError:
        if interrupted:  # before anything could be scored
            return
        raise
    destination.publish(found, partial=interrupted)


def check_submittable(truth: Dataset) -> None:
    """Raises `UsageError` for a data set whose challenge takes no recognition scores."""
    if set(truth.heads) != {"verb", "noun"}:
        raise UsageError("--submission is for EPIC-KITCHENS-100", hint="leave it out")


def submit(truth: Dataset, saved: SavedPredictions, path: Path) -> None:
    """Write the recognition challenge's file: every action of the split, or an error that names what is missing."""
    from tadacli.evaluation.recognition import logits_of
    from tadacli.formats.epic_recognition import write_recognition_submission

    check_submittable(truth)
    logits = logits_of(saved.table.scores)
    expected = [sample.id for sample in truth.samples]
    write_recognition_submission(path, saved.table.ids.tolist(), logits["verb"], logits["noun"], expected_ids=expected)


class _Keeper:
    """Takes items as they come, into a file if there is one, else into memory."""

    def __init__(self, header: Header, path: Path | None, paths: Mapping[str, str], *, resume: bool) -> None:
        from tadacli.evaluation.prediction_file import PredictionFile

        self._header, self._path = header, path
        self._items: list[ItemScores] = []
        self._file = None if path is None else PredictionFile(path, header, paths=paths, resume=resume)

    @property
    def done(self) -> set[str]:
        """The ids of the items that are there."""
        return set() if self._file is None else set(self._file.done)

    def add(self, item: ItemScores) -> None:
        if self._file is None:
            self._items.append(item)
        else:
            self._file.add(item)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def predictions(self) -> SavedPredictions:
        from tadacli.evaluation.prediction_file import of_items, read_predictions

        return of_items(self._header, self._items) if self._path is None else read_predictions([self._path])
