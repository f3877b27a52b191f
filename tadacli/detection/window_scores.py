"""The scores of a video's windows, in one pass that decodes each frame once (see `window_pass`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.adaptive import AdaptiveWork
from tadacli.detection.cuts import finder_versions
from tadacli.detection.score_file import KIND
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.shares import Shared
from tadacli.detection.window_pass import Group, Journal, OnProgress, WindowPass, Work, Worked, pass_over
from tadacli.results import RunSettings
from tadacli.sampling.settings import WindowSettings
from tadacli.sampling.shares import Share
from tadacli.scoring.provenance import machine_settings
from tadacli.scoring.views import check_finite, class_scores, padded_batch
from tadacli.version import __version__
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD
from tadacli.zoo.addresses import address
from tadacli.zoo.loading import Model


def score_windows(
    video: str | os.PathLike[str],
    *,
    model: Model,
    settings: WindowSettings,
    journal: Journal | None = None,
    on_progress: OnProgress | None = None,
    num_readers: int | None = None,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
    index: str | os.PathLike[str] | None = None,
) -> WindowScores:
    """The scores of every window of one video whose frames can all be read.

    Args:
        video: A path or URL.
        model: The model.
        settings: Which windows there are.
        journal: Keeps what is scored; scoring starts after what it holds.
        on_progress: Called after each group of windows.
        num_readers: Threads that read the video, where its frames can be shared out; by default as suits the machine.
            The scores do not depend on it.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The scores, with a row for each of these windows.

    Raises:
        VideoError: For a video that cannot be read, or of which not one window can be scored.
        TadaError: For scores that are not numbers.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in model.spec.heads}

    def take(group: Group) -> None:
        for name, values in group.rows.items():
            parts[name].append(values)

    done = _pass(
        video,
        model,
        settings,
        take,
        journal=journal,
        on_progress=on_progress,
        num_readers=num_readers,
        max_download=max_download,
        index=index,
    )
    spans, used, scale = done.plan.rows()
    return WindowScores(
        path=done.path,
        size_bytes=done.size_bytes,
        spec=model.spec,
        weights_sha256=model.weights_sha256,
        tool_version=__version__,
        settings=scoring_settings(settings, model),
        info=done.info,
        range_seconds=(done.plan.start, done.plan.end),
        spans=spans[done.is_done],
        used=used[done.is_done],
        scale=scale[done.is_done],
        scores={name: np.concatenate(values) for name, values in parts.items()},
        gaps=done.gaps,
        num_windows_planned=done.plan.num_laid,
        num_frames_used=done.num_frames_used,
        cuts=done.plan.cuts,
        interpolated=None if settings.adaptive_stride == 1 else done.is_interpolated[done.is_done],
    )


def _pass(
    video: str | os.PathLike[str],
    model: Model,
    settings: WindowSettings,
    take: Callable[[Group], object],
    *,
    max_download: int,
    journal: Journal | None = None,
    on_progress: OnProgress | None = None,
    num_readers: int | None = None,
    share: Share | None = None,
    index: str | os.PathLike[str] | None = None,
) -> WindowPass:
    batch_size, block = settings.batch_size_on(model.device.type), settings.adaptive_stride
    work: Work = _Scoring(model, batch_size)
    return pass_over(
        video,
        model=model,
        layout=settings.for_video(address(video)),
        work=work if block == 1 else AdaptiveWork(work, block),
        take=take,
        batch_size=batch_size,
        fps=settings.fps,
        cuts=settings.cuts,
        journal=journal,
        on_progress=on_progress,
        num_readers=num_readers,
        max_download=max_download,
        share=share,
        index=index,
        block=block,
    )


def shared_windows(
    model: Model,
    settings: WindowSettings,
    *,
    run_id: str,
    max_download: int,
    index: str | os.PathLike[str] | None = None,
) -> Shared:
    """What `score_windows` does, to be shared out.

    Args:
        model: The model.
        settings: Which windows there are.
        run_id: The run that the journal belongs to.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept.
    """
    rest: dict[str, Any] = {"take": lambda _: None, "max_download": max_download, "index": index}
    score = partial(_pass, model=model, settings=settings, **rest)
    is_one = settings.cuts == "auto"
    return Shared(settings.for_video, score, KIND, run_id, settings.fps, max_download, index, is_one)


def scoring_settings(settings: WindowSettings, model: Model) -> RunSettings:
    """What the scores of a video's windows depend on besides model and video.

    Args:
        settings: Which windows there are.
        model: The model.

    Returns:
        The settings, JSON-ready.
    """
    values: RunSettings = {**settings.to_dict(model.spec.input, model.device.type), **machine_settings(model)}
    if settings.cuts == "auto":
        values["versions"] = {**values["versions"], **finder_versions()}
    return values


@dataclass(frozen=True)
class _Scoring:
    """Scores of the classes (num_windows, num_classes) by head: the mean over each window's clips."""

    model: Model
    batch_size: int
    num_crops: int = 1

    def of_clips(self, views: Sequence[Tensor], counts: Sequence[int]) -> Worked:
        """The scores of windows that have `counts` many of these views each."""
        model, batch_size = self.model, self.batch_size
        parts: dict[str, list[Tensor]] = {name: [] for name in model.spec.heads}
        for first in range(0, len(views), batch_size):
            group = views[first : first + batch_size]
            for name, values in class_scores(model, padded_batch(group, batch_size)).items():
                parts[name].append(values[: len(group)])
        return Worked(
            {
                name: mean_rows(name, parts[name], counts, num_columns=len(labels))
                for name, labels in model.spec.heads.items()
            }
        )


def mean_rows(head: str, parts: Sequence[Tensor], counts: Sequence[int], *, num_columns: int) -> NDArray[np.float32]:
    """Scores of windows: the mean over the views of each.

    Args:
        head: The name of the head, for errors.
        parts: Scores of all views, (any, num_columns) each.
        counts: How many views each window has.
        num_columns: For no window at all.

    Returns:
        (num_windows, num_columns).

    Raises:
        TadaError: They are not numbers.
    """
    rows = torch.split(torch.cat(list(parts)), list(counts)) if counts else ()
    stacked = torch.stack([row.sum(dim=0) / len(row) for row in rows]) if rows else torch.empty(0, num_columns)
    check_finite(head, stacked)
    return stacked.float().numpy()
