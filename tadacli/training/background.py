"""Windows in which none of the classes is shown: of the time that nobody labelled, and of videos that hold no class.

A classifier that was trained on labelled spans alone has never seen a window without an action, and finds one in each.
With a class for these windows it can say "nothing".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tadacli.datasets.samples import Dataset, Sample, span_id
from tadacli.datasets.tables import named
from tadacli.errors import UsageError, VideoError
from tadacli.sampling import DEFAULT_WINDOW
from tadacli.sampling.settings import parse_length
from tadacli.specs import BACKGROUND
from tadacli.strict_tables import in_one_line
from tadacli.training import Unlabelled
from tadacli.training.data import FinetuneData
from tadacli.training.negatives import find_negatives
from tadacli.video.reading import probe

# Labels are seldom exact: so much around a labelled span is not taken for unlabelled.
MARGIN_SECONDS = 0.5

Span = tuple[float, float]


@dataclass(frozen=True)
class _Video:
    """A video of a split: its file, how it is named, its rate if the data say it, and the spans that are labelled."""

    path: Path
    name: str
    fps: float | None
    labelled: tuple[Span, ...] = ()


def with_background(
    data: FinetuneData,
    *,
    unlabelled: Unlabelled = "background",
    negatives: str | os.PathLike[str] | None = None,
    validation_share: float = 0.2,
    seed: int = 0,
    index: str | os.PathLike[str] | None = None,
) -> FinetuneData:
    """The data with windows of a further class, `BACKGROUND`, or as they are where there is no such window.

    Windows are as long as those of `detect`. A split gets as many of unlabelled time as its most frequent class has
    samples, and as many of negatives, spread evenly over all that there are.

    Args:
        data: Samples; only those that are spans tell which time of their video is not labelled.
        unlabelled: Whether unlabelled time is background, or is ignored.
        negatives: A folder of videos that hold none of the classes; about `validation_share` of them validate.
        validation_share: As of the data.
        seed: Of the split of the negatives.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The data; a remark says how many windows were taken.

    Raises:
        UsageError: There are several heads, the folder has no videos, or one of them is labelled, too.
    """
    if set(data.heads) != {""}:
        raise UsageError("background is a class of one head, and the data have several", hint="use --unlabelled ignore")
    sides = {"train": data.train, "validation": data.validation}
    found: dict[str, list[Sample]] = {split: [] for split in sides}
    remarks = []
    if unlabelled == "background":
        for split, dataset in sides.items():
            # What is wrong with a video of the data is said when they are checked.
            windows = [each for video in _videos_of(dataset, data) for each in _windows(video, index) or ()]
            found[split] += _spread(windows, _most_in_a_class(dataset))
            remarks.append(f"{split}: {len(found[split])} of {len(windows)} windows of unlabelled time are background")
    if negatives is not None:
        split_videos = find_negatives(negatives, data, validation_share=validation_share, seed=seed)
        for split, videos in split_videos.sides.items():
            of_video = {each.name: _windows(_Video(each.path, each.name, None), index) for each in videos}
            if unread := [in_one_line(name) for name, each in of_video.items() if each is None]:
                remarks.append(f"{split}: {len(unread)} of {len(videos)} negatives cannot be read: {named(unread)}")
            windows = [window for each in of_video.values() for window in each or ()]
            taken = _spread(windows, _most_in_a_class(sides[split]))
            found[split] += taken
            remarks.append(f"{split}: {len(taken)} of {len(windows)} windows of {len(videos)} negatives are background")
    if not found["train"]:
        remarks.append(f"there is no class {BACKGROUND}, as there are no windows to train it with")
        return replace(data, remarks=(*data.remarks, *remarks))
    labels = data.heads[""]
    labels = labels if BACKGROUND in labels else (*labels, BACKGROUND)
    heads: Mapping[str, tuple[str, ...]] = {"": labels}
    last = labels.index(BACKGROUND)
    made = {
        split: replace(
            dataset,
            heads=heads,
            samples=(*dataset.samples, *(replace(each, labels={"": last}) for each in found[split])),
        )
        for split, dataset in sides.items()
    }
    return replace(
        data,
        heads=heads,
        background=BACKGROUND,
        train=made["train"],
        validation=made["validation"],
        remarks=(*data.remarks, *remarks),
    )


def _videos_of(dataset: Dataset, data: FinetuneData) -> list[_Video]:
    """The videos of a split of which spans are labelled, with the labelled spans of both splits."""
    of_video: dict[Path, list[Span]] = {}
    for sample in (*data.train.samples, *data.validation.samples):
        if sample.path is not None:
            end = float("inf") if sample.end_seconds is None else sample.end_seconds
            of_video.setdefault(sample.path, []).append((sample.start_seconds or 0.0, end))
    own = {sample.path: sample for sample in dataset.samples if sample.path is not None}
    return [
        _Video(path, sample.video_id or os.path.basename(path), sample.fps, tuple(sorted(of_video[path])))
        for path, sample in own.items()
    ]


def _windows(video: _Video, index: str | os.PathLike[str] | None) -> list[Sample] | None:
    """The windows of a video, side by side, that touch no labelled span and nothing close to one.

    None for one that cannot be read.
    """
    try:
        info = probe(video.path, fps=video.fps, index=index)
    except VideoError:
        return None
    length = parse_length(DEFAULT_WINDOW).seconds(float(info.fps))
    reached, spans = 0.0, []
    for start, end in (*video.labelled, (float("inf"), float("inf"))):
        free_until = min(start - MARGIN_SECONDS, info.duration_seconds)
        for number in range(max(0, int((free_until - reached) / length + 1e-9))):
            spans.append((reached + number * length, reached + (number + 1) * length))
        reached = min(max(reached, end + MARGIN_SECONDS), info.duration_seconds)
    return [
        Sample(span_id(video.name, start, end), video.path, {}, start, end, video_id=video.name, fps=video.fps)
        for start, end in ((round(start, 6), round(end, 6)) for start, end in spans)
    ]


def _most_in_a_class(dataset: Dataset) -> int:
    counts = np.bincount([index for sample in dataset.samples for index in dataset.classes_of(sample, "")], minlength=1)
    return int(counts.max())


def _spread(windows: Sequence[Sample], count: int) -> list[Sample]:
    """So many of the windows, or all, at even distances."""
    if len(windows) <= count:
        return list(windows)
    return [windows[int((number + 0.5) * len(windows) / count)] for number in range(count)]
