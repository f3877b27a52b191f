"""One pass over a video's windows or snippets that decodes each frame once, whatever is worked out of their clips.

A few threads decode and preprocess the frames that windows need, each once, while the model works; a frame is
dropped as soon as no window needs it any more, so memory does not grow with the video.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.cuts import find_cuts
from tadacli.errors import VideoError
from tadacli.profiling import Stage, count, during, steps
from tadacli.results import Gap, VideoInfo, Window
from tadacli.sampling.settings import Cuts
from tadacli.sampling.shares import Share
from tadacli.sampling.windows import Layout, WindowPlan
from tadacli.transforms import picked_pixels, preprocess
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, file_size, is_kept, local_path
from tadacli.video.parallel import Item, default_num_readers, read_in_ranges, readers_of
from tadacli.video.reading import open_video
from tadacli.video.source import Picked, Pixels, Unreadable, VideoSource
from tadacli.zoo.addresses import address
from tadacli.zoo.loading import Model

# Frames that are ready before the model asks for them take so much memory: 16 of 256 pixels, those of a window or
# two. A model that looks at less is faster, and has more of them: threads that read parts of the video need room.
BYTES_AHEAD = 16 * 256 * 256 * 3 * 4

NO_FRAME = "the video has no frame here"

Frames = NDArray[np.int64]
# Float32 arrays by name, whose rows are windows.
Rows: TypeAlias = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Group:
    """Windows that went through the network in one go: by name what came out, a row for each that is not `missing`.

    `missing` are the windows that lack a frame, by number within the group. `unreadable` are the frames that
    could not be had, with the reasons, as far as they came up since the last group. `interpolated` are the windows, by
    number within the group, whose rows lie between those of others.
    """

    num_windows: int
    missing: tuple[int, ...]
    rows: Rows
    unreadable: Mapping[int, str] = field(default_factory=dict)
    interpolated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Worked:
    """What was worked out: a row for each window. Those of `interpolated`, by number, lie between those of others."""

    rows: Rows
    interpolated: tuple[int, ...] = ()


class Views(Sequence[Tensor]):
    """Views of windows, (3, T, crop, crop) each, put together when it is asked for: windows share their frames."""

    def __init__(self) -> None:
        self._views: list[tuple[Sequence[Tensor], int]] = []

    def add(self, clip: Sequence[Tensor], *, num_crops: int) -> None:
        """The views of a clip: its frames, (num_crops, 3, crop, crop) each, crop by crop."""
        self._views += [(clip, crop) for crop in range(num_crops)]

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, place: int) -> Tensor: ...

    @overload
    def __getitem__(self, place: slice) -> list[Tensor]: ...

    def __getitem__(self, place: int | slice) -> Tensor | list[Tensor]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        clip, crop = self._views[place]
        return torch.stack([frame[crop] for frame in clip], dim=1)


# Where the range of a video starts and ends, and how far it is done, in seconds.
OnProgress = Callable[[float, float, float], object]


class Journal(Protocol):
    """Keeps groups as they are done, so that a later run can go on after the last of them."""

    def saved(self) -> Iterable[Group]: ...

    def add(self, group: Group) -> None: ...


class Work(Protocol):
    """What is worked out of the clips of windows, of `num_crops` crops of each frame.

    `of_clips` takes the views (3, T, crop, crop) of windows, each clip with all of its crops, and how many views each
    window has, and returns a row for each window.
    """

    @property
    def num_crops(self) -> int: ...

    def of_clips(self, views: Sequence[Tensor], counts: Sequence[int]) -> Worked: ...


@dataclass(frozen=True, eq=False)
class WindowPass:
    """What a pass found out besides its rows.

    `is_done` (W,) says which windows of the plan have a row, and `is_interpolated` (W,) for which of these it lies
    between those of others; `num_frames_used` counts the frames that were read.
    `is_sound` says that all frames could be read, and the file is what it seemed to be when it was opened.
    """

    path: str
    size_bytes: int | None
    info: VideoInfo
    plan: WindowPlan
    is_done: NDArray[np.bool_]
    is_interpolated: NDArray[np.bool_]
    gaps: tuple[Gap, ...]
    num_frames_used: int
    is_sound: bool = True


def pass_over(
    video: str | os.PathLike[str],
    *,
    model: Model,
    layout: Layout,
    work: Work,
    take: Callable[[Group], object],
    batch_size: int,
    fps: float | None = None,
    cuts: Cuts = (),
    journal: Journal | None = None,
    on_progress: OnProgress | None = None,
    num_readers: int | None = None,
    max_download: int = DEFAULT_MAX_DOWNLOAD,
    index: str | os.PathLike[str] | None = None,
    share: Share | None = None,
    block: int = 1,
) -> WindowPass:
    """What `work` makes of every window of one video whose frames can all be read, handed to `take` group by group.

    Args:
        video: A path or URL.
        model: The model, for what its clips are.
        layout: Which windows there are.
        work: What is worked out.
        take: Gets every group in order, also those of the journal.
        batch_size: How many views go through the network at once.
        fps: The rate of folders and tars of frames.
        cuts: Times that no window reaches across, or "auto" for those of shots; these are found first.
        journal: Keeps what is done; work starts after what it holds.
        on_progress: Called after each group of windows.
        num_readers: Threads that read the video, where its frames can be shared out; by default as suits the machine.
            The rows do not depend on it.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).
        share: The only windows that are worked on; by default all of them.
        block: How many windows in a row are worked on together; fewer at the end.

    Returns:
        Everything but the rows.

    Raises:
        VideoError: For a video that cannot be read, or of which, unless it is shared, not one window can.
        TadaError: What `work` raises.
    """
    path = address(video)
    with VideoBoundary(path) as boundary, ExitStack() as opened:
        with during(Stage.OPEN):
            file = boundary.reads(opened.enter_context(local_path(path, max_bytes=max_download)))
            index = index if is_kept(file, path) else None
            source = opened.enter_context(open_video(file, fps=fps, index=index))
        if cuts == "auto":
            cuts = _cuts(file, layout, fps, index)
        with during(Stage.OPEN):
            plan = WindowPlan(source, model.spec.input, layout, cuts=cuts)
        done, end, info = _Done(len(plan)), len(plan), source.info
        if share is not None:
            groups = _groups(plan[:], batch_size, views_per_clip=work.num_crops, block=block, cuts=plan.cuts)
            done.num_windows, end = share.of([len(group) for group in groups])
        with boundary.lifted():
            for group in journal.saved() if journal is not None else ():
                done.add(group)
                take(group)
        readers = readers_of(source, num_readers or default_num_readers())
        # Also of a video that is not read to its end.
        opened.callback(lambda: count(decoded=sum(reader.num_decoded for reader in readers)))
        for reached, group in _groups_after(done, end, readers, plan, model, work, batch_size, block):
            done.add(group)
            with boundary.lifted():
                take(group)
                if journal is not None:
                    journal.add(group)
                if on_progress is not None:
                    on_progress(plan.start, plan.end, reached)
        if share is None and not done.is_done.any():
            reason = done.unreadable[min(done.unreadable)]
            raise VideoError(
                f"none of the {len(plan)} windows of {path} could be read: {reason}",
                hint="the file is damaged: fetch it again, or re-encode it",
            )
        return WindowPass(
            path=path,
            size_bytes=file_size(path),
            info=source.info,
            plan=plan,
            is_done=done.is_done,
            is_interpolated=done.is_interpolated,
            gaps=_gaps(plan, done.unreadable),
            num_frames_used=len(plan.frames) - len(done.unreadable),
            is_sound=not done.unreadable and all(reader.info is info for reader in readers),
        )


def _cuts(file: str, layout: Layout, fps: float | None, index: str | os.PathLike[str] | None) -> tuple[float, ...]:
    """Where shots begin. The video is opened apart for it: what it decodes to may depend on what was read before."""
    with open_video(file, fps=fps, index=index) as source:
        start, end = layout.part.within(source.info)
        cuts = find_cuts(source, start_seconds=start, end_seconds=end)
        count(decoded=source.num_decoded)
    return cuts


class _Done:
    """What is known of a plan's windows so far: the first `num_windows` were tried, those of `is_done` have a row.

    For those of `is_interpolated` it lies between those of others. `unreadable` are the frames that could not be had,
    with the reasons.
    """

    def __init__(self, num_planned: int) -> None:
        self.num_windows = 0
        self.is_done = np.zeros(num_planned, dtype=np.bool_)
        self.is_interpolated = np.zeros(num_planned, dtype=np.bool_)
        self.unreadable: dict[int, str] = {}

    def add(self, group: Group) -> None:
        """The group that comes next."""
        rows = self.num_windows + np.setdiff1d(np.arange(group.num_windows), group.missing)
        self.is_done[rows] = True
        self.is_interpolated[self.num_windows + np.array(group.interpolated, dtype=np.int64)] = True
        self.unreadable.update(group.unreadable)
        self.num_windows += group.num_windows


def _groups_after(
    done: _Done,
    end: int,
    readers: Sequence[VideoSource],
    plan: WindowPlan,
    model: Model,
    work: Work,
    batch_size: int,
    block: int,
) -> Iterator[tuple[float, Group]]:
    """(time reached, group) for the windows after those that are done, up to number `end`."""
    uses = plan.uses(first=done.num_windows, end=end)
    # What can be read of a damaged video may depend on what is read before it: read as the first run did.
    to_read = plan.frames if done.unreadable else plan.frames[uses > 0]
    crops: dict[int, Tensor | None] = {}
    unreadable: dict[int, str] = {}
    depth = max(2, BYTES_AHEAD // (model.spec.input.crop_size**2 * 3 * 4 * work.num_crops))
    read = partial(_crops, model, work.num_crops)
    with closing(read_in_ranges(readers, to_read, read, depth=depth)) as coming:
        left = plan[done.num_windows : end]
        for windows in _groups(left, batch_size, views_per_clip=work.num_crops, block=block, cuts=plan.cuts):
            views, missing = Views(), []
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
                    for clip in found:
                        views.add(clip, num_crops=work.num_crops)  # type: ignore[arg-type]
                places = plan.places(needed)
                uses[places] -= 1
                for index in plan.frames[places[uses[places] == 0]].tolist():
                    del crops[index]
            present = [number for number in range(len(windows)) if number not in missing]
            counted = [work.num_crops * len(windows[number].clips) for number in present]
            with during(Stage.NETWORK):
                worked = work.of_clips(views, counted)
            between = tuple(present[number] for number in worked.interpolated)
            count(views=len(views) - sum(counted[number] for number in worked.interpolated))
            yield windows[-1].end_seconds, Group(len(windows), tuple(missing), worked.rows, unreadable, between)
            unreadable = {}


def _groups(
    windows: Iterator[Window], batch_size: int, *, views_per_clip: int, block: int, cuts: Sequence[float]
) -> Iterator[list[Window]]:
    """Windows whose views fill one batch together, as far as they share no window and no `block` of windows out.

    A block is of one shot: no score lies between those of two.
    """
    group: list[Window] = []
    num_views = 0
    for window in windows:
        views = views_per_clip * len(window.clips)
        is_full = num_views + views > batch_size and len(group) % block == 0
        if group and (is_full or (block > 1 and _shot(window, cuts) != _shot(group[-1], cuts))):
            yield group
            group, num_views = [], 0
        group.append(window)
        num_views += views
    if group:
        yield group


def _shot(window: Window, cuts: Sequence[float]) -> int:
    return bisect_right(cuts, window.start_seconds)


def _crops(model: Model, num_crops: int, source: VideoSource, frames: Frames) -> Iterator[Item[Tensor]]:
    """(index, normalised crops (n, 3, crop, crop) on the model's device, or why they cannot be had), in order."""
    spec, info = model.spec.input, source.info
    places = picked_pixels((info.height, info.width), spec, num_crops=num_crops, device=model.device)
    picked, whole = (None, None) if places is None else (Picked(*places), (info.height, info.width))
    for frame in steps(Stage.DECODE, source.iter_frames(frames, skip_unreadable=True, picked=picked)):
        if isinstance(frame, Unreadable):
            yield frame.index, frame
            continue
        with during(Stage.PREPARE):
            seen = crops_of(frame.pixels, model, num_crops=num_crops, whole=whole)
        count(used=1)
        yield frame.index, seen


def crops_of(frame: Pixels, model: Model, *, num_crops: int = 1, whole: tuple[int, int] | None = None) -> Tensor:
    """Crops of a frame uint8 (H, W, 3) as the network sees them in a window.

    Args:
        frame: The frame.
        model: The model.
        num_crops: 1 for the centre, 3 for crops along the longer side.
        whole: (height, width) of the whole frame, where `frame` are the pixels of it that `picked_pixels` names.

    Returns:
        (num_crops, 3, crop, crop), normalised, on the model's device.
    """
    spec = model.spec.input
    crops = preprocess(
        torch.from_numpy(frame).to(model.device)[None],
        short_side=spec.short_side,
        crop_size=spec.crop_size,
        num_crops=num_crops,
        mean=spec.mean,
        std=spec.std,
        whole=whole,
    )
    return crops[:, :, 0]


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
