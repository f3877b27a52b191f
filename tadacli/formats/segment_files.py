"""The files of other programs' formats: where each video's segments go, and that nothing is written over."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tadacli.errors import OutputError, UsageError
from tadacli.files import check_new_files, companion_of, refuse_existing, require_folder, write_new
from tadacli.formats.detection_rows import detection_csv_rows
from tadacli.formats.labelled import LabelledVideo, labelled_video
from tadacli.formats.parquet import write_parquet
from tadacli.formats.registry import SEGMENT_FORMATS, TABLES, ConvertFormat, SegmentFormat, TimesName
from tadacli.formats.row_formats import detection_formats, encode_all
from tadacli.formats.rows import DetectionRow
from tadacli.formats.segment_times import TIME_COLUMNS, require_times
from tadacli.formats.tables import DETECTIONS, companion, runs_of
from tadacli.formats.video_names import output_names, video_ids


def plan_files(form: SegmentFormat, paths: Sequence[str], output: Path | None) -> dict[str, Path | None]:
    """The file for each video by path, None for stdout; to be called before the work is done.

    A format that holds one video gets a folder for several of them: `output`, which need not exist. For one
    video, `output` is a file, or a folder that exists.

    Args:
        form: The format.
        paths: The videos.
        output: A file or folder, None for stdout.

    Returns:
        The file of each video, which is the same for all in a format that holds several.

    Raises:
        UsageError: Several videos would go to stdout.
        OutputError: A file exists already, or the format could not tell two videos apart.
    """
    if not form.per_video:
        video_ids(paths)
    if output is None:
        if form.per_video and len(paths) > 1:
            raise UsageError(
                f"{form.name} holds one video in a file, and these are {len(paths)}",
                hint="name a folder for the files: --output FOLDER",
            )
        return dict.fromkeys(paths)
    if not form.per_video or (len(paths) == 1 and not output.is_dir()):
        check_new_files([output])
        return dict.fromkeys(paths, output)
    if output.exists() and not output.is_dir():
        raise OutputError(
            f"{output} is not a folder, and {form.name} holds one video in a file",
            hint="name a folder for the files: --output FOLDER",
        )
    if not output.exists():
        require_folder(output)
    files = {path: output / name for path, name in output_names(paths, form.suffix).items()}
    refuse_existing(list(files.values()))
    return dict(files)


def encode_files(
    form: SegmentFormat, rows: Sequence[DetectionRow], files: Mapping[str, Path | None]
) -> dict[Path | None, bytes]:
    """The contents of files in a format, all of them made before the first is written.

    Args:
        form: The format.
        rows: The videos; those that failed (status "error") have no segments, and are left out.
        files: The file of each video by path, as `plan_files` gives them.

    Returns:
        The content of each file that there is something to say in.

    Raises:
        TadaError: As `SegmentFormat.encode`.
    """
    readable = [row for row in rows if row["status"] != "error"]
    groups = [[row] for row in readable] if form.per_video else [readable] if readable else []
    contents = {}
    for group in groups:
        file = files[group[0]["path"]]
        contents[file] = form.encode(group, folder=_folder_of(file))
    return contents


def convert_labels(
    videos: Sequence[LabelledVideo], form: SegmentFormat, output: Path | None
) -> dict[Path | None, bytes]:
    """The contents of the files that hold labels in the format of another program.

    Args:
        videos: The videos.
        form: The format.
        output: A file or folder, None for stdout.

    Returns:
        The content by file, None for stdout.

    Raises:
        TadaError: As `plan_files` and `SegmentFormat.encode_labelled`.
    """
    files = plan_files(form, [video.path for video in videos], output)
    groups = [[video] for video in videos] if form.per_video else [list(videos)]
    contents = {}
    for group in groups:
        file = files[group[0].path] if group else output
        contents[file] = form.encode_labelled(group, folder=_folder_of(file))
    return contents


def _folder_of(file: Path | None) -> Path | None:
    return None if file is None else file.parent


def convert(
    rows: Sequence[DetectionRow],
    to: ConvertFormat,
    output: Path | None,
    *,
    fps: float | None = None,
    start_timecode: str | None = None,
    times: TimesName = "seconds",
) -> dict[Path | None, bytes]:
    """The contents of the files that hold these rows in any format, ours or that of another program.

    Args:
        rows: The videos.
        to: The format.
        output: A file or folder, None for stdout.
        fps: The rate to count frames at, in a format that counts them; None: that of each video.
        start_timecode: The timecode of the first frame, in a format that has timecode; None: that of each video.
        times: What tables have beside times in seconds.

    Returns:
        The content by file, None for stdout. Only our own formats say which videos failed.

    Raises:
        TadaError: As `plan_files` and `SegmentFormat.encode`, and where a video does not have such times.
    """
    as_labelled = partial(labelled_video, fps=fps, start_timecode=start_timecode)
    if to in SEGMENT_FORMATS:
        form = SEGMENT_FORMATS[to]
        if fps is not None or start_timecode is not None:
            readable = [as_labelled(row) for row in rows if row["status"] != "error"]
            return convert_labels(readable, form, output)
        return encode_files(form, rows, plan_files(form, [row["path"] for row in rows], output))
    for row in rows:
        require_times(as_labelled(row), times)
    table = replace(DETECTIONS, flatten=partial(detection_csv_rows, fps=fps, start_timecode=start_timecode))
    is_ranked = any("rank" in segment for row in rows for segment in row["segments"])
    more = (*(("rank",) if is_ranked else ()), *TIME_COLUMNS[times])
    about = companion(table, runs_of(rows), more=more)
    if to == "parquet":
        stream = io.BytesIO()
        write_parquet(stream, table, rows, about=about, more=more)
        return {output: stream.getvalue()}
    beside = {companion_of(output): about} if output and to in TABLES else {}
    return beside | {output: encode_all(detection_formats(num_videos=len(rows), columns=more, table=table)[to], rows)}


def write_file(file: Path, content: bytes, *, make_folder: bool) -> None:
    """Write a file whole.

    Args:
        file: Its name.
        content: Its bytes.
        make_folder: Whether the folder it is in is made if it is missing.

    Raises:
        OutputError: The file exists already, or cannot be written; then nothing is left of it.
    """
    if make_folder:
        try:
            file.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{file.parent} cannot be written: {error.strerror or error}", hint="give another --output"
            ) from error
    write_new(file, content)
