"""What happens in videos whose features are there already, by a network that proposes spans from features."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tadacli.detection.boundary_matching import SNIPPETS_PER_BIN, action_segments, class_probabilities, propose
from tadacli.detection.clip_folders import (
    LENGTHS_FILE,
    SNIPPET_SECONDS,
    ClipFolder,
    clips_of,
    feature_rows,
    logit_rows,
    open_clip_folder,
)
from tadacli.detection.detecting import DetectionJob, Found, iter_detections
from tadacli.detection.settings import Heads, SegmentSettings
from tadacli.errors import UsageError, VideoError
from tadacli.models.bmn import BMN
from tadacli.results import Detection, Note, NoteKind, Segment
from tadacli.scoring.provenance import machine_settings, run_of
from tadacli.specs import label_list
from tadacli.strict_tables import in_one_line
from tadacli.version import __version__
from tadacli.zoo.loading import ProposalModel, load_proposal_model

AnyPath = str | os.PathLike[str]
# What a proposal is called where nothing says which action it is.
NO_CLASS: Heads = {"": ("action",)}


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
            other in this order.
        model: A known name such as `bmn.ek100_tada2d`, a weights file of our own, or what `load_proposal_model`
            returned; then `weights` and `device` are not used.
        weights: A file of weights for a known name; by default those that were fetched.
        class_scores: A folder of class scores in the same layout. Without it the results are proposals without class:
            all have the label "action".
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


@dataclass(frozen=True)
class _Folders:
    """The folders of features, and that of class scores, if there is one."""

    features: tuple[ClipFolder, ...]
    scores: ClipFolder | None


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
    opened = _Folders(
        tuple(map(open_clip_folder, folders)), None if class_scores is None else open_clip_folder(class_scores)
    )
    there = opened.features[0].clips
    if unknown := [video for video in videos if video not in there]:
        raise UsageError(
            f"{folders[0]} has no features of {in_one_line(unknown[0])}",
            hint="name videos as its files do, such as P01_13, or none for all of them",
        )
    heads: Heads = NO_CLASS
    if class_scores is not None:
        heads = {"verb": label_list("ek100_verbs"), "noun": label_list("ek100_nouns")}
    spec = replace(model.spec, heads={name: tuple(labels) for name, labels in heads.items()})
    network = cast(BMN, model.network)
    bin_seconds = SNIPPETS_PER_BIN * SNIPPET_SECONDS
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
        return Found(_search(video, opened, model, heads, batch_size), None, None)

    return DetectionJob(list(dict.fromkeys(videos)) or sorted(there), spec, run, SegmentSettings(), find)


def _search(video: str, folders: _Folders, model: ProposalModel, heads: Heads, batch_size: int) -> Detection:
    """The result of one video. Raises `VideoError` where its features or class scores cannot be had."""
    network, first = cast(BMN, model.network), folders.features[0]
    clips = clips_of(video, folders.features if folders.scores is None else (*folders.features, folders.scores))
    duration = first.duration_seconds(video)
    features = feature_rows(
        video, folders.features, clips, num_channels=model.spec.features.num_channels, dtype=model.dtype
    )
    try:
        proposals = propose(
            features, network, duration_seconds=duration, snippet_seconds=SNIPPET_SECONDS, batch_size=batch_size
        )
    except ValueError as error:
        raise VideoError(f"{in_one_line(video)}: {error}") from error
    if folders.scores is None:
        segments = [
            Segment(float(start), float(end), NO_CLASS[""][0], 0, float(score))
            for (start, end), score in zip(proposals.spans, proposals.scores, strict=True)
        ]
    else:
        verb, noun = (
            class_probabilities(
                logit_rows(video, folders.scores, clips, head=head, num_classes=len(heads[head]), dtype=model.dtype),
                proposals,
                network=network,
                duration_seconds=duration,
                snippet_seconds=SNIPPET_SECONDS,
            )
            for head in ("verb", "noun")
        )
        segments = action_segments(proposals, verb, noun, heads=heads)
    return Detection(
        path=video,
        status="ok",
        model=model.spec.name,
        segments=tuple(segments),
        num_windows=proposals.num_windows,
        num_windows_planned=proposals.num_windows,
        notes=_notes(first, video, has_classes=folders.scores is not None),
        timeline=(0.0, duration),
    )


def _notes(folder: ClipFolder, video: str, *, has_classes: bool) -> tuple[Note, ...]:
    notes = []
    if not has_classes:
        notes.append(Note(NoteKind.NO_LABEL, "without class scores these are proposals, which no class is known of"))
    if video not in folder.lengths:
        text = f"the length of the video is taken to be the end of its last file: {LENGTHS_FILE} does not give it"
        notes.append(Note(NoteKind.TIMELINE, text))
    return tuple(notes)
