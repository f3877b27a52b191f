"""Which family a file is of, and its marks as labelled spans: videos found, numbers of frames turned into seconds."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tadacli.datasets.foreign import boris, charades, createml, ego4d, labelstudio, via
from tadacli.datasets.foreign.marks import Mark, Marks
from tadacli.datasets.frame_clock import FrameClock
from tadacli.datasets.loading import usual_spelling
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.datasets.tables import AnyPath, named
from tadacli.datasets.video_search import VideoSearch
from tadacli.errors import UsageError, VideoError
from tadacli.results import Note, NoteKind

_Reader = Callable[[Any, AnyPath], Marks]
# The first that knows the content reads it.
_FAMILIES: tuple[tuple[Callable[[Any], bool], _Reader], ...] = (
    (labelstudio.is_labelstudio, labelstudio.read_labelstudio),
    (boris.is_boris_project, boris.read_boris_project),
    (via.is_via, via.read_via),
    (ego4d.is_ego4d, ego4d.read_ego4d),
    (charades.is_charades, charades.read_charades),
    (createml.is_createml, createml.read_createml),
)


def reader_of(content: Any) -> _Reader | None:
    """What reads a JSON value of one of the families; None if it is of none."""
    return next((read for is_of, read in _FAMILIES if is_of(content)), None)


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
    )
