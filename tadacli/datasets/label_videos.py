"""Labels of people as videos with segments, which are written for other programs; what is wrong of them is told."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tadacli.datasets.spans import Annotations, LabelledSpan, label_twins
from tadacli.datasets.tables import named
from tadacli.errors import VideoError
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.registry import TimesName
from tadacli.formats.segment_times import TIME_COLUMNS, require_times, time_cells
from tadacli.results.notes import NoteKind
from tadacli.video.reading import open_video

# Programs round to whole milliseconds and frames, and some count the frame that ends a video.
_SLACK_FRAMES, _SLACK_SECONDS = 1.0, 0.01


@dataclass(frozen=True)
class LabelVideos:
    """The videos, in the order of their first label; `left_out` are the spans that are in none, each with a reason."""

    videos: tuple[LabelledVideo, ...]
    left_out: tuple[LabelledSpan, ...]
    remarks: tuple[str, ...] = ()

    def time_columns(self, times: TimesName) -> dict[str, Callable[[LabelledSpan], str]]:
        """What tables have beside the times of spans in seconds.

        Args:
            times: The kind of times.

        Returns:
            What makes the cell of a span, by column; one that ends with a video that is not there has empty ones.

        Raises:
            UsageError: A video has no such times.
        """
        for video in self.videos:
            require_times(video, times)
        videos = {video.path: video for video in self.videos}
        return {name: partial(_time_cell, videos=videos, column=name) for name in TIME_COLUMNS[times]}

    @property
    def num_segments(self) -> int:
        """How many labels the videos have."""
        return sum(len(video.segments) for video in self.videos)


def label_videos(
    annotations: Annotations, *, fps: float | None = None, start_timecode: str | None = None, keep_open: bool = False
) -> LabelVideos:
    """The labels that can be used, by video; videos whose files are there are opened.

    Args:
        annotations: What was read.
        fps: The rate to count frames at; None: that of each video, as far as its file is there.
        start_timecode: The timecode of the first frame of each video; None: as its file says, if it is there.
        keep_open: Whether labels that last to the end of a video whose file is not there are not left out, though they
            are in no video.

    Returns:
        The videos. A label that lasts to the end of its video needs its file; one that reaches beyond its video by more
        than a frame is left out. A video that is in several splits has none.
    """
    left_out = [span for span in annotations.spans if span.reason]
    by_video: dict[str, list[LabelledSpan]] = defaultdict(list)
    for span in annotations.spans:
        if not span.reason:
            by_video[os.fspath(span.path or span.video)].append(span)
    index_of = {label: index for index, label in enumerate(annotations.labels)}
    videos, divided = [], []
    for name, spans in by_video.items():
        path, rate = spans[0].path, spans[0].fps
        video = LabelledVideo(name, (), fps=rate) if path is None else _opened(path, rate)
        segments, refused = _segments(spans, index_of, video)
        left_out += [span for span in refused if not keep_open or span.end_seconds is not None]
        splits = {span.split for span in spans}
        divided += [name] if len(splits) > 1 else []
        video = replace(video, segments=tuple(segments), split=splits.pop() if len(splits) == 1 else "")
        if start_timecode is not None:
            video = replace(video, start_timecode=start_timecode)
        videos.append(video if fps is None else replace(video, fps=fps, frame_times=(), variable_rate=False))
    remarks = [
        f"labels that differ in spelling alone: {one!r} and {two!r}" for one, two in label_twins(annotations.labels)
    ]
    remarks += [f"of several splits, and so of none: {named(divided)}"] if divided else []
    return LabelVideos(tuple(videos), tuple(left_out), tuple(remarks))


def _time_cell(span: LabelledSpan, *, videos: Mapping[str, LabelledVideo], column: str) -> str:
    video = videos[os.fspath(span.path or span.video)]
    end = video.duration_seconds if span.end_seconds is None else span.end_seconds
    if end is None:
        return ""
    segment = LabelledSegment(span.start_seconds or 0.0, end, span.label, 0)
    return time_cells(replace(video, segments=(segment,)))[0].get(column, "")


def _segments(
    spans: Sequence[LabelledSpan], index_of: dict[str, int], video: LabelledVideo
) -> tuple[list[LabelledSegment], list[LabelledSpan]]:
    """(the segments, the spans that are none)."""
    segments, refused = [], []
    length = video.duration_seconds
    slack = _SLACK_SECONDS + (_SLACK_FRAMES / video.fps if video.fps else 0.0)
    for span in spans:
        start = span.start_seconds or 0.0
        end = span.end_seconds if span.end_seconds is not None else length
        reason = ""
        if end is not None and length is not None and start < length < end <= length + span.about_seconds:
            end = length
        if end is None:
            reason = "it lasts to the end of its video, which is not there"
        elif length is not None and end > length + slack:
            reason = f"it ends at {end:.2f} s, and the video lasts {length:.2f} s"
        elif end <= start:
            reason = "it starts where its video ends, or later"
        if reason or end is None:
            refused.append(replace(span, reason=reason))
        else:
            segments.append(LabelledSegment(start, end, span.label, index_of[span.label], span.score, span.participant))
    return segments, refused


def _opened(path: Path, fps: float | None) -> LabelledVideo:
    """A video without segments, with what its file says; a file that cannot be read says nothing."""
    try:
        with open_video(path, fps=fps) as source:
            info = source.info
            is_assumed = any(note.kind is NoteKind.ASSUMED_RATE for note in info.notes)
            times = [float(time) - info.start_seconds for time in source.times_shown.tolist()]
    except VideoError:
        return LabelledVideo(os.fspath(path), (), fps=fps)
    if is_assumed:
        return LabelledVideo(os.fspath(path), (), height=info.height, width=info.width)
    return LabelledVideo(
        path=os.fspath(path),
        segments=(),
        fps=float(info.fps),
        num_frames=info.num_frames,
        duration_seconds=round(info.duration_seconds, 6),
        height=info.height,
        width=info.width,
        frame_times=(*times, info.duration_seconds),
        start_timecode=info.start_timecode,
        variable_rate=info.variable_rate,
    )
