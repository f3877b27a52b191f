"""`tada features`: what a model makes of snippets of videos, for heads that find actions in time."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tadacli.cli import engine_options, exits, options
from tadacli.cli.console import Notes, be_quiet, feature_table, say, showing, start_profile
from tadacli.cli.detect_options import CutsWord, check_cuts
from tadacli.cli.exits import write_stdout
from tadacli.cli.help import OUTPUT, SPEED, WINDOWS
from tadacli.cli.progress import TimelineProgress, clock
from tadacli.cli.sinks import summarise

if TYPE_CHECKING:
    from tadacli.detection.extraction import FeatureJob
    from tadacli.detection.feature_layouts import FeatureStore
    from tadacli.formats.feature_rows import FeatureRow

Folder = Annotated[
    Path, OUTPUT.option("--output", "-o", help="The folder for the features; it need not exist.", metavar="FOLDER")
]
Snippet = Annotated[
    str | None, WINDOWS.option(help="Length of a snippet: 64f, 2s. Default: a clip of the model.", metavar="LENGTH")
]
Stride = Annotated[
    str | None, WINDOWS.option(help="From one snippet to the next. Default: an eighth of it.", metavar="LENGTH")
]
Crops = Annotated[int, WINDOWS.option(help="1, or 3 along the longer side, whose features are joined.", metavar="1|3")]
WithScores = Annotated[bool, OUTPUT.option("--with-scores", help="Keep the scores of the classes, too.")]
Layout = Annotated[
    Literal["tada", "actionformer", "opentad", "epic-5s"], OUTPUT.option(help="What the files are laid out for.")
]
Stored = Annotated[Literal["float32", "float16"], OUTPUT.option(help="The type of the numbers in the files.")]
BatchSize = Annotated[int | None, SPEED.option(help="Views at once. Default: 1, on a GPU 8.", metavar="N")]
Format = Annotated[
    Literal["table", "jsonl"] | None,
    OUTPUT.option("--format", help="What is said on stdout. Default: table on a terminal, jsonl in a pipe."),
]
Resume = Annotated[bool, OUTPUT.option("--resume", help="Keep the files that are whole, and go on with the others.")]


def features_command(
    inputs: options.Inputs,
    output: Folder,
    model: options.ModelName = None,
    weights: options.Weights = None,
    trust: options.TrustedSettings = None,
    fetch: options.Fetch = False,
    snippet: Snippet = None,
    stride: Stride = None,
    crops: Crops = 1,
    with_scores: WithScores = False,
    layout: Layout = "tada",
    stored: Stored = "float32",
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch_size: BatchSize = None,
    index: options.Index = None,
    fps: options.Fps = None,
    cuts: CutsWord = "none",
    output_format: Format = None,
    resume: Resume = False,
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
    split_videos: engine_options.SplitVideos = None,
) -> None:
    """Write what a model makes of snippets of videos before its last layer.

    One file a video, in one pass that decodes each frame once: a row for
    each snippet, its start, end and centre in presentation time, and all
    that the rows depend on. Frames in lengths (8f) count at the model's
    own rate; EPIC-KITCHENS-100 was published with --stride 8f at 60.

    Other layouts are for other programs, with a JSON file beside each video
    for what they need to know.

    Unreadable parts have no rows and are listed as gaps, and the exit code
    is then 3.
    """
    be_quiet(quiet)
    options.keep_copies(cache, cache_size)
    model, weights = options.model_and_weights(model, weights)
    stopwatch = start_profile(profile)
    workers = engine_options.asked_engine(
        engine,
        engine_workers,
        address=address,
        gpus=gpus_per_worker,
        cpus=cpus_per_worker,
        device=device,
        output=output,
        without={"--profile": profile},
    )
    share = engine_options.share_seconds(split_videos, workers)
    from tadacli.detection.cuts import parse_cuts
    from tadacli.detection.feature_layouts import FeatureStore, check_layout, settings_for
    from tadacli.sampling.snippets import snippet_settings

    check_layout(layout, with_scores=with_scores)
    settings = snippet_settings(
        snippet=snippet,
        stride=stride,
        crops=crops,
        with_scores=with_scores,
        batch_size=batch_size,
        fps=fps,
        cuts=parse_cuts(cuts),
    )
    limit = options.num_bytes("--max-download", max_download)
    videos = options.named_videos(inputs, recursive=recursive)
    check_cuts(cuts, videos)
    is_table = (output_format or ("table" if sys.stdout.isatty() else "jsonl")) == "table"
    kept = options.index_folder(index)
    if workers is not None:
        from tadacli.cli.detect_engine import extract_on_engine
        from tadacli.cli.engine_run import chosen_model
        from tadacli.cluster.work import FeaturesWork

        choice = chosen_model(model, weights=weights, dtype=dtype, fetch=fetch, trust=trust, labels=None)
        work = FeaturesWork(choice, settings, stored, layout, limit, share, kept)
        extract_on_engine(workers, work, videos, output, resume=resume, is_table=is_table)
        return
    from tadacli.detection.extraction import feature_job

    loaded = options.repeatable_model(model, weights=weights, device=device, dtype=dtype, fetch=fetch, trust=trust)
    snippets = settings_for(layout, settings, loaded.spec.input)
    job = feature_job(videos, model=loaded, snippets=snippets, stored=stored, max_download=limit, index=kept)
    store = FeatureStore(job.videos, output, layout=layout, resume=resume)
    with showing(stopwatch, unit="view"):
        statuses = _make(job, store, is_table=is_table)
    summarise(statuses, "have features", part="with gaps", output=output)
    if set(statuses.values()) & {"error", "partial"}:
        raise typer.Exit(exits.SOME_FAILED)


def _make(job: FeatureJob, store: FeatureStore, *, is_table: bool) -> dict[str, str]:
    """Write the features of each video, and say of each what came of it; the status of every video by path."""
    from tadacli.detection.extraction import extraction_row, iter_features
    from tadacli.formats.records import encode_json

    progress = TimelineProgress(job.videos)
    results = iter_features(job, store=store, on_video=progress.start, on_progress=progress.reach_time)
    rows: list[FeatureRow] = []
    notes = Notes()
    try:
        with closing(progress), closing(results):
            for result in results:
                progress.close()
                row = extraction_row(result, job.run)
                rows.append(row)
                if not is_table:
                    write_stdout(encode_json(row) + b"\n")
                    notes.add(row)
                if result.status == "error":
                    say(f"error: {result.error}", always=True)
                for gap in row["gaps"]:
                    span = f"{clock(gap['start_seconds'])} to {clock(gap['end_seconds'])}"
                    say(f"gap: {row['path']}: {span}: {gap['reason']}", always=True)
    except KeyboardInterrupt:
        from tadacli.results import out_of

        done = out_of(len(rows), len(job.videos), "videos", "are done")
        say(f"interrupted: {done}; --resume goes on", always=True)
        raise typer.Exit(exits.INTERRUPTED) from None
    finally:
        if is_table and rows:
            write_stdout(feature_table(rows).encode(), is_styled=True)
        notes.say()
    return {row["path"]: row["status"] for row in rows}
