"""The options of `tada detect` that no other command has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tadacli.cli.options import INPUT_HELP
from tadacli.detection import Nms
from tadacli.errors import UsageError
from tadacli.formats.registry import DetectFormat

Inputs = Annotated[list[str] | None, typer.Argument(help=INPUT_HELP, metavar="INPUT", show_default=False)]
Window = Annotated[str, typer.Option(help="Length of a window: 2s, 64f, or several: 1s,2s,4s.", metavar="LENGTH")]
Stride = Annotated[
    str | None, typer.Option(help="From one window to the next. Default: half a window.", metavar="LENGTH")
]
AllowGaps = Annotated[bool, typer.Option("--allow-gaps", help="Let the stride exceed the window.")]
Threshold = Annotated[
    str, typer.Option(help="A segment reaches this score, 0 to 1; auto: the model's own.", metavar="SCORE|auto")
]
LowThreshold = Annotated[
    float | None, typer.Option(help="And never falls below this one, with its windows. Default: ends at half its peak.")
]
Smooth = Annotated[str | None, typer.Option(help="Average scores over this time.", metavar="LENGTH")]
MergeGap = Annotated[str | None, typer.Option(help="Join segments of a label no further apart.", metavar="LENGTH")]
MinDuration = Annotated[str | None, typer.Option(help="Drop shorter segments.", metavar="LENGTH")]
NmsKind = Annotated[Nms, typer.Option(help="What becomes of overlapping segments of one label.")]
NmsIou = Annotated[float, typer.Option(help="Temporal IoU from which they count as one.")]
TopK = Annotated[int | None, typer.Option(help="Keep the best segments of each video.")]
TopKPerClass = Annotated[int | None, typer.Option(help="Keep the best segments of each label.")]
Labels = Annotated[list[str] | None, typer.Option(help="Report only this label; can be repeated.")]
Background = Annotated[list[str] | None, typer.Option(help="Never report this label; can be repeated.")]
Exclusive = Annotated[
    bool | None,
    typer.Option(
        "--exclusive/--no-exclusive",
        help="One label at a time: the most likely sequence of labels. Default: where labels of the model exclude "
        "each other.",
        show_default=False,
    ),
]
Contrast = Annotated[
    bool,
    typer.Option(
        "--contrast",
        help="Segments are what stands out from its surroundings, and scores say how far; the highest of each still "
        "reaches --threshold.",
    ),
]
CutsWord = Annotated[
    str,
    typer.Option(
        "--cuts",
        help="Where shots begin, which no window or snippet crosses; auto finds them (extra: cuts).",
        metavar="auto|none|FILE",
    ),
]
SaveScores = Annotated[
    Path | None,
    typer.Option(help="Keep the windows' scores: a .npz file, or a folder for several videos.", metavar="PATH"),
]
FromScores = Annotated[
    list[Path] | None, typer.Option(help="Make segments from kept scores; no video, no model.", metavar="FILE")
]
Features = Annotated[
    list[Path] | None,
    typer.Option(
        help="Search features: a folder of tada features or of published 5-second files. INPUT names videos.",
        metavar="FOLDER",
    ),
]
ClassScores = Annotated[
    Path | None,
    typer.Option(help="Of published features: class scores in the same layout, which name actions.", metavar="FOLDER"),
]
Report = Annotated[
    Path | None, typer.Option(help="Also write a page to look at: timeline, player, table.", metavar="FILE.html")
]
Render = Annotated[Path | None, typer.Option(help="Also write the video with its labels drawn in.", metavar="FILE.mp4")]
BatchSize = Annotated[int | None, typer.Option(help="Clips scored at once. Default: 1, on a GPU 8.")]
Format = Annotated[
    DetectFormat | None,
    typer.Option("--format", help="Default: by the name of --output, else table on a terminal, jsonl in a pipe."),
]


def check_cuts(cuts: str, videos: Sequence[str]) -> None:
    """Raise `UsageError` for a file of cuts, which are those of one video, where there are several."""
    if cuts not in ("auto", "none") and len(videos) > 1:
        raise UsageError(
            f"--cuts {cuts} are the times of one video, and these are {len(videos)}",
            hint="give one video at a time, or --cuts auto",
        )
