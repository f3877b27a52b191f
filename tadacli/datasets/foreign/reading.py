"""Marks as labelled spans: videos found, numbers of frames turned into seconds, at their rate."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tadacli.datasets.foreign.marks import Mark, Marks
from tadacli.datasets.frame_clock import FrameClock
from tadacli.datasets.loading import usual_spelling
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.datasets.tables import AnyPath, named
from tadacli.datasets.video_search import VideoSearch
from tadacli.errors import UsageError, VideoError
from tadacli.results import Note, NoteKind

# Programs round rates, 29.97 for 30000/1001, and some count a frame more or less than there are.
_MOST_OFF, _SPARE_FRAMES = 0.002, 2


def placed(
    found: Marks,
    file: Path,
    *,
    data_root: AnyPath | None,
    layers: Sequence[str] | None = None,
    fps: float | None = None,
) -> Annotations:
    """The marks of a file as labelled spans.

    Args:
        found: The marks.
        file: The file.
        data_root: Where videos are looked for; None: in the folder of the file.
        layers: Those that hold the labels, where marks have several; None: the only one.
        fps: The rate that frames are counted at; None: that of each video.

    Returns:
        The spans, in the order of the marks.

    Raises:
        UsageError: Marks are on several layers and none is named, or frames are counted and a video is not there.
    """
    marks = _of_layers(found.marks, file, layers)
    root = file.parent if data_root is None else data_root
    videos = VideoSearch(root, [mark.video for mark in marks])
    paths = {
        key: videos.find(key[0], also=key[1])
        for key in dict.fromkeys((mark.video, mark.also) for mark in marks)
        if key[0]
    }
    in_frames = [mark for mark in marks if mark.in_frames and not mark.reason]
    if fps is None:
        lost = [mark.video for mark in in_frames if paths.get((mark.video, mark.also)) is None]
        _refuse_lost(list(dict.fromkeys(lost)), file, root)
    clock = FrameClock(fps)
    if fps is None:
        _refuse_other_rates(in_frames, paths, clock, file)
    spans = []
    for mark in marks:
        path = paths.get((mark.video, mark.also))
        missing = "" if path is not None or not mark.video else videos.missing(mark.video, also=mark.also)
        spans.append(_span(mark, path, missing, clock))
    remarks = [*found.remarks, *videos.remarks]
    if in_frames:
        rate = "of each video" if fps is None else f"{fps:g} a second"
        other = "; `tada convert FILE --to csv --fps N` reads them at another" if fps is None else ""
        remarks.append(f"times are numbers of frames at the rate {rate}{other}")
    return Annotations(os.fspath(file), tuple(spans), tuple(Note(NoteKind.READING, remark) for remark in remarks))


def _of_layers(marks: Sequence[Mark], file: Path, layers: Sequence[str] | None) -> list[Mark]:
    counts = Counter(mark.layer for mark in marks)
    listed = named([f"{name!r} ({number})" for name, number in sorted(counts.items())], most=20)
    if layers is None:
        if len(counts) > 1:
            raise UsageError(
                f"{file} has labels of several kinds: {listed}", hint="say which count: --tier NAME, once for each"
            )
        return list(marks)
    missing = [repr(name) for name in layers if name not in counts]
    if missing:
        raise UsageError(f"{file} has no tier {named(missing)}", hint=f"its labels are on {listed or 'none'}")
    return [mark for mark in marks if mark.layer in layers]


def _refuse_lost(lost: Sequence[str], file: Path, root: AnyPath) -> None:
    if lost:
        raise UsageError(
            f"{file} counts frames, and {len(lost)} videos that would tell their rate are not in "
            f"{os.path.abspath(root)}: {named(lost)}",
            hint="say where the videos are: --data-root FOLDER; or make a table of it: tada convert --to csv --fps N",
        )


def _refuse_other_rates(
    marks: Sequence[Mark], paths: Mapping[tuple[str, tuple[str, ...]], Path | None], clock: FrameClock, file: Path
) -> None:
    """Raise `UsageError`, with both rates, if a file counts frames at another rate than its videos have."""
    checked = set()
    for mark in marks:
        path = paths.get((mark.video, mark.also))
        if path is None or (path, mark.fps, mark.num_frames) in checked:
            continue
        checked.add((path, mark.fps, mark.num_frames))
        try:
            num_frames, average, rate = clock.counts(path)
        except VideoError:  # its marks say so themselves
            continue
        said = mark.fps
        if said is None and mark.num_frames is not None and abs(mark.num_frames - num_frames) > _SPARE_FRAMES:
            said = rate * mark.num_frames / num_frames
        if said is not None and min(abs(said - rate), abs(said - average)) > _MOST_OFF * rate:
            raise UsageError(
                f"{file}, {mark.place}: frames are counted at {said:.6g} a second, and {path.name} has {rate:.6g}",
                hint="give the video that was labelled; or say the rate: tada convert FILE --to csv --fps N",
            )


def _span(mark: Mark, path: Path | None, missing: str, clock: FrameClock) -> LabelledSpan:
    start, end, reason, rate = mark.start, mark.end, mark.reason, None
    if not reason and not mark.label:
        reason = "it has no label"
    if not reason and not mark.video:
        reason = "its video is not named"
    if mark.in_frames and not reason:
        try:
            start, end = (None if each is None else clock.seconds(each, path) for each in (start, end))
            rate = clock.rate_of_frames(path)
        except VideoError as error:
            reason = f"its times are numbers of frames, and its video cannot be read: {error.message}"
    if not reason and not all(each is None or math.isfinite(each) for each in (start, end)):
        reason = "its times are no finite numbers"
    if not reason and ((start or 0.0) < 0 or (end is not None and end <= (start or 0.0))):
        reason = "its span is empty, reversed, or begins before the video"
    return LabelledSpan(
        place=mark.place,
        video=mark.video,
        label=mark.label,
        start_seconds=start,
        end_seconds=end,
        path=path,
        split=usual_spelling(mark.split),
        participant=mark.participant,
        reason=reason,
        missing=missing,
        fps=rate,
        about_seconds=mark.about_seconds,
        score=mark.score if mark.score is not None and math.isfinite(mark.score) else None,
    )
