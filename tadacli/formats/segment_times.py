"""Start and end of segments in timecode and in numbers of frames, as tables have them beside seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tadacli.errors import UsageError
from tadacli.formats.editing import as_counted, cuts, edited, on_the_clock
from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.registry import TimesName

# The columns of each kind of times, besides seconds.
TIME_COLUMNS: Mapping[TimesName, tuple[str, ...]] = {
    "seconds": (),
    "timecode": ("start_timecode", "end_timecode"),
    "frames": ("start_frame", "end_frame"),
}


def time_cells(video: LabelledVideo) -> Sequence[dict[str, str]]:
    """The times of segments as they stand in tables.

    Args:
        video: The video with its segments.

    Returns:
        For each segment its cells by column. Frames count from 0, timecode from that of the first frame; the end is
        the first frame after the segment. Those that a video does not have are missing, see `without_times`.
    """
    if not video.fps:
        return [{} for _ in video.segments]
    found = cuts(video)
    cells = [{"start_frame": str(cut.start), "end_frame": str(cut.end)} for cut in found]
    if not without_times(video, "timecode"):
        edit = edited(video)
        for cell, cut in zip(cells, found, strict=True):
            cell |= {"start_timecode": edit.timecode(cut.start), "end_timecode": edit.timecode(cut.end)}
    return cells


def without_times(video: LabelledVideo, times: TimesName) -> str:
    """Why a video has no times of a kind.

    Args:
        video: The video.
        times: The kind.

    Returns:
        The reason; nothing if it has them.
    """
    try:
        require_times(video, times)
    except UsageError as error:
        return error.message
    return ""


def times_note(video: LabelledVideo, times: TimesName) -> str:
    """What to say of the times of a video that its tables have: that it has none, or that they are not the file's own.

    Args:
        video: The video.
        times: The kind.

    Returns:
        A line about it; nothing if there is nothing to say.
    """
    if times == "seconds":
        return ""
    if reason := without_times(video, times):
        return f"{video.path}: {reason}; its times are in seconds alone"
    return on_the_clock([as_counted(video)])


def require_times(video: LabelledVideo, times: TimesName) -> None:
    """Raises `UsageError` where a video with segments has no times of this kind."""
    if times == "timecode":
        edited(video)
    elif times == "frames" and video.segments:
        cuts(video)
