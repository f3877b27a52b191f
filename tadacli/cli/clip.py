"""`tada clip`: segments as videos of their own, as pictures, and on a contact sheet."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tadacli.cli import exits, options
from tadacli.cli.clip_output import ClipOutput
from tadacli.cli.console import be_quiet, say, say_note
from tadacli.cli.help import INPUT, OUTPUT, SEGMENTS
from tadacli.cli.progress import FramesProgress

if TYPE_CHECKING:
    from tadacli.excerpts.jobs import ExcerptJob

Results = Annotated[
    Path,
    INPUT.argument(
        help="What tada detect wrote: .json or .jsonl. Or labels, as tada convert reads them.",
        metavar="RESULTS",
        show_default=False,
    ),
]
Folder = Annotated[
    Path | None,
    OUTPUT.option("--output", "-o", help="The folder for the files; it need not exist.", metavar="FOLDER"),
]
Pad = Annotated[str | None, SEGMENTS.option(help="So much more at either side: 0.5s, 500ms.", metavar="LENGTH")]
Label = Annotated[list[str] | None, SEGMENTS.option(help="Only this label; may be repeated.", metavar="NAME")]
MinScore = Annotated[
    float | None, SEGMENTS.option(help="Only from this score on, 0 to 1; what has none stays.", metavar="SCORE")
]
NoClips = Annotated[bool, OUTPUT.option("--no-clips", help="Only pictures: --images, --sheet.")]
Images = Annotated[
    Literal["jpg", "png"] | None, OUTPUT.option(help="Also write the frame at the middle of each segment.")
]
Sheet = Annotated[
    Path | None,
    OUTPUT.option(help="Also write one picture with a thumbnail of each: .jpg or .png.", metavar="FILE"),
]
Format = Annotated[
    Literal["table", "jsonl"] | None,
    OUTPUT.option("--format", help="What is said on stdout. Default: table on a terminal, jsonl in a pipe."),
]
Resume = Annotated[bool, OUTPUT.option("--resume", help="Keep the files that are whole, and go on with the others.")]


def clip_command(
    results: Results,
    output: Folder = None,
    pad: Pad = None,
    label: Label = None,
    min_score: MinScore = None,
    no_clips: NoClips = False,
    images: Images = None,
    sheet: Sheet = None,
    data_root: options.LabelsRoot = None,
    tier: options.LabelsTier = None,
    fps: options.LabelsFps = None,
    from_format: options.LabelsFormat = None,
    output_format: Format = None,
    resume: Resume = False,
    max_download: options.MaxDownload = "4GB",
    quiet: options.Quiet = False,
) -> None:
    """Cut the segments that were found out of their videos.

    One MP4 for each, named after video, time and label. It has the frames
    that are shown from the segment's start on and before its end. Where
    it begins at a key frame and no frame needs a later one, it is copied;
    else pictures and sound are encoded again.

    Labels of people are cut out, too: tables, ELAN, BORIS and others.

    A segment that cannot be cut out stops no other; the exit code is then 3.
    """
    be_quiet(quiet)
    length = options.length_seconds("--pad", pad)
    limit = options.num_bytes("--max-download", max_download)
    from tadacli.excerpts.jobs import excerpt_job
    from tadacli.excerpts.wanted import wanted_in

    videos, remarks = wanted_in(results, data_root=data_root, tiers=tier or None, fps=fps, kind=from_format)
    job = excerpt_job(
        videos,
        output=output,
        label=label or None,
        min_score=min_score,
        pad_seconds=length,
        clips=not no_clips,
        images=images,
        sheet=sheet,
        resume=resume,
        max_download=limit,
    )
    for remark in remarks:
        say_note(remark)
    found = {name for video in videos for segment in video.segments for name in (segment.label, *segment.names)}
    for name in label or ():
        if name not in found:
            say_note(f"no segment has the label {name}")
    is_table = (output_format or ("table" if sys.stdout.isatty() else "jsonl")) == "table"
    if not _write(job, ClipOutput(is_table=is_table)):
        raise typer.Exit(exits.SOME_FAILED)


def _write(job: ExcerptJob, output: ClipOutput) -> bool:
    """Write the files, and say what became of each segment; whether nothing failed."""
    from tadacli.excerpts.cutting import iter_excerpts

    progress = FramesProgress(len(job.videos))
    excerpts = iter_excerpts(job, on_video=progress.start, on_frames=progress.reach_frame)
    try:
        with closing(output), closing(progress), closing(excerpts):
            for excerpt in excerpts:
                output.add(excerpt)
    except KeyboardInterrupt:
        say(f"interrupted: {output.summary(job)}; --resume goes on", always=True)
        raise typer.Exit(exits.INTERRUPTED) from None
    say(output.summary(job))
    return output.num_failed == 0
