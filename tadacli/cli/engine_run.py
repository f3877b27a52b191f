"""A command with `--engine`: inputs go to workers, and what they made is written as one process writes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tadacli.cli import exits
from tadacli.cli.also_shown import MOST_LINES
from tadacli.cli.asked_output import RESUMABLE, AskedOutput
from tadacli.cli.console import Notes, is_quiet, say
from tadacli.cli.engine_options import run_folder
from tadacli.cli.exits import write_stdout
from tadacli.cli.options import label_names
from tadacli.cli.progress import Progress
from tadacli.cli.sinks import summarise_counts
from tadacli.cli.weights import model_here
from tadacli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from tadacli.cluster.items import Item
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.work import ModelChoice, Seat, Work
    from tadacli.zoo import Trust

_KEPT = "give --output FILE in csv, tsv, json, jsonl or parquet"


def check_output(to: AskedOutput) -> Path:
    """The file that results are collected to. Raises `UsageError` for another output, `OutputError` for one in the way.

    Besides the file there must be no folder of an earlier run, unless this one goes on with it.
    """
    from tadacli.files import check_new_files

    if to.output is None or not to.is_single or to.format not in RESUMABLE:
        raise UsageError("an engine keeps its work beside a file of results", hint=_KEPT)
    folder = run_folder(to.output)
    if to.resume and to.output.exists() and not folder.is_dir():
        raise OutputError(
            f"{to.output} was made without an engine, and {folder} is not there", hint="give another name"
        )
    check_new_files([to.output], replace=to.resume, hint="go on with --resume, or give another name")
    if not to.resume and os.path.lexists(folder):
        raise OutputError(f"{folder} holds an earlier run", hint="go on with --resume, or give another --output")
    return to.output


def refuse_with_engine(given: Mapping[str, object]) -> None:
    """Raises `UsageError` for the first option that was given and means nothing with an engine."""
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} does not go with --engine", hint="leave one of them out")


def chosen_model(
    model: str,
    *,
    weights: str | None,
    dtype: str,
    fetch: bool,
    trust: Trust | None,
    labels: Path | None,
) -> ModelChoice:
    """The model that workers load, its weights being here; the arguments are those of `options.repeatable_model`."""
    from tadacli.cluster.work import ModelChoice

    names = label_names(labels)
    name = model_here(model, weights=weights, fetch=fetch, labels=names)
    return ModelChoice(name, weights, trust, names, dtype)


def seats_of(device: str, workers: int | None) -> list[Seat]:
    """A place for each worker: they take the devices in turn, and share the cores of a CPU."""
    from tadacli.cluster.work import Seat

    devices = [name.strip() for name in device.split(",") if name.strip()] or ["auto"]
    count = len(devices) if workers is None else workers
    if count < 1:
        raise UsageError(f"{count} workers can do nothing", hint="give --engine-workers 1 or more")
    if count < len(devices):
        raise UsageError(f"{count} workers do not use {len(devices)} devices", hint="give as many workers, or more")
    threads = None
    if count > 1 and not os.environ.get("OMP_NUM_THREADS"):
        threads = max(1, (os.cpu_count() or 1) // count)
    return [Seat(number, devices[number % len(devices)], threads) for number in range(count)]


def run_on_local(
    work: Work,
    videos: Sequence[str],
    to: AskedOutput,
    *,
    seats: Sequence[Seat],
    what: str,
    part: str,
    table: Callable[..., str],
) -> None:
    """Have workers of this machine make the results, and write them.

    Args:
        work: What they do.
        videos: The inputs, in order.
        to: Where results go.
        seats: The workers' places.
        what: What became of a video, in a word.
        part: Why something may not be the whole of it.
        table: Makes a table of rows for a terminal.

    Raises:
        typer.Exit: Some videos failed, or it was interrupted.
        TadaError: The run cannot go on.
    """
    from tadacli.cluster.collecting import collect
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.stores import LocalStore
    from tadacli.files import held_folder

    output = check_output(to)
    folder = run_folder(output)
    folder.mkdir(exist_ok=to.resume)
    ledger = Ledger(LocalStore(folder))
    notes, shown = Notes(), list[Any]()

    def keep(row: Any) -> None:
        notes.add(row)
        if len(shown) <= MOST_LINES:
            shown.append(row)

    try:
        with held_folder(folder):
            with Progress(what, unit="video") as progress:
                _drive(work, videos, ledger, seats, progress)
            counts = collect(ledger, output, form=to.format, columns=to.columns, replace=to.resume, on_row=keep)
    finally:
        with suppress(OSError):
            folder.rmdir()  # where nothing was begun
    _tell(shown, notes, table)
    summarise_counts(counts, what, part=part, output=output)
    say(f"what workers made is in {folder}; tada collect writes it in other formats")
    if counts.get("error") or counts.get("partial"):
        raise typer.Exit(exits.SOME_FAILED)


def _drive(work: Work, videos: Sequence[str], ledger: Ledger, seats: Sequence[Seat], progress: Progress) -> None:
    """Have the results made; what there is of them is kept when that is interrupted."""
    from tadacli.cluster.driving import Watcher, drive
    from tadacli.cluster.local import LocalPool
    from tadacli.cluster.work import PATIENCE_SECONDS

    done = 0

    def reach(num_done: int, total: int | None) -> None:
        nonlocal done
        done = num_done
        progress.reach(num_done, total)

    def tell_model(model_notes: Sequence[str]) -> None:
        for note in model_notes:
            say(note)

    watcher = Watcher(
        on_model=tell_model,
        on_done=reach,
        on_error=lambda error: say(f"error: {error}", always=True),
        on_end=lambda why: say(f"a worker ended ({why}); another one takes its place", always=True),
    )
    pool = LocalPool(work, ledger.place, seats, patience_seconds=PATIENCE_SECONDS)
    try:
        drive(pool, _items(videos), ledger, kind=work.kind, watcher=watcher)
    except KeyboardInterrupt:
        say(f"interrupted: {done} of {len(videos)} videos are done; --resume goes on", always=True)
        raise typer.Exit(exits.INTERRUPTED) from None


def _items(videos: Sequence[str]) -> Iterator[Item]:
    from tadacli.cluster.items import Item
    from tadacli.video.inputs import file_size

    return (Item(path, file_size(path)) for path in videos)


def _tell(rows: Sequence[Any], notes: Notes, table: Callable[..., str]) -> None:
    """What one process says of its results: their table to a person before a terminal, and notes."""
    if rows and sys.stdout.isatty() and not is_quiet():
        write_stdout(table(rows, most=MOST_LINES).encode(), is_styled=True)
    notes.say()
