"""`tada classify`: what each of many videos shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits
from tadacli.cli.console import Progress, classification_table, say
from tadacli.cli.sinks import OutputFormat, Sink, TableSink, choose_format, file_size, open_sink

if TYPE_CHECKING:
    from tadacli.provenance import Run
    from tadacli.results import Classification
    from tadacli.specs import EvalProtocol
    from tadacli.zoo import Model


def classify_command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders, globs, URLs, folders or tars of JPEG frames, @LIST, or - (list on stdin).",
            metavar="INPUT",
            show_default=False,
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Model name, or a .safetensors file of our own.", envvar="TADA_MODEL")
    ] = "r2plus1d_tiny.camera_motion",
    weights: Annotated[
        str | None, typer.Option(help="Weights for the model: .pyth, .pt, .safetensors.", metavar="FILE")
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(help="Clips x crops that are averaged. Default: as the model was published.", metavar="10x3"),
    ] = None,
    topk: Annotated[int, typer.Option(help="Labels given for each video.")] = 5,
    min_score: Annotated[float, typer.Option(help="Leave out labels below this score, 0 to 1.")] = 0.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Views scored at once.")] = 8,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="Default: by the name of --output, else table on a terminal, jsonl in a pipe."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the results here; never overwrites.", metavar="FILE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished --output.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look below folders too.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of random numbers, recorded with the results.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors on stderr.")] = False,
) -> None:
    """Say what each video shows: its best labels, with scores.

    Without --model, the built-in model names the camera's motion:
    static, pan, tilt, zoom or roll. It needs no download.

    A video that fails is reported in its row and the others go on;
    the exit code is then 3.
    """
    chosen = choose_format(output_format, output, resume=resume)
    from tadacli.inputs import expand_inputs

    videos = expand_inputs(inputs, recursive=recursive, stdin=sys.stdin)
    from tadacli.classification import check_options
    from tadacli.provenance import describe_run
    from tadacli.zoo import load_model

    asked = check_options(views=views, topk=topk, min_score=min_score, batch_size=batch_size)
    _make_repeatable(seed)
    loaded = load_model(model, weights=weights, device=device, dtype=dtype)
    protocol = asked or loaded.spec.protocol
    run = describe_run(loaded, views=protocol, topk=topk, min_score=min_score, batch_size=batch_size, seed=seed)
    title = f"{loaded.spec.name}, {loaded.spec.task}, {protocol} views"
    sink = open_sink(
        chosen,
        output,
        run_id=run.id,
        resume=resume,
        render_table=lambda rows, width: classification_table(rows, title=title, width=width),
    )
    statuses = _classify_all(videos, sink, model=loaded, views=protocol, run=run, quiet=quiet)
    _summarise(statuses, output, quiet=quiet)
    if "error" in statuses.values():
        raise typer.Exit(exits.SOME_FAILED)


def _make_repeatable(seed: int) -> None:
    """Same input, same bytes: no random numbers but seeded ones, and on a GPU no arithmetic below float32."""
    import torch

    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def _classify_all(
    videos: list[str], sink: Sink, *, model: Model, views: EvalProtocol, run: Run, quiet: bool
) -> dict[str, str]:
    """Classify what the sink does not hold yet; the status of every video by path."""
    from tadacli.classification import classify_video
    from tadacli.writers.rows import classification_row

    wanted = set(videos)
    statuses = {path: status for path, status in sink.done.items() if path in wanted}
    if statuses:
        say(f"resuming: {len(statuses)} of {len(videos)} videos are done", quiet=quiet)
    left = [path for path in videos if path not in statuses]
    progress = Progress(len(left), views.num_clips * views.num_crops, quiet=quiet)
    told: set[str] = set()
    try:
        for number, path in enumerate(left, start=1):
            progress.start(number, path)
            result = classify_video(
                path,
                model=model,
                views=views,
                topk=run.settings["topk"],
                min_score=run.settings["min_score"],
                batch_size=run.settings["batch_size"],
                on_views=progress.advance,
            )
            progress.end()
            sink.add(classification_row(result, run, size_bytes=file_size(path)))
            statuses[path] = result.status
            if result.status == "error":
                progress.say(f"error: {result.error}")
            elif not isinstance(sink, TableSink):  # a table says the notes itself
                _say_notes(result, model.spec.note, progress, told, quiet=quiet)
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


def _say_notes(result: Classification, general: str, progress: Progress, told: set[str], *, quiet: bool) -> None:
    """The notes of a result; the one that all results of the model share only once."""
    for note in result.notes:
        text = note if note == general else f"{result.path}: {note}"
        if text not in told:
            progress.say(f"note: {text}", quiet=quiet)
            told.add(text)


def _summarise(statuses: dict[str, str], output: Path | None, *, quiet: bool) -> None:
    total = len(statuses)
    failed = sum(status == "error" for status in statuses.values())
    short = sum(status == "short" for status in statuses.values())
    parts = [f"{total - failed} of {total} videos classified"]
    parts += [f"{short} shorter than a clip"] if short else []
    parts += [f"{failed} failed"] if failed else []
    where = f", results in {output}" if output else ""
    say("; ".join(parts) + where, quiet=quiet)
