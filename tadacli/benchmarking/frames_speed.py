"""How fast the frames of a video are there for a network: decoded, resized and cropped, as the commands need them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from tadacli.detection.window_pass import crops_of
from tadacli.sampling.plan import plan_clips
from tadacli.sampling.settings import WindowSettings
from tadacli.sampling.windows import WindowPlan
from tadacli.scoring.views import view_image
from tadacli.timing import Timing, take_turns, wait_for
from tadacli.video.parallel import Item, default_num_readers, read_in_ranges, readers_of
from tadacli.video.source import Indices, Unreadable, VideoSource
from tadacli.zoo.loading import Model

Command = Literal["classify", "detect"]

# Enough clips to see whether a dtype changes answers, few enough to stay in memory.
NUM_CLIPS_COMPARED = 32
# Frames that wait for their turn while several threads read.
_FRAMES_AHEAD = 32


@dataclass(frozen=True)
class FramesSpeed:
    """Frames of one command decoded, resized and cropped, without a network; `timing` is for all of the video.

    `is_whole` tells that all `num_wanted` frames were read; else it is as if those not read took as long as the others.
    """

    command: Command
    num_wanted: int
    timing: Timing
    is_whole: bool


def measure_frames(
    source: VideoSource, model: Model, windows: WindowSettings, *, seconds: float
) -> tuple[list[FramesSpeed], list[Tensor]]:
    """What it takes to decode, resize and crop the frames that `tada classify` and `tada detect` need of a video.

    Args:
        source: The video.
        model: The model, which says which frames and how large.
        windows: The windows of `tada detect`.
        seconds: About how long each of the measurements takes.

    Returns:
        The times of classify and of detect, and the clips (3, T, crop, crop) of the first windows, as far as their
        frames were read.
    """
    wanted = sorted(set().union(*plan_clips(source, model.spec.input, num_clips=model.spec.protocol.num_clips)))
    plan = WindowPlan(source, model.spec.input, windows)
    frames = plan.frames
    readers = readers_of(source, default_num_readers())
    pictures: dict[int, Tensor] = {}
    first = [clip for _, window in zip(range(NUM_CLIPS_COMPARED), plan, strict=False) for clip in window.clips]
    del first[NUM_CLIPS_COMPARED:]
    kept = {index for clip in first for index in clip}
    read_windows = partial(_read_windows, readers, model, frames, seconds=seconds / 2, kept=kept, pictures=pictures)
    kinds: list[tuple[Command, int, Callable[[], int]]] = [
        ("classify", len(wanted), partial(_read_views, source, model, wanted, seconds=seconds / 2)),
        ("detect", len(frames), read_windows),
    ]
    # The first reading sets up what the later ones use, and tells whether the time is enough for all.
    whole = [read() == number for _, number, read in kinds]
    timings = take_turns([partial(_for_all, read, number) for _, number, read in kinds], seconds=seconds)
    speeds = [
        FramesSpeed(command, number, timing, is_whole)
        for (command, number, _), timing, is_whole in zip(kinds, timings, whole, strict=True)
    ]
    return speeds, [
        torch.stack([pictures[index] for index in clip], dim=1) for clip in first if pictures.keys() >= set(clip)
    ]


def _for_all(read: Callable[[], int], num_wanted: int) -> float:
    """Seconds for all the frames that are wanted, by those that were read."""
    started = time.perf_counter()
    num_read = read()
    return (time.perf_counter() - started) * num_wanted / num_read


def _read_views(source: VideoSource, model: Model, wanted: Sequence[int], *, seconds: float) -> int:
    """How many of the frames of views are read and resized in this time, in one thread as `tada classify` has it."""
    end, num_read = time.perf_counter() + seconds, 0
    for frame in source.require_frames(wanted):
        view_image(frame.pixels, model, num_crops=model.spec.protocol.num_crops)
        num_read += 1
        if time.perf_counter() > end:
            break
    wait_for(model.device)
    return num_read


def _read_windows(
    readers: Sequence[VideoSource],
    model: Model,
    frames: Indices,
    *,
    seconds: float,
    kept: set[int],
    pictures: dict[int, Tensor],
) -> int:
    """How many of the frames of windows are read, resized and cropped in this time, in the threads of `tada detect`.

    Those of `kept` are put into `pictures`.
    """
    end, num_read, lock = time.perf_counter() + seconds, 0, threading.Lock()

    def read(source: VideoSource, numbers: Indices) -> Iterator[Item[Tensor]]:
        nonlocal num_read
        for frame in source.iter_frames(numbers, skip_unreadable=True):
            seen = frame if isinstance(frame, Unreadable) else crops_of(frame.pixels, model)[0]
            with lock:
                num_read += 1
            yield frame.index, seen

    with closing(read_in_ranges(readers, frames, read, depth=_FRAMES_AHEAD)) as coming:
        for index, seen in coming:
            if index in kept and not isinstance(seen, Unreadable):
                pictures[index] = seen
            if time.perf_counter() > end:
                break
        # Threads are ahead of each other: what each has read counts, not what came in order.
        done = num_read
    wait_for(model.device)
    return min(done, len(frames))
