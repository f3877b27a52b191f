"""`tada eval --check`: whether a data set is all there, before a model is run on it for hours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tadacli.cli import exits
from tadacli.cli.console import Progress, say
from tadacli.cli.eval_output import write_stdout

if TYPE_CHECKING:
    from tadacli.datasets.loading import DatasetName
    from tadacli.reports.check import CheckFormat


def check_files(
    name: DatasetName,
    annotations: Path | None,
    data_root: Path | None,
    split: str | None,
    workers: int | None,
    *,
    form: CheckFormat,
    output: Path | None,
) -> None:
    """Probe every video of one or more splits and write what is wrong; exit code 3 if anything is."""
    from tadacli.datasets.check import check_dataset
    from tadacli.datasets.loading import load_dataset, load_splits, usual_split
    from tadacli.evaluation.scoring import default_workers
    from tadacli.files import write_new
    from tadacli.reports.check import encode_check

    if split is not None and "," in split:
        datasets = load_splits(name, split.split(","), annotations=annotations, data_root=data_root)
    else:
        dataset = load_dataset(name, annotations=annotations, data_root=data_root, split=split)
        datasets = {usual_split(name, split): dataset}
    with Progress(f"checking {name}", unit="file") as progress:
        found = check_dataset(
            datasets, workers=default_workers() if workers is None else workers, on_progress=progress.reach
        )
    content = encode_check(found, form)
    if output is None:
        write_stdout(content)
    else:
        write_new(output, content)
    num_samples, num_sound = (sum(getattr(each, key) for each in found.splits) for key in ("num_samples", "num_sound"))
    where = f", {output}" if output else ""
    say(f"{num_sound} of {num_samples} items are sound, {len(found.findings)} findings{where}")
    if found.findings:
        raise typer.Exit(exits.SOME_FAILED)
