"""Results as JSON-ready values: what rows say of one video, whatever it was made with.

The types here are the one declaration of these values: for what writes them and for what reads them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict  # Python 3.11's own cannot be read strictly

from tadacli.strict_tables import Finite

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tadacli.results.classifications import Classification, Prediction
    from tadacli.results.detections import Detection, Gap, Segment
    from tadacli.results.videos import VideoInfo

Status: TypeAlias = Literal["ok", "short", "error"]
DetectionStatus: TypeAlias = Literal["ok", "partial", "error"]
Count: TypeAlias = Annotated[int, Finite]
Number: TypeAlias = Annotated[float, Finite]


class VideoRow(TypedDict):
    """Facts about a video; times in seconds, sides in pixels, rotation in degrees.

    `start_timecode` is there where the file says the SMPTE timecode of its first frame, `variable_rate` where frames
    are not shown evenly at `fps`. Earlier versions wrote neither.
    """

    num_frames: Count
    fps: Number
    duration_seconds: Number
    start_seconds: Number
    height: Count
    width: Count
    rotation: Count
    codec: str
    truncated: bool
    start_timecode: NotRequired[str]
    variable_rate: NotRequired[bool]


class PredictionRow(TypedDict):
    """A class with its score in 0..1."""

    label: str
    index: Count
    score: Number


class FrameRow(TypedDict):
    """A frame that the model saw, with its presentation time."""

    index: Count
    time_seconds: Number


class PredictionsRow(TypedDict, total=False):
    """The best classes: `topk` of a model with one head, `heads` by name of one with several."""

    topk: list[PredictionRow]
    heads: dict[str, list[PredictionRow]]


class SpanRow(TypedDict):
    """A span in presentation time."""

    start_seconds: Number
    end_seconds: Number


Origin: TypeAlias = Literal["machine", "corrected", "added"]


class SegmentRow(SpanRow):
    """A labelled span with its score in 0..1; that of an action says its verb and its noun besides.

    `peak_score` is what met the threshold; earlier versions did not write it. `origin` and `checked` are those of a
    person who looked at what was found: whether the segment is as the machine found it, was corrected or was added (its
    score is then 1, and the index of a new label above those of the model), and whether it was marked as right. `rank`
    counts from 1 for the span that `tada suggest` would have labelled first; its label is a guess until a person says
    that it is right.
    """

    label: str
    index: Count
    score: Number
    peak_score: NotRequired[Number]
    origin: NotRequired[Origin]
    checked: NotRequired[bool]
    rank: NotRequired[Count]
    verb: NotRequired[Count]
    noun: NotRequired[Count]
    action: NotRequired[str]
    verb_label: NotRequired[str]
    noun_label: NotRequired[str]
    verb_score: NotRequired[Number]
    noun_score: NotRequired[Number]


class GapRow(SpanRow):
    """A span of which frames cannot be read, and why."""

    reason: str


def rounded_seconds(value: float) -> float:
    """A time in whole microseconds, which are finer than any container's clock ticks that matter."""
    return round(value, 6)


def video_facts(info: VideoInfo) -> VideoRow:
    """What a row says of the video itself.

    Args:
        info: What is known of the video.

    Returns:
        The facts; times in seconds, rounded to microseconds.
    """
    facts: VideoRow = {
        "num_frames": info.num_frames,
        "fps": round(float(info.fps), 6),
        "duration_seconds": rounded_seconds(info.duration_seconds),
        "start_seconds": rounded_seconds(info.start_seconds),
        "height": info.height,
        "width": info.width,
        "rotation": info.rotation,
        "codec": info.codec,
        "truncated": info.truncated,
    }
    if info.start_timecode:
        facts["start_timecode"] = info.start_timecode
    if info.variable_rate:
        facts["variable_rate"] = True
    return facts


class CutsRow(TypedDict, total=False):
    """When shots begin across which nothing that is found or made reaches, where they were asked for."""

    cuts: list[Number]


class FramesRow(TypedDict):
    """How many distinct frames the model saw."""

    used: Count


class ClassificationFacts(PredictionsRow):
    """What one video was found to show; `clips` are the frames that the model saw; `error` is null unless it failed."""

    path: str
    status: Status
    error: str | None
    model: str
    notes: list[str]
    video: VideoRow | None
    clips: list[list[FrameRow]]


class ThresholdsRow(TypedDict):
    """Scores that segments reach and hold; the latter null where that is half of the former, and they end half way."""

    threshold: Number
    low_threshold: Number | None


class CorrectedRow(CutsRow, total=False):
    """What a person took away from what was found, where one corrected it.

    `made_again` are the thresholds by which the segments of the machine were made again on the page, where they are
    others than those of `settings`.
    """

    removed: list[SegmentRow]
    made_again: ThresholdsRow


class DetectionFacts(CorrectedRow):
    """What happens in one video, and when. `start_seconds` is the presentation time of its first frame."""

    video: str
    path: str
    status: DetectionStatus
    error: str | None
    model: str
    duration_seconds: Number | None
    start_seconds: Number | None
    fps: Number | None
    windows: Count
    windows_planned: Count
    segments: list[SegmentRow]
    gaps: list[GapRow]
    frames: FramesRow
    notes: list[str]
    info: VideoRow | None


def classification_facts(result: Classification, *, heads: Collection[str] | None = None) -> ClassificationFacts:
    """What a row says of one video that was classified.

    Args:
        result: What the video was found to show.
        heads: The heads of the model; by default those that the result has.

    Returns:
        The facts, in the order in which they are written. A model with one head has `topk`, one with several `heads`.
    """
    names = list(result.heads if heads is None else heads)
    found: PredictionsRow = (
        {"topk": _predictions(result.heads.get("", ()))}
        if names in ([], [""])
        else {"heads": {name: _predictions(result.heads.get(name, ())) for name in names}}
    )
    return {
        "path": result.path,
        "status": result.status,
        "error": result.error or None,
        "model": result.model,
        **found,
        "notes": [note.text for note in result.notes],
        "video": None if result.video is None else video_facts(result.video),
        "clips": [
            [{"index": frame.index, "time_seconds": rounded_seconds(frame.time_seconds)} for frame in clip]
            for clip in result.clips
        ],
    }


def detection_facts(result: Detection) -> DetectionFacts:
    """What a row says of one video that was searched.

    Args:
        result: What was found in the video.

    Returns:
        The facts, in the order in which they are written. Times are presentation times in seconds. `video` and `path`
        are both the input as it was named; `duration_seconds`, `start_seconds`, `fps` and `info` are null for a video
        that could not be opened.
    """
    facts = None if result.video is None else video_facts(result.video)
    start, duration = None, None
    if facts is not None:
        start, duration = facts["start_seconds"], facts["duration_seconds"]
    elif result.timeline is not None:
        start, end = result.timeline
        start, duration = rounded_seconds(start), rounded_seconds(end - start)
    cuts: CorrectedRow = {} if result.cuts is None else {"cuts": [rounded_seconds(cut) for cut in result.cuts]}
    return {
        "video": result.path,
        "path": result.path,
        "status": result.status,
        "error": result.error or None,
        "model": result.model,
        "duration_seconds": duration,
        "start_seconds": start,
        "fps": facts and facts["fps"],
        "windows": result.num_windows,
        "windows_planned": result.num_windows_planned,
        "segments": [segment_row(each) for each in result.segments],
        "gaps": gap_rows(result.gaps),
        "frames": {"used": result.num_frames_used},
        "notes": [note.text for note in result.notes],
        "info": facts,
        **cuts,
    }


def gap_rows(gaps: Iterable[Gap]) -> list[GapRow]:
    """What rows say of gaps, in their order; times in seconds, rounded to microseconds."""
    return [
        {
            "start_seconds": rounded_seconds(gap.start_seconds),
            "end_seconds": rounded_seconds(gap.end_seconds),
            "reason": gap.reason,
        }
        for gap in gaps
    ]


def segment_row(segment: Segment) -> SegmentRow:
    """What a row says of a segment; times in seconds, rounded to microseconds."""
    row: SegmentRow = {
        "start_seconds": rounded_seconds(segment.start_seconds),
        "end_seconds": rounded_seconds(segment.end_seconds),
        "label": segment.label,
        "index": segment.index,
        "score": segment.score,
    }
    if segment.peak_score is not None:
        row["peak_score"] = segment.peak_score
    if segment.verb is not None and segment.noun is not None and segment.action is not None:
        row |= {
            "verb": segment.verb.index,
            "noun": segment.noun.index,
            "action": segment.action,
            "verb_label": segment.verb.label,
            "noun_label": segment.noun.label,
            "verb_score": segment.verb.score,
            "noun_score": segment.noun.score,
        }
    return row


def _predictions(predictions: Iterable[Prediction]) -> list[PredictionRow]:
    return [{"label": each.label, "index": each.index, "score": each.score} for each in predictions]
