"""What happens in long videos, and when: their windows are scored, and scores become segments."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tadacli.detection.jobs import DetectionJob, Found, found_in, iter_detections
from tadacli.detection.journal import WindowJournal
from tadacli.detection.plain_arguments import settings_of
from tadacli.detection.score_file import KIND
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_pass import OnProgress
from tadacli.detection.window_scores import score_windows, scoring_settings, shared_windows
from tadacli.results import Detection, Detections, Progress
from tadacli.results.progress import ProgressTeller
from tadacli.sampling.settings import WindowSettings
from tadacli.scoring.provenance import run_of
from tadacli.specs import ScoreLimit
from tadacli.version import __version__
from tadacli.video.array_frames import Times, VideoLike, named_videos
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, file_size
from tadacli.zoo.loading import Model, load_model


def detect(
    videos: VideoLike | Iterable[VideoLike],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    weights: str | os.PathLike[str] | None = None,
    window: str | float | None = None,
    stride: str | float | None = None,
    threshold: ScoreLimit | None = None,
    labels: str | Sequence[str] | None = None,
    windows: WindowSettings | None = None,
    segments: SegmentSettings | None = None,
    fps: float | None = None,
    times: Times | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Callable[[Progress], object] | None = None,
    index: str | os.PathLike[str] | None = None,
) -> Detections:
    """What happens in each video, and when: one result for each, in order.

    A video that fails has status "error" and stops nothing.

    Args:
        videos: A path or URL, or several, or frames that are in memory, as `classify` takes them.
        model: A known name, a run's folder, a weights file that says what it is, or what `load_model` returned; then
            `weights`, `device` and `dtype` are not used. By default `weights`, or else the built-in model.
        weights: A file of weights for a known name; by default those that were fetched.
        window: How long the windows are that are scored: seconds, or words such as "2s", "64f" (frames) or "1s,4s"; by
            default two seconds.
        stride: From one window to the next, alike; by default half a window.
        threshold: The score that a segment reaches, 0 to 1, or "auto" for the model's own; by default 0.4.
        labels: The only labels that are reported; by default all.
        windows: All settings of windows, in the place of `window` and `stride` (see `window_settings`).
        segments: All settings of segments, in the place of `threshold` and `labels`.
        fps: Frames a second of arrays, and of folders and tars of frames. Arrays need it, or `times`.
        times: In the place of `fps` the presentation time of each frame of one array, in seconds, ascending.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16", "float16", or "auto" for the faster here.
        progress: Called with a `Progress` when a video is begun, and after each group of windows.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The results, in a list that has `filter`, `merge` and `to_pandas`. Times of segments and gaps are presentation
        times in seconds, scores are 0 to 1.

    Raises:
        UsageError: For settings that contradict each other, are given twice or do not go with the model, and for arrays
            that are not of frames, before anything is decoded.
        TadaError: For a model that cannot be loaded, or whose scores are not numbers.

    Example:
        >>> import tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4")
        ...     (result,) = tadacli.detect(f"{folder}/video.mp4", device="cpu")
        >>> result
        Detection(...video.mp4': 1 segment: pan left)
        >>> [(segment.label, segment.start_seconds, segment.end_seconds) for segment in result]
        [('pan left', 0.0, 4.0)]
    """
    return Detections(
        iter_detect(
            videos,
            model=model,
            weights=weights,
            window=window,
            stride=stride,
            threshold=threshold,
            labels=labels,
            windows=windows,
            segments=segments,
            fps=fps,
            times=times,
            device=device,
            dtype=dtype,
            progress=progress,
            index=index,
        )
    )


def iter_detect(
    videos: VideoLike | Iterable[VideoLike],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    weights: str | os.PathLike[str] | None = None,
    window: str | float | None = None,
    stride: str | float | None = None,
    threshold: ScoreLimit | None = None,
    labels: str | Sequence[str] | None = None,
    windows: WindowSettings | None = None,
    segments: SegmentSettings | None = None,
    fps: float | None = None,
    times: Times | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Callable[[Progress], object] | None = None,
    index: str | os.PathLike[str] | None = None,
) -> Generator[Detection, None, None]:
    """What happens in each video, in order, each result as soon as it is known; close the iterator to end early.

    The arguments are checked and the model is loaded when this is called, not when the first result is asked for.

    Args:
        videos: A path or URL, or several, or frames that are in memory, as `classify` takes them.
        model: A known name, a run's folder, a weights file that says what it is, or what `load_model` returned; then
            `weights`, `device` and `dtype` are not used. By default `weights`, or else the built-in model.
        weights: A file of weights for a known name; by default those that were fetched.
        window: How long the windows are that are scored: seconds, or words such as "2s", "64f" (frames) or "1s,4s"; by
            default two seconds.
        stride: From one window to the next, alike; by default half a window.
        threshold: The score that a segment reaches, 0 to 1, or "auto" for the model's own; by default 0.4.
        labels: The only labels that are reported; by default all.
        windows: All settings of windows, in the place of `window` and `stride` (see `window_settings`).
        segments: All settings of segments, in the place of `threshold` and `labels`.
        fps: Frames a second of arrays, and of folders and tars of frames. Arrays need it, or `times`.
        times: In the place of `fps` the presentation time of each frame of one array, in seconds, ascending.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16", "float16", or "auto" for the faster here.
        progress: Called with a `Progress` when a video is begun, and after each group of windows.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Yields:
        A result for each video, as `detect` gives it.

    Raises:
        UsageError: For settings that contradict each other, are given twice or do not go with the model, and for arrays
            that are not of frames, before anything is decoded.
        TadaError: For a model that cannot be loaded, or whose scores are not numbers.

    Example:
        >>> import tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4")
        ...     for result in tadacli.iter_detect([f"{folder}/video.mp4", "none.mp4"], device="cpu"):
        ...         print(result.status, len(result))
        ok 1
        error 0
    """
    windows, segments = settings_of(
        window=window, stride=stride, fps=fps, threshold=threshold, labels=labels, windows=windows, segments=segments
    )
    rate = windows.fps if times is None else fps
    named = named_videos(videos, fps=rate, times=times, needs_rate=True)
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    job = detection_job(named, model=model, windows=windows, segments=segments, index=index)
    teller = ProgressTeller(progress, len(named))

    def reach(start: float, end: float, reached: float) -> None:
        teller.reach((reached - start) / (end - start))

    return _results(iter_detections(job, on_video=teller.start, on_progress=reach))


def _results(found: Generator[Found, None, None]) -> Generator[Detection, None, None]:
    with closing(found):
        for each in found:
            yield each.result


def detection_job(
    videos: Sequence[str],
    *,
    model: Model,
    windows: WindowSettings,
    segments: SegmentSettings,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
    index: str | os.PathLike[str] | None = None,
) -> DetectionJob:
    """The job of scoring the windows of videos.

    Args:
        videos: Paths or URLs.
        model: The model.
        windows: Which windows are scored.
        segments: What becomes a segment.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Raises:
        UsageError: For settings that do not go with the model.
    """
    chosen = segments.for_model(model.spec, num_lengths=len(windows.lengths))
    chosen.check_model(model.spec)
    summary, scored_with = chosen.to_dict(), scoring_settings(windows, model)
    # Scores of windows do not depend on where segments end: a journal from before that was said goes on.
    without_ends = chosen.to_dict()
    without_ends.pop("ends", None)
    run, scoring = (
        run_of(
            model.spec,
            settings={**scored_with, "segments": each},
            weights_sha256=model.weights_sha256,
            tool_version=__version__,
        )
        for each in (summary, without_ends)
    )

    score = partial(score_windows, model=model, settings=windows, max_download=max_download, index=index)

    def find(video: str, journal_file: Path | None, on_progress: OnProgress | None) -> Found:
        if journal_file is None:
            return found_in(video, score(video, on_progress=on_progress), segments)
        journal = WindowJournal(journal_file, kind=KIND, run_id=scoring.id, video=video, size_bytes=file_size(video))
        try:
            return found_in(video, score(video, journal=journal, on_progress=on_progress), segments)
        finally:
            journal.close()

    shared = shared_windows(model, windows, run_id=scoring.id, max_download=max_download, index=index)
    return DetectionJob(videos, model.spec, run, chosen, find, shared)
