"""Tables of samples: a row for each, with its video, its label and, if wanted, its span and split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tadacli.datasets.foreign.marks import score_of
from tadacli.datasets.frame_clock import FrameClock
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.datasets.tables import AnyPath, TableRow, read_table
from tadacli.datasets.time_columns import FRAME_RATE, TimeColumns, time_columns
from tadacli.datasets.video_search import FOLDERS, VideoSearch
from tadacli.errors import UsageError, VideoError
from tadacli.results import Note, NoteKind
from tadacli.video.inputs import is_pictures

COLUMNS = "a CSV with the columns path (or video) and label, and if wanted start, end and split"
_PARTICIPANT = ("participant", "participant_id")
_KNOWN = ("path", "video", "label", "split", *_PARTICIPANT, FRAME_RATE)
# The CSV of `tada detect` has presentation times, and a row without a label for a video without a segment.
_DETECT_CSV_START, _SCORE, _RANK = "video_start_seconds", "score", "rank"
_USUAL_TIMES = ("start", "start_seconds", "end", "end_seconds", _DETECT_CSV_START)


def read_segment_table(
    file: AnyPath,
    *,
    data_root: AnyPath | None = None,
    folders: Sequence[str] = FOLDERS,
    required: Sequence[str] = ("label",),
    what: str = COLUMNS,
) -> Annotations:
    """The rows of a table as labelled spans.

    Args:
        file: The table, see `read_table`; its columns are known in whatever case.
        data_root: Where videos are looked for; by default the folder of the table.
        folders: The folders of it that are looked into, beside one named after the split.
        required: Columns that must be there.
        what: What the file should be, for errors.

    Returns:
        A span for each row, in their order. A split is spelled as in the table.

    Raises:
        UsageError: The table is not so, a row has no time where one should be, or a name could be several videos.
    """
    rows = read_table(file, required, what=what, any_case=(*_KNOWN, *_USUAL_TIMES))
    if not rows:
        raise UsageError(f"{os.fspath(file)} has no rows", hint="give a CSV with a row for each sample")
    column = next((name for name in ("path", "video") if name in rows[0].values), None)
    if column is None:
        raise UsageError(f"{os.fspath(file)}, line 1: the header lacks the column path or video", hint=f"give {what}")
    is_detected = _DETECT_CSV_START in rows[0].values
    times = time_columns(rows, known=(*_KNOWN, *([_DETECT_CSV_START] if is_detected else [])))
    names = [row.text(column) for row in rows]
    videos = VideoSearch(Path(file).parent if data_root is None else data_root, names)
    found: dict[tuple[str, str], Path | None] = {}
    clock, spans = FrameClock(), []
    for row, name in zip(rows, names, strict=True):
        word = row.values.get("split", "").strip()
        places = tuple(dict.fromkeys((*folders, word)))
        if (name, word) not in found:
            found[name, word] = videos.find(name, places)
        path = found[name, word]
        missing = "" if path is not None else videos.missing(name, places)
        spans.append(_span(row, name, column, path, times, clock, missing))
    remarks = [remark for remark in (times.remark, *videos.remarks) if remark]
    return Annotations(os.fspath(file), tuple(spans), tuple(Note(NoteKind.READING, remark) for remark in remarks))


def _span(
    row: TableRow, name: str, column: str, path: Path | None, times: TimeColumns, clock: FrameClock, missing: str
) -> LabelledSpan:
    is_detected = _DETECT_CSV_START in row.values
    offset = row.number(_DETECT_CSV_START) if row.values.get(_DETECT_CSV_START, "").strip() else 0.0
    label = row.values["label"].strip() if is_detected else row.text("label")
    fps = row.number(FRAME_RATE) if row.values.get(FRAME_RATE, "").strip() else None
    if fps is not None and fps <= 0:
        raise row.error(f"{FRAME_RATE} is {fps:g}, not a rate")
    if times.counts_frames(row) and fps is None and path is None:
        raise row.error(f"its times are numbers of frames, and no video tells their rate: {missing}")
    reason, start, end = "" if label else "no segment was found", None, None
    if is_detected and row.values.get(_RANK, "").strip():
        reason = "it is a suggestion; whoever has checked its label clears its rank"
    rate = fps if path is not None and is_pictures(os.fspath(path)) else None
    try:
        start, end = times.span(row, offset=offset, seconds_of=partial(clock.seconds, video=path, fps=fps))
        rate = clock.rate_of_frames(path, fps=fps) if times.counts_frames(row) else rate
    except VideoError as error:
        reason = f"its times are numbers of frames, and its video cannot be read: {error.message}"
    return LabelledSpan(
        place=f"line {row.line}",
        video=name,
        label=label,
        start_seconds=start,
        end_seconds=end,
        path=path,
        split=row.values.get("split", "").strip(),
        video_id=row.values.get("video", "").strip() if column == "path" else "",
        participant=next((row.values[key].strip() for key in _PARTICIPANT if key in row.values), ""),
        reason=reason,
        missing=missing,
        fps=rate,
        columns=row.values,
        score=score_of(row.values.get(_SCORE, "")),
    )
