"""What happens in videos whose features are there already, by a network that proposes spans from features."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.boundary_matching import (
    Proposals,
    action_segments,
    class_probabilities,
    labelled_segments,
    propose,
)
from tadacli.detection.feature_sources import NO_CLASS, FeatureSource, open_source, snippet_seconds
from tadacli.detection.jobs import DetectionJob, Found, iter_detections
from tadacli.detection.settings import Heads, SegmentSettings
from tadacli.errors import UsageError, VideoError
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.models.bmn import BMN, SNIPPETS_PER_BIN
from tadacli.results import Detection, Note, NoteKind, Segment
from tadacli.scoring.provenance import machine_settings, run_of
from tadacli.strict_tables import in_one_line
from tadacli.version import __version__
from tadacli.zoo.loading import ProposalModel, load_proposal_model

AnyPath = str | os.PathLike[str]


def detect_in_features(
    features: AnyPath | Sequence[AnyPath],
    *,
    model: AnyPath | ProposalModel,
    weights: AnyPath | None = None,
    class_scores: AnyPath | None = None,
    videos: Iterable[str] = (),
    device: str = "auto",
    batch_size: int = 1,
) -> list[Detection]:
    """What happens in each video of a folder of features, and when: one result for each, in order of their names.

    The inference is the published one (see `boundary_matching`). A video that fails has status "error" and stops
    nothing.

    Args:
        features: A folder in the published layout (see `clip_folders`), or several, whose channels stand beside each
            other in this order; or a folder of files of `tada features`.
        model: A known name such as `bmn.ek100_tada2d`, a weights file of our own, or what `load_proposal_model`
            returned; then `weights` and `device` are not used.
        weights: A file of weights for a known name; by default those that were fetched.
        class_scores: A folder of class scores in the published layout; our own files hold theirs. Without such scores
            the results are proposals without class: all have the label "action".
        videos: The names of those to be searched; by default all there are.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        batch_size: Windows that go through the network at once.

    Returns:
        The results. Times are seconds from the start of each video, scores are 0 to 1.

    Raises:
        UsageError: A folder is none of this layout, or has no video of a name.
        TadaError: The model cannot be loaded.
    """
    if not isinstance(model, ProposalModel):
        model = load_proposal_model(model, weights=weights, device=device)
    job = features_job(
        [Path(each) for each in ([features] if isinstance(features, (str, os.PathLike)) else features)],
        model=model,
        class_scores=None if class_scores is None else Path(class_scores),
        videos=tuple(videos),
        batch_size=batch_size,
    )
    return [found.result for found in iter_detections(job)]


def features_job(
    folders: Sequence[Path],
    *,
    model: ProposalModel,
    class_scores: Path | None = None,
    videos: Sequence[str] = (),
    batch_size: int = 1,
) -> DetectionJob:
    """The job of searching videos by their features; the arguments are those of `detect_in_features`.

    Raises:
        UsageError: A folder is none of the published layout, or has no video of a name.
    """
    source = open_source(folders, class_scores, taken=model.spec.features, dtype=model.dtype)
    if unknown := [video for video in videos if video not in source.videos]:
        raise UsageError(
            f"{folders[0]} has no features of {in_one_line(unknown[0])}",
            hint="name videos as its files do, such as P01_13, or none for all of them",
        )
    spec = replace(model.spec, heads={name: tuple(labels) for name, labels in source.heads.items()})
    network = cast(BMN, model.network)
    bin_seconds = SNIPPETS_PER_BIN * snippet_seconds(spec.features)
    run = run_of(
        spec,
        settings={
            "window": f"{network.num_bins * bin_seconds:.2f}s",
            "stride": f"{network.max_duration_bins * bin_seconds:.2f}s",
            "batch_size": batch_size,
            "features": [str(each) for each in folders],
            "class_scores": None if class_scores is None else str(class_scores),
            **machine_settings(model),
        },
        weights_sha256=model.weights_sha256,
        tool_version=__version__,
    )

    def find(video: str, *_: object) -> Found:
        return Found(_search(video, source, model, batch_size), None, None)

    return DetectionJob(list(dict.fromkeys(videos)) or source.videos, spec, run, SegmentSettings(), find)


def _search(video: str, source: FeatureSource, model: ProposalModel, batch_size: int) -> Detection:
    """The result of one video. Raises `VideoError` where its features or class scores cannot be had."""
    network, snippets = cast(BMN, model.network), source.open(video)
    duration, (start, end) = snippets.length_seconds, snippets.timeline
    stride = snippet_seconds(model.spec.features)
    try:
        with repeatable_arithmetic():
            proposals = propose(
                snippets.features, network, duration_seconds=duration, snippet_seconds=stride, batch_size=batch_size
            )
    except ValueError as error:
        raise VideoError(f"{in_one_line(video)}: {error}") from error
    classes = {
        head: class_probabilities(logits, proposals, network=network, duration_seconds=duration, snippet_seconds=stride)
        for head, logits in snippets.logits.items()
    }
    segments = []
    for each in _segments(proposals, classes, source.heads):
        first, last = (snippets.origin_seconds + seconds for seconds in (each.start_seconds, each.end_seconds))
        if max(first, start) < min(last, end):  # what lies after the end is of the last bin, which goes beyond it
            segments.append(replace(each, start_seconds=max(first, start), end_seconds=min(last, end)))
    notes = list(snippets.notes)
    if not classes:
        notes.append(Note(NoteKind.NO_LABEL, "without class scores these are proposals, which no class is known of"))
    return Detection(
        path=video,
        status="ok",
        model=model.spec.name,
        segments=tuple(segments),
        num_windows=proposals.num_windows,
        num_windows_planned=proposals.num_windows,
        notes=tuple(notes),
        timeline=snippets.timeline,
    )


def _segments(proposals: Proposals, classes: Mapping[str, NDArray[np.float64]], heads: Heads) -> list[Segment]:
    """The proposals with their classes, if there are any."""
    if not classes:
        (label,) = NO_CLASS[""]
        spans = zip(proposals.spans.tolist(), proposals.scores.tolist(), strict=True)
        return [Segment(start, end, label, 0, score) for (start, end), score in spans]
    if len(classes) == 1:
        ((head, probabilities),) = classes.items()
        return labelled_segments(proposals, probabilities, labels=heads[head])
    return action_segments(proposals, classes["verb"], classes["noun"], heads=heads)
