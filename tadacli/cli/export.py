"""`tada export`: a model as a file that other runtimes take, proven to give what the model gives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import be_quiet, say, say_note, show
from tadacli.cli.help import INPUT, MODEL, OUTPUT
from tadacli.cli.weights import model_here
from tadacli.exporting import DEFAULT_MIN_AGREEMENT

if TYPE_CHECKING:
    from tadacli.exporting.writing import ExportReport


def export_command(
    model: Annotated[
        str | None,
        MODEL.argument(
            help="Model name, a run's folder, or a weights file that says what it is. Default: the built-in one.",
            envvar="TADA_MODEL",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        OUTPUT.option(
            "--output",
            "-o",
            help="The file: .onnx for onnxruntime, OpenVINO, TensorRT; .pt2 for PyTorch. Never overwrites.",
            metavar="FILE",
        ),
    ] = None,
    weights: options.Weights = None,
    trust: options.TrustedSettings = None,
    labels: options.LabelsFile = None,
    fetch: options.Fetch = False,
    clips: Annotated[
        list[str] | None,
        INPUT.option(
            "--clips",
            help="Videos to prove it on, as for classify; may be repeated. Default: rendered ones.",
            metavar="INPUT",
        ),
    ] = None,
    recursive: options.Recursive = False,
    int8: Annotated[
        bool, OUTPUT.option("--int8", help="Write numbers of eight bits, calibrated on --clips; .onnx only.")
    ] = False,
    min_agreement: Annotated[
        float,
        OUTPUT.option(help="With --int8: the share of clips whose best class stays, else no file is kept."),
    ] = DEFAULT_MIN_AGREEMENT,
    quiet: options.Quiet = False,
) -> None:
    """Write a model as one file that other runtimes take.

    The file carries all that is needed to use it: labels, how clips
    are taken, temperatures, thresholds, the hash of the weights.

    Clips go through the model and through the file, at batch 1, 2 and
    5. A file that gives other values, more than 1e-4 of the largest, or
    another best class is not kept. A report is written beside it.

    .onnx needs: pip install "tadacli[onnx]".
    """
    be_quiet(quiet)
    from tadacli.errors import UsageError

    if output is None:
        raise UsageError("--output is needed", hint="for example tada export -o model.onnx")
    from tadacli.exporting.output import check_int8, check_output

    check_output(output)
    if int8:
        check_int8(output, clips or (), min_agreement)
    videos = options.named_videos(clips, recursive=recursive) if clips else []
    name, weights = options.model_and_weights(model, weights)
    names = options.label_names(labels)
    name = model_here(name, weights=weights, fetch=fetch, labels=names)
    from tadacli.exporting.writing import export
    from tadacli.scoring.provenance import make_repeatable

    make_repeatable()
    try:
        report = export(
            name,
            output=output,
            weights=weights,
            trust=trust,
            labels=names,
            clips=videos,
            int8=int8,
            min_agreement=min_agreement,
            on_phase=lambda phase: say(f"{phase} ...") if sys.stderr.isatty() else None,
        )
    except KeyboardInterrupt:
        say(f"interrupted: {output} is not written", always=True)
        raise typer.Exit(exits.INTERRUPTED) from None
    for text in report.left_out:
        say_note(f"left out: {text}")
    if not quiet:
        show(_told(report))


def _told(report: ExportReport) -> str:
    """What was written and what was proven, in two lines."""
    from tadacli.zoo.store import size_text

    proof, seconds = report.facts.proof, sum(report.seconds.values())
    batches = ", ".join(map(str, proof.batch_sizes[:-1])) + f" and {proof.batch_sizes[-1]}"
    what = f"{report.file}: {size_text(report.size_bytes)}, {report.num_nodes} operations, {seconds:.0f} s"
    tried = f"on {proof.num_clips} clips ({proof.clips}) at batch {batches}"
    if report.facts.precision == "float32":
        return f"{what}\nproven {tried}: relative error {proof.relative_error:.1e}, same best class"
    accuracy = report.to_dict()["accuracy"]
    change = f", accuracy {accuracy['model']:.1%} to {accuracy['file']:.1%}" if accuracy else ""
    same = f"same best class in {proof.agreement:.1%}{change}"
    return f"{what}\nin int8 {tried}: relative error {proof.relative_error:.1e}, {same}"
