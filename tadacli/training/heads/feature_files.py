"""The files of features of the videos of a run: made and kept beside it, or there already in a folder."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import named
from tadacli.detection.extraction import feature_job, iter_features
from tadacli.detection.feature_file import SUFFIX
from tadacli.detection.feature_layouts import FeatureStore
from tadacli.errors import UsageError
from tadacli.sampling.snippets import SnippetSettings
from tadacli.strict_tables import in_one_line
from tadacli.training.data import FinetuneData
from tadacli.training.negatives import Negatives
from tadacli.zoo.loading import Model


@dataclass(frozen=True)
class FeatureFiles:
    """The files of features by the path of the video, and of the videos that have none the reasons."""

    files: Mapping[str, Path]
    failed: Mapping[str, str] = field(default_factory=dict)


def by_video(dataset: Dataset) -> dict[str, list[Sample]]:
    """The samples of each video.

    Args:
        dataset: Samples, in any order.

    Returns:
        Samples in their order, by the path of their video, or by its name where it was not found.
    """
    videos: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        videos[str(sample.path) if sample.path is not None else sample.video_id or sample.id].append(sample)
    return dict(videos)


def made_files(
    data: FinetuneData,
    negatives: Negatives,
    folder: Path,
    snippets: SnippetSettings,
    trunk: Model,
    *,
    on_features: Callable[[int, int], object],
    index: str | os.PathLike[str] | None = None,
) -> FeatureFiles:
    """The features of all videos, made; those that an earlier run left whole are not made again.

    Args:
        data: Samples of videos that are there.
        negatives: Further videos.
        folder: Where the features are kept.
        snippets: Of which snippets to make them.
        trunk: The model that makes them.
        on_features: Called after each video with (videos done, videos in all).
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The files, and why videos that cannot be read have none.

    Raises:
        UsageError: A video was not found.
        OutputError: The folder has features that were made with other settings, or cannot be written.
    """
    videos = (*_videos_of(data), *(str(each.path) for side in negatives.sides.values() for each in side))
    job = feature_job(videos, model=trunk, snippets=snippets, index=index)
    store = FeatureStore(videos, folder, resume=True)
    failed = {}
    for number, made in enumerate(iter_features(job, store=store), start=1):
        on_features(number, len(videos))
        if made.status == "error":
            failed[made.path] = made.error
    return FeatureFiles({video: file for video, file in store.files.items() if video not in failed}, failed)


def files_in(folder: Path, data: FinetuneData, negatives: Negatives) -> FeatureFiles:
    """The features of all videos, found in a folder.

    Args:
        folder: Where the file of `walk.mp4` is `walk.mp4.npz` or `walk.npz`.
        data: Samples, each of which needs the features of its video.
        negatives: Further videos; one without features is one that could not be read.

    Returns:
        The files.

    Raises:
        UsageError: A labelled video has no features there, or two videos have the same.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder of features", hint="tada features makes one")
    labelled = {**by_video(data.train), **by_video(data.validation)}
    further = [str(each.path) for side in negatives.sides.values() for each in side]
    found = {video: _file_of(video, samples[0].video_id, folder) for video, samples in labelled.items()}
    found |= {video: _file_of(video, "", folder) for video in further}
    files = {video: file for video, file in found.items() if file is not None}
    if missing := [video for video in labelled if video not in files]:
        raise UsageError(
            f"{len(missing)} of {len(labelled)} videos have no features in {folder}: {named(missing)}",
            hint="make them with tada features, a file for each video",
        )
    counts = Counter(files.values())
    if twice := [video for video, file in files.items() if counts[file] > 1]:
        raise UsageError(
            f"{len(twice)} videos would share features: {named(twice)}", hint="give each video a name of its own"
        )
    reason = f"it has no features in {in_one_line(str(folder))}"
    return FeatureFiles(files, {video: reason for video in further if video not in files})


def _videos_of(data: FinetuneData) -> Sequence[str]:
    """The paths of the videos of both splits, each once. Raises `UsageError` for one that was not found."""
    samples = (*data.train.samples, *data.validation.samples)
    if missing := [sample.missing or sample.id for sample in samples if sample.path is None]:
        raise UsageError(
            f"{len(missing)} of {len(samples)} segments have no video: {missing[0]}",
            hint="say where the videos are with --data-root, or where their features are with --features",
        )
    return tuple(dict.fromkeys(str(sample.path) for sample in samples))


def _file_of(video: str, video_id: str, folder: Path) -> Path | None:
    """The file with the features of a video; it may be called as the video, its stem, or what the data call it."""
    names = [Path(video).name, Path(video).stem, video_id]
    for name in dict.fromkeys(os.path.basename(each) for each in names if each):
        if (folder / f"{name}{SUFFIX}").is_file():
            return folder / f"{name}{SUFFIX}"
    return None
