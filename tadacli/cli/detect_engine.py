"""`tada detect` and `tada features` with `--engine`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tadacli.cli import exits
from tadacli.cli.console import Notes, detection_table, feature_table, say, say_note
from tadacli.cli.engine_options import AskedEngine, run_folder
from tadacli.cli.engine_run import have_made, items_of, run_on_engine
from tadacli.cli.exits import write_stdout
from tadacli.cli.progress import clock
from tadacli.cli.sinks import summarise_counts
from tadacli.video.stores import is_in_store, place_of

if TYPE_CHECKING:
    from tadacli.cli.asked_output import AskedOutput
    from tadacli.cluster.work import DetectWork, FeaturesWork


def search_on_engine(
    engine: AskedEngine, work: DetectWork, videos: Iterable[str], to: AskedOutput, *, save_scores: Path | None
) -> None:
    """Have workers search videos, and write what they found; the arguments are those of `run_on_engine`.

    With `save_scores` each video gets its score file, as of one process; all of them are in memory then.
    """
    from tadacli.formats.labelled import labelled_video
    from tadacli.formats.segment_times import times_note

    def tell(row: Any) -> None:
        if row["segments"] and (note := times_note(labelled_video(row), to.times)):
            say_note(note)
        _say_gaps(row)

    files = {}
    if save_scores is not None:
        videos = list(videos)
        files = _score_files(videos, save_scores, replace=to.resume)
    items = items_of(videos, files)
    table = partial(detection_table, title=work.model.name, times=to.times)
    run_on_engine(engine, work, items, to, what="searched", part="with gaps", table=table, on_row=tell)


def extract_on_engine(
    engine: AskedEngine, work: FeaturesWork, videos: Sequence[str], output: Path, *, resume: bool, is_table: bool
) -> None:
    """Have workers write the features of videos into a folder, and say what came of each.

    Raises:
        typer.Exit: Some videos failed or have gaps, or it was interrupted.
        TadaError: The run cannot go on.
    """
    from tadacli.cluster.collecting import ordered_rows
    from tadacli.detection.feature_layouts import FeatureStore
    from tadacli.formats.records import encode_json

    if is_in_store(place_of(output)):
        files = _in_store(videos, place_of(output), ".npz" if work.layout == "tada" else ".json")
    else:
        store = FeatureStore(videos, output, layout=work.layout, resume=resume)
        files = {video: str(file) for video, file in store.files.items()}
    ledger = have_made(engine, work, items_of(videos, files), run_folder(output), resume=resume, what="features")
    counts: dict[str, int] = {}
    rows, notes = list[Any](), Notes()
    for row in ordered_rows(ledger):
        counts[row["status"]] = counts.get(row["status"], 0) + 1
        if is_table:
            rows.append(row)
        else:
            write_stdout(encode_json(row) + b"\n")
            notes.add(row)  # type: ignore[arg-type]
        _say_gaps(row)
    if rows:
        write_stdout(feature_table(rows).encode(), is_styled=True)
    notes.say()
    summarise_counts(counts, "have features", part="with gaps", output=place_of(output))
    if counts.get("error") or counts.get("partial"):
        raise typer.Exit(exits.SOME_FAILED)


def _score_files(videos: Sequence[str], target: Path, *, replace: bool) -> dict[str, str]:
    """The score file of each video, as `plan_score_files` says, or in a folder of a store."""
    from tadacli.detection.score_file import plan_score_files

    if is_in_store(place_of(target)):
        return _in_store(videos, place_of(target), ".npz")
    return {video: str(file) for video, file in plan_score_files(videos, target, replace=replace).items()}


def _in_store(videos: Sequence[str], folder: str, suffix: str) -> dict[str, str]:
    """A file for each video in a folder of a store."""
    from tadacli.formats.video_names import output_names

    return {video: f"{folder.rstrip('/')}/{name}" for video, name in output_names(videos, suffix).items()}


def _say_gaps(row: Any) -> None:
    for gap in row["gaps"]:
        span = f"{clock(gap['start_seconds'])} to {clock(gap['end_seconds'])}"
        say(f"gap: {row['path']}: {span}: {gap['reason']}", always=True)
