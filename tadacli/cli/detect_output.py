"""`tada detect`: results are written as they come; errors, gaps and notes are said."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from tadacli.cli.console import Notes, say, say_note
from tadacli.cli.progress import Progress, TimelineProgress, clock
from tadacli.cli.sinks import Sink, TableSink, write_results

if TYPE_CHECKING:
    from pathlib import Path

    from tadacli.detection.jobs import DetectionJob, Found
    from tadacli.formats.registry import TimesName
    from tadacli.formats.rows import DetectionRow
    from tadacli.reports.detection_files import DetectionFiles


def write_detections(
    job: DetectionJob,
    sink: Sink[DetectionRow],
    files: DetectionFiles,
    *,
    times: TimesName,
    journal: Path | None,
    save_scores: Mapping[str, Path],
    replace: bool,
) -> dict[str, str]:
    """Write what the sink does not hold yet; the status of every video by path."""
    from tadacli.detection.jobs import iter_detections

    progress = TimelineProgress(job.videos)
    results = iter_detections(
        job,
        done=sink.done,
        journal=journal,
        save_scores=save_scores,
        replace=replace,
        on_video=progress.start,
        on_progress=progress.reach_time,
    )
    rows = _rows(results, job, files, progress, times, with_notes=not isinstance(sink, TableSink))
    statuses = write_results(rows, sink, job.videos)
    for text in files.finish(job.run.id):
        say_note(text)
    return statuses


def _rows(
    results: Generator[Found, None, None],
    job: DetectionJob,
    files: DetectionFiles,
    progress: TimelineProgress,
    times: TimesName,
    *,
    with_notes: bool,
) -> Generator[DetectionRow, None, None]:
    """The rows of results; when one is written, errors and gaps are said, and notes that no table shows, each once."""
    from tadacli.formats.detection_rows import detection_row
    from tadacli.formats.labelled import labelled_video
    from tadacli.formats.segment_times import times_note
    from tadacli.profiling import Stage, during

    run_notes = Notes()
    with closing(progress), closing(results):
        for found in results:
            progress.close()
            row = detection_row(found.result, job.run, size_bytes=found.size_bytes)
            with during(Stage.OUTPUT), Progress("render", unit="frame") as drawing:
                labels = job.spec.heads.get("", ())
                notes = files.write(found, row, job.segments, labels=labels, on_frames=drawing.reach)
            for note in notes:
                say_note(note)
            yield row
            if row["segments"] and (note := times_note(labelled_video(row), times)):
                say_note(note)
            if row["status"] == "error":
                say(f"error: {row['error']}", always=True)
            for gap in row["gaps"]:
                span = f"{clock(gap['start_seconds'])} to {clock(gap['end_seconds'])}"
                say(f"gap: {row['path']}: {span}: {gap['reason']}", always=True)
            run_notes.add(row)
        if with_notes:
            run_notes.say()
