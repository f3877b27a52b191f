"""`tada eval`: how good predictions are, by the official measures of their dataset."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tadacli.cli import options
from tadacli.cli.console import printable, say

if TYPE_CHECKING:
    from tadacli.evaluation import EvalReport


def eval_command(
    dataset: Annotated[
        Literal["ek100", "ek100-detection", "activitynet"], typer.Option(help="The dataset, and its official metrics.")
    ],
    annotations: Annotated[Path, typer.Option(help="Its annotations, as published.", metavar="FILE_OR_FOLDER")],
    predictions: Annotated[Path, typer.Option(help="Saved predictions: .json, .pkl, .pt; also .gz.", metavar="FILE")],
    split: Annotated[str, typer.Option(help="Part of the dataset that is scored.")] = "validation",
    output_format: Annotated[
        Literal["table", "json"] | None, typer.Option("--format", help="Default: table on a terminal, else json.")
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Score saved predictions with the official metrics of their dataset.

    ek100: verb, noun and action accuracy, unseen participants and tail
    classes, in percent. ek100-detection and activitynet: mean average
    precision at several temporal IoUs, in fractions.
    """
    from tadacli.evaluation import evaluate_predictions

    report = evaluate_predictions(dataset, annotations=annotations, predictions=predictions, split=split)
    suffix = output.suffix.lower() if output else ""
    as_table = output_format == "table" or (
        output_format is None and suffix != ".json" and (output is not None or sys.stdout.isatty())
    )
    text = report_table(report) if as_table else json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        print(printable(text), end="", flush=True)
    else:
        from tadacli.new_files import write_new

        write_new(output, text.encode("utf-8", "surrogateescape"))
    if not as_table:
        for note in report.notes:
            say(f"note: {note}", quiet=quiet)
    say(f"{report.num_scored} of {report.num_items} {_unit(report)} scored", quiet=quiet)


def _unit(report: EvalReport) -> str:
    return "actions" if report.dataset == "ek100" else "videos"


def report_table(report: EvalReport) -> str:
    """The metrics as plain text for people."""
    lines = [f"{report.dataset}: {report.num_scored} of {report.num_items} {_unit(report)} have predictions", ""]
    if report.dataset == "ek100":
        width = max(map(len, report.metrics))
        lines += [f"{name:{width}}  {value:6.2f} %" for name, value in report.metrics.items()]
    else:
        heads = next(iter(report.metrics.values()))["tiou"]
        lines.append("mAP at tIoU " + " ".join(f"{tiou:6.2f}" for tiou in heads) + "    mean")
        lines += [
            f"{task:11} "
            + " ".join(f"{value:6.4f}" for value in task_metrics["mAP"])
            + f"  {task_metrics['avg_mAP']:.4f}"
            for task, task_metrics in report.metrics.items()
        ]
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)]) + "\n"
