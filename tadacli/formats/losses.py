"""What a format cannot hold of the segments that are written in it, in words for whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tadacli.formats.ava import whole_seconds
from tadacli.formats.captions import one_line
from tadacli.formats.editing import as_counted, on_the_clock
from tadacli.formats.edl import without_bars
from tadacli.formats.labelled import LabelledSegment, LabelledVideo, as_word, class_names
from tadacli.formats.registry import SegmentFormat
from tadacli.formats.word_lists import class_numbers
from tadacli.results.notes import counted

_MOST_NAMED = 5
_HALF_MILLISECOND, _HALF_SECOND = 0.0005, 0.5
_WRITTEN: Mapping[str, Callable[[str], str]] = {
    "text": str,
    "line": one_line,
    "field": without_bars,
    "word": as_word,
}


def losses(form: SegmentFormat, videos: Sequence[LabelledVideo]) -> list[str]:
    """What of some videos a format does not keep, or keeps in another way.

    Args:
        form: The format.
        videos: The videos as they are written.

    Returns:
        A text for each kind, which begins with "not kept: " or says what is written instead; nothing if all is kept.

    Raises:
        UsageError: The format counts frames, and the rate of a video is not known, or, in timecode, none of SMPTE's.
    """
    holds = form.holds
    if holds.timecode:
        videos = [as_counted(video) for video in videos]
    segments = [segment for video in videos for segment in video.segments]
    scored = sum(each.score is not None for each in segments)
    subjects = sum(bool(each.subject) for each in segments)
    splits = sum(bool(video.split) for video in videos)
    gone = []
    if scored and not holds.scores:
        gone.append(f"scores of {counted(scored, 'segments')}")
    if subjects and not holds.subjects:
        gone.append(f"subjects of {counted(subjects, 'segments')}")
    if splits and not holds.splits:
        gone.append(f"splits of {counted(splits, 'videos')}")
    if holds.frames and (between := _num_between_frames(videos)):
        gone.append(f"fractions of frames of {counted(between, 'segments')}")
    if holds.seconds and (within := sum(map(_is_within_seconds, segments))):
        gone.append(f"fractions of seconds of {counted(within, 'segments')}")
    said = [f"not kept: {', '.join(gone)}"] if gone else []
    said += _changed_labels(form, videos)
    if holds.frames and (clock := on_the_clock(videos)):
        said.append(clock)
    if form.name in ("activitynet", "thumos") and scored < len(segments):
        said.append(f"{counted(len(segments) - scored, 'segments')} without a score got 1")
    return said


def _num_between_frames(videos: Sequence[LabelledVideo]) -> int:
    """How many segments begin or end at another time than their frames do."""
    return sum(
        any(
            abs(video.seconds(video.frame(time)) - time) > _HALF_MILLISECOND
            for time in (segment.start_seconds, segment.end_seconds)
        )
        for video in videos
        for segment in video.segments
    )


def _is_within_seconds(segment: LabelledSegment) -> bool:
    """Whether a segment has other times than the seconds around the whole ones that it holds."""
    seconds = whole_seconds(segment)
    ends = max(0.0, seconds[0] - _HALF_SECOND), seconds[-1] + _HALF_SECOND
    times = segment.start_seconds, segment.end_seconds
    return any(abs(end - time) > _HALF_MILLISECOND for end, time in zip(ends, times, strict=True))


def _changed_labels(form: SegmentFormat, videos: Sequence[LabelledVideo]) -> list[str]:
    labels = class_names(videos)
    if form.holds.labels == "number":
        numbers = class_numbers(videos)
        named = [f"{numbers[label]} {one_line(label)}" for label in labels if str(numbers[label]) != label]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        return [f"labels are numbers: {', '.join(named[:_MOST_NAMED])}{more}"] if named else []
    written = _WRITTEN[form.holds.labels]
    changed = [(label, written(label)) for label in labels if written(label) != label]
    if not changed:
        return []
    label, other = changed[0]
    return [f"{counted(len(changed), 'labels')} got other characters, such as {other!r} for {label!r}"]
