"""`classify` and `detect` end to end on a GPU, and what hardware decoding would give them.

    python -m benchmarks.gpu_videos [--device cuda] [--num-clips 24] [--seconds 5] [--cache DIR]

The clips are 1080p59.94 H.264, of twice --seconds each; the long video is one of them, twelve times. An untrained
TAda2D-R50 in bfloat16 scores one view of each clip, and windows of 2 s, one each second, of the long video. A line
tells how much of the wall time the network waited for frames: more than hardly any, and decoding is the limit. The
scores in float32 are compared with those on the processor.

Hardware decoding is PyAV's, by NVDEC, with every frame copied back, against its software decoding of all frames with
one thread and with as many as it likes; the planes of both are compared.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch
from av.codec.hwaccel import HWAccel

from benchmarks.conditions import conditions, median_and_range
from benchmarks.forward import forms
from benchmarks.long_video import encode, repeat_packets
from tadacli.classification import classify
from tadacli.detection.detecting import detect
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.profiling import Profile, Stage, profiled
from tadacli.zoo.loaded import Model
from tadacli.zoo.loading import network_on
from tadacli.zoo.manifest import manifest

MODEL = "tada2d_r50.k400_8x8"
RATE = {"preset": "veryfast", "b": "8M", "x264-params": "keyint=60:bframes=2"}
LONG = 12  # times a clip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--num-clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=5.0, help="half the length of a clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    clips, long = _videos(options.cache, options.num_clips, options.seconds)
    print(f"{conditions('torch', 'av')}, {options.device}, {torch.get_num_threads()} threads")
    exact = _model(options.device, torch.float32)
    _compare(clips[:2], exact, _model("cpu", torch.float32))
    model = exact if options.device == "cpu" else _model(options.device, torch.bfloat16)
    classify(clips[:2], model=model, views="1x1")
    for what, job, amount in (
        ("classify, clips a second", lambda: classify(clips, model=model, views="1x1"), len(clips)),
        (
            "detect, seconds of video a second",
            lambda: detect(long, model=model, window="2s", stride="1s"),
            2 * LONG * options.seconds,
        ),
    ):
        profile = Profile()
        with profiled(profile):
            results = job()
        assert not any(result.error for result in results)
        report = profile.report()
        stages = ", ".join(f"{stage.value} {seconds:.1f} s" for stage, seconds in report.stages.items())
        waiting = report.stages.get(Stage.WAITING, 0.0) / report.wall_seconds
        print(f"{what}: {amount / report.wall_seconds:.1f}; waits for frames {waiting:.0%} of the time ({stages})")
    _decoding(clips[0], options.rounds)


def _videos(cache: Path, num_clips: int, seconds: float) -> tuple[list[Path], Path]:
    short, first = cache / f"short-{seconds:g}.mp4", cache / f"clip-{seconds:g}-000.mp4"
    if not first.exists():
        encode(short, seconds=seconds, options=RATE)
        repeat_packets(short, first, times=2)
    clips = [cache / f"clip-{seconds:g}-{number:03}.mp4" for number in range(num_clips)]
    for clip in clips[1:]:
        shutil.copyfile(first, clip)
    long = cache / f"long-{seconds:g}.mp4"
    repeat_packets(short, long, times=2 * LONG)
    return clips, long


def _model(device: str, dtype: torch.dtype) -> Model:
    spec = manifest()[MODEL]
    network, _ = forms(spec.architecture, crop=spec.input.crop_size)
    return Model(spec, network_on(network, torch.device(device), dtype), torch.device(device), dtype, Path(MODEL), "")


def _compare(clips: list[Path], model: Model, other: Model) -> None:
    with torch.inference_mode(), repeatable_arithmetic():
        batch = torch.randn(2, 3, 8, 256, 256, generator=torch.Generator().manual_seed(0))
        expected = other.network(batch)
        difference = (model.network(batch.to(model.device)).cpu() - expected).norm() / expected.norm()
    rows = [classify(clips, model=each, views="1x1") for each in (model, other)]
    worst = max(
        abs(one.score - two.score)
        for ours, theirs in zip(*rows, strict=True)
        for one, two in zip(ours.top(5), theirs.top(5), strict=True)
    )
    print(f"float32, this device and the processor: logits differ by {difference:.0e}, scores of clips by {worst:.0e}")


def _decoding(path: Path, rounds: int) -> None:
    ways: dict[str, Callable[[], Iterator[av.VideoFrame]]] = {
        "software, one thread": lambda: _frames(path, threads=1),
        "software, its own number of threads": lambda: _frames(path, threads=0),
        "NVDEC": lambda: _frames(path, hardware=True),
    }
    try:
        next(ways["NVDEC"]())
    except (av.FFmpegError, RuntimeError, OSError, StopIteration) as error:
        print(f"NVDEC cannot be opened: {error}")
        del ways["NVDEC"]
    else:
        print(_differences(ways["NVDEC"](), ways["software, one thread"]()))
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, frames in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            count = sum(1 for _ in frames())
            seconds[way].append((time.perf_counter() - wall, time.process_time() - cpu))
    base = seconds["software, one thread"]
    for way, times in seconds.items():
        ratios = [one[0] / other[0] for one, other in zip(base, times, strict=True)]
        cpu = [other[1] / one[1] for one, other in zip(base, times, strict=True)]
        rate = count / statistics.median(wall for wall, _ in times)
        print(
            f"{way}: {rate:.0f} frames of 1080p a second, {median_and_range(ratios)} times one thread,"
            f" {median_and_range(cpu)} of its CPU time"
        )


def _frames(path: Path, *, threads: int = 0, hardware: bool = False) -> Iterator[av.VideoFrame]:
    acceleration = HWAccel(device_type="cuda", allow_software_fallback=False) if hardware else None
    with av.open(str(path), hwaccel=acceleration) as container:
        stream = container.streams.video[0]
        if not hardware:
            stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        yield from container.decode(stream)


def _differences(hardware: Iterator[av.VideoFrame], software: Iterator[av.VideoFrame]) -> str:
    """How many frames are the same, planes and time stamps."""
    count = same = 0
    for one, other in zip(hardware, software, strict=True):
        count += 1
        mine = one.to_ndarray(format="nv12")
        same += one.pts == other.pts and np.array_equal(mine, other.reformat(format="nv12").to_ndarray())
    return f"NVDEC and software decoding: {same} of {count} frames are the same, bits and time stamps"


if __name__ == "__main__":
    main()
