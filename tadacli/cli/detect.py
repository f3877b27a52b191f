"""`tada detect`: what happens in long videos, and when."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import TimelineProgress, clock, detection_table, say
from tadacli.cli.detect_extras import Extras
from tadacli.cli.profile_table import ProfileOption, start_profile, told
from tadacli.cli.repeatable import make_repeatable
from tadacli.cli.score_limit import score_limit
from tadacli.cli.sinks import (
    RESUMABLE,
    SegmentSink,
    Sink,
    TableSink,
    choose_format,
    open_sink,
)
from tadacli.errors import UsageError, VideoError
from tadacli.formats.registry import DETECT_SUFFIXES, SEGMENT_FORMATS, DetectFormat
from tadacli.zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from tadacli.detection.scores import WindowScores
    from tadacli.detection.segments import SegmentSettings
    from tadacli.formats.rows import DetectionRow
    from tadacli.results import Run
    from tadacli.sampling.settings import WindowSettings
    from tadacli.specs import ModelSpec
    from tadacli.zoo.loading import Model


def detect_command(
    inputs: Annotated[
        list[str] | None, typer.Argument(help=options.INPUT_HELP, metavar="INPUT", show_default=False)
    ] = None,
    model: options.ModelName = DEFAULT_MODEL,
    weights: options.Weights = None,
    window: Annotated[
        str, typer.Option(help="Length of a window: 2s, 64f, or several: 1s,2s,4s.", metavar="LENGTH")
    ] = "2s",
    stride: Annotated[
        str | None, typer.Option(help="From one window to the next. Default: half a window.", metavar="LENGTH")
    ] = None,
    sampling: options.Sampling = None,
    start: options.Start = None,
    end: options.End = None,
    allow_gaps: Annotated[bool, typer.Option("--allow-gaps", help="Let the stride exceed the window.")] = False,
    threshold: Annotated[
        str,
        typer.Option(help="A segment reaches this score, 0 to 1; auto: the model's own.", metavar="SCORE|auto"),
    ] = "0.4",
    low_threshold: Annotated[
        float | None, typer.Option(help="And never falls below this one. Default: half of --threshold.")
    ] = None,
    smooth: Annotated[str | None, typer.Option(help="Average scores over this time.", metavar="LENGTH")] = None,
    merge_gap: Annotated[
        str | None, typer.Option(help="Join segments of a label no further apart.", metavar="LENGTH")
    ] = None,
    min_duration: Annotated[str | None, typer.Option(help="Drop shorter segments.", metavar="LENGTH")] = None,
    nms: Annotated[
        Literal["hard", "soft", "gaussian", "none"],
        typer.Option(help="What becomes of overlapping segments of one label."),
    ] = "hard",
    nms_iou: Annotated[float, typer.Option(help="Temporal IoU from which they count as one.")] = 0.5,
    topk: Annotated[int | None, typer.Option(help="Keep the best segments of each video.")] = None,
    topk_per_class: Annotated[int | None, typer.Option(help="Keep the best segments of each label.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Report only this label; can be repeated.")] = None,
    background: Annotated[list[str] | None, typer.Option(help="Never report this label; can be repeated.")] = None,
    save_scores: Annotated[
        Path | None,
        typer.Option(help="Keep the windows' scores: a .npz file, or a folder for several videos.", metavar="PATH"),
    ] = None,
    from_scores: Annotated[
        list[Path] | None,
        typer.Option(help="Make segments from kept scores; no video, no model.", metavar="FILE"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page to look at: timeline, player, table.", metavar="FILE.html")
    ] = None,
    render: Annotated[
        Path | None, typer.Option(help="Also write the video with its labels drawn in.", metavar="FILE.mp4")
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch_size: Annotated[int | None, typer.Option(help="Clips scored at once. Default: 1, on a GPU 8.")] = None,
    output_format: Annotated[
        DetectFormat | None,
        typer.Option("--format", help="Default: by the name of --output, else table on a terminal, jsonl in a pipe."),
    ] = None,
    output: options.Output = None,
    resume: options.Resume = False,
    recursive: options.Recursive = False,
    profile: ProfileOption = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what happens in long videos, and when: start, end, label, score.

    Windows slide over each video and are scored; where a label's score
    reaches --threshold, a segment is reported. Times are presentation
    times in seconds. Nothing found is a result, too.

    Scores can be kept with --save-scores; --from-scores makes segments
    from them again, with other settings, in no time.

    Unreadable parts are listed as gaps, and the exit code is then 3.
    """
    stopwatch = start_profile(profile)
    chosen = choose_format(output_format, output, resume=resume, by_suffix=DETECT_SUFFIXES, plain=("table", "jsonl"))
    from tadacli.detection.segments import SegmentSettings

    segments = SegmentSettings(
        threshold=score_limit("--threshold", threshold),
        low_threshold=low_threshold,
        smooth_seconds=_seconds("--smooth", smooth),
        merge_gap_seconds=_seconds("--merge-gap", merge_gap),
        min_duration_seconds=_seconds("--min-duration", min_duration),
        nms=nms,
        nms_iou=nms_iou,
        topk=topk,
        topk_per_class=topk_per_class,
        labels=tuple(label or ()),
        background=tuple(background or ()),
    )
    if from_scores:
        if inputs or save_scores:
            raise UsageError("--from-scores takes the place of videos", hint="leave INPUT and --save-scores out")
        if profile:
            raise UsageError("--from-scores runs no model", hint="leave --profile out")
        job = _job_from_files(from_scores, segments)
    else:
        from tadacli.sampling.settings import default_batch_size, parse_time, window_settings
        from tadacli.video.inputs import expand_inputs
        from tadacli.zoo.loading import load_model

        windows = window_settings(
            window=window,
            stride=stride,
            sampling=sampling,
            start_seconds=None if start is None else parse_time(start),
            end_seconds=None if end is None else parse_time(end),
            allow_gaps=allow_gaps,
            batch_size=1 if batch_size is None else batch_size,
        )
        videos = expand_inputs(inputs or [], recursive=recursive, stdin=sys.stdin)
        make_repeatable()
        loaded = load_model(model, weights=weights, device=device, dtype=dtype)
        for note in loaded.notes:
            say(note, quiet=quiet)
        if batch_size is None:
            windows = replace(windows, batch_size=default_batch_size(loaded.device.type))
        job = _job_from_videos(videos, loaded, windows, segments, quiet=quiet)
    extras = Extras(job.paths, save_scores=save_scores, report=report, render=render, replace=resume, quiet=quiet)
    sink = _open_sink(chosen, output, job, resume=resume)
    journal = None
    if output is not None and chosen in RESUMABLE and not from_scores:
        journal = output.with_name(output.name + ".unfinished")
    with told(stopwatch, unit="clip"):
        statuses = _detect_all(job, sink, segments, extras, journal=journal, quiet=quiet)
    _summarise(statuses, output, quiet=quiet)
    if set(statuses.values()) & {"error", "partial"}:
        raise typer.Exit(exits.SOME_FAILED)


def _seconds(option: str, text: str | None) -> float:
    from tadacli.sampling.settings import parse_length

    if text is None or text.strip() in ("0", "0s"):
        return 0.0
    length = parse_length(text)
    if length.unit != "seconds":
        raise UsageError(f"{option} {text} is a number of frames", hint=f"give seconds: {option} 0.5s")
    return length.value


@dataclass(frozen=True)
class Job:
    """What is to be done: videos, the run that their results belong to, and where their scores come from.

    `scores_of` takes a video's path, and that of the journal if one is kept.
    """

    paths: list[str]
    spec: ModelSpec
    run: Run
    scores_of: Callable[[str, Path | None], WindowScores]


def _job_from_files(files: Sequence[Path], segments: SegmentSettings) -> Job:
    """Scores that were kept: read now to see that they go together, and again one by one when it is their turn."""
    from tadacli.detection.score_file import read_scores

    by_path: dict[str, Path] = {}
    known: dict[str, tuple[ModelSpec, Run]] = {}
    for file in files:
        scores = read_scores(file)
        segments.check_model(scores.spec)
        if scores.path in by_path:
            raise UsageError(f"{by_path[scores.path]} and {file} hold scores of the same video, {scores.path}")
        by_path[scores.path] = file
        run = _run_of(scores, segments)
        known[run.id] = scores.spec, run
    if len(known) != 1:
        raise UsageError(
            "the score files were made with different models or window settings",
            hint="give those of one model and one set of windows at a time",
        )
    ((spec, run),) = known.values()
    return Job(list(by_path), spec, run, lambda path, _: read_scores(by_path[path]))


def _run_of(scores: WindowScores, segments: SegmentSettings) -> Run:
    from tadacli.scoring.provenance import run_of

    return run_of(
        scores.spec,
        settings={**scores.settings, "segments": asdict(segments)},
        weights_sha256=scores.weights_sha256,
        tool_version=scores.tool_version,
    )


def _job_from_videos(
    videos: list[str],
    model: Model,
    windows: WindowSettings,
    segments: SegmentSettings,
    *,
    quiet: bool,
) -> Job:
    from tadacli.detection.score_file import ScoreJournal
    from tadacli.detection.scores import score_windows
    from tadacli.scoring.provenance import machine_settings, run_of
    from tadacli.version import __version__
    from tadacli.video.inputs import file_size

    segments.check_model(model.spec)
    run = run_of(
        model.spec,
        settings={
            **windows.to_dict(model.spec.input),
            **machine_settings(model),
            "segments": asdict(segments),
        },
        weights_sha256=model.weights_sha256,
        tool_version=__version__,
    )

    def scores_of(path: str, journal_file: Path | None) -> WindowScores:
        journal = None
        if journal_file is not None:
            journal = ScoreJournal(journal_file, run_id=run.id, video=path, size_bytes=file_size(path))
        progress = TimelineProgress(path, number=videos.index(path) + 1, num_videos=len(videos), quiet=quiet)
        try:
            return score_windows(path, model=model, settings=windows, journal=journal, on_progress=progress.reach)
        finally:
            progress.close()
            if journal is not None:
                journal.close()

    return Job(videos, model.spec, run, scores_of)


def _open_sink(chosen: DetectFormat, output: Path | None, job: Job, *, resume: bool) -> Sink[DetectionRow]:
    from tadacli.formats.epic_detection import require_action_heads
    from tadacli.formats.records import DETECTION_FORMATS, detection_format

    if chosen == "epic":
        require_action_heads(job.spec.heads)
    if chosen in SEGMENT_FORMATS:
        return SegmentSink(SEGMENT_FORMATS[chosen], job.paths, output)
    title = f"{job.spec.name}, {job.spec.task}, windows of {job.run.settings['window']}"
    return open_sink(
        chosen,
        output,
        formats={name: detection_format(name, num_videos=len(job.paths)) for name in DETECTION_FORMATS},
        run_id=job.run.id,
        resume=resume,
        render_table=lambda rows, width: detection_table(rows, title=title, width=width),
    )


def _detect_all(
    job: Job,
    sink: Sink[DetectionRow],
    segments: SegmentSettings,
    extras: Extras,
    *,
    journal: Path | None,
    quiet: bool,
) -> dict[str, str]:
    """Detect in what the sink does not hold yet; the status of every video by path."""
    from tadacli.detection.detecting import detection_of, failed
    from tadacli.formats.detection_rows import detection_row
    from tadacli.profiling import Stage, during
    from tadacli.video.inputs import file_size

    wanted = set(job.paths)
    statuses = {path: status for path, status in sink.done.items() if path in wanted}
    if statuses:
        say(f"resuming: {len(statuses)} of {len(job.paths)} videos are done", quiet=quiet)
    noted: set[str] = set()
    try:
        for path in [path for path in job.paths if path not in statuses]:
            try:
                scores = job.scores_of(path, journal)
            except VideoError as error:
                row = detection_row(failed(path, job.spec.name, error), job.run, size_bytes=file_size(path))
            else:
                result = detection_of(scores, segments)
                row = detection_row(result, job.run, size_bytes=scores.size_bytes)
                with during(Stage.OUTPUT):
                    notes = extras.write(result, row, scores, segments)
                for note in notes:
                    say(f"note: {note}", quiet=quiet)
            with during(Stage.OUTPUT):
                sink.add(row)
            statuses[path] = row["status"]
            if journal is not None:
                journal.unlink(missing_ok=True)
            _say_what_is_wrong(row, noted, with_notes=not isinstance(sink, TableSink), quiet=quiet)
        with during(Stage.OUTPUT):
            sink.finish(job.paths)
    except KeyboardInterrupt:
        say(
            f"interrupted: {len(statuses)} of {len(job.paths)} videos are done; "
            "--resume continues an --output file in csv, json or jsonl"
        )
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        exits.leave_closed_pipe()
    finally:
        sink.close()
    return statuses


def _say_what_is_wrong(row: DetectionRow, noted: set[str], *, with_notes: bool, quiet: bool) -> None:
    """Errors and gaps of a video always, its notes where the output does not show them; each note once."""
    if row["status"] == "error":
        say(f"error: {row['error']}")
    for gap in row["gaps"]:
        say(f"gap: {row['path']}: {clock(gap['start_seconds'])} to {clock(gap['end_seconds'])}: {gap['reason']}")
    for note in row["notes"] if with_notes else ():
        if note not in noted:
            say(f"note: {note}", quiet=quiet)
            noted.add(note)


def _summarise(statuses: dict[str, str], output: Path | None, *, quiet: bool) -> None:
    total = len(statuses)
    failed, partial = (sum(status == kind for status in statuses.values()) for kind in ("error", "partial"))
    parts = [f"{total - failed} of {total} videos searched"]
    parts += [f"{partial} with gaps"] if partial else []
    parts += [f"{failed} failed"] if failed else []
    where = f", results in {output}" if output else ""
    say("; ".join(parts) + where, quiet=quiet)
