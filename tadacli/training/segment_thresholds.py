"""Thresholds for `detect`, fitted where it is used: on the windows of the held-out videos, by the F1 of segments.

Those of `classify` are fitted on trimmed items, each of which shows one of the classes. Most windows of a long video
show none of them well, so that a threshold from there lets labels through that nobody can see.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tadacli.datasets.samples import Dataset
from tadacli.detection.nms import temporal_iou
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.distributed import Processes, Resources
from tadacli.errors import VideoError
from tadacli.models.inference import inference_form
from tadacli.results import counted
from tadacli.sampling.settings import window_settings
from tadacli.specs import LOW_SHARE, ModelSpec
from tadacli.training.data import FinetuneData
from tadacli.zoo.loading import Model

# A segment is right from this temporal IoU with a true one of its class.
RIGHT_TIOU = 0.3
# Of a class with fewer true segments a person is told that they say little.
MIN_SEGMENTS = 3
# The segments of a class are counted together with so many of all classes, so that a few do not decide alone.
PRIOR_SEGMENTS = 20
# What a threshold gives is averaged over those around it: the deviation of their weights, in log odds of the score.
SMOOTHING = 0.35
# How much more of the videos than truly shows a class its segments may cover, as a fraction of their length. With more
# of it F1 is higher, and single videos are covered by a label that they do not show (see benchmarks/README.md).
MAX_EXCESS = 0.1
# Shares of its threshold that a segment may have to hold throughout; of equal F1 the first.
LOW_SHARES = (LOW_SHARE, 0.7, 0.25, 0.85, 1.0)
_ROUNDING = 1e-9  # F1 that differ by less are equal
_CANDIDATES: NDArray[np.float64] = np.round(np.arange(0.02, 1.0, 0.02), 2)


@dataclass(frozen=True, eq=False)
class SearchedVideo:
    """The scores of a video's windows, and its true segments: spans (N, 2) in seconds, and class numbers (N,).

    One without segments is a negative: all that is found in it is wrong.
    """

    scores: WindowScores
    spans: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class SegmentThresholds:
    """What a `ModelSpec` takes over, by head, and what a person should know about it.

    `windows` says in words which windows they are for; `f1` is what they reach on the same videos, in percent: of all
    classes together, at `RIGHT_TIOU`. `num_videos` have segments, `num_negatives` none. `low_share` is the share of its
    threshold that a segment holds throughout.
    """

    thresholds: Mapping[str, tuple[float, ...]]
    windows: str
    num_videos: int
    num_segments: int
    f1: float
    notes: tuple[str, ...]
    num_negatives: int = 0
    low_share: float = LOW_SHARE


def segments_line(fitted: SegmentThresholds) -> str:
    """How good the thresholds are, in words."""
    negatives = f" and in {fitted.num_negatives} negatives" if fitted.num_negatives else ""
    return (
        f"F1 {fitted.f1:.1f} % at tIoU {RIGHT_TIOU:g}, on the {counted(fitted.num_segments, 'segments')} of "
        f"{counted(fitted.num_videos, 'held-out videos')}{negatives} they were fitted on, {fitted.windows}; segments "
        f"hold {100 * fitted.low_share:g} % of their threshold"
    )


def thresholds_on_windows(
    network: nn.Module,
    spec: ModelSpec,
    data: FinetuneData,
    resources: Resources,
    *,
    on_video: Callable[[int, int], object] = lambda _, __: None,
) -> SegmentThresholds | None:
    """Thresholds for the windows that `detect` takes by default, fitted on the held-out videos with labelled spans.

    Args:
        network: In eval mode, on its device.
        spec: With the temperatures that the scores are to have.
        data: What was held out.
        resources: The device and the processes.
        on_video: Called after each video with (videos done, videos of this process).

    Returns:
        The thresholds. None where whole videos are the items, where a published data set has spans of longer videos of
        which nothing else is known, and with several heads.
    """
    if data.published or len(spec.heads) != 1:
        return None
    model = Model(spec, inference_form(network), resources.device, torch.float32, Path(), "")
    with torch.inference_mode():
        videos, unread = search_videos(
            data.validation, model, resources.processes, on_video=on_video, index=resources.index
        )
    fitted = fit_segment_thresholds(videos, spec.heads)
    return None if fitted is None else replace(fitted, notes=(*fitted.notes, *unread))


def search_videos(
    dataset: Dataset,
    model: Model,
    processes: Processes,
    *,
    on_video: Callable[[int, int], object] = lambda _, __: None,
    index: str | os.PathLike[str] | None = None,
) -> tuple[list[SearchedVideo], list[str]]:
    """Scores the windows of every video of which spans are labelled, each process a part of them.

    Args:
        dataset: The samples; those that are whole videos are passed over. A video whose samples are all background is a
            negative: nothing else may be found in it.
        model: What scores.
        processes: Those that share the work.
        on_video: Called after each video with (videos done, videos of this process).
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The videos in the order of the samples, and for each that cannot be read what is wrong with it.
    """
    (head,) = dataset.heads
    by_path: dict[str, list[tuple[float, float, int]]] = {}
    rates: dict[str, float | None] = {}
    for sample in dataset.samples:
        if sample.path is None or (sample.start_seconds is None and sample.end_seconds is None):
            continue
        path = os.fspath(sample.path)
        rates[path] = sample.fps
        spans = by_path.setdefault(path, [])
        end = np.inf if sample.end_seconds is None else sample.end_seconds
        for number in sample.own_classes:
            if dataset.heads[head][number] != model.spec.background:
                spans.append((sample.start_seconds or 0.0, end, number))
    own = list(by_path)[processes.rank :: processes.count]
    found: list[tuple[str, SearchedVideo | str]] = []
    for number, path in enumerate(own, start=1):
        try:
            scores = score_windows(path, model=model, settings=window_settings(fps=rates[path]), index=index)
        except VideoError as error:
            found.append((path, error.message))
        else:
            table = np.array(by_path[path], dtype=np.float64).reshape(-1, 3)
            # Annotations count from the first frame, windows are in presentation time.
            times = np.clip(table[:, :2] + scores.info.start_seconds, *scores.range_seconds)
            found.append((path, SearchedVideo(scores, times, table[:, 2].astype(np.int64))))
        on_video(number, len(own))
    of_path = dict(processes.gathered(found))
    made = [of_path[path] for path in by_path]
    videos = [each for each in made if isinstance(each, SearchedVideo)]
    return videos, [f"{path}: {each}" for path, each in of_path.items() if isinstance(each, str)]


def fit_segment_thresholds(
    videos: Sequence[SearchedVideo], heads: Mapping[str, tuple[str, ...]]
) -> SegmentThresholds | None:
    """The score, for each class, from which its segments have the best F1 at `RIGHT_TIOU`.

    The share of it that a segment holds throughout is fitted, too, one for all classes: that of `LOW_SHARES` with which
    the segments of all classes together have the best F1.

    Few segments make an uneven curve, which says little of other videos. So what a threshold finds is averaged with
    what those around it do, and a class is counted together with `PRIOR_SEGMENTS` that are found as well as those of
    all classes are: one with few segments has about the threshold that is best for all of them together, one with many
    its own.

    Thresholds with which the segments of a class are too long are left out: by more than `MAX_EXCESS` of the length of
    all labelled videos, counting in each how much more of it they cover than truly shows the class. (In each video by
    itself this would leave the fewer thresholds the more videos there are, as it takes only one that is hard.) What is
    found in negatives, which may be short, counts in the F1 alone, as it does for the threshold of a head. Of equal F1
    the higher threshold is taken.

    Args:
        videos: Windows and truth; negatives have none.
        heads: The class names of the one head.

    Returns:
        The thresholds; None without a true segment, or with several heads.
    """
    if len(heads) != 1 or not any(len(video.spans) for video in videos):
        return None
    return max((_fit(videos, heads, share) for share in LOW_SHARES), key=lambda fitted: fitted.f1)


def _fit(videos: Sequence[SearchedVideo], heads: Mapping[str, tuple[str, ...]], low_share: float) -> SegmentThresholds:
    """The thresholds of segments that hold this share of theirs."""
    ((head, labels),) = heads.items()
    num_truth = np.bincount(np.concatenate([video.classes for video in videos]), minlength=len(labels))
    counts = [_Counts.at(float(level), low_share, videos, heads) for level in _CANDIDATES]
    right = np.stack([each.right for each in counts])
    num_found = np.stack([each.found for each in counts])
    labelled = [video.scores.range_seconds for video in videos if len(video.spans)]
    allowed = MAX_EXCESS * sum(end - start for start, end in labelled)
    is_sound = np.stack([each.excess_seconds <= allowed for each in counts])
    f1 = _expected_f1(right, num_found, num_truth)
    chosen = []
    for index in range(len(labels)):
        sound = np.flatnonzero(is_sound[:, index])
        chosen.append(int(sound[_last_best(f1[sound, index])]) if len(sound) else len(_CANDIDATES) - 1)
    columns = np.arange(len(labels))
    reached = 200 * right[chosen, columns].sum() / (num_found[chosen, columns].sum() + num_truth.sum())
    is_reported = np.array([label != videos[0].scores.spec.background for label in labels])
    rare = int((is_reported & (num_truth < MIN_SEGMENTS)).sum())
    notes = []
    if rare:
        notes.append(
            f"{rare} of {int(is_reported.sum())} classes have fewer than {MIN_SEGMENTS} segments in the held-out "
            "videos: their thresholds are mostly those of all classes together"
        )
    thresholds = {head: tuple(_CANDIDATES[chosen].tolist())}
    settings = videos[0].scores.settings
    windows = f"windows of {settings['window']} every {settings['stride']}"
    num_negatives = sum(not len(video.spans) for video in videos)
    num_videos = len(videos) - num_negatives
    return SegmentThresholds(
        thresholds, windows, num_videos, int(num_truth.sum()), float(reached), tuple(notes), num_negatives, low_share
    )


@dataclass(frozen=True, eq=False)
class _Counts:
    """Of one threshold, by class (C,): right segments, segments, and how much too long they are in labelled videos."""

    right: NDArray[np.int64]
    found: NDArray[np.int64]
    excess_seconds: NDArray[np.float64]

    @classmethod
    def at(
        cls, level: float, low_share: float, videos: Sequence[SearchedVideo], heads: Mapping[str, tuple[str, ...]]
    ) -> _Counts:
        ((head, labels),) = heads.items()
        right, found = np.zeros((2, len(labels)), dtype=np.int64)
        excess = np.zeros(len(labels))
        for video in videos:
            scores = video.scores
            settings = SegmentSettings(threshold="auto").for_model(scores.spec)
            segments = find_segments(
                scores.spans,
                scores.scale,
                scores.scores,
                heads,
                settings=settings,
                video_seconds=scores.range_seconds,
                thresholds={head: (level,) * len(labels)},
                low_share=low_share,
            )
            for index in range(len(labels)):
                ours = sorted((each for each in segments if each.index == index), key=lambda each: -each.score)
                spans = np.array([(each.start_seconds, each.end_seconds) for each in ours], dtype=np.float64)
                truth = video.spans[video.classes == index]
                right[index] += _num_right(spans, truth)
                found[index] += len(ours)
                if len(video.spans):
                    excess[index] += max(0.0, _covered(spans) - _covered(truth))
        return cls(right, found, excess)


def _num_right(spans: NDArray[np.float64], truth: NDArray[np.float64]) -> int:
    """How many spans, in their order, have a true one of their own."""
    overlaps = temporal_iou(spans, truth)
    count = 0
    for row in overlaps:
        if len(truth) and row.max() >= RIGHT_TIOU:
            overlaps[:, int(row.argmax())] = 0
            count += 1
    return count


def _covered(spans: NDArray[np.float64]) -> float:
    """The seconds that lie in one span or more."""
    total, reached = 0.0, -np.inf
    for start, end in sorted(spans.reshape(-1, 2).tolist()):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _expected_f1(
    right: NDArray[np.int64], num_found: NDArray[np.int64], num_truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The F1 (L, C) to expect of each candidate with each class, from counts (L, C) and true segments (C,)."""
    odds = np.log(_CANDIDATES / (1 - _CANDIDATES))
    weights = np.exp(-(((odds[:, None] - odds) / SMOOTHING) ** 2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    right_here, found_here = (np.einsum("kl,lc->kc", weights, counts) for counts in (right, num_found))
    share = PRIOR_SEGMENTS / num_truth.sum()
    right_of_all, found_of_all = (share * counts.sum(axis=1, keepdims=True) for counts in (right_here, found_here))
    f1: NDArray[np.float64] = 2 * (right_here + right_of_all) / (found_here + found_of_all + num_truth + PRIOR_SEGMENTS)
    return f1


def _last_best(values: NDArray[np.float64]) -> int:
    """The last of the best values, which may differ by rounding."""
    return int(np.flatnonzero(values >= values.max() - _ROUNDING)[-1])
