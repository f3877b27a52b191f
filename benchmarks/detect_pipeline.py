"""Wall time of detection: against decoding the file through, and against its own two halves by themselves.

    python -m benchmarks.detect_pipeline [--seconds 20] [--rounds 3] [--cache DIR]

Windows of 2 s, one each second, over three H.264 files of 1080p59.94 that last three times --seconds. The built-in
network stands against PyAV decoding every frame of the file with its default settings; TAda2D-R50, over the first
seconds of each file, against the longer one of reading the same frames and scoring as many clips. All weights are
random. Each side runs in a process of its own, in turns, without its imports; CPU time is that of all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import torch

from benchmarks.conditions import conditions, median_and_range
from benchmarks.detect import FILES, REPETITIONS, long_file
from tadacli.allocator import keep_freed_memory
from tadacli.detection.window_scores import score_windows
from tadacli.models import build
from tadacli.profiling import Profile, Stage, profiled
from tadacli.sampling.settings import WindowSettings, window_settings
from tadacli.sampling.windows import WindowPlan
from tadacli.scoring.views import class_scores
from tadacli.video.reading import open_video
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest

SMALL, LARGE = "r2plus1d_tiny.camera_motion", "tada2d_r50.k400_8x8"
LARGE_SECONDS = 20.0  # of each file, for TAda2D-R50
BATCH_SIZE = 1  # clips at once, as on a CPU by default
GOAL_SMALL, GOAL_LARGE = 0.8, 1.15

Times = dict[str, float]


def settings_for(name: str) -> WindowSettings:
    """The windows of a model."""
    end = LARGE_SECONDS if name == LARGE else None
    return window_settings(window="2s", stride="1s", end_seconds=end, batch_size=BATCH_SIZE)


def untrained(name: str) -> Model:
    """The network of a checkpoint with random weights."""
    spec = manifest()[name]
    network = build(spec.architecture, num_classes=spec.num_classes).eval()
    return Model(spec, network, torch.device("cpu"), torch.float32, Path(name), "")


# --- the sides ----------------------------------------------------------------------------------------


def decode_through(path: str, _: str) -> Callable[[], Times]:
    """Every frame decoded, with PyAV's default settings."""

    def run() -> Times:
        with av.open(path) as container:
            return {"frames": sum(1 for _ in container.decode(video=0))}

    return run


def detect(path: str, name: str) -> Callable[[], Times]:
    """All of detection up to the scores of the windows: opening, decoding, preparing, the network."""
    model = untrained(name)

    def run() -> Times:
        profile = Profile()
        with profiled(profile):
            score_windows(path, model=model, settings=settings_for(name))
        report = profile.report()
        return {"frames": report.num_decoded, "waiting": report.stages[Stage.WAITING] / report.wall_seconds}

    return run


def read_frames(path: str, name: str) -> Callable[[], Times]:
    """The RGB frames that detection takes, and nothing done with them; opening included."""

    def run() -> Times:
        with open_video(path) as source:
            frames = WindowPlan(source, manifest()[name].input, settings_for(name)).frames
            return {"frames": sum(1 for _ in source.iter_frames(frames))}

    return run


def score_clips(path: str, name: str) -> Callable[[], Times]:
    """The network on as many clips as detection scores, batched alike."""
    model, settings, spec = untrained(name), settings_for(name), manifest()[name].input
    with open_video(path) as source:
        num_clips = sum(len(window.clips) for window in WindowPlan(source, spec, settings))
    batch = torch.randn(settings.batch_size, 3, spec.clip_frames, spec.crop_size, spec.crop_size)
    class_scores(model, batch)

    def run() -> Times:
        for _ in range(-(-num_clips // settings.batch_size)):
            class_scores(model, batch)
        return {"clips": num_clips}

    return run


SIDES = {side.__name__: side for side in (decode_through, detect, read_frames, score_clips)}


def run_side(side: str, path: str, name: str) -> Times:
    """Wall and CPU seconds of one side, with what it counts; ours with memory as the command `tada` has it."""
    if side != decode_through.__name__:
        keep_freed_memory()
    run = SIDES[side](path, name)
    wall, cpu = time.perf_counter(), time.process_time()
    counts = run()
    return counts | {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def in_process(side: str, path: Path, name: str) -> Times:
    """What `run_side` gives in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.detect_pipeline", "--side", side, str(path), name]
    as_tada_does = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=as_tada_does)
    found: Times = json.loads(done.stdout)
    return found


# --- the comparisons ----------------------------------------------------------------------------------


def against_decoding(path: Path, *, rounds: int) -> list[str]:
    """The cells of a row: wall and CPU time of the built-in network over decode-through, the least, what waits.

    The least is the CPU time of reading the frames that the windows need and of the network, spread evenly over the
    cores, over the wall time of decode-through.
    """
    walls, cpus, least, waiting = [], [], [], []
    for _ in range(rounds):
        whole, through, frames, model = (
            in_process(side, path, SMALL) for side in ("detect", "decode_through", "read_frames", "score_clips")
        )
        walls.append(whole["wall"] / through["wall"])
        cpus.append(whole["cpu"] / through["cpu"])
        least.append((frames["cpu"] + model["cpu"]) / torch.get_num_threads() / through["wall"])
        waiting.append(whole["waiting"])
    return [*map(median_and_range, (walls, cpus, least)), f"{statistics.median(waiting):.0%}"]


def against_halves(path: Path, *, rounds: int) -> list[str]:
    """The cells of a row: wall time of TAda2D-R50 over that of its longer half, and the least that it could be.

    The least is the CPU time of both halves, spread evenly over the cores.
    """
    walls, least, longer = [], [], []
    for _ in range(rounds):
        whole, decode, model = (in_process(side, path, LARGE) for side in ("detect", "read_frames", "score_clips"))
        half = max(decode["wall"], model["wall"])
        walls.append(whole["wall"] / half)
        least.append((decode["cpu"] + model["cpu"]) / torch.get_num_threads() / half)
        longer.append("network" if half == model["wall"] else "decoding")
    return [median_and_range(walls), median_and_range(least), statistics.mode(longer)]


def main() -> None:
    """Make the files, measure, and print a line for each file and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="length of the encode that is repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "FILE", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(*options.side)))
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    files = {
        name: long_file(name, settings, seconds=options.seconds, cache=options.cache)[0]
        for name, settings in FILES.items()
    }
    length = f"{REPETITIONS * options.seconds:g} s"
    print(f"{conditions('av', 'torch')}, {torch.get_num_threads()} threads, {options.rounds} rounds, {length}")
    print(
        f"\n| {SMALL} | wall / decode-through (goal: at most {GOAL_SMALL}) | CPU / decode-through "
        "| CPU of reading and network / cores, over decode-through | waits for frames |"
    )
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name, path in files.items():
        print(f"| {name} | " + " | ".join(against_decoding(path, rounds=options.rounds)) + " |", flush=True)
    print(f"\n| {LARGE} | wall / longer half (goal: at most {GOAL_LARGE}) | CPU of both halves / cores | longer half |")
    print("| --- | --- | --- | --- |", flush=True)
    for name, path in files.items():
        print(f"| {name} | " + " | ".join(against_halves(path, rounds=options.rounds)) + " |", flush=True)


if __name__ == "__main__":
    main()
