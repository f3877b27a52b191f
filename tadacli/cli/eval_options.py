"""The options of `tada eval` that no other command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tadacli.cli.help import INPUT, OUTPUT, SCORING, SPEED
from tadacli.datasets import EvalDatasetName
from tadacli.formats.registry import ReportFormat

Dataset = Annotated[EvalDatasetName, INPUT.option(help="The data set, and its official metrics.")]
Files = Annotated[
    list[Path] | None, INPUT.argument(help="With --merge: the predictions of all shards.", metavar="FILE")
]
DataRoot = Annotated[Path | None, INPUT.option(help="The folder with its videos.", metavar="FOLDER")]
Split = Annotated[
    str | None, INPUT.option(help="Part that is scored. Default: the one results are published for.", metavar="NAME")
]
Predictions = Annotated[
    Path | None, INPUT.option(help="Score saved predictions: .json, .jsonl, .pkl, .pt; also .gz.", metavar="FILE")
]
Tiou = Annotated[
    str | None,
    SCORING.option(
        help="Detections: thresholds on temporal IoU, start:step:end or a list. Default: the official ones.",
        metavar="0.1:0.1:0.5",
    ),
]
Merge = Annotated[bool, INPUT.option("--merge", help="Score the predictions of all shards together.")]
Check = Annotated[
    bool, INPUT.option("--check", help="Probe every video without a model; takes --split train,val, too.")
]
Views = Annotated[str | None, SCORING.option(help="Clips x crops. Default: as it was published.", metavar="10x3")]
BatchSize = Annotated[int, SPEED.option(help="Views scored at once.", metavar="N")]
Workers = Annotated[int | None, SPEED.option(help="Videos decoded at once. Default: by the cores.", metavar="N")]
Shard = Annotated[str | None, SPEED.option(help="Only this part of the items.", metavar="3/8")]
SavePredictions = Annotated[
    Path | None, OUTPUT.option(help="Keep the scores of every item as it is done: .jsonl.", metavar="FILE")
]
Resume = Annotated[bool, OUTPUT.option("--resume", help="Continue --save-predictions.")]
Submission = Annotated[
    Path | None, OUTPUT.option(help="Write the EPIC-KITCHENS challenge's file: .json or .zip.", metavar="FILE")
]
Report = Annotated[Path | None, OUTPUT.option(help="Write a page to look at: .html.", metavar="FILE")]
Format = Annotated[
    ReportFormat | None,
    OUTPUT.option("--format", help="Default: by the name of --output, else table on a terminal, json in a pipe."),
]
