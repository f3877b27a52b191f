"""CPU time of reading the frames of sliding windows, against other ways to read the same frames.

    python -m benchmarks.detect [--seconds 20] [--rounds 3] [--cache DIR]

Windows of 2 s, one each second, 8 frames each, over three H.264 files of 1080p59.94 that last three times
--seconds. Each way runs in a process of its own, in turns; its CPU time is that of all threads, without imports.
What the first, unmeasured round reads is compared: all ways must give the same frames. Then `tada detect` itself
runs over the first seconds of each file, to see for what share of the wall time the model waits for frames.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.conditions import conditions, median_and_range
from benchmarks.long_video import FPS, encode, repeat_packets
from tadacli.detection.window_scores import score_windows
from tadacli.models import build
from tadacli.models.inference import fuse
from tadacli.profiling import Profile, Stage, profiled
from tadacli.sampling.settings import window_settings
from tadacli.video.reading import open_video
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest

WINDOW_SECONDS, STRIDE_SECONDS, FRAMES_PER_WINDOW = 2, 1, 8
REPETITIONS = 3
WATCHED_SECONDS = 20.0
RATE = {"b": "16M", "maxrate": "24M", "bufsize": "32M"}
FILES = {
    "GOP 15, no B": RATE | {"preset": "veryfast", "x264-params": "keyint=15:min-keyint=15:scenecut=0:bframes=0"},
    "GOP 60, 2 B": RATE
    | {"preset": "veryfast", "x264-params": "keyint=60:min-keyint=60:scenecut=0:bframes=2:b-bias=-33:b-pyramid=none"},
    # The default structure of groups, spelled out because a faster preset would change a part of it.
    "x264 defaults": RATE
    | {"preset": "faster", "x264-params": "keyint=250:bframes=3:b-adapt=1:b-pyramid=normal:scenecut=40:ref=3"},
}
OURS, PER_WINDOW, THROUGH = "ours", "PyAV per window", "PyAV decode-through"
TARGETS = {PER_WINDOW: 0.45, THROUGH: 0.8}

Frames = Iterator[tuple[int, np.ndarray]]


# --- the ways to read ---------------------------------------------------------------------------------


def ours(path: str, windows: list[list[int]]) -> Frames:
    """One pass over the union of all windows, the frame table included."""
    with open_video(path) as source:
        for frame in source.require_frames(sorted(set().union(*windows))):
            yield frame.index, frame.pixels


def pyav_per_window(path: str, windows: list[list[int]]) -> Frames:
    """For each window: open, seek to the key frame before it, decode up to its last frame."""
    for window in windows:
        with av.open(path) as container:
            stream = container.streams.video[0]
            step = round(1 / (FPS * stream.time_base))
            container.seek(window[0] * step, stream=stream)
            for frame in container.decode(stream):
                index = frame.pts // step
                if index in window:
                    yield index, frame.to_ndarray(format="rgb24")
                if index == window[-1]:
                    break


def pyav_decode_through(path: str, windows: list[list[int]]) -> Frames:
    """Every frame decoded once, and the wanted ones made RGB."""
    wanted = set().union(*windows)
    with av.open(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                yield index, frame.to_ndarray(format="rgb24")
            if index == max(wanted):
                return


def decord_per_window(path: str, windows: list[list[int]]) -> Frames:
    """One reader, one batch for each window."""
    import decord

    reader = decord.VideoReader(path)
    for window in windows:
        yield from zip(window, reader.get_batch(window).asnumpy(), strict=True)


def torchcodec_per_window(path: str, windows: list[list[int]]) -> Frames:
    """One decoder with an exact index, one batch for each window."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, dimension_order="NHWC", seek_mode="exact")
    for window in windows:
        yield from zip(window, decoder.get_frames_at(window).data.numpy(), strict=True)


WAYS: dict[str, Callable[[str, list[list[int]]], Frames]] = {
    OURS: ours,
    PER_WINDOW: pyav_per_window,
    THROUGH: pyav_decode_through,
    "decord per window": decord_per_window,
    "torchcodec per window": torchcodec_per_window,
}


def windows_of(num_frames: int) -> list[list[int]]:
    """For each window, the frames on screen at the middles of its equal parts."""
    rate, duration = float(FPS), float(num_frames / FPS)
    starts = range(0, max(1, int(duration - WINDOW_SECONDS) + 1), STRIDE_SECONDS)
    middles = (np.arange(FRAMES_PER_WINDOW) + 0.5) * WINDOW_SECONDS / FRAMES_PER_WINDOW
    return [[min(num_frames - 1, int((start + m) * rate)) for m in middles] for start in starts]


# --- measuring ------------------------------------------------------------------------------------------


def run_way(name: str, path: str, num_frames: int, *, check: bool) -> dict[str, object]:
    """CPU seconds of one way, or with `check` the checksum of each frame it gave."""
    windows, sums = windows_of(num_frames), {}
    if not check:  # the import is not measured
        for module in ("decord", "torchcodec.decoders"):
            if name.startswith(module.split(".")[0]):
                importlib.import_module(module)
    start = time.process_time()
    for index, frame in WAYS[name](path, windows):
        if check:
            sums[str(index)] = zlib.crc32(np.ascontiguousarray(frame))
    return {"cpu_seconds": time.process_time() - start, "sums": sums}


def in_process(name: str, path: Path, num_frames: int, *, check: bool = False) -> dict[str, object] | None:
    """What `run_way` gives in a process of its own; None when the library is not installed or does not load."""
    library = name.split()[0]
    if library in ("decord", "torchcodec") and importlib.util.find_spec(library) is None:
        return None
    command = [sys.executable, "-m", "benchmarks.detect", "--way", name, str(path), str(num_frames)]
    done = subprocess.run(command + ["--check"] * check, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{name} fails: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def long_file(name: str, options: dict[str, str], *, seconds: float, cache: Path) -> tuple[Path, int]:
    """The file, made unless it is in the cache, and its number of frames."""
    stem = f"{name.replace(' ', '-').replace(',', '')}-{seconds:g}s-{zlib.crc32(repr(options).encode()):08x}"
    short, path = cache / f"{stem}.mp4", cache / f"{stem}-x{REPETITIONS}.mp4"
    if not short.exists():
        print(f"encoding {short}", file=sys.stderr)
        encode(short, seconds=seconds, options=options)
    if not path.exists():
        repeat_packets(short, path, times=REPETITIONS)
    return path, round(seconds * FPS) * REPETITIONS


def measure(path: Path, num_frames: int, *, rounds: int) -> dict[str, list[float]]:
    """Of each way that is installed, the ratios of our CPU time to its, one for each round."""
    found = {name: in_process(name, path, num_frames, check=True) for name in WAYS}
    names = [name for name, result in found.items() if result is not None]
    expected = found[OURS]["sums"]
    for name in names:
        assert found[name]["sums"] == expected, f"{name} gives other frames"
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            seconds[name].append(in_process(name, path, num_frames)["cpu_seconds"])
    return {name: [a / b for a, b in zip(seconds[OURS], seconds[name], strict=True)] for name in names}


def main() -> None:
    """Make the files, measure, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="length of the encode that is repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    parser.add_argument("--way", nargs=3, metavar=("NAME", "FILE", "FRAMES"), help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        name, path, num_frames = options.way
        print(json.dumps(run_way(name, path, int(num_frames), check=options.check)))
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    print(f"{conditions('av')}, {options.rounds} rounds, files of {REPETITIONS * options.seconds:g} s")
    others = [name for name in WAYS if name != OURS]
    print("| file | not referenced | " + " | ".join(f"ours / {name}" for name in others) + " |")
    print("| --- " * (len(others) + 2) + "|", flush=True)
    medians: dict[str, list[float]] = {name: [] for name in others}
    files = {}
    for file_name, settings in FILES.items():
        path, num_frames = long_file(file_name, settings, seconds=options.seconds, cache=options.cache)
        files[file_name] = path
        ratios = measure(path, num_frames, rounds=options.rounds)
        for name in others:
            if name in ratios:
                medians[name].append(statistics.median(ratios[name]))
        cells = [_cell(ratios.get(name)) for name in others]
        print(f"| {file_name} | {_share_unreferenced(path):.0%} | " + " | ".join(cells) + " |", flush=True)
    print("| mean | | " + " | ".join(_mean(name, medians[name]) for name in others) + " |")
    for model in ("r2plus1d_tiny.camera_motion", "tada2d_r50.k400_8x8"):
        shares = ", ".join(f"{waiting_share(path, model):.0%} ({name})" for name, path in files.items())
        print(f"{model} waits for frames for this share of the wall time: {shares}", flush=True)


def waiting_share(path: Path, model: str) -> float:
    """Share of the wall time that an untrained model waits for frames in the first seconds of a file."""
    spec = manifest()[model]
    network = fuse(build(spec.architecture, num_classes=spec.num_classes).eval())
    untrained = Model(spec, network, torch.device("cpu"), torch.float32, Path(model), "")
    lengths = {"window": f"{WINDOW_SECONDS}s", "stride": f"{STRIDE_SECONDS}s"}
    settings = window_settings(**lengths, sampling="stretch", end_seconds=WATCHED_SECONDS)
    profile = Profile()
    with profiled(profile):
        score_windows(path, model=untrained, settings=settings)
    report = profile.report()
    return report.stages[Stage.WAITING] / report.wall_seconds


def _cell(ratios: list[float] | None) -> str:
    if ratios is None:
        return "not installed"
    return median_and_range(ratios)


def _mean(name: str, medians: list[float]) -> str:
    if not medians:
        return "not installed"
    goal = f" (goal: at most {TARGETS[name]})" if name in TARGETS else ""
    return f"{statistics.mean(medians):.2f}{goal}"


def _share_unreferenced(path: Path) -> float:
    """Share of packets with a first slice that no other frame refers to."""
    with av.open(str(path)) as container:
        headers = [_first_slice(bytes(packet)) for packet in container.demux(video=0) if packet.size]
    return sum(header >> 5 == 0 for header in headers) / len(headers)


def _first_slice(data: bytes) -> int:
    at = 0
    while data[at + 4] & 31 not in (1, 5):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return data[at + 4]


if __name__ == "__main__":
    main()
