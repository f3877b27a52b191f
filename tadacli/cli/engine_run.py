"""A command with `--engine`: inputs go to workers, and what they made is written as one process writes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import typer

from tadacli.cli import exits
from tadacli.cli.also_shown import MOST_LINES
from tadacli.cli.asked_output import RESUMABLE, AskedOutput
from tadacli.cli.console import Notes, is_quiet, say
from tadacli.cli.engine_options import AskedEngine, run_folder
from tadacli.cli.exits import write_stdout
from tadacli.cli.options import label_names
from tadacli.cli.progress import Progress
from tadacli.cli.sinks import summarise_counts
from tadacli.cli.weights import model_here
from tadacli.errors import OutputError, UsageError
from tadacli.video.stores import is_in_store, place_of

if TYPE_CHECKING:
    from tadacli.cluster.items import Item
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.work import ModelChoice, Work
    from tadacli.zoo import Trust

_ASKING = 8  # threads that ask a store about videos before it is their turn
_KEPT = "give --output FILE in csv, tsv, json, jsonl or parquet"


def run_on_engine(
    engine: AskedEngine,
    work: Work,
    items: Iterable[Item],
    to: AskedOutput,
    *,
    what: str,
    part: str,
    table: Callable[..., str],
    on_row: Callable[[Any], object] = str,
) -> None:
    """Have workers make the results, and write them to a file.

    Args:
        engine: The workers.
        work: What they do.
        items: The inputs, in order.
        to: Where results go.
        what: What became of a video, in a word.
        part: Why something may not be the whole of it.
        table: Makes a table of rows for a terminal.
        on_row: Called with each row when it is written.

    Raises:
        typer.Exit: Some videos failed, or it was interrupted.
        TadaError: The run cannot go on.
    """
    from tadacli.cluster.collecting import collect

    output = _checked_output(to)
    ledger = have_made(engine, work, items, run_folder(output), resume=to.resume, what=what)
    notes, shown = Notes(), list[Any]()

    def keep(row: Any) -> None:
        notes.add(row)
        on_row(row)
        if len(shown) <= MOST_LINES:
            shown.append(row)

    counts = collect(ledger, output, form=to.format, columns=to.columns, replace=to.resume, on_row=keep)
    if shown and sys.stdout.isatty() and not is_quiet():
        write_stdout(table(shown, most=MOST_LINES).encode(), is_styled=True)
    notes.say()
    summarise_counts(counts, what, part=part, output=place_of(output))
    say(f"what workers made is in {ledger.place}; tada collect writes it in other formats")
    if counts.get("error") or counts.get("partial"):
        raise typer.Exit(exits.SOME_FAILED)


def _checked_output(to: AskedOutput) -> Path:
    """The file that results are collected to. Raises `UsageError` for another output, `OutputError` for one in the way.

    Besides the file there must be no folder of an earlier run, unless this one goes on with it.
    """
    from tadacli.files import check_new_files

    if to.output is None or not to.is_single or to.format not in RESUMABLE:
        raise UsageError("an engine keeps its work beside a file of results", hint=_KEPT)
    if is_in_store(place_of(to.output)):
        return to.output
    if to.resume and to.output.exists() and not run_folder(to.output).is_dir():
        text = f"{to.output} is there without {run_folder(to.output)}, where an engine keeps its work"
        raise OutputError(text, hint="give another --output, or go on without --engine")
    check_new_files([to.output], replace=to.resume, hint="go on with --resume, or give another --output")
    return to.output


def have_made(
    engine: AskedEngine, work: Work, items: Iterable[Item], folder: Path, *, resume: bool, what: str
) -> Ledger:
    """Have workers make what is not there yet.

    Args:
        engine: The workers.
        work: What they do.
        items: The inputs, in order.
        folder: Where what they make is kept.
        resume: Whether it may be there.
        what: What becomes of a video, in a word.

    Returns:
        What they have made.

    Raises:
        OutputError: The folder is there and may not be, holds another run, or cannot be written.
        typer.Exit: It was interrupted.
        TadaError: The run cannot go on.
    """
    from tadacli.cluster.ledger import Ledger
    from tadacli.cluster.stores import LocalStore, open_store

    store = open_store(place_of(folder))
    if isinstance(store, LocalStore):
        with _made_folder(folder, resume=resume), Progress(what, unit="video") as progress:
            store.tidy()
            _drive(engine, work, items, Ledger(store), progress)
    else:
        if not resume and Ledger(store).begun() is not None:
            raise _earlier_run(store.place)
        with Progress(what, unit="video") as progress:
            _drive(engine, work, items, Ledger(store), progress)
    return Ledger(store)


@contextmanager
def _made_folder(folder: Path, *, resume: bool) -> Iterator[None]:
    """A folder that no other run has meanwhile; it goes again if nothing was begun in it."""
    from tadacli.files import held_folder, not_written

    if not resume and os.path.lexists(folder):
        raise _earlier_run(str(folder))
    try:
        folder.mkdir(exist_ok=resume)
    except OSError as error:
        raise not_written(folder, error) from error
    try:
        with held_folder(folder):
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def _earlier_run(place: str) -> OutputError:
    return OutputError(f"{place} holds an earlier run", hint="go on with --resume, or give another --output")


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


def _drive(engine: AskedEngine, work: Work, items: Iterable[Item], ledger: Ledger, progress: Progress) -> None:
    """Have the results made; what there is of them is kept when that is interrupted."""
    from tadacli.cluster.driving import Watcher, drive

    reached = "what was done before is kept"

    def reach(num_done: int, total: int | None) -> None:
        nonlocal reached
        reached = f"{num_done} videos are done" if total is None else f"{num_done} of {total} videos are done"
        progress.reach(num_done, total)

    def tell_model(model_notes: Sequence[str]) -> None:
        for note in model_notes:
            say(note)

    watcher = Watcher(
        on_model=tell_model,
        on_done=reach,
        on_error=lambda error: say(f"error: {error}", always=True),
        on_wait=lambda why: say(f"waiting for workers: {why}", always=True),
        on_end=lambda why: say(f"a worker ended ({why}); another one takes its place", always=True),
    )
    try:
        pool = engine.pool(work, ledger.place)
        drive(pool, iter(items), ledger, kind=work.kind, divides=work.divides, watcher=watcher)
    except KeyboardInterrupt:
        say(f"interrupted: {reached}; --resume goes on", always=True)
        raise typer.Exit(exits.INTERRUPTED) from None


def items_of(videos: Iterable[str], files: Mapping[str, str] | None = None) -> Iterator[Item]:
    """The inputs that videos are, each with its file, if there are any, as they are asked for.

    What a store says of one is asked some ahead.
    """
    from tadacli.cluster.items import Item
    from tadacli.concurrency import map_ahead
    from tadacli.video.inputs import version_of

    def item_of(path: str) -> Item:
        return Item(path, version_of(path, cached=True), files[path] if files else None)

    return map_ahead(item_of, videos, workers=_ASKING, stop=Event(), num_ahead=4 * _ASKING)
