"""What an adaptive stride saves, and what it loses: beside the same search with every window scored.

    python -m benchmarks.adaptive_stride [--films 10] [--seed 0] [--cache DIR]

The films of `camera_moves`, whose moves are known, and the real videos of `untrimmed_actions` in TADA_SHARED, searched
by the built-in model. Told are how many windows went through the network, the CPU time beside that of every window,
how many of the segments that every window gives are found again (same label, temporal IoU at least 0.5 or 0.9), and for
films the mean average precision at 0.3 to 0.7.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.camera_moves import overlap, precision, render_film, segments_of
from benchmarks.conditions import conditions
from tadacli.camera_motion.clips import make_pictures
from tadacli.camera_motion.virtual_camera import KnownMove
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.results import Segment
from tadacli.sampling.settings import window_settings
from tadacli.zoo.loading import Model, load_model

STRIDES = (1, 4, 8, 16)
WAY = SegmentSettings(contrast=True, threshold=0.1)
FOUND_AGAIN = (0.5, 0.9)
SHARED = Path(os.environ.get("TADA_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def searched(
    videos: Sequence[Path], model: Model, adaptive_stride: int
) -> tuple[list[tuple[Segment, ...]], float, float]:
    """The segments of each video, the share of windows that went through the network, and CPU seconds."""
    settings = window_settings(window="1s", stride="250ms", adaptive_stride=adaptive_stride)
    started, found, num_seen, num_windows = time.process_time(), [], 0, 0
    for video in videos:
        scores = score_windows(video, model=model, settings=settings)
        num_windows += len(scores.spans)
        num_seen += len(scores.spans) - (0 if scores.interpolated is None else int(scores.interpolated.sum()))
        found.append(segments_of(scores, WAY))
    return found, num_seen / num_windows, time.process_time() - started


def found_again(
    expected: Sequence[Sequence[Segment]], found: Sequence[Sequence[Segment]], tiou: float
) -> tuple[int, int]:
    """How many segments have one of their label in `found` that overlaps so much, and how many there are."""
    count = 0
    for wanted, there in zip(expected, found, strict=True):
        for one in wanted:
            count += any(one.label == other.label and overlap(one, other) >= tiou for other in there)
    return count, sum(map(len, expected))


def table(name: str, videos: Sequence[Path], model: Model, truth: Sequence[Sequence[KnownMove]] | None) -> None:
    """Search some videos with each stride, and print a row for each."""
    searched(videos[:1], model, 1)  # what is only done once is done
    expected, _, base = searched(videos, model, 1)
    for stride in STRIDES:
        found, share, seconds = searched(videos, model, stride)
        again = [found_again(expected, found, tiou) for tiou in FOUND_AGAIN]
        accuracy = "" if truth is None else f"{np.mean(precision(truth, found)):.1f}"
        cells = [f"{100 * share:.0f} %", f"{seconds / base:.2f}", *(f"{n} of {of}" for n, of in again), accuracy]
        print(f"| {name} | {'every window' if stride == 1 else stride} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Search films and real videos, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first film")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    pictures = make_pictures(40, seed=9100 + options.seed)
    films = [options.cache / f"moves-{options.seed + number}.mp4" for number in range(options.films)]
    truth = [render_film(path, seed=options.seed + number, pictures=pictures) for number, path in enumerate(films)]
    model = load_model("r2plus1d_tiny.camera_motion", device="cpu")
    print(f"{conditions('torch')}, windows of 1 s every 250 ms, --contrast --threshold 0.1\n")
    print("| videos | adaptive stride | windows seen | CPU time | found again at 0.5 | at 0.9 | mean mAP |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    table(f"{len(films)} films", films, model, truth)
    real = sorted((SHARED / "untrimmed_actions").glob("**/*.mp4"))
    if real:
        table(f"{len(real)} real videos", real, model, None)
    else:
        print("no real videos: there is no shared folder")


if __name__ == "__main__":
    main()
