"""The options of `tada detect` that no other command has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

from tadacli.cli.help import INPUT, OUTPUT, SEGMENTS, SPEED, WINDOWS
from tadacli.cli.options import FORMAT_HELP, INPUT_HELP, SAMPLING_HELP
from tadacli.detection import Nms
from tadacli.errors import UsageError
from tadacli.formats.registry import DetectFormat
from tadacli.sampling import WindowSampling

Inputs = Annotated[list[str] | None, INPUT.argument(help=INPUT_HELP, metavar="INPUT", show_default=False)]
Window = Annotated[
    str, WINDOWS.option(help="Length of a window: 2s, 2m, 1m30s, 64f, or several: 1s,4s.", metavar="LENGTH")
]
Stride = Annotated[
    str | None, WINDOWS.option(help="From one window to the next. Default: half a window.", metavar="LENGTH")
]
Sampling = Annotated[WindowSampling | None, WINDOWS.option(help=SAMPLING_HELP)]
AllowGaps = Annotated[bool, WINDOWS.option("--allow-gaps", help="Let the stride exceed the window.")]
AdaptiveStride = Annotated[
    int | None,
    SPEED.option(
        help="Score the first and last of so many windows, and those between only where these differ: 8.", metavar="N"
    ),
]
Threshold = Annotated[
    str, SEGMENTS.option(help="A segment reaches this score, 0 to 1; auto: the model's own.", metavar="SCORE|auto")
]
LowThreshold = Annotated[
    float | None,
    SEGMENTS.option(help="And never falls below this one. Default: ends at half its peak.", metavar="SCORE"),
]
Smooth = Annotated[str | None, SEGMENTS.option(help="Average scores over this time.", metavar="LENGTH")]
MergeGap = Annotated[str | None, SEGMENTS.option(help="Join segments of a label no further apart.", metavar="LENGTH")]
MinDuration = Annotated[str | None, SEGMENTS.option(help="Drop shorter segments.", metavar="LENGTH")]
NmsKind = Annotated[Nms, SEGMENTS.option(help="What becomes of overlapping segments of one label.")]
NmsIou = Annotated[float, SEGMENTS.option(help="Temporal IoU from which they count as one.", metavar="IOU")]
TopK = Annotated[int | None, SEGMENTS.option(help="Keep the best segments of each video.", metavar="N")]
TopKPerClass = Annotated[int | None, SEGMENTS.option(help="Keep the best segments of each label.", metavar="N")]
Labels = Annotated[list[str] | None, SEGMENTS.option(help="Report only this label; may be repeated.", metavar="LABEL")]
Background = Annotated[list[str] | None, SEGMENTS.option(help="Never report this; may be repeated.", metavar="LABEL")]
Exclusive = Annotated[
    bool | None,
    SEGMENTS.option(
        "--exclusive/--no-exclusive",
        help="One label at a time: the most likely sequence of labels. Default: where labels of the model exclude "
        "each other.",
        show_default=False,
    ),
]
Contrast = Annotated[
    bool,
    SEGMENTS.option(
        "--contrast",
        help="Segments are what stands out from its surroundings, and scores say how far; the highest of each still "
        "reaches --threshold.",
    ),
]
CutsWord = Annotated[
    str,
    WINDOWS.option(
        "--cuts",
        help="Where shots begin, which no window or snippet crosses; auto finds them (extra: cuts).",
        metavar="auto|none|FILE",
    ),
]
SaveScores = Annotated[
    Path | None,
    OUTPUT.option(help="Keep the windows' scores: a .npz file, or a folder for several videos.", metavar="PATH"),
]
FromScores = Annotated[
    list[Path] | None, INPUT.option(help="Make segments from kept scores; no video, no model.", metavar="FILE")
]
Features = Annotated[
    list[Path] | None,
    INPUT.option(
        help="Search features: a folder of tada features or of published 5-second files. INPUT names videos.",
        metavar="FOLDER",
    ),
]
ClassScores = Annotated[
    Path | None,
    INPUT.option(help="Of published features: class scores in the same layout, which name actions.", metavar="FOLDER"),
]
Report = Annotated[
    Path | None, OUTPUT.option(help="Also write a page to look at: timeline, player, table.", metavar="FILE.html")
]
Truth = Annotated[
    Path | None,
    OUTPUT.option(
        help="On the page, also what people labelled, and how far both agree: any annotations, or saved corrections.",
        metavar="FILE",
    ),
]
Render = Annotated[Path | None, OUTPUT.option(help="Also write the video, its labels drawn in.", metavar="FILE.mp4")]
BatchSize = Annotated[int | None, SPEED.option(help="Clips scored at once. Default: 1, on a GPU 8.", metavar="N")]
Format = Annotated[
    str | None,
    OUTPUT.option("--format", help=f"{', '.join(get_args(DetectFormat))}. {FORMAT_HELP}", metavar="FORMAT"),
]


def check_cuts(cuts: str, videos: Sequence[str]) -> None:
    """Raise `UsageError` for a file of cuts, which are those of one video, where there are several."""
    if cuts not in ("auto", "none") and len(videos) > 1:
        raise UsageError(
            f"--cuts {cuts} are the times of one video, and these are {len(videos)}",
            hint="give one video at a time, or --cuts auto",
        )
