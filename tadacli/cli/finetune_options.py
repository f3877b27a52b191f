"""The options of `tada finetune` that no other command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tadacli.datasets import FinetuneDatasetName
from tadacli.training import HeadKind, Init
from tadacli.training import Unlabelled as UnlabelledKind

Data = Annotated[
    Path | None,
    typer.Option(help="A folder with a folder for each class; a .csv, .json or .eaf of labels.", metavar="PATH"),
]
Dataset = Annotated[FinetuneDatasetName | None, typer.Option(help="Or a data set by name, with --annotations.")]
DataRoot = Annotated[Path | None, typer.Option(help="The folder with the videos.", metavar="FOLDER")]
LabelsFile = Annotated[Path | None, typer.Option(help="The classes and their order, one on each line.", metavar="FILE")]
Tiers = Annotated[
    list[str] | None, typer.Option(help="Of ELAN files: the tier with the labels; may be repeated.", metavar="NAME")
]
TrainSplit = Annotated[
    str | None, typer.Option(help="The split of the data to train with. Default: train.", metavar="NAME")
]
ValidationSplit = Annotated[
    str | None, typer.Option(help="The split to validate with. Default: validation.", metavar="NAME")
]
ValidationShare = Annotated[float, typer.Option(help="The share held out, where the data names no validation split.")]
GroupBy = Annotated[
    str, typer.Option(help="What stays on one side: video, folder, participant, a CSV column, re:PATTERN.")
]
Unlabelled = Annotated[
    UnlabelledKind | None,
    typer.Option(
        help="Whether time of long videos that has no label shows none of the classes. Default: ignore for clips, "
        "background for detection."
    ),
]
Negatives = Annotated[
    Path | None, typer.Option(help="A folder of videos that hold none of the classes.", metavar="FOLDER")
]
AllowBad = Annotated[int, typer.Option(min=0, help="Leave out up to so many videos that cannot be read.")]
InitFrom = Annotated[
    Init,
    typer.Option(
        help="Start from the model's weights, those of an image network (CLIP's for TAdaFormer), or random ones."
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="A recipe by name (docs/finetune.md), or a .toml file. Default: by the network's size.",
        metavar="NAME_OR_FILE",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting of the recipe.", metavar="KEY=VALUE")
]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training clips. Default: the recipe's.")]
BatchSize = Annotated[int | None, typer.Option(help="Clips of a step, over all processes. Default: the recipe's.")]
LearningRate = Annotated[float | None, typer.Option(help="At its highest. Default: the recipe's.")]
Balance = Annotated[bool, typer.Option("--balance", help="Draw every class equally often, however few samples it has.")]
Seed = Annotated[
    int | None, typer.Option(help="Of the split, the order and all random numbers. Default: the recipe's.")
]
Sampling = Annotated[
    Literal["interval", "segment"] | None,
    typer.Option(help="Clips at a fixed rate, or frames over the whole item. Default: the model's."),
]
ClipFrames = Annotated[int | None, typer.Option(help="Frames of a clip. Default: the model's.")]
FrameStride = Annotated[int | None, typer.Option(help="Take every n-th frame. Default: the model's.")]
ShortSide = Annotated[int | None, typer.Option(help="Size that frames are scaled to. Default: the model's.")]
CropSize = Annotated[int | None, typer.Option(help="Size of the square the network sees. Default: the model's.")]
Views = Annotated[str | None, typer.Option(help="Of the evaluation at the end. Default: the model's.", metavar="10x3")]
Task = Annotated[
    Literal["classification", "detection"],
    typer.Option(help="Tell clips apart, or find segments in long videos: a head over features of the model."),
]
Head = Annotated[HeadKind, typer.Option(help="Of detection: temporal for few data, pyramid, or bmn.")]
Features = Annotated[
    Path | None,
    typer.Option(help="Of detection: features that tada features made; else they are made.", metavar="FOLDER"),
]
Snippet = Annotated[
    str | None, typer.Option(help="Of detection: length of a snippet. Default: a clip.", metavar="LENGTH")
]
Stride = Annotated[
    str | None, typer.Option(help="Of detection: from a snippet to the next. Default: an eighth.", metavar="LENGTH")
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that make clips; 0: the one that trains.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write a TensorBoard log, too (extra: tadacli[tensorboard]).")
]
RunFolder = Annotated[Path | None, typer.Option("--output", "-o", help="A new folder for the run.", metavar="FOLDER")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished --output.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show classes, counts, a batch, time and memory; train nothing.")
]
