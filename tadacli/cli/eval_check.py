"""`tada eval --check`: whether a data set is all there, before a model is run on it for hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tadacli.cli import exits
from tadacli.cli.console import say
from tadacli.cli.eval_output import Destination
from tadacli.cli.progress import Progress

if TYPE_CHECKING:
    from tadacli.datasets.loading import DatasetSource


def check_files(
    source: DatasetSource, destination: Destination, *, workers: int | None = None, fps: float | None = None
) -> None:
    """Probe every video of one or more splits and write what is wrong; exit code 3 if anything is, or there is none."""
    from tadacli.datasets.check import check_dataset
    from tadacli.datasets.loading import load_splits
    from tadacli.datasets.rates import with_rates
    from tadacli.reports.check import encode_check

    datasets = {split: with_rates(dataset, fps) for split, dataset in load_splits(source).items()}
    with Progress(f"checking {source.name}", unit="file") as progress:
        found = check_dataset(datasets, workers=workers, on_progress=progress.reach)
    where = destination.write(encode_check(found, destination.form))
    num_samples, num_sound = (sum(getattr(each, key) for each in found.splits) for key in ("num_samples", "num_sound"))
    say(f"{num_sound} of {num_samples} items are sound, {len(found.findings)} findings{where}")
    empty = [split.split for split in found.splits if not split.num_samples]
    if empty:
        say(f"nothing was checked of {', '.join(empty)}: no samples were found", always=True)
    if found.findings or empty:
        raise typer.Exit(exits.SOME_FAILED)
