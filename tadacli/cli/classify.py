"""`tada classify`: what each of many videos shows."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from tadacli.cli import engine_options, exits, options
from tadacli.cli.also_shown import also_shown
from tadacli.cli.asked_output import asked_output
from tadacli.cli.console import Notes, be_quiet, classification_table, say, showing, start_profile
from tadacli.cli.help import CLIPS, OUTPUT, SPEED
from tadacli.cli.progress import ViewsProgress
from tadacli.cli.sinks import TableSink, open_classification_sink, summarise, write_results
from tadacli.formats.registry import CLASSIFY_SUFFIXES, ClassifyFormat
from tadacli.scoring import DEFAULT_MIN_SCORE, DEFAULT_TOPK

if TYPE_CHECKING:
    from tadacli.formats.rows import ClassificationRow
    from tadacli.results import Classification, Run


def classify_command(
    inputs: options.Inputs,
    model: options.ModelName = None,
    weights: options.Weights = None,
    trust: options.TrustedSettings = None,
    labels: options.LabelsFile = None,
    fetch: options.Fetch = False,
    views: Annotated[
        str | None,
        CLIPS.option(help="Clips x crops that are averaged. Default: as the model was published.", metavar="10x3"),
    ] = None,
    start: options.Start = None,
    end: options.End = None,
    sampling: options.Sampling = None,
    topk: Annotated[int, OUTPUT.option(help="Labels given for each video.", metavar="N")] = DEFAULT_TOPK,
    min_score: Annotated[
        str,
        OUTPUT.option(help="Leave out labels below this score, 0 to 1; auto: the model's own.", metavar="SCORE|auto"),
    ] = str(DEFAULT_MIN_SCORE),
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch_size: Annotated[
        int | None, SPEED.option(help="Views scored at once. Default: 8; with --sampling as tada detect.", metavar="N")
    ] = None,
    fill_batches: options.FillBatches = False,
    index: options.Index = None,
    fps: options.Fps = None,
    output_format: options.Format = None,
    output: options.Output = None,
    columns: options.Columns = None,
    resume: options.Resume = False,
    recursive: options.Recursive = False,
    max_download: options.MaxDownload = "4GB",
    cache: options.Cache = None,
    cache_size: options.CacheSize = None,
    profile: options.Profile = False,
    quiet: options.Quiet = False,
    engine: engine_options.Engine = None,
    engine_workers: engine_options.EngineWorkers = None,
    address: engine_options.Address = None,
    gpus_per_worker: engine_options.GpusPerWorker = None,
    cpus_per_worker: engine_options.CpusPerWorker = None,
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
    be_quiet(quiet)
    options.keep_copies(cache, cache_size)
    model, weights = options.model_and_weights(model, weights)
    stopwatch = start_profile(profile)
    to = asked_output(
        output_format,
        output,
        columns,
        resume=resume,
        results="classifications",
        known=get_args(ClassifyFormat),
        by_suffix=CLASSIFY_SUFFIXES,
    )
    without = {"--fill-batches": fill_batches, "--profile": profile}
    workers = engine_options.asked_engine(
        engine,
        engine_workers,
        address=address,
        gpus=gpus_per_worker,
        cpus=cpus_per_worker,
        device=device,
        output=output,
        without=without,
    )
    from tadacli.sampling.plan import Part
    from tadacli.scoring.options import ClassificationOptions, scoring_options

    limit = options.num_bytes("--max-download", max_download)
    part, parts = None, (start, end) == (None, None)
    if (start, end, sampling) != (None, None, None):
        part = Part(options.seconds(start), options.seconds(end), sampling)
    scoring = scoring_options(views=views, batch_size=batch_size, fill_batches=fill_batches)
    least = options.score_limit("--min-score", min_score)
    asked = ClassificationOptions(scoring, part, topk, least, fps, options.index_folder(index))
    if workers is not None:
        from tadacli.cli.engine_run import chosen_model, items_of, run_on_engine
        from tadacli.cluster.work import ClassifyWork

        choice = chosen_model(model, weights=weights, dtype=dtype, fetch=fetch, trust=trust, labels=labels)
        table = partial(classification_table, title=choice.name)
        part_of, work = "shorter than a clip", ClassifyWork(choice, asked, limit)
        coming = items_of(options.coming_videos(inputs, recursive=recursive, parts=parts))
        run_on_engine(workers, work, coming, to, what="classified", part=part_of, table=table)
        return
    videos = options.named_videos(inputs, recursive=recursive, parts=parts)
    to = to.of_videos(videos)
    from tadacli.classification import classification_run, iter_classifications

    loaded = options.repeatable_model(
        model, weights=weights, device=device, dtype=dtype, fetch=fetch, trust=trust, labels=labels
    )
    run = classification_run(loaded, asked)
    protocol = scoring.views_of(loaded.spec)
    title = f"{loaded.spec.name}, {loaded.spec.task}, {f'{protocol} views' if sampling is None else sampling}"
    title += ", labels hold independently" if loaded.spec.multi_label else ""
    table = partial(classification_table, title=title)
    sink = open_classification_sink(to, run, videos, lambda rows, width: table(rows, width=width))
    sink = also_shown(sink, output, table)
    done = sink.done
    num_left = sum(path not in done for path in videos)
    progress = ViewsProgress(num_left, protocol.num_clips * protocol.num_crops)
    results = iter_classifications(
        videos,
        model=loaded,
        options=asked,
        done=done,
        max_download=limit,
        on_video=progress.start,
        on_views=progress.advance,
    )
    with showing(stopwatch):
        rows = _rows(results, run, progress, with_notes=not isinstance(sink, TableSink))
        statuses = write_results(rows, sink, videos)
    summarise(statuses, "classified", part="shorter than a clip", output=output)
    if "error" in statuses.values():
        raise typer.Exit(exits.SOME_FAILED)


def _rows(
    results: Generator[Classification, None, None], run: Run, progress: ViewsProgress, *, with_notes: bool
) -> Generator[ClassificationRow, None, None]:
    """The rows of results; when one is written, errors and, where no table shows them, notes are said, each once."""
    from tadacli.formats.rows import classification_row
    from tadacli.video.inputs import file_size

    notes = Notes()
    with closing(progress), closing(results):
        for result in results:
            progress.end()
            row = classification_row(result, run, size_bytes=file_size(result.path))
            yield row
            notes.add(row)
            if result.status == "error":
                say(f"error: {result.error}", always=True)
        if with_notes:
            notes.say()
