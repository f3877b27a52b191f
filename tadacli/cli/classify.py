"""`tada classify`: what each of many videos shows."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import Progress, classification_table, say
from tadacli.cli.profile_table import ProfileOption, start_profile, told
from tadacli.cli.repeatable import make_repeatable
from tadacli.cli.score_limit import score_limit
from tadacli.cli.sinks import Sink, TableSink, choose_format, open_sink
from tadacli.formats.registry import CLASSIFY_SUFFIXES
from tadacli.zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from tadacli.formats.rows import ClassificationRow
    from tadacli.results import Classification, Run
    from tadacli.sampling.plan import Part
    from tadacli.specs import EvalProtocol
    from tadacli.zoo.loading import Model


def classify_command(
    inputs: options.Inputs,
    model: options.ModelName = DEFAULT_MODEL,
    weights: options.Weights = None,
    views: Annotated[
        str | None,
        typer.Option(help="Clips x crops that are averaged. Default: as the model was published.", metavar="10x3"),
    ] = None,
    start: options.Start = None,
    end: options.End = None,
    sampling: options.Sampling = None,
    topk: Annotated[int, typer.Option(help="Labels given for each video.")] = 5,
    min_score: Annotated[
        str,
        typer.Option(help="Leave out labels below this score, 0 to 1; auto: the model's own.", metavar="SCORE|auto"),
    ] = "0.0",
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch_size: Annotated[
        int | None, typer.Option(help="Views scored at once. Default: 8; with --sampling as tada detect.")
    ] = None,
    fill_batches: options.FillBatches = False,
    output_format: options.Format = None,
    output: options.Output = None,
    resume: options.Resume = False,
    recursive: options.Recursive = False,
    seed: Annotated[int, typer.Option(help="Seed of random numbers, recorded with the results.")] = 0,
    profile: ProfileOption = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what each video shows: its best labels, with scores.

    Without --model, the built-in model names the camera's motion:
    static, pan, tilt, zoom or roll. It needs no download.

    --start and --end look at a part of each video; with --sampling it is
    taken as tada detect takes a window.

    A model of tada finetune carries a score for each label from which on
    it is worth saying; --min-score auto leaves out the labels below
    theirs. None may be left: nothing here that the model knows.

    A video that fails is reported in its row and the others go on;
    the exit code is then 3.
    """
    stopwatch = start_profile(profile)
    chosen = choose_format(output_format, output, resume=resume, by_suffix=CLASSIFY_SUFFIXES, plain=("table", "jsonl"))
    from tadacli.video.inputs import expand_inputs

    videos = expand_inputs(inputs, recursive=recursive, stdin=sys.stdin)
    from tadacli.classification import check_options, least_scores
    from tadacli.formats.records import FORMATS
    from tadacli.sampling.plan import Part
    from tadacli.sampling.settings import default_batch_size, parse_time
    from tadacli.scoring.provenance import describe_run
    from tadacli.scoring.views import DEFAULT_BATCH_SIZE
    from tadacli.zoo.loading import load_model

    part = None
    if start is not None or end is not None or sampling is not None:
        times = [None if text is None else parse_time(text) for text in (start, end)]
        part = Part(times[0], times[1], sampling)
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    least = score_limit("--min-score", min_score)
    asked = check_options(views=views, topk=topk, min_score=least, batch_size=size, part=part)
    make_repeatable(seed)
    loaded = load_model(model, weights=weights, device=device, dtype=dtype)
    for note in loaded.notes:
        say(note, quiet=quiet)
    least_scores(loaded.spec, least)
    if batch_size is None and sampling is not None:
        size = default_batch_size(loaded.device.type)
    protocol = asked or loaded.spec.protocol
    run = describe_run(
        loaded,
        {
            "views": str(protocol) if sampling is None else None,
            **asdict(part or Part()),
            "topk": topk,
            "min_score": least,
            "batch_size": size,
            **({"fill_batches": True} if fill_batches else {}),
            "seed": seed,
        },
    )
    title = f"{loaded.spec.name}, {loaded.spec.task}, {f'{protocol} views' if sampling is None else sampling}"
    sink = open_sink(
        chosen,
        output,
        formats=FORMATS,
        run_id=run.id,
        resume=resume,
        render_table=lambda rows, width: classification_table(rows, title=title, width=width),
    )
    with told(stopwatch):
        statuses = _classify_all(videos, sink, model=loaded, views=protocol, part=part, run=run, quiet=quiet)
    _summarise(statuses, output, quiet=quiet)
    if "error" in statuses.values():
        raise typer.Exit(exits.SOME_FAILED)


def _classify_all(
    videos: list[str],
    sink: Sink[ClassificationRow],
    *,
    model: Model,
    views: EvalProtocol,
    part: Part | None,
    run: Run,
    quiet: bool,
) -> dict[str, str]:
    """Classify what the sink does not hold yet; the status of every video by path."""
    from tadacli.classification import classify_videos
    from tadacli.formats.rows import classification_row
    from tadacli.profiling import Stage, during
    from tadacli.video.inputs import file_size

    wanted = set(videos)
    statuses = {path: status for path, status in sink.done.items() if path in wanted}
    if statuses:
        say(f"resuming: {len(statuses)} of {len(videos)} videos are done", quiet=quiet)
    left = [path for path in videos if path not in statuses]
    progress = Progress(len(left), views.num_clips * views.num_crops, quiet=quiet)
    noted: set[str] = set()
    results = classify_videos(
        left,
        model=model,
        views=views,
        part=part,
        topk=run.settings["topk"],
        min_score=run.settings["min_score"],
        batch_size=run.settings["batch_size"],
        fill_batches=run.settings.get("fill_batches", False),
        on_views=progress.advance,
    )
    try:
        with closing(results):
            for number, path in enumerate(left, start=1):
                progress.start(number, path)
                result = next(results)
                progress.end()
                with during(Stage.OUTPUT):
                    sink.add(classification_row(result, run, size_bytes=file_size(path)))
                statuses[path] = result.status
                if result.status == "error":
                    progress.say(f"error: {result.error}")
                elif not isinstance(sink, TableSink):  # a table says the notes itself
                    _say_notes(result, progress, noted, quiet=quiet)
        with during(Stage.OUTPUT):
            sink.finish(videos)
    except KeyboardInterrupt:
        progress.close()
        done = f"{len(statuses)} of {len(videos)} videos are done"
        say(f"interrupted: {done}; --resume continues an --output file")
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        exits.leave_closed_pipe()
    finally:
        progress.close()
        sink.close()
    return statuses


def _say_notes(result: Classification, progress: Progress, noted: set[str], *, quiet: bool) -> None:
    """The notes of a result; the one that all results of the model share only once."""
    from tadacli.results import NoteKind

    for note in result.notes:
        text = str(note) if note.kind is NoteKind.MODEL else f"{result.path}: {note}"
        if text not in noted:
            progress.say(f"note: {text}", quiet=quiet)
            noted.add(text)


def _summarise(statuses: dict[str, str], output: Path | None, *, quiet: bool) -> None:
    total = len(statuses)
    failed = sum(status == "error" for status in statuses.values())
    short = sum(status == "short" for status in statuses.values())
    parts = [f"{total - failed} of {total} videos classified"]
    parts += [f"{short} shorter than a clip"] if short else []
    parts += [f"{failed} failed"] if failed else []
    where = f", results in {output}" if output else ""
    say("; ".join(parts) + where, quiet=quiet)
