"""Videos with labelled segments, as programs of annotators know them: found by a model, or labelled by people."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tadacli.errors import UsageError
from tadacli.formats.captions import one_line, player_segments
from tadacli.formats.rows import DetectionRow
from tadacli.results.json_ready import Origin


@dataclass(frozen=True)
class LabelledSegment:
    """A span with a label, in seconds of the player's clock, which shows the first frame at 0.

    `index` is the label's place among the classes, `score` is 0..1, None where a person labelled. `subject` is who is
    seen, as some programs note it. `origin` says of what `tada detect` found whether a person corrected or added it.
    """

    start_seconds: float
    end_seconds: float
    label: str
    index: int
    score: float | None = None
    subject: str = ""
    origin: Origin | None = None


@dataclass(frozen=True)
class LabelledVideo:
    """A video with its segments, and what is known of it; None or 0 where nothing is.

    `frame_times` are when frames are shown, in seconds from the first, and last when the last one ends; without them
    frames are counted at `fps`. `made_with` says which model found the segments, and is empty for labels of people.
    `start_timecode` and `variable_rate` are those of `VideoInfo`.
    """

    path: str
    segments: tuple[LabelledSegment, ...]
    fps: float | None = None
    num_frames: int | None = None
    duration_seconds: float | None = None
    height: int = 0
    width: int = 0
    split: str = ""
    made_with: str = ""
    frame_times: tuple[float, ...] = ()
    start_timecode: str = ""
    variable_rate: bool = False

    def frame(self, seconds: float) -> int:
        """The number of the frame that is shown next to a time.

        Args:
            seconds: The time.

        Returns:
            The number from 0; that of the frame after the last is the end of the video.

        Raises:
            UsageError: The rate of the video is not known.
        """
        times = self.frame_times
        if times and seconds <= times[-1]:
            after = bisect_left(times, seconds)
            return after - 1 if after and seconds - times[after - 1] <= times[after] - seconds else after
        if not self.fps:
            raise UsageError(
                f"nothing says how many frames {self.path} has a second, and this format counts frames",
                hint="say where the videos are: --data-root FOLDER; or the rate: --fps N",
            )
        return round(seconds * self.fps)

    def seconds(self, frame: int) -> float:
        """When a frame is shown, in seconds from the first."""
        if 0 <= frame < len(self.frame_times):
            return self.frame_times[frame]
        return frame / self.fps if self.fps else 0.0


def labelled_video(row: DetectionRow, *, fps: float | None = None, start_timecode: str | None = None) -> LabelledVideo:
    """What `tada detect` found in a video, on the clock of a player.

    Args:
        row: One video.
        fps: The rate to count frames at, on the clock; None: that of the video.
        start_timecode: The timecode of the first frame; None: that of the video.

    Returns:
        The video with its segments in their order; what a person added has no score.
    """
    facts = row["info"]
    segments = (
        LabelledSegment(
            each["start_seconds"],
            each["end_seconds"],
            each["label"],
            each["index"],
            None if each.get("origin") == "added" else each["score"],
            origin=each.get("origin", "machine"),
        )
        for each in player_segments(row)
    )
    return LabelledVideo(
        path=row["path"],
        segments=tuple(segments),
        fps=row["fps"] if fps is None else fps,
        num_frames=None if facts is None else facts["num_frames"],
        duration_seconds=row["duration_seconds"],
        height=0 if facts is None else facts["height"],
        width=0 if facts is None else facts["width"],
        made_with=f"{row['model']}, tada {row['tool_version']}",
        start_timecode=facts.get("start_timecode", "") if facts and start_timecode is None else start_timecode or "",
        variable_rate=facts is not None and fps is None and facts.get("variable_rate", False),
    )


def class_names(videos: Iterable[LabelledVideo]) -> list[str]:
    """The labels that occur, in the order of the classes."""
    found = {(segment.index, segment.label) for video in videos for segment in video.segments}
    return list(dict.fromkeys(label for _, label in sorted(found)))


def as_word(label: str) -> str:
    """A label as one word, for formats in which blanks, semicolons and commas divide fields.

    Args:
        label: Any label.

    Returns:
        The label with "_" for each of these, and for controls; "_" for an empty one.
    """
    text = "".join("_" if each.isspace() or each in ";," else each for each in one_line(label))
    return text or "_"


def lanes(segments: Sequence[LabelledSegment], *, touching: bool) -> list[list[LabelledSegment]]:
    """Segments on as few lanes as it takes for those of a label not to overlap, each lane in order of time.

    Args:
        segments: Segments of one video.
        touching: Whether one may start in the very millisecond in which the one before ends.

    Returns:
        The lanes; the first has most, and there is one also without a segment.
    """
    found: list[list[LabelledSegment]] = [[]]
    ends: list[dict[tuple[str, str], int]] = [{}]
    for segment in sorted(segments, key=lambda each: (each.start_seconds, each.end_seconds)):
        key = (segment.label, segment.subject)
        start, end = round(segment.start_seconds * 1000), round(segment.end_seconds * 1000)
        free = next((number for number, last in enumerate(ends) if last.get(key, -1) < start + touching), None)
        if free is None:
            free = len(found)
            found.append([])
            ends.append({})
        found[free].append(segment)
        ends[free][key] = max(end, start + 1)
    return found
