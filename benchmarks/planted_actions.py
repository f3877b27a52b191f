"""Whether heads over features learn to find actions: planted ones of known places in noise.

    python -m benchmarks.planted_actions [--quick] [--heads temporal pyramid trident] [--seed 0]

A video is noise of 32 channels, one vector for each step, some hundreds to two thousand of them. An action adds to its
steps the direction of its class, one of ten; it lasts from 4 to 400 steps, all lengths on a logarithmic scale equally
likely. The signal is so weak that a single step does not say much: a linear classifier of steps, trained on the same
videos, whose scores are cut at the best of many thresholds, is the baseline. Of 200 videos 140 are trained on, 20 say
which weights are the best, and mAP is measured on the other 40.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.conditions import conditions
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_decoding import Head, ScoredSpans
from tadacli.training import HeadKind
from tadacli.training.heads.fitting import build_head, fit_head, precision_of, precision_of_spans
from tadacli.training.heads.sequences import LabelledSequence
from tadacli.training.heads.settings import head_settings

STRIDE_SECONDS = 0.5
TIOU = (0.3, 0.5, 0.7)
# The kind of each head and what differs from its usual settings: enough epochs for so many videos, and levels for
# actions of 400 steps.
HEADS: Mapping[str, tuple[HeadKind, Mapping[str, object]]] = {
    "temporal": ("temporal", {"epochs": 30, "batch_size": 4}),
    "pyramid": ("pyramid", {"epochs": 12, "width": 64, "num_levels": 8}),
    "trident": ("pyramid", {"epochs": 12, "width": 64, "num_levels": 8, "num_bins": 16}),
}


@dataclass(frozen=True)
class Planted:
    """What the videos are like; `strength` is the length of a class's direction, in deviations of the noise."""

    num_videos: int = 200
    num_classes: int = 10
    num_channels: int = 32
    steps: tuple[int, int] = (400, 1400)
    lengths: tuple[int, int] = (4, 400)
    strength: float = 4.2

    def videos(self, seed: int) -> list[LabelledSequence]:
        """The videos, the same ones for a seed."""
        rng = np.random.default_rng(seed)
        directions = np.linalg.qr(rng.standard_normal((self.num_channels, self.num_classes)))[0].T
        return [self._video(f"video {number}", directions, rng) for number in range(self.num_videos)]

    def _video(self, name: str, directions: NDArray[np.float64], rng: np.random.Generator) -> LabelledSequence:
        num_steps = int(rng.integers(*self.steps))
        values = rng.standard_normal((num_steps, self.num_channels))
        spans, classes, place = [], [], int(rng.integers(1, 20))
        while True:
            length = round(float(np.exp(rng.uniform(*np.log(self.lengths)))))
            if place + length >= num_steps:
                break
            number = int(rng.integers(self.num_classes))
            values[place : place + length] += self.strength * directions[number]
            spans.append((place, place + length))
            classes.append(number)
            place += length + int(rng.integers(4, 60))
        # A step is the middle of its snippet, so a span of steps begins half a step before its first one.
        seconds = STRIDE_SECONDS * np.array(spans, dtype=np.float64).reshape(-1, 2)
        grid = FeatureGrid(
            values.astype(np.float32),
            np.ones(num_steps, dtype=np.bool_),
            STRIDE_SECONDS / 2,
            STRIDE_SECONDS,
            num_steps * STRIDE_SECONDS,
        )
        return LabelledSequence(name, grid, seconds, {"": np.array(classes, dtype=np.int64)}, np.empty((0, 2)))


def linear_precision(
    train: Sequence[LabelledSequence], test: Sequence[LabelledSequence], *, tiou: Sequence[float]
) -> tuple[float, ...]:
    """mAP of a linear classifier of single steps, cut at the threshold that is the best for the test videos."""
    num_classes = 1 + max(int(each.classes[""].max(initial=0)) for each in train)
    features = torch.from_numpy(np.concatenate([each.grid.values for each in train]))
    targets = torch.from_numpy(np.concatenate([_by_step(each, num_classes) for each in train]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(features.shape[1], num_classes + 1)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(layer(features), targets)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scores = [layer(torch.from_numpy(each.grid.values)).softmax(dim=1)[:, :-1].double().numpy() for each in test]
    found = [
        precision_of_spans(
            [_runs(s, each.grid, threshold) for s, each in zip(scores, test, strict=True)], test, tiou=tiou
        )
        for threshold in np.linspace(0.05, 0.95, 19)
    ]
    return tuple(float(best) for best in np.max([each.mean_average_precision for each in found], axis=0))


def _by_step(video: LabelledSequence, num_classes: int) -> NDArray[np.int64]:
    numbers = np.full(len(video.grid), num_classes, dtype=np.int64)
    for (start, end), number in zip(video.spans, video.classes[""], strict=True):
        numbers[(video.grid.seconds >= start) & (video.grid.seconds < end)] = number
    return numbers


def _runs(scores: NDArray[np.float64], grid: FeatureGrid, threshold: float) -> ScoredSpans:
    """Runs of steps whose score reaches the threshold; each scores its mean."""
    found = []
    for number, curve in enumerate(scores.T):
        above = np.concatenate([[False], curve >= threshold, [False]])
        starts, ends = np.flatnonzero(~above[:-1] & above[1:]), np.flatnonzero(above[:-1] & ~above[1:])
        total = np.concatenate([[0.0], np.cumsum(curve)])
        means = (total[ends] - total[starts]) / (ends - starts)
        found.append(np.stack([starts, ends, np.full(len(starts), number), means], axis=1))
    table = np.concatenate(found)
    return ScoredSpans(table[:, :2] * grid.stride_seconds, table[:, 2].astype(np.int64), table[:, 3])


def head_precision(
    kind: HeadKind,
    videos: Sequence[LabelledSequence],
    *,
    seed: int,
    tiou: Sequence[float],
    changes: Mapping[str, object],
) -> tuple[float, ...]:
    """mAP on the last fifth of the videos of a head that was trained on the others."""
    train, validation, test = split(videos)
    settings = head_settings(kind, {"seed": seed, "tiou": tiou, **changes})
    num_classes = 1 + max(int(each.classes[""].max(initial=0)) for each in videos)
    head = build_head(settings, in_channels=videos[0].grid.values.shape[1], num_classes={"": num_classes})
    best: dict[str, torch.Tensor] = {}

    def keep(network: Head) -> None:
        best.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    start = time.process_time()
    fit_head(
        head,
        train,
        validation,
        settings,
        keep=keep,
        on_evaluation=lambda now: print(
            f"  {kind}: epoch {now.epoch:.0f}, loss {now.loss:.3f}, validation mAP {100 * now.precision:.1f}, "
            f"{time.process_time() - start:.0f} s",
            flush=True,
        ),
    )
    head.load_state_dict(best)
    return precision_of(head, test, tiou=tiou).mean_average_precision


def split(
    videos: Sequence[LabelledSequence],
) -> tuple[Sequence[LabelledSequence], Sequence[LabelledSequence], Sequence[LabelledSequence]]:
    """Seven tenths to train on, one to validate with, two to test on."""
    first, second = round(0.7 * len(videos)), round(0.8 * len(videos))
    return videos[:first], videos[first:second], videos[second:]


def main() -> None:
    """Plant, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="*", choices=list(HEADS), default=list(HEADS))
    parser.add_argument("--strength", type=float, default=Planted.strength)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(conditions())
    videos = Planted(num_videos=10 if options.quick else 200, strength=options.strength).videos(options.seed)
    train, _, test = split(videos)
    print(f"{sum(len(each.spans) for each in videos)} actions in {sum(len(each.grid) for each in videos)} steps")
    print("| | " + " | ".join(f"mAP at {each}" for each in TIOU) + " |\n" + "| --- " * (len(TIOU) + 1) + "|")

    def row(name: str, found: Sequence[float]) -> None:
        print(f"| {name} | " + " | ".join(f"{100 * each:.1f}" for each in found) + " |", flush=True)

    row("linear classifier of steps", linear_precision(train, test, tiou=TIOU))
    for name in options.heads:
        kind, changes = HEADS[name]
        changes = {**changes, **({"epochs": 6} if options.quick else {})}
        row(name, head_precision(kind, videos, seed=options.seed, tiou=TIOU, changes=changes))


if __name__ == "__main__":
    main()
