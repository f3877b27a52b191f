"""What happens in a long video, and when: windows, their scores, and the segments these make."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tadacli.detection.scores import WindowScores, score_windows
from tadacli.detection.segments import SegmentSettings, find_segments
from tadacli.errors import VideoError
from tadacli.results import Detection, Note, NoteKind
from tadacli.sampling.settings import WindowSettings, window_settings
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.loading import Model, load_model


def detect(
    videos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | Model = DEFAULT_MODEL,
    weights: str | os.PathLike[str] | None = None,
    windows: WindowSettings | None = None,
    segments: SegmentSettings | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> list[Detection]:
    """One result for each video, in order; a video that fails has status "error" and stops nothing.

    `videos` and `model` are what `classify` takes. `windows` says what is scored (`window_settings()` reads
    words such as "2s"), `segments` what becomes a segment; by default windows of two seconds every second.

    Raises `TadaError` children for settings that cannot be meant, before anything is decoded.
    """
    if isinstance(videos, (str, os.PathLike)):
        videos = [videos]
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    asked = segments or SegmentSettings()
    asked.check_model(model.spec)
    return [detect_video(video, model=model, windows=windows or window_settings(), segments=asked) for video in videos]


def detect_video(
    video: str | os.PathLike[str], *, model: Model, windows: WindowSettings, segments: SegmentSettings
) -> Detection:
    """The result for one video; failures of the video itself become a result of status "error"."""
    try:
        scores = score_windows(video, model=model, settings=windows)
    except VideoError as error:
        return failed(os.fspath(video), model.spec.name, error)
    return detection_of(scores, segments)


def detection_of(scores: WindowScores, segments: SegmentSettings) -> Detection:
    """The result that a video's window scores give with these settings, without the video or the model.

    Raises `UsageError` if the settings ask for thresholds of the model's own and it has none.
    """
    found = find_segments(
        scores.spans,
        scores.scale,
        scores.scores,
        scores.spec.heads,
        settings=segments,
        video_seconds=scores.range_seconds,
        thresholds=scores.spec.require_thresholds() if segments.threshold == "auto" else None,
    )
    notes = [Note(NoteKind.MODEL, scores.spec.note)] if scores.spec.note else []
    if not scores.info.num_frames_known:
        text = "the file is cut short, and does not say how much is missing at its end"
        notes.append(Note(NoteKind.CUT_SHORT, text))
    is_whole = not scores.gaps and scores.info.num_frames_known
    return Detection(
        path=scores.path,
        status="ok" if is_whole else "partial",
        model=scores.spec.name,
        segments=found,
        gaps=scores.gaps,
        num_windows=len(scores.spans),
        num_windows_planned=scores.num_windows_planned,
        num_frames_used=scores.num_frames_used,
        video=scores.info,
        notes=tuple(notes),
    )


def failed(path: str, model: str, error: VideoError) -> Detection:
    """The result for a video that cannot be read."""
    return Detection(path, "error", model, error=f"{error.message}; {error.hint}" if error.hint else error.message)
