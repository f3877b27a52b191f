"""`tada bench`: how fast a model is on this machine, what limits it, and which settings suit it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from tadacli.cli import options
from tadacli.cli.console import be_quiet, say
from tadacli.cli.exits import write_stdout
from tadacli.cli.help import INPUT, MODEL, OUTPUT, SPEED
from tadacli.cli.printable import printable_lines
from tadacli.cli.sinks import choose_format
from tadacli.cli.weights import whole_name
from tadacli.formats.registry import BENCH_SUFFIXES, BenchFormat


def bench_command(
    video: Annotated[
        str | None,
        INPUT.argument(
            help="Video to measure on. Default: a sample that is made for it.", metavar="VIDEO", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        MODEL.option(
            help="Model or network by name, a run's folder, an exported file, or a weights file that says what it is. "
            "Default: the built-in one.",
            envvar="TADA_MODEL",
            metavar="MODEL",
        ),
    ] = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    dtype: Annotated[
        str,
        SPEED.option(
            help="What to compare with float32, with commas: bfloat16, float16. auto: bfloat16 where it is fast.",
            metavar="DTYPE",
        ),
    ] = "auto",
    batch_size: Annotated[str, SPEED.option(help="Clips at a time, with commas.", metavar="1,4,8")] = "1,4,8",
    seconds: Annotated[float, SPEED.option(help="About how long each measurement takes.", metavar="SECONDS")] = 2.0,
    beside: Annotated[
        list[Path] | None,
        MODEL.option(
            "--beside", help="An exported file to put beside it: .onnx, .pt2; may be repeated.", metavar="FILE"
        ),
    ] = None,
    output_format: Annotated[
        BenchFormat | None,
        OUTPUT.option("--format", help="Default: by the name of --output, else table on a terminal, json in a pipe."),
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure how fast a model is on this machine, and what limits it.

    Times the network in float32 and in bfloat16 where the device is fast
    with it; then decoding, as tada classify and tada detect need it; then
    both together. It says what takes the time, and which settings help.

    --beside puts exported files of the model beside it, in turns with it.

    Weights are not needed: where they are missing they are random.

    Takes about half a minute with the built-in model. Close what else is
    running: it is measured, too.
    """
    be_quiet(quiet)
    chosen = choose_format(output_format, output, by_suffix=BENCH_SUFFIXES, plain=("table", "json"))
    from tadacli.files import check_new_files, write_new

    if output is not None:
        check_new_files([output])
    from tadacli.benchmarking.network_speed import check_batch_sizes, dtypes_to_time, files_to_time, model_to_time
    from tadacli.benchmarking.speed import check_seconds, measure_speed
    from tadacli.cli.bench_output import speed_table, speed_values
    from tadacli.zoo.loading import resolve_device

    model, weights = options.model_and_weights(model, weights)
    timed = model_to_time(whole_name(model, or_network=True), weights=weights, device=device)
    if timed.runtime is not None and dtype == "auto":
        dtype = "float32"
    report = measure_speed(
        video,
        batch_sizes=check_batch_sizes(batch_size),
        seconds=check_seconds(seconds),
        dtypes=dtypes_to_time(dtype, resolve_device(device)),
        model=timed,
        beside=files_to_time(beside or [], timed, device=device),
        on_phase=lambda phase: say(f"{phase} ...") if sys.stderr.isatty() else None,
    )
    as_json = chosen == "json"
    text = json.dumps(speed_values(report), indent=2, ensure_ascii=False) if as_json else speed_table(report)
    content = printable_lines(f"{text}\n").encode()
    if output is None:
        write_stdout(content)
    else:
        write_new(output, content)
        say(f"written to {output}")
