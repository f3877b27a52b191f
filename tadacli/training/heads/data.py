"""From samples of a data set and the features of its videos to sequences that a head is trained on."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import named
from tadacli.detection.feature_file import SUFFIX, read_features
from tadacli.detection.feature_grid import features_grid, steps_of
from tadacli.detection.features import VideoFeatures
from tadacli.errors import UsageError
from tadacli.specs import FeatureSteps
from tadacli.strict_tables import in_one_line
from tadacli.training.data import FinetuneData
from tadacli.training.heads.sequences import LabelledSequence

_NO_TIME = np.empty((0, 2), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class HeadData:
    """Sequences to train on and to validate with, what their features are, and what else to know of them."""

    name: str
    heads: Mapping[str, tuple[str, ...]]
    train: tuple[LabelledSequence, ...]
    validation: tuple[LabelledSequence, ...]
    steps: FeatureSteps
    remarks: tuple[str, ...] = ()


def load_head_data(data: FinetuneData, features: Path | Mapping[str, Path]) -> HeadData:
    """The sequences of a data set, a file of features for each video.

    All time of a video that no segment covers is background.

    Args:
        data: Samples with spans, split by video.
        features: The files by the path of the video; or their folder, where the file of `walk.mp4` is `walk.mp4.npz` or
            `walk.npz`.

    Returns:
        The sequences, in the order of the samples.

    Raises:
        UsageError: A video is in both splits, its features are missing or are not those of the others, or a segment
            lies outside of its video.
    """
    split = {"train": _by_video(data.train), "validation": _by_video(data.validation)}
    if shared := [video for video in split["train"] if video in split["validation"]]:
        raise UsageError(
            f"{len(shared)} videos are to train and to validate with: {named(shared)}",
            hint="a head learns from all time of a video: split by video",
        )
    videos = {video: samples for each in split.values() for video, samples in each.items()}
    files = _files_in(features, videos) if isinstance(features, Path) else dict(features)
    loaded = {video: read_features(files[video]) for video in videos}
    for video, each in loaded.items():
        _require_same_video(video, each, files[video])
    remarks: list[str] = []
    found = {
        name: tuple(_sequence(video, samples, loaded[video], files[video], remarks) for video, samples in each.items())
        for name, each in split.items()
    }
    gaps = [video for video, each in loaded.items() if each.gaps]
    if gaps:
        remarks.append(f"of {len(gaps)} of {len(loaded)} videos some features are missing: {named(gaps)}")
    return HeadData(data.name, data.heads, found["train"], found["validation"], _steps(loaded), tuple(remarks))


def videos_of(data: FinetuneData) -> tuple[str, ...]:
    """The paths of the videos of both splits, each once. Raises `UsageError` for one that was not found."""
    samples = (*data.train.samples, *data.validation.samples)
    if missing := [sample.missing or sample.id for sample in samples if sample.path is None]:
        raise UsageError(
            f"{len(missing)} of {len(samples)} segments have no video: {missing[0]}",
            hint="say where the videos are with --data-root, or where their features are with --features",
        )
    return tuple(dict.fromkeys(str(sample.path) for sample in samples))


def _files_in(folder: Path, videos: Mapping[str, Sequence[Sample]]) -> dict[str, Path]:
    """The file of each video in a folder. Raises `UsageError` where one has none, or two have the same."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder of features", hint="tada features makes one")
    found = {video: _file_of(video, samples, folder) for video, samples in videos.items()}
    files = {video: file for video, file in found.items() if file is not None}
    if missing := [video for video in videos if video not in files]:
        raise UsageError(
            f"{len(missing)} of {len(videos)} videos have no features in {folder}: {named(missing)}",
            hint="make them with tada features, a file for each video",
        )
    counts = Counter(files.values())
    if twice := [video for video, file in files.items() if counts[file] > 1]:
        raise UsageError(
            f"{len(twice)} videos would share features: {named(twice)}", hint="give each video a name of its own"
        )
    return files


def _require_same_video(video: str, features: VideoFeatures, file: Path) -> None:
    if features.contract is not None and Path(features.path).stem != Path(video).stem:
        raise UsageError(
            f"{file} has features of {in_one_line(features.path)}, not of {in_one_line(video)}",
            hint="give each file the name of its video",
        )


def _by_video(dataset: Dataset) -> dict[str, list[Sample]]:
    videos: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        videos[str(sample.path) if sample.path is not None else sample.video_id or sample.id].append(sample)
    return dict(videos)


def _file_of(video: str, samples: Sequence[Sample], folder: Path) -> Path | None:
    """The file with the features of a video; it may be called as the video, its stem, or what the data call it."""
    names = [Path(video).name, Path(video).stem, samples[0].video_id]
    for name in dict.fromkeys(os.path.basename(each) for each in names if each):
        if (folder / f"{name}{SUFFIX}").is_file():
            return folder / f"{name}{SUFFIX}"
    return None


def _sequence(
    video: str, samples: Sequence[Sample], features: VideoFeatures, file: Path, remarks: list[str]
) -> LabelledSequence:
    """The features of a video with its segments, whose times count from its first frame."""
    grid = features_grid(features, where=str(file))
    first, end_of_video = features.start_seconds, features.duration_seconds
    spans, kept = [], []
    for sample in samples:
        start = max(first + (sample.start_seconds or 0.0), first)
        end = end_of_video if sample.end_seconds is None else min(first + sample.end_seconds, end_of_video)
        if start >= end:
            remarks.append(f"{sample.id} lies outside of its video of {end_of_video - first:g} s, and is left out")
            continue
        spans.append((start, end))
        kept.append(sample)
    classes = {head: np.array([sample.labels[head] for sample in kept], dtype=np.int64) for head in samples[0].labels}
    return LabelledSequence(video, grid, np.array(spans, dtype=np.float64).reshape(-1, 2), classes, _NO_TIME)


def _steps(loaded: Mapping[str, VideoFeatures]) -> FeatureSteps:
    """What the features of all videos are. Raises `UsageError` if they are of different models."""
    (first_video, first), *others = loaded.items()
    found = steps_of(first)
    for video, features in others:
        if (other := steps_of(features)) != found:
            raise UsageError(
                f"the features of {video} are others than those of {first_video}: {other} and {found}",
                hint="make all of them with one model and one stride",
            )
    return found
