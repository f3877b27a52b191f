"""The scores of a video's windows, in one pass that decodes each frame once.

A few threads decode and preprocess the frames that windows need, each once, while the model works; a frame is
dropped as soon as no window needs it any more, so memory does not grow with the video.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.actions import ScoresByHead
from tadacli.errors import VideoError
from tadacli.profiling import Stage, count, during, steps
from tadacli.results import Gap, RunSettings, VideoInfo, Window
from tadacli.sampling.settings import WindowSettings
from tadacli.sampling.windows import WindowPlan
from tadacli.scoring.provenance import machine_settings
from tadacli.scoring.views import check_finite, class_scores, padded_batch
from tadacli.specs import ModelSpec
from tadacli.transforms import preprocess
from tadacli.version import __version__
from tadacli.video.addresses import address
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, file_size, local_path
from tadacli.video.parallel import Item, default_num_readers, read_in_ranges, readers_of
from tadacli.video.reading import open_video
from tadacli.video.source import Pixels, Unreadable, VideoSource
from tadacli.zoo.loading import Model

# Frames that are ready before the model asks for them take so much memory: 16 of 256 pixels, those of a window or
# two. A model that looks at less is faster, and has more of them: threads that read parts of the video need room.
BYTES_AHEAD = 16 * 256 * 256 * 3 * 4

NO_FRAME = "the video has no frame here"

Frames = NDArray[np.int64]


@dataclass(frozen=True)
class WindowScores:
    """The scores of a video's windows, and all that a result needs to know besides.

    `spans` and `used` are (W, 2) float64 in seconds, `scale` (W,) int64, `scores` (W, num_classes) float32 by
    head; only windows whose frames could all be read have a row. `settings` are those that the scores depend
    on. `range_seconds` is the part of the timeline that the windows were laid over.
    """

    path: str
    size_bytes: int | None
    spec: ModelSpec
    weights_sha256: str
    tool_version: str
    settings: RunSettings
    info: VideoInfo
    range_seconds: tuple[float, float]
    spans: NDArray[np.float64]
    used: NDArray[np.float64]
    scale: NDArray[np.int64]
    scores: ScoresByHead
    gaps: tuple[Gap, ...]
    num_windows_planned: int
    num_frames_used: int


@dataclass(frozen=True)
class Group:
    """Windows that were scored in one go: scores by head, a row for each window that is not `missing`.

    `missing` are the windows that lack a frame, by number within the group. `unreadable` are the frames that
    could not be had, with the reasons, as far as they came up since the last group.
    """

    num_windows: int
    missing: tuple[int, ...]
    scores: ScoresByHead
    unreadable: Mapping[int, str] = field(default_factory=dict)


# Where the range of a video starts and ends, and how far it is scored, in seconds.
OnProgress = Callable[[float, float, float], object]


class Journal(Protocol):
    """Keeps groups as they are scored, so that a later run can go on after the last of them."""

    def saved(self) -> Sequence[Group]: ...

    def add(self, group: Group) -> None: ...


def score_windows(
    video: str | os.PathLike[str],
    *,
    model: Model,
    settings: WindowSettings,
    journal: Journal | None = None,
    on_progress: OnProgress | None = None,
    num_readers: int | None = None,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
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

    Raises:
        VideoError: For a video that cannot be read, or of which not one window can be scored.
        TadaError: For scores that are not numbers.
    """
    path = address(video)
    with VideoBoundary(path) as boundary, ExitStack() as opened:
        with during(Stage.OPEN):
            file = boundary.reads(opened.enter_context(local_path(path, max_bytes=max_download)))
            source = opened.enter_context(open_video(file, fps=settings.fps))
            plan = WindowPlan(source, model.spec.input, settings)
        scored = _Scored(len(plan), model.spec.heads)
        with boundary.lifted():
            for group in journal.saved() if journal is not None else ():
                scored.add(group)
        readers = readers_of(source, num_readers or default_num_readers())
        # Also of a video that is not read to its end.
        opened.callback(lambda: count(decoded=sum(reader.num_decoded for reader in readers)))
        for reached, group in _score_groups(readers, plan, scored, model, settings.batch_size_on(model.device.type)):
            scored.add(group)
            with boundary.lifted():
                if journal is not None:
                    journal.add(group)
                if on_progress is not None:
                    on_progress(plan.start, plan.end, reached)
        return _collect(path, source.info, plan, scored, model, settings)


class _Scored:
    """What is known of a plan's windows so far, in arrays: `scores` (W, num_classes) float32 by head, `is_scored` (W,).

    The first `num_windows` were tried. `unreadable` are the frames that could not be had, with the reasons.
    """

    def __init__(self, num_planned: int, heads: Mapping[str, Sequence[str]]) -> None:
        self.num_windows = 0
        self.is_scored = np.zeros(num_planned, dtype=np.bool_)
        self.scores = {name: np.empty((num_planned, len(labels)), np.float32) for name, labels in heads.items()}
        self.unreadable: dict[int, str] = {}

    def add(self, group: Group) -> None:
        """The group that comes next."""
        rows = self.num_windows + np.setdiff1d(np.arange(group.num_windows), group.missing)
        self.is_scored[rows] = True
        for name, scores in self.scores.items():
            scores[rows] = group.scores[name]
        self.unreadable.update(group.unreadable)
        self.num_windows += group.num_windows


def _score_groups(
    readers: Sequence[VideoSource],
    plan: WindowPlan,
    done: _Scored,
    model: Model,
    batch_size: int,
) -> Iterator[tuple[float, Group]]:
    """(time reached, group) for the windows after those that are done."""
    uses = plan.uses(first=done.num_windows)
    # What can be read of a damaged video may depend on what is read before it: read as the first run did.
    to_read = plan.frames if done.unreadable else plan.frames[uses > 0]
    crops: dict[int, Tensor | None] = {}
    unreadable: dict[int, str] = {}
    depth = max(2, BYTES_AHEAD // (model.spec.input.crop_size**2 * 3 * 4))
    with closing(read_in_ranges(readers, to_read, partial(_crops, model), depth=depth)) as coming:
        for windows in _groups(plan[done.num_windows :], batch_size):
            clips: list[Tensor] = []
            missing = []
            for number, window in enumerate(windows):
                needed = {index for clip in window.clips for index in clip}
                with during(Stage.WAITING):
                    while not needed <= crops.keys():
                        index, seen = next(coming)
                        if uses[plan.places([index])]:  # else read on the way to others alone
                            crops[index] = None if isinstance(seen, Unreadable) else seen
                            unreadable.update({index: seen.reason} if isinstance(seen, Unreadable) else {})
                found = [[crops[index] for index in clip] for clip in window.clips]
                if any(crop is None for clip in found for crop in clip):
                    missing.append(number)
                else:
                    clips += [torch.stack(clip, dim=1) for clip in found]  # type: ignore[arg-type]
                places = plan.places(needed)
                uses[places] -= 1
                for index in plan.frames[places[uses[places] == 0]].tolist():
                    del crops[index]
            counted = [len(window.clips) for i, window in enumerate(windows) if i not in missing]
            with during(Stage.NETWORK):
                scores = _score(clips, counted, model, batch_size)
            count(views=len(clips))
            yield windows[-1].end_seconds, Group(len(windows), tuple(missing), scores, unreadable)
            unreadable = {}


def _groups(windows: Iterator[Window], batch_size: int) -> Iterator[list[Window]]:
    """Windows whose clips fill one batch together, as far as they do not share a window out."""
    group: list[Window] = []
    num_clips = 0
    for window in windows:
        if group and num_clips + len(window.clips) > batch_size:
            yield group
            group, num_clips = [], 0
        group.append(window)
        num_clips += len(window.clips)
    if group:
        yield group


def _crops(model: Model, source: VideoSource, frames: Frames) -> Iterator[Item[Tensor]]:
    """(index, normalised centre crop (3, crop, crop) on the model's device, or why it cannot be had), in order."""
    for frame in steps(Stage.DECODE, source.iter_frames(frames, skip_unreadable=True)):
        if isinstance(frame, Unreadable):
            yield frame.index, frame
            continue
        with during(Stage.PREPARE):
            seen = centre_crop(frame.pixels, model)
        count(used=1)
        yield frame.index, seen


def centre_crop(frame: Pixels, model: Model) -> Tensor:
    """A frame uint8 (H, W, 3) as the network sees it in a window: (3, crop, crop), normalised, its centre."""
    spec = model.spec.input
    crops = preprocess(
        torch.from_numpy(frame).to(model.device)[None],
        short_side=spec.short_side,
        crop_size=spec.crop_size,
        num_crops=1,
        mean=spec.mean,
        std=spec.std,
    )
    return crops[0, :, 0]


def _score(clips: Sequence[Tensor], counts: Sequence[int], model: Model, batch_size: int) -> ScoresByHead:
    """Scores (num_windows, num_classes) by head: the mean over each window's clips, `counts` many each."""
    parts: dict[str, list[Tensor]] = {name: [] for name in model.spec.heads}
    for first in range(0, len(clips), batch_size):
        group = clips[first : first + batch_size]
        for name, values in class_scores(model, padded_batch(group, batch_size)).items():
            parts[name].append(values[: len(group)])
    scores = {}
    for name, labels in model.spec.heads.items():
        rows = torch.split(torch.cat(parts[name]), list(counts)) if counts else ()
        stacked = torch.stack([row.sum(dim=0) / len(row) for row in rows]) if rows else torch.empty(0, len(labels))
        check_finite(name, stacked)
        scores[name] = stacked.float().numpy()
    return scores


def _collect(
    path: str, info: VideoInfo, plan: WindowPlan, scored: _Scored, model: Model, settings: WindowSettings
) -> WindowScores:
    gaps = _gaps(plan, scored.unreadable)
    if not scored.is_scored.any():
        reason = scored.unreadable[min(scored.unreadable)]
        raise VideoError(
            f"none of the {len(plan)} windows of {path} could be scored: {reason}",
            hint="the file is damaged: fetch it again, or re-encode it",
        )
    rows, (spans, used, scale) = scored.is_scored, plan.rows()
    return WindowScores(
        path=path,
        size_bytes=file_size(path),
        spec=model.spec,
        weights_sha256=model.weights_sha256,
        tool_version=__version__,
        settings={**settings.to_dict(model.spec.input, model.device.type), **machine_settings(model)},
        info=info,
        range_seconds=(plan.start, plan.end),
        spans=spans[rows],
        used=used[rows],
        scale=scale[rows],
        scores={name: scores[rows] for name, scores in scored.scores.items()},
        gaps=gaps,
        num_windows_planned=plan.num_laid,
        num_frames_used=len(plan.frames) - len(scored.unreadable),
    )


def _gaps(plan: WindowPlan, unreadable: Mapping[int, str]) -> tuple[Gap, ...]:
    """Spans without a readable frame, of the frames that were needed, and those that have no frame, in order.

    One of the first kind goes from the first bad frame to the next good one, but not into one of the second kind.
    """
    gaps = [Gap(start, end, NO_FRAME) for start, end in plan.gaps]
    frames = plan.frames
    runs = np.flatnonzero(np.diff(np.isin(frames, list(unreadable)).astype(int), prepend=0, append=0)).reshape(-1, 2)
    for first, end in runs.tolist():
        bad = int(frames[first])
        until = plan.time_of(int(frames[end])) if end < len(frames) else plan.end
        gaps.append(Gap(plan.time_of(bad), min(until, plan.end_of_piece(int(frames[end - 1]))), unreadable[bad]))
    return tuple(sorted(gaps, key=lambda gap: gap.start_seconds))
