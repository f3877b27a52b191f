"""The options of `tada eval` that no other command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tadacli.datasets import EvalDatasetName
from tadacli.formats.registry import ReportFormat

Dataset = Annotated[EvalDatasetName, typer.Option(help="The data set, and its official metrics.")]
Files = Annotated[
    list[Path] | None, typer.Argument(help="With --merge: the predictions of all shards.", metavar="FILE")
]
DataRoot = Annotated[Path | None, typer.Option(help="The folder with its videos.", metavar="FOLDER")]
Split = Annotated[str | None, typer.Option(help="Part that is scored. Default: the one results are published for.")]
Predictions = Annotated[
    Path | None, typer.Option(help="Score saved predictions: .json, .jsonl, .pkl, .pt; also .gz.", metavar="FILE")
]
Tiou = Annotated[
    str | None,
    typer.Option(
        help="Detections: thresholds on temporal IoU, start:step:end or a list. Default: the official ones.",
        metavar="0.1:0.1:0.5",
    ),
]
Merge = Annotated[bool, typer.Option("--merge", help="Score the predictions of all shards together.")]
Check = Annotated[
    bool, typer.Option("--check", help="Probe every video without a model; takes --split train,val, too.")
]
Views = Annotated[str | None, typer.Option(help="Clips x crops. Default: as the model was published.", metavar="10x3")]
BatchSize = Annotated[int, typer.Option(help="Views scored at once.")]
Workers = Annotated[int | None, typer.Option(help="Videos decoded at once. Default: by the cores.")]
Shard = Annotated[str | None, typer.Option(help="Only this part of the items.", metavar="3/8")]
SavePredictions = Annotated[
    Path | None, typer.Option(help="Keep the scores of every item as it is done: .jsonl.", metavar="FILE")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue --save-predictions.")]
Submission = Annotated[
    Path | None, typer.Option(help="Write the EPIC-KITCHENS challenge's file: .json or .zip.", metavar="FILE")
]
Report = Annotated[Path | None, typer.Option(help="Write a page to look at: .html.", metavar="FILE")]
Format = Annotated[
    ReportFormat | None,
    typer.Option("--format", help="Default: by the name of --output, else table on a terminal, json in a pipe."),
]
