"""CPU time of preprocessing and of reading JPEG frames, against the published way and Pillow.

    python -m benchmarks.preprocess [--rounds 9] [--frames 8] [--threads 1]

Preprocessing takes a frame to the normalised centre crop. The published way makes all pixels float32, resizes the
whole frame with `F.interpolate`, cuts the crop out and normalises it. All run in this process, in turns, on one
frame after the other; the CPU time is that of all threads. Before any timing both ways must agree within 2e-7 in the
resized frames (in one thread, in every bit), and both decoders in every pixel.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.conditions import conditions, median_and_range
from tadacli.transforms import preprocess, resize_frames, resized_size
from tadacli.video.jpeg import decode_jpeg

MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
# Height and width of the video, and the short side that is also the crop.
CASES = [(1080, 1920, 256), (1080, 1920, 112), (1080, 1920, 64), (720, 1280, 256), (256, 340, 256)]
# Frames as EPIC-KITCHENS offers them.
JPEG_SIZE, JPEG_QUALITY = (256, 456), 75

Way = Callable[[], object]


def published_resize(frames: Tensor, *, short_side: int) -> Tensor:
    """float32 (T, 3, H', W') of uint8 (T, H, W, 3), as a whole."""
    size = resized_size(frames.shape[1], frames.shape[2], short_side=short_side)
    images = frames.to(torch.float32).div_(255).permute(0, 3, 1, 2)
    if size == tuple(images.shape[2:]):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def published(frames: Tensor, *, short_side: int) -> Tensor:
    """The normalised centre crop (1, 3, T, side, side)."""
    images = published_resize(frames, short_side=short_side)
    top, left = ((side - short_side) // 2 for side in images.shape[2:])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    crop = images[:, :, top : top + short_side, left : left + short_side]
    return torch.stack([((crop - mean) / std).transpose(0, 1)])


def ours(frames: Tensor, *, short_side: int) -> Tensor:
    return preprocess(frames, short_side=short_side, crop_size=short_side, num_crops=1, mean=MEAN, std=STD)


def content(height: int, width: int, number: int) -> np.ndarray:
    """uint8 (H, W, 3): waves and noise, neither flat nor hopeless for JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (9 + k) + number) * 70 + np.cos(y / (7 + k)) * 50 + 128 for k in range(3)]
    noise = np.random.default_rng(number).normal(0, 4, (height, width, 3))
    return (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)


def ratios(mine: Way, other: Way, *, rounds: int) -> str:
    """Our CPU time over the other's: median (least to most) over rounds in which they take turns."""
    found = []
    for number in range(rounds + 1):
        seconds = {}
        for way in (mine, other) if number % 2 else (other, mine):
            start = time.process_time()
            way()
            seconds[way] = time.process_time() - start
        found.append(seconds[mine] / seconds[other])
    return median_and_range(found[1:])  # the first one warms up


def each(way: Callable[..., object], items: Sequence[object], **options: object) -> Way:
    """`way` on one item after the other."""

    def run() -> None:
        for item in items:
            way(item, **options)

    return run


def compare_preprocessing(height: int, width: int, side: int, *, num_frames: int, rounds: int) -> str:
    """One line: the crop, and the whole resized frame, all over the published way."""
    frames = [torch.from_numpy(content(height, width, number))[None] for number in range(num_frames)]
    for frame in frames:
        whole = published_resize(frame, short_side=side)
        tolerance = 0 if torch.get_num_threads() == 1 else 2e-7
        torch.testing.assert_close(resize_frames(frame, short_side=side), whole, rtol=0, atol=tolerance)
        torch.testing.assert_close(
            ours(frame, short_side=side), published(frame, short_side=side), rtol=0, atol=tolerance / min(STD)
        )
    reference = each(published, frames, short_side=side)
    measured = partial(ratios, rounds=rounds)
    cells = [
        measured(each(ours, frames, short_side=side), reference),
        measured(each(resize_frames, frames, short_side=side), each(published_resize, frames, short_side=side)),
    ]
    return f"| {width}x{height}, crop {side}x{side} | " + " | ".join(cells) + " |"


def compare_jpeg(*, num_frames: int, rounds: int) -> str:
    """One line: frames as they are read over frames with Pillow alone."""
    files = []
    for number in range(num_frames * 8):
        data = io.BytesIO()
        Image.fromarray(content(*JPEG_SIZE, number)).save(data, "JPEG", quality=JPEG_QUALITY)
        files.append(data.getvalue())

    def with_pillow(data: bytes) -> np.ndarray:
        return np.array(Image.open(io.BytesIO(data), formats=("JPEG",)).convert("RGB"))

    for data in files:
        assert np.array_equal(decode_jpeg(data), with_pillow(data))
    cell = ratios(each(decode_jpeg, files), each(with_pillow, files), rounds=rounds)
    size = statistics.mean(map(len, files)) / 1000
    return f"| {JPEG_SIZE[1]}x{JPEG_SIZE[0]}, {size:.0f} kB: simplejpeg / Pillow {PIL.__version__} | {cell} |"


def main() -> None:
    """Compare, and print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=8, help="frames in each turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch; its own by default")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{conditions('torch')}, {options.threads} threads, {options.rounds} rounds\n")
    print("| video | ours / published | the whole frame resized: ours / published |")
    print("| --- | --- | --- |", flush=True)
    for height, width, side in CASES:
        print(compare_preprocessing(height, width, side, num_frames=options.frames, rounds=options.rounds), flush=True)
    print("\n| JPEG frames | CPU time |\n| --- | --- |")
    print(compare_jpeg(num_frames=options.frames, rounds=options.rounds))


if __name__ == "__main__":
    sys.exit(main())
