"""From samples of a data set and the features of its videos to sequences that a head is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.samples import Sample
from tadacli.datasets.tables import named
from tadacli.detection.feature_file import read_features
from tadacli.detection.feature_grid import features_grid, in_shots, steps_of
from tadacli.detection.features import VideoFeatures
from tadacli.errors import UsageError
from tadacli.results import counted, out_of
from tadacli.specs import FeatureSteps
from tadacli.strict_tables import in_one_line
from tadacli.training import Unlabelled
from tadacli.training.data import FinetuneData, with_reason, without_videos
from tadacli.training.heads.feature_files import FeatureFiles, by_video
from tadacli.training.heads.sequences import LabelledSequence
from tadacli.training.negatives import Negative, Negatives

_NO_TIME = np.empty((0, 2), dtype=np.float64)


@dataclass(frozen=True)
class VideoCount:
    """How many videos there are, and how long all of them are together."""

    num_videos: int
    seconds: float


@dataclass(frozen=True, eq=False)
class HeadData:
    """Sequences to train on and to validate with, what their features are, and what else to know of them.

    `samples` are those that the sequences are of. In `negatives` nothing happens: they train, too. Those of
    `held_out_negatives` belong to no mAP, but to the choice of the threshold.
    """

    samples: FinetuneData
    train: tuple[LabelledSequence, ...]
    validation: tuple[LabelledSequence, ...]
    negatives: tuple[LabelledSequence, ...]
    held_out_negatives: tuple[LabelledSequence, ...]
    steps: FeatureSteps
    unlabelled: Unlabelled
    remarks: tuple[str, ...] = ()

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the classes by head."""
        return self.samples.heads

    @property
    def trained_on(self) -> tuple[LabelledSequence, ...]:
        """All sequences that train."""
        return (*self.train, *self.negatives)

    @property
    def num_negatives(self) -> dict[str, VideoCount]:
        """How many negatives there are, by the split they are in; none where there are none."""
        sides = {"train": self.negatives, "validation": self.held_out_negatives}
        return {
            split: VideoCount(len(each), sum(one.grid.duration_seconds - one.grid.start_seconds for one in each))
            for split, each in sides.items()
            if each
        }


def load_head_data(
    data: FinetuneData,
    features: FeatureFiles,
    *,
    negatives: Negatives | None = None,
    unlabelled: Unlabelled = "background",
) -> HeadData:
    """The sequences of a data set, of the features of its videos. Videos that have none are left out, which is said.

    Args:
        data: Samples with spans, split by video.
        features: The files by the path of the video.
        negatives: Videos in which nothing happens at any time.
        unlabelled: Whether time of a training video that no segment covers is background, or is not learnt from.

    Returns:
        The sequences, in the order of the samples.

    Raises:
        UsageError: A video is in both splits, its features are not those of the others, or too little is left.
    """
    negatives = negatives or Negatives()
    data = without_videos(data, features.failed)
    split = {"train": by_video(data.train), "validation": by_video(data.validation)}
    if shared := [video for video in split["train"] if video in split["validation"]]:
        raise UsageError(
            f"{len(shared)} videos are to train and to validate with: {named(shared)}",
            hint="a head learns from all time of a video: split by video",
        )
    remarks = list(data.notes)
    further = {side: _with_features(videos, features) for side, videos in negatives.sides.items()}
    remarks += _unread(negatives, further, features)
    videos = [*split["train"], *split["validation"], *(str(each.path) for side in further.values() for each in side)]
    loaded = {video: read_features(features.files[video]) for video in videos}
    for video, each in loaded.items():
        _require_same_video(video, each, features.files[video])

    def sequence(video: str, samples: Sequence[Sample] = ()) -> LabelledSequence:
        return _sequence(video, samples, loaded[video], features.files[video], remarks, list(data.heads))

    train, validation = (tuple(sequence(*each) for each in split[side].items()) for side in ("train", "validation"))
    quiet, held_out = (tuple(sequence(str(each.path)) for each in further[side]) for side in ("train", "validation"))
    gaps = [video for video, each in loaded.items() if each.gaps]
    if gaps:
        remarks.append(f"{out_of(len(gaps), len(loaded), 'videos', 'have no features at some times')}: {named(gaps)}")
    if unlabelled == "ignore":
        train = tuple(_without_unlabelled(each) for each in train)
        if not quiet:
            remarks.append("no time is background, so that the head learns no time in which nothing happens")
    return HeadData(data, train, validation, quiet, held_out, _steps(loaded), unlabelled, tuple(remarks))


def negatives_line(data: HeadData) -> str:
    """How many negatives there are, and what for, in words.

    Args:
        data: What a head is trained on.

    Returns:
        "6 videos of 81 s to train with", for example; empty without any.
    """
    purposes = {"train": "to train with", "validation": "held out for the threshold, and in no mAP"}
    return ", ".join(
        f"{counted(each.num_videos, 'videos')} of {each.seconds:.0f} s {purposes[split]}"
        for split, each in data.num_negatives.items()
    )


def _with_features(videos: Sequence[Negative], features: FeatureFiles) -> list[Negative]:
    return [each for each in videos if str(each.path) in features.files]


def _unread(negatives: Negatives, there: Mapping[str, Sequence[Negative]], features: FeatureFiles) -> list[str]:
    """What to say of negatives without features. Raises `UsageError` if none is left to train with."""
    every = [each for side in negatives.sides.values() for each in side]
    unread = [each for each in every if each not in there["train"] and each not in there["validation"]]
    reasons = [with_reason(str(each.path), features.failed[str(each.path)]) for each in unread]
    if negatives.train and not there["train"]:
        raise UsageError(
            f"none of {len(negatives.train)} negatives to train with can be read: {named(reasons)}",
            hint="mend them, or leave --negatives out",
        )
    if not unread:
        return []
    return [f"{len(unread)} of {len(every)} negatives cannot be read, and are left out: {named(reasons)}"]


def _require_same_video(video: str, features: VideoFeatures, file: Path) -> None:
    if features.contract is not None and Path(features.path).stem != Path(video).stem:
        raise UsageError(
            f"{file} has features of {in_one_line(features.path)}, not of {in_one_line(video)}",
            hint="give each file the name of its video",
        )


def _sequence(
    video: str,
    samples: Sequence[Sample],
    features: VideoFeatures,
    file: Path,
    remarks: list[str],
    heads: Sequence[str],
) -> LabelledSequence:
    """The features of a video with its segments, whose times count from its first frame."""
    grid = features_grid(features, where=str(file))
    first, end_of_video = features.start_seconds, features.duration_seconds
    spans: list[tuple[float, float]] = []
    classes: dict[str, list[int]] = {head: [] for head in heads}
    for sample in samples:
        start = max(first + (sample.start_seconds or 0.0), first)
        end = end_of_video if sample.end_seconds is None else min(first + sample.end_seconds, end_of_video)
        if start >= end:
            remarks.append(f"{sample.id} lies outside of its video of {end_of_video - first:g} s, and is left out")
            continue
        # Of multi-label data a span may have several labels of the one head: each is a segment.
        for labels in [{"": index} for index in sample.own_classes] if sample.others else [sample.labels]:
            spans.append((start, end))
            for head in heads:
                classes[head].append(labels[head])
    columns = {head: np.array(values, dtype=np.int64) for head, values in classes.items()}
    return LabelledSequence(video, grid, np.array(spans, dtype=np.float64).reshape(-1, 2), columns, _NO_TIME)


def _without_unlabelled(sequence: LabelledSequence) -> LabelledSequence:
    """The sequence with all time that no span covers as time of which nothing is known."""
    free: list[tuple[float, float]] = []
    reached = -np.inf
    for start, end in sorted(sequence.spans.tolist()):
        if start > reached:
            free.append((reached, start))
        reached = max(reached, end)
    ignored: NDArray[np.float64] = np.array([*free, (reached, np.inf)], dtype=np.float64)
    return LabelledSequence(sequence.name, sequence.grid, sequence.spans, sequence.classes, ignored)


def _steps(loaded: Mapping[str, VideoFeatures]) -> FeatureSteps:
    """What the features of all videos are. Raises `UsageError` if they are of different models."""
    (first_video, first), *others = loaded.items()
    found = steps_of(first)
    for video, features in others:
        other = steps_of(features)
        if other != found and replace(other, within_shots=found.within_shots) == found:
            raise UsageError(
                f"the snippets of {first_video} {in_shots(found)}, and those of {video} {in_shots(other)}",
                hint="make all features with tada features --cuts auto, or all of them without",
            )
        if other != found:
            raise UsageError(
                f"the features of {video} are others than those of {first_video}: {other} and {found}",
                hint="make all of them with one model and one stride",
            )
    return found
