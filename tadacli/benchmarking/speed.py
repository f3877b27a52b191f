"""How fast `tada classify` and `tada detect` are on this machine, what limits them, and which settings suit it.

Everything is measured in one run: the network by itself, the frames by themselves, and both together on as much of
the video as the time allows. Times are wall times.
"""

from __future__ import annotations

import math
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from tadacli.benchmarking.frames_speed import Command, FramesSpeed, measure_frames
from tadacli.benchmarking.network_speed import (
    REFERENCE,
    Agreement,
    NetworkSpeed,
    agreements,
    in_dtypes,
    measure_network,
)
from tadacli.camera_motion.virtual_camera import render_sample
from tadacli.detection.window_scores import score_windows
from tadacli.doctor.diagnosis import num_cores
from tadacli.errors import UsageError
from tadacli.profiling import Profile, Stage, profiled
from tadacli.results import VideoInfo
from tadacli.sampling.settings import WindowSettings, window_settings
from tadacli.sampling.windows import WindowPlan
from tadacli.scoring import DEFAULT_BATCH_SIZE
from tadacli.scoring.provenance import machine_settings
from tadacli.timing import Timing, take_turns
from tadacli.version import __version__
from tadacli.video.inputs import local_path
from tadacli.video.parallel import default_num_readers
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource
from tadacli.zoo.dtype import WORTH_IT
from tadacli.zoo.loading import Model

SAMPLE_SECONDS = 8.0
# Other settings are not worth saying for less.
_WORTH_SAYING = 1.1


@dataclass(frozen=True)
class Settings:
    """Settings of a command, and what all of the video takes with them.

    `is_measured` tells that network and frames were timed together; else their times are added up.
    """

    dtype: str
    batch_size: int
    network_seconds: float
    timing: Timing
    is_measured: bool


@dataclass(frozen=True)
class CommandSpeed:
    """What one command takes for all of the video with its default settings, and with `better` ones if there are any.

    `num_clips` are the clips or views that the network scores. `limited_by` is what takes longer by itself.
    """

    command: Command
    num_clips: int
    frames: FramesSpeed
    default: Settings
    better: Settings | None
    limited_by: Literal["decoding", "network"]


@dataclass(frozen=True)
class SpeedReport:
    """All that was measured.

    `video_path` None is the project's sample; `open_seconds` is what opening and scanning the video took.
    """

    model: Model
    tool_version: str
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    measured_at: str
    seconds: float
    video_path: str | None
    video: VideoInfo
    open_seconds: float
    network: NetworkSpeed
    agreements: tuple[Agreement, ...]
    commands: tuple[CommandSpeed, ...]

    @property
    def has_random_weights(self) -> bool:
        """Whether the model's weights were not here, so that only its times mean something."""
        return not self.model.weights_sha256


def measure_speed(
    video: str | None,
    *,
    model: Model,
    dtypes: Sequence[str],
    batch_sizes: Sequence[int],
    seconds: float,
    beside: Mapping[str, Model] | None = None,
    on_phase: Callable[[str], object] = lambda _: None,
) -> SpeedReport:
    """How fast a model is on this machine, what limits it, and which settings suit it.

    Args:
        video: A path or URL; None for a sample that is made for it.
        model: The model in float32, see `model_to_time`.
        dtypes: The number types to measure, float32 first, see `dtypes_to_time`.
        batch_sizes: Clips at a time, ascending.
        seconds: About how long each of the measurements takes.
        beside: Exported files of the model, see `files_to_time`.
        on_phase: Called with what is measured next.

    Returns:
        All that was measured.

    Raises:
        VideoError: The video cannot be read.
    """
    if video is None:
        on_phase("rendering a sample video")
    with _sample() if video is None else local_path(video) as path:
        started = time.perf_counter()
        with open_video(path) as source:
            opened = time.perf_counter() - started
            on_phase("timing the network")
            models = in_dtypes(model, dtypes)
            network = measure_network(models, batch_sizes=batch_sizes, seconds=seconds, beside=beside)
            usable = {each.dtype for each in network.passes if each.timing is not None}
            models = {dtype: form for dtype, form in models.items() if dtype in usable}
            on_phase("timing the frames")
            windows = window_settings()
            frames, clips = measure_frames(source, model, windows, seconds=seconds)
            on_phase("timing the network and the frames together")
            commands = (
                classify_speed(model, network, frames[0], open_seconds=opened),
                _detect_speed(path, source, models, network, frames[1], windows, open_seconds=opened, seconds=seconds),
            )
            on_phase("comparing the best classes")
            # The best class of random weights says nothing about that of trained ones.
            all_forms = {**models, **(beside or {})}
            same = agreements(all_forms, clips, seconds=2 * seconds) if model.weights_sha256 else ()
            return SpeedReport(
                model=model,
                tool_version=__version__,
                versions=machine_settings(model)["versions"],
                machine=describe_machine(model.device),
                measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=seconds,
                video_path=video,
                video=source.info,
                open_seconds=opened,
                network=network,
                agreements=same,
                commands=commands,
            )


def check_seconds(seconds: float) -> float:
    """The time for each measurement, in seconds, if it is one.

    Args:
        seconds: What was asked for.

    Returns:
        The same.

    Raises:
        UsageError: It is not positive and finite.
    """
    if not 0 < seconds < math.inf:
        raise UsageError(f"{seconds:g} s is no time to measure in", hint="give a number of seconds, such as 2")
    return seconds


@contextmanager
def _sample() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tada-") as folder:
        path = Path(folder) / "sample.mp4"
        render_sample(path, seconds=SAMPLE_SECONDS)
        yield str(path)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a speed depends on besides the versions of the libraries.

    Args:
        device: The device that the network runs on.

    Returns:
        JSON-ready values: system, processor, accelerator (None without one), cores, threads, Python.
    """
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "num_cores": num_cores(),
        "num_network_threads": torch.get_num_threads(),
        "num_reading_threads": default_num_readers(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


# --- both together --------------------------------------------------------------------------------


def classify_speed(model: Model, network: NetworkSpeed, frames: FramesSpeed, *, open_seconds: float) -> CommandSpeed:
    """What `tada classify` takes for one video, which is opened, decoded and then scored, so that its times add up.

    Args:
        model: The model, whose protocol says how many views there are.
        network: What its passes take.
        frames: What the frames of the views take.
        open_seconds: What opening the video takes.

    Returns:
        The time with the default settings, what limits it, and better settings if there are any.
    """
    protocol = model.spec.protocol
    num_views = protocol.num_clips * protocol.num_crops
    return _command_speed(num_views, frames, network, batch_size=DEFAULT_BATCH_SIZE, open_seconds=open_seconds)


def _detect_speed(
    path: str,
    source: VideoSource,
    models: Mapping[str, Model],
    network: NetworkSpeed,
    frames: FramesSpeed,
    windows: WindowSettings,
    *,
    open_seconds: float,
    seconds: float,
) -> CommandSpeed:
    """Frames are read while the network works, on the same cores or on others: that is measured."""
    plan = WindowPlan(source, models[REFERENCE].spec.input, windows)
    num_clips = sum(len(window.clips) for window in plan)
    batch_size = windows.batch_size_on(models[REFERENCE].device.type)
    found = _command_speed(num_clips, frames, network, batch_size=batch_size, open_seconds=open_seconds)
    both = [found.default] if found.better is None else [found.default, found.better]
    if found.default.timing.median_seconds / len(plan) > 2 * seconds:
        return found  # not even a window fits
    runs = []
    for settings in both:
        part = windows_within(plan, windows, settings, seconds=seconds / 2)
        runs.append(partial(_run_windows, path, models[settings.dtype], part, num_windows=len(plan)))
    timings = take_turns(runs, seconds=seconds)
    measured = [replace(each, timing=timing, is_measured=True) for each, timing in zip(both, timings, strict=True)]
    better = measured[1] if len(measured) > 1 and _pays(measured[0], measured[1]) else None
    return replace(found, default=measured[0], better=better)


def windows_within(plan: WindowPlan, windows: WindowSettings, settings: Settings, *, seconds: float) -> WindowSettings:
    """The windows of as much of the beginning of a video as takes about so long, one window at least.

    Args:
        plan: All windows of the video.
        windows: The settings they were made with.
        settings: What all of them take, and the batch size.
        seconds: The time there is.

    Returns:
        The settings that make these windows only.
    """
    num_windows = max(1, int(seconds / (settings.timing.median_seconds / len(plan))))
    settled = replace(windows, batch_size=settings.batch_size)
    if num_windows >= len(plan):
        return settled
    stride, length = windows.strides[0].value, windows.lengths[0].value
    return replace(settled, end_seconds=plan.start + length + (num_windows - 1) * stride)


def _run_windows(path: str, model: Model, part: WindowSettings, *, num_windows: int) -> float:
    """Seconds for all windows of the video, by those of a part of it, and for opening it."""
    profile = Profile()
    with profiled(profile):
        found = score_windows(path, model=model, settings=part)
    measured = profile.report()
    opening = measured.stages[Stage.OPEN]
    return opening + (measured.wall_seconds - opening) * num_windows / found.num_windows_planned


def _command_speed(
    num_clips: int, frames: FramesSpeed, network: NetworkSpeed, *, batch_size: int, open_seconds: float
) -> CommandSpeed:
    """What limits a command, and the best of the settings that were measured, if they pay."""

    def with_settings(dtype: str, batch_size: int) -> Settings:
        size, num_scored = batch_size, num_clips
        if frames.command == "classify":  # batches are filled up, as no views of another video go into them
            size = min(batch_size, num_clips)
            num_scored = math.ceil(num_clips / size) * size
        seconds = num_scored * network.clip_seconds(dtype, size)
        return Settings(dtype, batch_size, seconds, _plus(frames.timing, open_seconds + seconds), is_measured=False)

    default = with_settings(REFERENCE, batch_size)
    candidates = [
        with_settings(each.dtype, each.batch_size)
        for each in network.passes
        if each.timing is not None and each.batch_size <= max(num_clips, default.batch_size)
    ]
    # Fewer bits must give more, and of equals the smaller batch takes less memory.
    paying = [each for each in candidates if _pays(default, each)]
    full = min((each for each in paying if each.dtype == REFERENCE), key=_cost, default=None)
    half = min((each for each in paying if each.dtype != REFERENCE), key=_cost, default=None)
    if half is not None and (full or default).network_seconds < WORTH_IT * half.network_seconds:
        half = None
    is_decoding = frames.timing.median_seconds > default.network_seconds
    limit: Literal["decoding", "network"] = "decoding" if is_decoding else "network"
    return CommandSpeed(frames.command, num_clips, frames, default, half or full, limit)


def _cost(settings: Settings) -> tuple[float, int]:
    """By time in steps of five percent, then by batch."""
    return round(math.log(settings.timing.median_seconds) / math.log(1.05)), settings.batch_size


def _pays(default: Settings, other: Settings) -> bool:
    return default.timing.median_seconds > _WORTH_SAYING * other.timing.median_seconds


def _plus(timing: Timing, seconds: float) -> Timing:
    return Timing(
        timing.median_seconds + seconds,
        timing.shortest_seconds + seconds,
        timing.longest_seconds + seconds,
        timing.num_rounds,
    )
