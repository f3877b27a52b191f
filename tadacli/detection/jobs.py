"""Videos to be searched one by one, and segments out of scores that were kept: what loads no network."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.detection.curves import ClassCurve
from tadacli.detection.cuts import cuts_outside
from tadacli.detection.score_file import read_scores, write_scores
from tadacli.detection.scored_windows import WindowScores, video_notes
from tadacli.detection.segments import class_curves, find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import ThresholdInputs, threshold_inputs
from tadacli.errors import UsageError, VideoError
from tadacli.profiling import Stage, during
from tadacli.results import Detection, Note, NoteKind, Run, RunSettings, out_of
from tadacli.sampling.settings import window_settings
from tadacli.scoring.provenance import run_of
from tadacli.specs import AnySpec, ModelSpec
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import file_size
from tadacli.video.lists import name_of

if TYPE_CHECKING:
    from tadacli.detection.shares import Shared
    from tadacli.detection.window_pass import OnProgress


@dataclass(frozen=True)
class Found:
    """The result of one video with the scores it was made of, None where there are no such scores.

    `size_bytes` is the size of the video's file, None for what is no file. `head_curves` are what a head said over
    time, if one did, and `head_inputs` makes, in so many bytes, what thresholds choose among then.
    """

    result: Detection
    scores: WindowScores | None
    size_bytes: int | None
    head_curves: tuple[ClassCurve, ...] = ()
    head_inputs: Callable[[int], ThresholdInputs] | None = None

    def curves(self, segments: SegmentSettings) -> tuple[ClassCurve, ...]:
        """What the segments were made of over time, by these settings, for drawing; none where nothing says it."""
        scores = self.scores
        if scores is None:
            return self.head_curves
        return class_curves(
            scores.spans,
            scores.scale,
            scores.scores,
            scores.spec.heads,
            settings=segments,
            video_seconds=scores.range_seconds,
            cuts=scores.cuts,
            segments=self.result.segments,
            thresholds=scores.spec.segment_thresholds or scores.spec.thresholds,
            low_share=scores.spec.low_share,
        )

    def threshold_inputs(self, segments: SegmentSettings, *, max_bytes: int) -> ThresholdInputs | None:
        """What other thresholds than these can be applied to, in so many bytes; None where nothing is known of it."""
        scores = self.scores
        if scores is None:
            return None if self.head_inputs is None else self.head_inputs(max_bytes)
        return threshold_inputs(
            scores.spans,
            scores.scale,
            scores.scores,
            scores.spec.heads,
            settings=segments,
            video_seconds=scores.range_seconds,
            cuts=scores.cuts,
            max_bytes=max_bytes,
        )


@dataclass(frozen=True)
class DetectionJob:
    """Videos to be searched, the run that their results belong to, and how each of them is searched.

    `find(video, journal, on_progress)` gives the result of one; it raises `VideoError` where there can be none.
    `segments` say how window scores become segments, if it is these that the results are made of. `shared` shares the
    windows of a video out, where there are windows.
    """

    videos: Sequence[str]
    spec: AnySpec
    run: Run
    segments: SegmentSettings
    find: Callable[[str, Path | None, OnProgress | None], Found]
    shared: Shared | None = None


def job_of_kept_scores(files: Iterable[Path], *, segments: SegmentSettings) -> DetectionJob:
    """The job of making segments of score files, without video or model.

    Args:
        files: Score files. They are read now, to see that they go together, and again one by one when it is their turn.
        segments: What becomes a segment.

    Raises:
        UsageError: For what is no score file, for two of one video, and for scores that were made with different models
            or windows, or of which such segments cannot be made.
    """
    by_path: dict[str, Path] = {}
    known: dict[str, tuple[ModelSpec, Run, SegmentSettings]] = {}
    for file in files:
        scores = read_scores(file)
        segments.check_model(scores.spec)
        if scores.path in by_path:
            raise UsageError(f"{by_path[scores.path]} and {file} hold scores of the same video, {scores.path}")
        by_path[scores.path] = file
        run = run_of(
            scores.spec,
            settings={**scores.settings, "segments": _chosen(segments, scores).to_dict()},
            weights_sha256=scores.weights_sha256,
            tool_version=scores.tool_version,
        )
        known[run.id] = scores.spec, run, _chosen(segments, scores)
    if len(known) != 1:
        raise UsageError(
            "the score files were made with different models or window settings",
            hint="give those of one model and one set of windows at a time",
        )
    ((spec, run, chosen),) = known.values()

    def find(video: str, *_: object) -> Found:
        return found_in(video, read_scores(by_path[video]), segments)

    return DetectionJob(list(by_path), spec, run, chosen, find)


def _chosen(segments: SegmentSettings, scores: WindowScores) -> SegmentSettings:
    return segments.for_model(scores.spec, num_lengths=_num_lengths(scores))


def _num_lengths(scores: WindowScores) -> int:
    """How many lengths of windows were asked for; a video may be too short for some."""
    return len(scores.settings["window"].split(","))


def found_in(video: str, scores: WindowScores, segments: SegmentSettings) -> Found:
    """The result that the scores of a video give. Raises `VideoError` for whatever goes wrong with it."""
    with VideoBoundary(video):
        return Found(detection_of(scores, segments), scores, scores.size_bytes)


def iter_detections(
    job: DetectionJob,
    *,
    done: Container[str] = (),
    journal: Path | None = None,
    save_scores: Mapping[str, Path] | None = None,
    replace: bool = False,
    on_video: Callable[[str], object] | None = None,
    on_progress: OnProgress | None = None,
) -> Generator[Found, None, None]:
    """The result of each video, in order, as soon as it is known; close the iterator to end early.

    Args:
        job: What is to be done.
        done: Videos that are passed over, since their results are there already.
        journal: A file that keeps the scores of the video at hand, window by window. If it is there from an earlier
            run of the same job, scoring goes on after what it holds. It is removed when the next result is asked for,
            so keep a result before asking; closing the iterator leaves the journal for another run.
        save_scores: The score file that each video gets (see `plan_score_files`).
        replace: Whether score files that are there already are made anew.
        on_video: Called with the path of each video before it is opened.
        on_progress: Called with where the range of a video starts and ends and how far it is scored, in seconds.

    Yields:
        A result for each video; one that fails has status "error".

    Raises:
        OutputError: For a journal or a score file that cannot be written.
        TadaError: For scores that are not numbers.
    """
    for video in job.videos:
        if video in done:
            continue
        if on_video is not None:
            on_video(video)
        try:
            found = job.find(video, journal, on_progress)
        except VideoError as error:
            result = Detection(name_of(video), "error", job.spec.name, error=error.reason)
            found = Found(result, None, file_size(video))
        if found.scores is not None and save_scores is not None and video in save_scores:
            with during(Stage.OUTPUT):
                write_scores(save_scores[video], found.scores, replace=replace)
        yield found
        if journal is not None:
            journal.unlink(missing_ok=True)


def detection_of(scores: WindowScores, segments: SegmentSettings) -> Detection:
    """The result that a video's window scores give, without the video or the model.

    Args:
        scores: The scores.
        segments: What becomes a segment; what is left open is as the model says.

    Returns:
        The result, which notes what the model decided.

    Raises:
        UsageError: The settings ask for thresholds of the model's own and it has none.
    """
    notes = [Note(NoteKind.MODEL, scores.spec.note)] if scores.spec.note else []
    if text := segments.note_for(scores.spec, num_lengths=_num_lengths(scores)):
        notes.append(Note(NoteKind.MODEL, text))
    segments = _chosen(segments, scores)
    found = find_segments(
        scores.spans,
        scores.scale,
        scores.scores,
        scores.spec.heads,
        settings=segments,
        video_seconds=scores.range_seconds,
        cuts=scores.cuts,
        thresholds=scores.spec.require_segment_thresholds() if segments.threshold == "auto" else None,
        low_share=scores.spec.low_share,
    )
    if segments.threshold == "auto" and scores.spec.segment_thresholds:
        notes += _other_windows(scores.settings)
    named = scores.settings.get("cuts", [])
    notes += cuts_outside("auto" if isinstance(named, str) else tuple(named), scores.info)
    notes += [*_interpolated(scores), *video_notes(scores.info)]
    is_whole = not scores.gaps and scores.info.num_frames_known
    return Detection(
        path=name_of(scores.path),
        status="ok" if is_whole else "partial",
        model=scores.spec.name,
        segments=found,
        gaps=scores.gaps,
        num_windows=len(scores.spans),
        num_windows_planned=scores.num_windows_planned,
        num_frames_used=scores.num_frames_used,
        video=scores.info,
        notes=tuple(notes),
        cuts=scores.cuts if "cuts" in scores.settings else None,
    )


def _interpolated(scores: WindowScores) -> list[Note]:
    if scores.interpolated is None:
        return []
    count = len(scores.interpolated)
    seen = out_of(count - int(scores.interpolated.sum()), count, "windows", "went through the network")
    return [Note(NoteKind.INTERPOLATED, f"{seen}; scores of the others lie between those of two that agree")]


def _other_windows(settings: RunSettings) -> list[Note]:
    """A note where windows are not those that thresholds of segments are fitted on, which are the default ones."""
    usual = window_settings()
    if settings["window"] == str(usual.lengths[0]) and settings["stride"] == str(usual.strides[0]):
        return []
    text = f"the model's thresholds were fitted on windows of {usual.lengths[0]} every {usual.strides[0]}"
    return [Note(NoteKind.MODEL, text)]
