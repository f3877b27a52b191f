"""The formats in which other programs take segments, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.errors import OutputError, UsageError
from tadacli.files import refuse_existing, write_new
from tadacli.formats.activitynet import activitynet
from tadacli.formats.audacity import audacity
from tadacli.formats.elan import eaf
from tadacli.formats.epic_detection import epic_detection
from tadacli.formats.rows import DetectionRow
from tadacli.formats.subtitles import srt, vtt
from tadacli.formats.video_names import output_names, video_ids


@dataclass(frozen=True)
class SegmentFormat:
    """A format by name: the suffix of its files, and what makes them of detection rows.

    With `per_video` a file holds one video and `encode` takes one row, else any number of them. The rows are of
    videos that could be read.
    """

    name: str
    suffix: str
    per_video: bool
    encode: Callable[[Sequence[DetectionRow]], bytes]


def _of_one(encode: Callable[[DetectionRow], bytes]) -> Callable[[Sequence[DetectionRow]], bytes]:
    def encode_only(rows: Sequence[DetectionRow]) -> bytes:
        (row,) = rows
        return encode(row)

    return encode_only


SEGMENT_FORMATS: Mapping[str, SegmentFormat] = {
    form.name: form
    for form in (
        SegmentFormat("srt", ".srt", True, _of_one(srt)),
        SegmentFormat("vtt", ".vtt", True, _of_one(vtt)),
        SegmentFormat("audacity", ".txt", True, _of_one(audacity)),
        SegmentFormat("eaf", ".eaf", True, _of_one(eaf)),
        SegmentFormat("activitynet", ".json", False, activitynet),
        SegmentFormat("epic", ".json", False, epic_detection),
    )
}


def plan_files(form: SegmentFormat, paths: Sequence[str], output: Path | None) -> dict[str, Path | None]:
    """The file for each video by path, None for stdout; to be asked before the work is done.

    A format that holds one video gets a folder for several of them: `output`, which need not exist. For one
    video, `output` is a file, or a folder that exists. Raises `UsageError` where several videos would go to
    stdout, and `OutputError` for a file that exists and for videos that the format could not tell apart.
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
        refuse_existing([output])
        return dict.fromkeys(paths, output)
    if output.exists() and not output.is_dir():
        raise OutputError(
            f"{output} is not a folder, and {form.name} holds one video in a file",
            hint="name a folder for the files: --output FOLDER",
        )
    files = {path: output / name for path, name in output_names(paths, form.suffix).items()}
    refuse_existing(list(files.values()))
    return dict(files)


def write_segments(form: SegmentFormat, rows: Sequence[DetectionRow], output: Path) -> list[Path]:
    """Write the rows in this format, each file at once and whole; the files that were written.

    Rows of videos that failed (status "error") are left out and get no file, but count for the names of the
    others. Raises what `plan_files` and the format raise, and `OutputError` for what cannot be written.
    """
    files = plan_files(form, [row["path"] for row in rows], output)
    readable = [row for row in rows if row["status"] != "error"]
    groups = [[row] for row in readable] if form.per_video else [readable] if readable else []
    # Every file is made before the first is written: a format that refuses a row then leaves nothing behind.
    contents = [(files[group[0]["path"]], form.encode(group)) for group in groups]
    if contents and form.per_video and len(files) > 1:
        try:
            output.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{output} cannot be written: {error.strerror or error}", hint="give another --output"
            ) from error
    written = []
    for file, content in contents:
        assert file is not None
        write_new(file, content)
        written.append(file)
    return written
