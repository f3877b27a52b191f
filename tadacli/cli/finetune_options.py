"""The options of `tada finetune` that no other command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tadacli.cli.help import CLIPS, DETECTION, INPUT, MODEL, OUTPUT, SPEED, SPLIT, TRAINING
from tadacli.datasets import FinetuneDatasetName
from tadacli.training import HeadKind, Init
from tadacli.training import Unlabelled as UnlabelledKind

Data = Annotated[
    Path | None,
    INPUT.option(help="A folder with a folder for each class; a .csv, .json or .eaf of labels.", metavar="PATH"),
]
Dataset = Annotated[FinetuneDatasetName | None, INPUT.option(help="Or a data set by name, with --annotations.")]
DataRoot = Annotated[Path | None, INPUT.option(help="The folder with the videos.", metavar="FOLDER")]
LabelsFile = Annotated[Path | None, INPUT.option(help="The classes and their order, one on each line.", metavar="FILE")]
Tiers = Annotated[
    list[str] | None, INPUT.option(help="Of ELAN files: the tier with the labels; may be repeated.", metavar="NAME")
]
TrainSplit = Annotated[
    str | None, SPLIT.option(help="The split of the data to train with. Default: train.", metavar="NAME")
]
ValidationSplit = Annotated[
    str | None, SPLIT.option(help="The split to validate with. Default: validation.", metavar="NAME")
]
ValidationShare = Annotated[
    float, SPLIT.option(help="The share held out, where the data names no validation split.", metavar="SHARE")
]
GroupBy = Annotated[
    str,
    SPLIT.option(help="What stays on one side: video, folder, participant, a CSV column, re:PATTERN.", metavar="WHAT"),
]
Unlabelled = Annotated[
    UnlabelledKind | None,
    INPUT.option(
        help="Whether time of long videos that has no label shows none of the classes. Default: ignore for clips, "
        "background for detection."
    ),
]
Negatives = Annotated[
    Path | None, INPUT.option(help="A folder of videos that hold none of the classes.", metavar="FOLDER")
]
MultiLabel = Annotated[
    bool | None,
    INPUT.option(
        "--multi-label/--no-multi-label",
        help="Learn each label by itself, as several may hold at a time. Default: if one span in twenty has several.",
        show_default=False,
    ),
]
AllowBad = Annotated[int, INPUT.option(min=0, help="Leave out up to so many videos that cannot be read.", metavar="N")]
InitFrom = Annotated[
    Init,
    MODEL.option(
        help="Start from the model's weights, those of an image network (CLIP's for TAdaFormer), or random ones."
    ),
]
Recipe = Annotated[
    str | None,
    TRAINING.option(
        help="A recipe by name (docs/finetune.md), or a .toml file. Default: by the network's size.",
        metavar="NAME_OR_FILE",
    ),
]
Settings = Annotated[
    list[str] | None, TRAINING.option("--set", help="Change a setting of the recipe.", metavar="KEY=VALUE")
]
Epochs = Annotated[
    float | None, TRAINING.option(help="Passes over the training clips. Default: the recipe's.", metavar="N")
]
BatchSize = Annotated[
    int | None, TRAINING.option(help="Clips of a step, over all processes. Default: the recipe's.", metavar="N")
]
LearningRate = Annotated[float | None, TRAINING.option(help="At its highest. Default: the recipe's.", metavar="RATE")]
Balance = Annotated[bool, TRAINING.option("--balance", help="Draw every class equally often, if few samples or many.")]
Seed = Annotated[
    int | None,
    TRAINING.option(help="Of the split, the order and all random numbers. Default: the recipe's.", metavar="N"),
]
Sampling = Annotated[
    Literal["interval", "segment"] | None,
    CLIPS.option(help="Clips at a fixed rate, or frames over the whole item. Default: the model's."),
]
ClipFrames = Annotated[int | None, CLIPS.option(help="Frames of a clip. Default: the model's.", metavar="N")]
FrameStride = Annotated[int | None, CLIPS.option(help="Take every n-th frame. Default: the model's.", metavar="N")]
ShortSide = Annotated[
    int | None, CLIPS.option(help="Size that frames are scaled to. Default: the model's.", metavar="PIXELS")
]
CropSize = Annotated[
    int | None, CLIPS.option(help="Size of the square the network sees. Default: the model's.", metavar="PIXELS")
]
Views = Annotated[str | None, CLIPS.option(help="Of the evaluation at the end. Default: the model's.", metavar="10x3")]
Task = Annotated[
    Literal["classification", "detection"],
    DETECTION.option(help="Tell clips apart, or find segments in long videos: a head over features of the model."),
]
Head = Annotated[HeadKind, DETECTION.option(help="Of detection: pyramid, temporal (faster, for few data) or bmn.")]
Features = Annotated[
    Path | None,
    DETECTION.option(help="Of detection: features that tada features made; else they are made.", metavar="FOLDER"),
]
Snippet = Annotated[
    str | None, DETECTION.option(help="Of detection: length of a snippet. Default: a clip.", metavar="LENGTH")
]
Stride = Annotated[
    str | None, DETECTION.option(help="Of detection: from a snippet to the next. Default: an eighth.", metavar="LENGTH")
]
Workers = Annotated[int, SPEED.option(min=0, help="Processes that make clips; 0: the one that trains.", metavar="N")]
CacheFrames = Annotated[
    str | None,
    SPEED.option(
        help="Keep decoded frames in so much memory, of all workers together, for later epochs: same weights.",
        metavar="4GB",
    ),
]
TensorBoard = Annotated[
    bool, OUTPUT.option("--tensorboard", help="Write a TensorBoard log, too (extra: tadacli[tensorboard]).")
]
RunFolder = Annotated[Path | None, OUTPUT.option("--output", "-o", help="A new folder for the run.", metavar="FOLDER")]
Resume = Annotated[bool, OUTPUT.option("--resume", help="Continue an unfinished --output.")]
DryRun = Annotated[
    bool, OUTPUT.option("--dry-run", help="Show classes, counts, a batch, time and memory; train nothing.")
]
