"""What happens in videos, and when, by a head over features in time: these are made, or are there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from tadacli.detection.actions import class_names
from tadacli.detection.cuts import finder_versions, parse_cuts
from tadacli.detection.extraction import feature_job, features_in_pieces
from tadacli.detection.feature_file import SUFFIX, VALUES, Columns, read_feature_pieces
from tadacli.detection.feature_grid import features_grid, grid_in_pieces, in_shots, steps_of
from tadacli.detection.features import VideoFeatures
from tadacli.detection.head_curves import head_curves, head_thresholds
from tadacli.detection.head_decoding import Head, ScoredSpans, find_candidates
from tadacli.detection.jobs import DetectionJob, Found
from tadacli.detection.long_sequences import piece_size
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import ThresholdClass, ThresholdInputs, among_runs
from tadacli.detection.window_pass import OnProgress
from tadacli.errors import SpecError, UsageError, VideoError
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.results import Detection, Note, NoteKind, Prediction, Segment
from tadacli.sampling.settings import Length
from tadacli.sampling.snippets import SnippetSettings
from tadacli.scoring.provenance import machine_settings, run_of
from tadacli.specs import FeatureSteps, HeadSpec
from tadacli.strict_tables import in_one_line
from tadacli.version import __version__
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD
from tadacli.zoo.loading import HeadModel, Model

# The features of a video inside of a context, all but their columns and these in pieces, with a file as journal where
# they are made. Raises `VideoError` where they cannot be had.
FeaturesOf = Callable[[str, Path | None, OnProgress | None], AbstractContextManager[tuple[VideoFeatures, Columns]]]


def job_by_head(
    videos: Sequence[str],
    *,
    head: HeadModel,
    trunk: Model,
    segments: SegmentSettings,
    batch_size: int | None = None,
    fps: float | None = None,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
    index: str | os.PathLike[str] | None = None,
) -> DetectionJob:
    """The job of searching videos by a head, whose features are made on the way.

    Args:
        videos: Paths or URLs.
        head: The head.
        trunk: The model that made the features it was trained on.
        segments: What becomes a segment.
        batch_size: How many views go through the trunk at once.
        fps: Frames a second of folders and tars of frames.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Raises:
        UsageError: For settings that do not go with a head, and a trunk that is not that of its training.
        SpecError: The head does not say of which snippets its features are.
    """
    snippets = _snippets(head.spec, batch_size=batch_size, fps=fps)

    features = feature_job(videos, model=trunk, snippets=snippets, max_download=max_download, index=index)
    made = features.contract
    expected = replace(head.spec.steps, weights_sha256=made.weights_sha256, snippet_seconds=made.snippet_seconds)
    if (problem := _other_features(expected, head.spec.steps)) is not None:
        raise UsageError(
            f"{trunk.spec.name} is not the model that {head.spec.name} was trained with: {problem}",
            hint="put the model of its training beside the head again",
        )

    def features_of(
        video: str, journal: Path | None, on_progress: OnProgress | None
    ) -> AbstractContextManager[tuple[VideoFeatures, Columns]]:
        return features_in_pieces(features, video, journal=journal, on_progress=on_progress)

    settings: dict[str, object] = {**snippets.to_dict(trunk.spec.input, trunk.device.type)}
    if snippets.cuts:
        settings["versions"] = finder_versions()
    return _job(videos, head, segments, features_of, settings)


def job_by_head_in_features(
    folder: Path, *, head: HeadModel, segments: SegmentSettings, videos: Sequence[str] = ()
) -> DetectionJob:
    """The job of searching videos by their features.

    Args:
        folder: Of files that `tada features` wrote.
        head: The head.
        segments: What becomes a segment.
        videos: The names of those to be searched, as the files have them; by default all there are.

    Raises:
        UsageError: For a folder without features, a video that has none, and settings that do not go with a head.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="give a folder that tada features made")
    files = {file.name.removesuffix(SUFFIX): file for file in sorted(folder.glob(f"*{SUFFIX}"))}
    if not files:
        raise UsageError(f"{folder} has no features", hint="give a folder that tada features made")
    if unknown := [video for video in videos if video not in files]:
        raise UsageError(
            f"{folder} has no features of {in_one_line(unknown[0])}",
            hint=f"name videos as its files do, such as {in_one_line(next(iter(files)))}, or none for all of them",
        )

    @contextmanager
    def features_of(
        video: str, _journal: Path | None, _on_progress: OnProgress | None
    ) -> Iterator[tuple[VideoFeatures, Columns]]:
        try:
            yield read_feature_pieces(files[video])
        except UsageError as error:
            raise VideoError(error.message, hint=error.hint) from error

    chosen = list(dict.fromkeys(videos)) or list(files)
    return _job(chosen, head, segments, features_of, {"features": [str(folder)]})


def head_segments(found: ScoredSpans, spec: HeadSpec, settings: SegmentSettings) -> tuple[Segment, ...]:
    """The segments that spans make, in order of time.

    Args:
        found: What the head found in a video, best first.
        spec: Its labels and thresholds.
        settings: Which of them are reported: threshold, labels, shortest, and how many.

    Returns:
        The segments; a score equals a threshold if it does so in float32.
    """
    levels = head_thresholds(found.classes, spec, settings)
    counts: dict[int, int] = {}
    kept: list[Segment] = []
    for row in np.flatnonzero(found.scores.astype(np.float32) >= levels).tolist():
        segment = _segment(found, row, spec)
        is_short = segment.end_seconds - segment.start_seconds < settings.min_duration_seconds
        if is_short or not settings.wants(class_names(segment.index, spec.heads)):
            continue
        counts[segment.index] = counts.get(segment.index, 0) + 1
        if settings.topk_per_class is None or counts[segment.index] <= settings.topk_per_class:
            kept.append(segment)
    best = kept[: settings.topk]
    return tuple(sorted(best, key=lambda each: (each.start_seconds, each.end_seconds, each.index)))


def head_inputs(
    found: ScoredSpans,
    spec: HeadSpec,
    settings: SegmentSettings,
    *,
    video_seconds: tuple[float, float],
    max_bytes: int,
) -> ThresholdInputs:
    """What other thresholds than those of the settings choose among, by the rule of `head_segments`.

    Args:
        found: What the head found in a video, best first.
        spec: Its labels.
        settings: Which spans are reported.
        video_seconds: The part of the timeline that was searched.
        max_bytes: What the numbers may take; spans that score less are left out for it.

    Returns:
        The inputs.
    """
    runs: list[tuple[Segment, float]] = []
    for row, compared in enumerate(found.scores.astype(np.float32).tolist()):
        segment = _segment(found, row, spec)
        is_short = segment.end_seconds - segment.start_seconds < settings.min_duration_seconds
        if not is_short and settings.wants(class_names(segment.index, spec.heads)):
            runs.append((segment, compared))
    peaks: dict[int, float] = {}
    for segment, compared in runs:
        peaks[segment.index] = max(peaks.get(segment.index, 0.0), compared)

    def class_of(index: int) -> ThresholdClass:
        label, *parts = class_names(index, spec.heads)
        if not parts:
            return ThresholdClass(index, label, peaks[index])
        verb, noun = divmod(index, len(spec.heads["noun"]))
        return ThresholdClass(index, label, peaks[index], (), (verb, parts[0]), (noun, parts[1]))

    return among_runs(runs, class_of, settings=settings, video_seconds=video_seconds, max_bytes=max_bytes, ranked=True)


def _segment(found: ScoredSpans, row: int, spec: HeadSpec) -> Segment:
    start, end = found.seconds[row].tolist()
    number, score = int(found.classes[row]), _seven_digits(found.scores[row])
    label, *parts = class_names(number, spec.heads)
    if found.pair_scores is None:
        return Segment(start, end, label, number, score)
    (v, n), (verb_score, noun_score) = divmod(number, len(spec.heads["noun"])), found.pair_scores[row].tolist()
    verb, noun = Prediction(parts[0], v, _seven_digits(verb_score)), Prediction(parts[1], n, _seven_digits(noun_score))
    return Segment(start, end, label, number, score, verb=verb, noun=noun)


def _job(
    videos: Sequence[str],
    head: HeadModel,
    segments: SegmentSettings,
    features_of: FeaturesOf,
    settings: dict[str, object],
) -> DetectionJob:
    _refuse_settings(segments)
    segments.check_labels(head.spec.heads)
    if segments.threshold == "auto":
        head.spec.require_thresholds()
    steps = head.spec.steps
    window = f"{steps.snippet_seconds or steps.stride_seconds:g}s"
    machine = machine_settings(head)
    machine["versions"] = {**machine["versions"], **settings.pop("versions", {})}  # type: ignore[dict-item]
    settings = {"window": window, "stride": f"{steps.stride_seconds:g}s", **settings}
    run = run_of(
        head.spec,
        settings={**settings, **machine, "segments": segments.to_dict()},  # type: ignore[typeddict-item]
        weights_sha256=head.weights_sha256,
        tool_version=__version__,
    )

    def find(video: str, journal: Path | None, on_progress: OnProgress | None) -> Found:
        with features_of(video, journal, on_progress) as (features, columns):
            return _found(video, features, columns, head, segments)

    return DetectionJob(videos, head.spec, run, segments, find)


def _refuse_settings(segments: SegmentSettings) -> None:
    """Raises `UsageError` for settings of curves of scores, which a head has none of."""
    usual = SegmentSettings()
    for name in ("low_threshold", "smooth_seconds", "merge_gap_seconds", "nms", "nms_iou", "exclusive", "contrast"):
        if getattr(segments, name) != getattr(usual, name) and getattr(segments, name) is not False:
            raise UsageError(f"{name} does not go with a head that finds segments", hint="leave it out")


def _found(video: str, features: VideoFeatures, columns: Columns, head: HeadModel, segments: SegmentSettings) -> Found:
    """The result of one video. Raises `VideoError` for features that are not those that the head takes."""
    num_channels, pieces = columns.pieces[VALUES]
    if (problem := _other_features(steps_of(features, num_channels=num_channels), head.spec.steps)) is not None:
        raise VideoError(f"{in_one_line(video)}: {problem}")
    try:
        grid = features_grid(features, where=in_one_line(video))
    except UsageError as error:
        raise VideoError(error.message, hint=error.hint) from error
    steps = grid_in_pieces(
        pieces(), features.centres, stride_seconds=features.stride_seconds, size=piece_size(len(grid))
    )
    with repeatable_arithmetic():
        candidates = find_candidates(cast(Head, head.network), grid, steps)
    spans = candidates.suppressed(duration_seconds=grid.duration_seconds)
    found = head_segments(spans, head.spec, segments)
    notes = [Note(NoteKind.MODEL, head.spec.note)] if head.spec.note else []
    result = Detection(
        path=video,
        status=features.status,
        model=head.spec.name,
        segments=found,
        gaps=features.gaps,
        num_windows=len(features.values),
        num_windows_planned=len(features.values) if features.num_planned is None else features.num_planned,
        num_frames_used=features.num_frames_used,
        video=features.info,
        notes=(*notes, *features.notes),
        timeline=(features.start_seconds, features.duration_seconds) if features.info is None else None,
        cuts=features.cuts,
    )
    curves = head_curves(candidates, grid, head.spec, segments, segments=found)

    def inputs(max_bytes: int) -> ThresholdInputs:
        searched = grid.start_seconds, grid.duration_seconds
        return head_inputs(spans, head.spec, segments, video_seconds=searched, max_bytes=max_bytes)

    return Found(result, None, features.size_bytes, curves, inputs)


def _other_features(found: FeatureSteps, taken: FeatureSteps) -> str | None:
    """What is wrong with features for a head, None if nothing is. Of what either does not say nothing is known."""
    if found.num_channels != taken.num_channels:
        return f"its features have {found.num_channels} channels, and the head takes {taken.num_channels}"
    if not np.isclose(found.stride_seconds, taken.stride_seconds, rtol=1e-6):
        return f"its features are {found.stride_seconds:g} s apart, and the head takes {taken.stride_seconds:g} s"
    for name in ("weights_sha256", "crops", "snippet_seconds"):
        other, own = getattr(found, name), getattr(taken, name)
        if other and own and other != own:
            return f"its features were made in another way than those of the head: {name} is {other}, not {own}"
    if None not in (found.within_shots, taken.within_shots) and found.within_shots != taken.within_shots:
        return f"its snippets {in_shots(found)}, and those that the head was trained on {in_shots(taken)}"
    return None


def _snippets(spec: HeadSpec, *, batch_size: int | None, fps: float | None) -> SnippetSettings:
    """The snippets that features are made of for a head. Raises `SpecError` if it does not say of which."""
    steps = spec.steps
    if steps.within_shots:
        parse_cuts("auto")  # where no cut can be found there is no use in beginning
    if not steps.snippet_seconds:
        raise SpecError(
            f"{spec.name} does not say of which snippets its features are",
            hint="it was trained on features of others: give those of the video with --features",
        )
    return SnippetSettings(
        snippet=Length(steps.snippet_seconds),
        stride=Length(steps.stride_seconds),
        crops=3 if steps.crops == 3 else 1,
        batch_size=batch_size,
        fps=fps,
        cuts="auto" if steps.within_shots else (),
    )


def _seven_digits(score: float) -> float:
    """A score as reported: seven digits are what float32 holds."""
    return float(f"{score:.7g}")
