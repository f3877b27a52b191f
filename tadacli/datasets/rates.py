"""How many frames a second the videos of a data set have that are folders or tars of pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from tadacli.datasets.samples import Dataset, Sample
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind
from tadacli.video.frame_names import ASSUMED_FPS, checked_rate, named_rate
from tadacli.video.inputs import is_pictures


def with_rates(dataset: Dataset, fps: float | None) -> Dataset:
    """The data set with the rate of its pictures settled: what is asked for, or a note where nothing says it.

    Args:
        dataset: The samples, some of which may have a rate of their own.
        fps: Frames a second of the pictures whose annotations do not say it; None: as the names of their folders say.

    Returns:
        The data set; a remark counts the samples whose rate has to be assumed.

    Raises:
        UsageError: The rate is out of range.
    """
    if fps is not None:
        rate = checked_rate(fps)
        return replace(dataset, samples=tuple(_at_rate(sample, rate) for sample in dataset.samples))
    num_assumed = sum(map(_is_assumed, dataset.samples))
    if not num_assumed:
        return dataset
    text = (
        f"of {num_assumed} of {len(dataset.samples)} samples nothing says how many frames there are a second: "
        f"{ASSUMED_FPS} are assumed; --fps says it, or a column fps"
    )
    return replace(dataset, remarks=(*dataset.remarks, Note(NoteKind.ASSUMED_RATE, text)))


def rates_by_path(samples: Sequence[Sample]) -> dict[str, float | None]:
    """The rate of each video by its path, None where no sample has one. Raises `UsageError` for two rates."""
    rates: dict[str, float | None] = {}
    for sample in samples:
        if sample.path is None:
            continue
        path = os.fspath(sample.path)
        known = rates.setdefault(path, sample.fps)
        if known != sample.fps:
            raise UsageError(
                f"{path} has {known} and {sample.fps} frames a second in different samples", hint="give one rate"
            )
    return rates


def _at_rate(sample: Sample, fps: float) -> Sample:
    has_none = sample.fps is None and sample.path is not None and is_pictures(os.fspath(sample.path))
    return replace(sample, fps=fps) if has_none else sample


def _is_assumed(sample: Sample) -> bool:
    """Whether a sample is of pictures that nothing says the rate of; asks nothing of the disk for most videos."""
    if sample.path is None or sample.fps is not None:
        return False
    path = os.fspath(sample.path)
    return is_pictures(path) and named_rate(path) is None
