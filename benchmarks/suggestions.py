"""What to label next: picks of `tada suggest` beside random ones, with real videos whose labels are revealed as asked.

    python -m benchmarks.suggestions [--features FOLDER] [--seeds 5] [--rounds 4] [--budget 20]

The 15 videos of `untrimmed_actions` make five folds of three, as in `benchmarks.real_actions`. In each fold the labels
of one of the other twelve videos are known at first. A linear classifier learns them from features of the built-in
network, one of each quarter of a second, and scores the other eleven; so many spans of four seconds are picked, by
`tada suggest` or at random, their labels are revealed, and the classifier learns anew. After each round the windows
of the three videos held out are scored: the mean over the classes of the average precision. Both ways begin with the
same video and pick as many spans of the same grid.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

import tadacli
from benchmarks.conditions import conditions
from benchmarks.detection_on_actions import DATA
from benchmarks.real_actions import NUM_FOLDS, Row, read_rows, truth_of
from tadacli.detection.feature_file import read_features
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.span_choice import Candidate, LabelledPart, candidates_of_scores, choose_spans
from tadacli.results import VideoInfo
from tadacli.zoo.manifest import manifest

NOTHING = "nothing"
STRIDE = "250ms"
NUM_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a video: features (W, C), spans (W, 2) in seconds, and their true class (W,)."""

    video: str
    features: NDArray[np.float32]
    spans: NDArray[np.float64]
    truth: NDArray[np.int64]


Classifier = Callable[[NDArray[np.float32]], NDArray[np.float64]]
Pick = Callable[[Sequence[Sequence[Candidate]], int, Sequence[LabelledPart], np.random.Generator], Sequence[Candidate]]


def by_suggestion(
    videos: Sequence[Sequence[Candidate]], budget: int, labelled: Sequence[LabelledPart], _: np.random.Generator
) -> Sequence[Candidate]:
    """What `tada suggest` picks."""
    return [each.span for each in choose_spans(videos, budget=budget, labelled=labelled)]


def at_random(
    videos: Sequence[Sequence[Candidate]], budget: int, labelled: Sequence[LabelledPart], rng: np.random.Generator
) -> Sequence[Candidate]:
    """So many of the spans that have no label yet."""
    known = {(part.path, part.start_seconds) for part in labelled}
    left = [each for video in videos for each in video if (each.path, each.start_seconds) not in known]
    return [left[i] for i in rng.permutation(len(left))[:budget]]


WAYS: Mapping[str, Pick] = {"suggest": by_suggestion, "random": at_random}


def read_windows(folder: Path, rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Windows]:
    """The windows of each video by name; those of no labelled segment show nothing."""
    found = {}
    for name in sorted({row.video for row in rows}):
        features = read_features(folder / f"{Path(name).stem}.npz")
        spans = features.centres[:, None] + np.array([-0.5, 0.5]) * features.stride_seconds
        middles, truth = spans.mean(axis=1), np.full(len(spans), len(labels) - 1)
        for row in rows:
            if row.video == name:
                truth[(middles >= row.start) & (middles < row.end)] = labels.index(row.label)
        found[name] = Windows(name, np.asarray(features.values, np.float32), spans, truth)
    return found


def fit(
    features: NDArray[np.float32], truth: NDArray[np.int64], num_classes: int
) -> Callable[..., NDArray[np.float64]]:
    """A linear classifier of standardised features, as a function from features (W, C) to scores (W, K)."""
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-6
    x, y = torch.from_numpy((features - mean) / std), torch.from_numpy(truth)
    weights = torch.zeros(x.shape[1], num_classes, requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weights + bias, y) + 1e-3 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)

    def scores(others: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.no_grad():
            logits = torch.from_numpy((others - mean) / std) @ weights + bias
        return logits.softmax(dim=1).numpy().astype(np.float64)

    return scores


def average_precision(scores: NDArray[np.float64], is_true: NDArray[np.bool_]) -> float:
    """Of windows in the order of their scores: the mean precision at those that are true."""
    order = np.argsort(-scores, kind="stable")
    hits = is_true[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def run(
    windows: Mapping[str, Windows],
    pool: Sequence[str],
    held_out: Sequence[str],
    labels: Sequence[str],
    pick: Pick,
    *,
    seed: int,
    rounds: int,
    budget: int,
) -> list[float]:
    """The mean average precision before the first round and after each."""
    rng = np.random.default_rng(seed)
    first = pool[int(rng.integers(len(pool)))]
    labelled = [LabelledPart(first, *windows[first].spans[0], "")]
    known = {name: np.full(len(windows[name].truth), name == first) for name in pool}
    test = [windows[name] for name in held_out]
    truth = np.concatenate([each.truth for each in test])
    curve = []
    for number in range(rounds + 1):
        classify = fit(
            np.concatenate([windows[name].features[known[name]] for name in pool]),
            np.concatenate([windows[name].truth[known[name]] for name in pool]),
            len(labels),
        )
        scores = classify(np.concatenate([each.features for each in test]))
        there = [i for i in range(len(labels) - 1) if (truth == i).any()]
        curve.append(float(np.mean([average_precision(scores[:, i], truth == i) for i in there])))
        if number == rounds:
            break
        examples = [
            LabelledPart(name, start, end, labels[i])
            for name in pool
            for start, end, i in _stretches(windows[name], known[name])
        ]
        videos = [candidates_of_scores(scores_of(windows[name], classify, labels)) for name in pool if name != first]
        for span in pick(videos, budget, [*labelled, *examples], rng):
            middles = windows[span.path].spans.mean(axis=1)
            known[span.path] |= (middles >= span.start_seconds) & (middles < span.end_seconds)
            labelled.append(LabelledPart(span.path, span.start_seconds, span.end_seconds, ""))
    return curve


def _stretches(windows: Windows, known: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """The known windows of one class that follow each other."""
    middles, found = windows.spans.mean(axis=1), []
    ids = np.where(known, windows.truth, -1)
    edges = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    for first, last in itertools.pairwise(edges):
        if ids[first] >= 0:
            found.append((float(middles[first]), float(middles[last - 1]) + 1e-3, int(ids[first])))
    return found


def scores_of(windows: Windows, classify: Classifier, labels: Sequence[str]) -> WindowScores:
    """What the classifier says of a video, as `tada detect --save-scores` keeps it."""
    start, end = float(windows.spans[0, 0]), float(windows.spans[-1, 1])
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], heads={"": tuple(labels)})
    return WindowScores(
        path=windows.video,
        size_bytes=None,
        spec=spec,
        weights_sha256="",
        tool_version=tadacli.__version__,
        settings={},
        info=VideoInfo(windows.video, len(windows.spans), Fraction(4), end - start, 240, 320, 0, ""),
        range_seconds=(start, end),
        spans=windows.spans,
        used=windows.spans,
        scale=np.zeros(len(windows.spans), dtype=np.int64),
        scores={"": classify(windows.features).astype(np.float32)},
        gaps=(),
        num_windows_planned=len(windows.spans),
        num_frames_used=0,
    )


def main() -> None:
    """Prints the precision of both ways after each round, and how far apart they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="features of the videos; they are made there if it is new")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--budget", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(conditions("torch", "numpy"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.features or Path(temporary) / "features"
        if not folder.is_dir():
            command = [sys.executable, "-m", "tadacli", "features", str(DATA / "videos"), "--stride", STRIDE]
            subprocess.run([*command, "--output", str(folder)], check=True, stdout=subprocess.DEVNULL)
        _compare(folder, options.seeds, options.rounds, options.budget)


def _compare(folder: Path, num_seeds: int, rounds: int, budget: int) -> None:
    rows = read_rows()
    truth = truth_of(rows)
    labels = (*truth.labels, NOTHING)
    windows = read_windows(folder, rows, labels)
    curves: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for fold in range(NUM_FOLDS):
        pool, held_out = (
            [name for name, its in zip(truth.videos, truth.folds, strict=True) if (its == fold) is is_held_out]
            for is_held_out in (False, True)
        )
        for seed in range(num_seeds):
            for way, pick in WAYS.items():
                how = {"seed": 100 * fold + seed, "rounds": rounds, "budget": budget}
                curves[way].append(run(windows, pool, held_out, labels, pick, **how))
    print(f"{NUM_FOLDS} folds x {num_seeds} seeds; mean average precision in percent, before and after each round")
    for way, found in curves.items():
        print(f"{way:>8}: " + "  ".join(f"{100 * each:5.1f}" for each in np.mean(found, axis=0)))
    ahead = 100 * (np.array(curves["suggest"]) - np.array(curves["random"]))[:, 1:]
    rng = np.random.default_rng(0)
    drawn = ahead[rng.integers(len(ahead), size=(NUM_DRAWS, len(ahead)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    said = zip(ahead.mean(axis=0), low, high, strict=True)
    print("   ahead:        " + "  ".join(f"{mean:+.1f} ({a:+.1f} to {b:+.1f})" for mean, a, b in said))
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    num_better = int((ahead.mean(axis=1) > 0).sum())
    print(f"over all rounds: {ahead.mean():+.2f} ({low:+.2f} to {high:+.2f}); in {num_better} of {len(ahead)} runs")


if __name__ == "__main__":
    main()
