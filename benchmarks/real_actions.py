"""Actions in real videos: heads over features beside the window path, on the same fine-tuned trunks, in five folds.

    python -m benchmarks.real_actions [--work FOLDER] [--epochs 20] [--seeds 3] [--folds 0 1 2 3 4] [--quick]

The 15 videos of `untrimmed_actions` make five folds of three; the published validation videos are one. In each fold the
built-in network is fine-tuned on the segments of the other twelve videos (`tada finetune`). Both ways use this trunk:

- windows: `tada detect` as it was before there were heads, windows as long as a clip; the best of a sweep of
  thresholds, with and without `--contrast` and `--exclusive`, chosen in hindsight on the very videos that are measured;
- heads: features of the trunk, heads trained on the twelve videos with the settings that are the default, their last
  weights, for several seeds.

Nothing of a head is chosen by the videos held out: they are looked at once, at the end. mAP is pooled over the videos
of all folds, and the mean over the folds; the interval is of a bootstrap over the videos. `--work` keeps what is done,
so that a run that was stopped goes on from there, and several may share the folds.

Thresholds are measured as `--threshold auto` has them, for segment F1 at a temporal IoU of 0.3: each held-out video
gets those which are fitted on the other two of its fold. Beside it is the best one for all videos and classes in
hindsight, and by how much of a video a label is reported for longer than it holds, at most, and in how many videos one
is for more than 20 points of the video.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import torch
from numpy.typing import NDArray

import tadacli
from benchmarks.conditions import conditions
from benchmarks.detection_on_actions import DATA
from benchmarks.segment_thresholds import segments_in
from tadacli.detection.extraction import feature_job, iter_features
from tadacli.detection.feature_file import read_features
from tadacli.detection.feature_grid import features_grid
from tadacli.detection.feature_layouts import FeatureStore
from tadacli.detection.head_decoding import ScoredSpans, find_spans
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.evaluation.detection_metrics import EPIC_TIOU, ScoredSegments, TimedLabels, average_precision
from tadacli.evaluation.segment_f1 import best_threshold, fit_threshold
from tadacli.results import Segment
from tadacli.sampling.settings import window_settings
from tadacli.sampling.snippets import snippet_settings
from tadacli.specs import LOW_SHARE, Thresholds
from tadacli.training import HeadKind
from tadacli.training.heads.fitting import build_head, fit_head
from tadacli.training.heads.sequences import LabelledSequence
from tadacli.training.heads.settings import head_settings
from tadacli.training.segment_thresholds import (
    LOW_SHARES,
    SearchedVideo,
    SegmentThresholds,
    fit_segment_thresholds,
)
from tadacli.zoo.loading import Model

CLIP = ("--sampling", "interval", "--frame-stride", "8", "--short-side", "64", "--crop-size", "64")
STRIDE = "250ms"
COPY_SIZE = (96, 128)  # height and width of the copies that are trained on
FINE_LEVELS = np.round(np.arange(0.02, 1.0, 0.02), 2).tolist()
LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
WAYS: Mapping[str, SegmentSettings] = {
    "": SegmentSettings(),
    "--contrast": SegmentSettings(contrast=True),
    "--exclusive": SegmentSettings(exclusive=True),
}
HEADS: tuple[HeadKind, ...] = ("temporal", "pyramid")
NUM_FOLDS, NUM_DRAWS, MANY = 5, 2000, 20
TOO_LONG = 20  # points of a video
T = TypeVar("T")
NO_TIME = np.empty((0, 2), dtype=np.float64)


@dataclass(frozen=True)
class Row:
    """A labelled segment."""

    video: str
    split: str
    label: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Truth:
    """All segments, as the evaluator takes them; `labels` by code, and the fold of each of the `videos`."""

    columns: TimedLabels
    videos: tuple[str, ...]
    labels: tuple[str, ...]
    folds: tuple[int, ...]


def read_rows() -> list[Row]:
    """The labelled segments of the data set."""
    with (DATA / "segments.csv").open(newline="", encoding="utf-8") as file:
        return [
            Row(row["video"], row["split"], row["label"], float(row["start_seconds"]), float(row["end_seconds"]))
            for row in csv.DictReader(file)
        ]


def truth_of(rows: Sequence[Row]) -> Truth:
    """The segments by codes. The published validation videos are the first fold, the others are dealt out by name."""
    videos, labels = tuple(sorted({row.video for row in rows})), tuple(sorted({row.label for row in rows}))
    published = {row.video for row in rows if row.split == "val"}
    others = itertools.cycle(range(1, NUM_FOLDS))
    folds = tuple(0 if video in published else next(others) for video in videos)
    columns = TimedLabels(
        np.array([videos.index(row.video) for row in rows]),
        np.array([labels.index(row.label) for row in rows]),
        np.array([row.start for row in rows]),
        np.array([row.end for row in rows]),
    )
    return Truth(columns, videos, labels, folds)


# --- the trunk of a fold ------------------------------------------------------------------------------


def copy_small(source: Path, target: Path) -> None:
    """A copy of a video that is small and quick to read, with the same times."""
    partial = target.with_suffix(f".part{os.getpid()}.mp4")
    with av.open(str(source)) as video, av.open(str(partial), "w", format="mp4") as out:
        old = video.streams.video[0]
        new = out.add_stream("libx264", rate=old.average_rate, options={"crf": "12", "g": "12", "preset": "veryfast"})
        new.height, new.width = COPY_SIZE
        new.pix_fmt = "yuv420p"
        assert old.time_base is not None
        new.codec_context.time_base = old.time_base
        for frame in video.decode(old):
            small = frame.reformat(width=COPY_SIZE[1], height=COPY_SIZE[0], interpolation="AREA")
            small.pts, small.time_base = frame.pts, frame.time_base
            out.mux(new.encode(small))
        out.mux(new.encode(None))
    os.replace(partial, target)


def trunk_of(fold: int, rows: Sequence[Row], truth: Truth, work: Path, epochs: str) -> Model:
    """The built-in network, fine-tuned on the videos of the other folds; the weights after the last step."""
    run, table = work / f"trunk-{fold}", work / f"fold-{fold}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "split", "label", "start_seconds", "end_seconds"])
        for row in rows:
            split = "val" if truth.folds[truth.videos.index(row.video)] == fold else "train"
            writer.writerow([row.video, split, row.label, row.start, row.end])
    labels = work / "labels.txt"
    labels.write_text("".join(f"{label}\n" for label in truth.labels), encoding="utf-8")
    if not (run / "README.md").is_file():
        told = ["--data", str(table), "--data-root", str(work / "videos"), "--labels", str(labels), "--views", "1x1"]
        told += ["--model", "r2plus1d_tiny.camera_motion", *CLIP, "--epochs", epochs, "--seed", "0", "--quiet"]
        # It is evaluated once, at the end: so the best weights are the last ones.
        told += ["--set", f"evaluate_every_epochs={epochs}", "--output", str(run), "--resume"]
        subprocess.run([sys.executable, "-m", "tadacli", "finetune", *told], check=True)
    return tadacli.load_model(run, device="cpu")


# --- the two ways ------------------------------------------------------------------------------------


def found_by_windows(scored: Mapping[int, WindowScores]) -> dict[str, ScoredSegments]:
    """By setting of the sweep, the segments that the window path finds in videos, given by their codes."""
    return {
        f"--threshold {level:g} {name}".strip(): segments_of(scored, replace(way, threshold=level))
        for (name, way), level in itertools.product(WAYS.items(), LEVELS)
    }


def segments_of(
    scored: Mapping[int, WindowScores],
    settings: SegmentSettings,
    *,
    thresholds: Thresholds | None = None,
    low_share: float = LOW_SHARE,
) -> ScoredSegments:
    """The segments of the windows of videos, given by their codes; arguments as of `segments_in`."""
    found = {
        code: segments_in(scores, settings, thresholds=thresholds, low_share=low_share)
        for code, scores in scored.items()
    }
    return joined([columns(code, spans_of(segments)) for code, segments in found.items()])


def spans_of(segments: Sequence[Segment]) -> ScoredSpans:
    """Segments as spans with classes and scores."""
    spans = np.array([(each.start_seconds, each.end_seconds) for each in segments]).reshape(-1, 2)
    classes = np.array([each.index for each in segments], dtype=np.int64)
    return ScoredSpans(spans, classes, np.array([each.score for each in segments]))


def columns(code: int, found: ScoredSpans) -> ScoredSegments:
    """What was found in a video, as columns."""
    starts, ends = found.seconds.T
    return ScoredSegments(np.full(len(found), code), found.classes, starts, ends, found.scores)


def joined(parts: Sequence[ScoredSegments]) -> ScoredSegments:
    """The columns of several videos as those of all."""
    names = ("videos", "classes", "starts_seconds", "ends_seconds", "scores")
    return ScoredSegments(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def sequences_of(model: Model, folder: Path, paths: Mapping[int, Path], rows: Sequence[Row], truth: Truth) -> Sequences:
    """The features of all videos with their segments, by the codes of the videos."""
    videos = [str(path) for path in paths.values()]
    store = FeatureStore(videos, folder, resume=True)
    job = feature_job(videos, model=model, snippets=snippet_settings(stride=STRIDE))
    for made in iter_features(job, store=store):
        if made.status == "error":
            raise SystemExit(f"{made.path}: {made.error}")
    found = {}
    for code, path in paths.items():
        own = [row for row in rows if row.video == truth.videos[code]]
        file = store.files[str(path)]
        spans = np.array([(row.start, row.end) for row in own])
        classes = np.array([truth.labels.index(row.label) for row in own])
        grid = features_grid(read_features(file), where=str(file))
        spans = np.minimum(spans, grid.duration_seconds)
        within = spans[:, 1] > spans[:, 0]
        found[code] = LabelledSequence(path.name, grid, spans[within], {"": classes[within]}, NO_TIME)
    return found


Sequences = dict[int, LabelledSequence]


def found_by_head(
    kind: HeadKind, seed: int, sequences: Sequences, held_out: Sequence[int], *, quick: bool
) -> ScoredSegments:
    """The segments that a head finds in the held-out videos, trained on the others."""
    epochs = 6 if quick else head_settings(kind).epochs
    # It is evaluated once, at the end: so the weights are the last ones, whatever they find.
    settings = head_settings(kind, {"seed": seed, "epochs": epochs, "evaluate_every_epochs": epochs})
    train = [each for code, each in sequences.items() if code not in held_out]
    test = [sequences[code] for code in held_out]
    num_classes = 1 + max(int(each.classes[""].max()) for each in sequences.values())
    head = build_head(settings, in_channels=train[0].grid.values.shape[1], num_classes={"": num_classes})
    last: dict[str, torch.Tensor] = {}

    def keep(network: torch.nn.Module) -> None:
        last.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    fit_head(head, train, test, settings, keep=keep)
    head.load_state_dict(last)
    return joined([columns(code, find_spans(head.eval(), sequences[code].grid)) for code in held_out])


# --- what comes out ----------------------------------------------------------------------------------


def of_videos(truth: TimedLabels, codes: Sequence[int]) -> TimedLabels:
    """The segments of some videos."""
    kept = np.isin(truth.videos, codes)
    return TimedLabels(truth.videos[kept], truth.classes[kept], truth.starts_seconds[kept], truth.ends_seconds[kept])


def scored_of_videos(found: ScoredSegments, codes: Sequence[int]) -> ScoredSegments:
    """What was found in some videos."""
    names = ("videos", "classes", "starts_seconds", "ends_seconds", "scores")
    return ScoredSegments(*(getattr(found, name)[np.isin(found.videos, codes)] for name in names))


def pooled(truth: Truth, found: ScoredSegments) -> float:
    """Mean mAP over all videos, in percent."""
    return 100 * average_precision(truth.columns, found, tiou=EPIC_TIOU).average


def fold_mean(truth: Truth, found: ScoredSegments) -> float:
    """The mean over the folds of the mean mAP of a fold, in percent."""
    parts = []
    for fold in range(NUM_FOLDS):
        codes = [code for code, number in enumerate(truth.folds) if number == fold]
        own = of_videos(truth.columns, codes)
        if len(own):
            parts.append(average_precision(own, scored_of_videos(found, codes), tiou=EPIC_TIOU).average)
    return 100 * float(np.mean(parts))


def by_class(truth: Truth, found: ScoredSegments) -> dict[str, float]:
    """Average precision of each class over all videos, the mean over the thresholds, in percent."""
    metrics = average_precision(truth.columns, found, tiou=EPIC_TIOU)
    return {
        truth.labels[number]: 100 * float(np.mean(each))
        for number, each in zip(metrics.classes, metrics.average_precision, strict=True)
    }


def bootstrap(truth: Truth, ours: Sequence[ScoredSegments], base: ScoredSegments, *, seed: int) -> NDArray[np.float64]:
    """(draws, 2): pooled mAP of the mean of `ours` and of `base` in draws of as many videos, with repetition."""
    rng, draws, codes = np.random.default_rng(seed), [], np.unique(truth.columns.videos)
    for _ in range(NUM_DRAWS):
        drawn = rng.choice(codes, size=len(codes))
        own = _renamed(truth.columns, drawn)
        values = [
            average_precision(own, _renamed_scored(each, drawn), tiou=EPIC_TIOU).average for each in (*ours, base)
        ]
        draws.append((100 * float(np.mean(values[:-1])), 100 * values[-1]))
    return np.array(draws)


def _places(videos: NDArray[np.int64], drawn: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each drawn video its rows, and the place of the draw as the code of the video."""
    rows = [np.flatnonzero(videos == code) for code in drawn]
    return np.concatenate(rows), np.repeat(np.arange(len(drawn)), [len(each) for each in rows])


def _renamed(truth: TimedLabels, drawn: NDArray[np.int64]) -> TimedLabels:
    rows, codes = _places(truth.videos, drawn)
    return TimedLabels(codes, truth.classes[rows], truth.starts_seconds[rows], truth.ends_seconds[rows])


def _renamed_scored(found: ScoredSegments, drawn: NDArray[np.int64]) -> ScoredSegments:
    rows, codes = _places(found.videos, drawn)
    return ScoredSegments(
        codes, found.classes[rows], found.starts_seconds[rows], found.ends_seconds[rows], found.scores[rows]
    )


def report(truth: Truth, windows: Mapping[str, ScoredSegments], heads: Mapping[str, Sequence[ScoredSegments]]) -> None:
    """Prints the tables."""
    sweep = {name: pooled(truth, found) for name, found in windows.items()}
    best = max(sweep, key=lambda name: sweep[name])
    shown: dict[str, Sequence[ScoredSegments]] = {"windows, --threshold 0.2": [windows["--threshold 0.2"]]}
    shown |= {f"windows, {best} (best of {len(sweep)} in hindsight)": [windows[best]], **heads}

    def mean(measure: Callable[[Truth, ScoredSegments], float], found: Sequence[ScoredSegments]) -> str:
        values = [measure(truth, each) for each in found]
        return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")

    print("| way | pooled mean mAP | fold mean |\n| --- | --- | --- |")
    for name, found in shown.items():
        print(f"| {name} | {mean(pooled, found)} | {mean(fold_mean, found)} |")
    print(
        "\nThe sweep of the window path, pooled mean mAP:\n\n| | " + " | ".join(f"{level:g}" for level in LEVELS) + " |"
    )
    print("| --- " * (len(LEVELS) + 1) + "|")
    for way in WAYS:
        values = [sweep[f"--threshold {level:g} {way}".strip()] for level in LEVELS]
        print(f"| {way or 'neither'} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    counts = np.bincount(truth.columns.classes)
    print("\n| class | segments | " + " | ".join(shown) + " |\n" + "| --- " * (len(shown) + 2) + "|")
    for number, label in enumerate(truth.labels):
        if not counts[number]:
            continue
        values = [float(np.mean([by_class(truth, each)[label] for each in found])) for found in shown.values()]
        print(f"| {label} | {counts[number]} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    for name, found in heads.items():
        draws = bootstrap(truth, found, windows[best], seed=0)
        ratio = np.mean([pooled(truth, each) for each in found]) / sweep[best]
        low, high = np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])
        more = np.percentile(draws[:, 0] - draws[:, 1], [2.5, 97.5])
        print(
            f"\n{name}: {ratio:.2f} times the best windows (95 % of {NUM_DRAWS} draws of the videos: {low:.2f} to "
            f"{high:.2f}; {more[0]:+.1f} to {more[1]:+.1f} points)"
        )


# --- thresholds ---------------------------------------------------------------------------------------


def at_thresholds(
    truth: Truth,
    seconds: Mapping[int, float],
    *,
    fitted: Callable[[Sequence[int]], T],
    best: T,
    reported: Callable[[T], ScoredSegments],
) -> str:
    """The cells of a row of the table: with the thresholds of the other videos, and with the best in hindsight.

    Args:
        truth: The true segments.
        seconds: How long each video is.
        fitted: The threshold, or what is in its place, that some videos suggest.
        best: The best one for all videos.
        reported: What is found in all videos with it.
    """
    codes = sorted({int(code) for code in truth.columns.videos})
    parts = []
    for code in codes:
        others = [other for other in codes if truth.folds[other] == truth.folds[code] and other != code]
        parts.append(scored_of_videos(reported(fitted(others)), [code]))
    cells = []
    for found in (joined(parts), reported(best)):
        longest = too_long(truth, found, seconds)
        points, label = max(longest)
        num_over = sum(each > TOO_LONG for each, _ in longest)
        told = f"{points:.0f} ({label}), {num_over} of {len(longest)}"
        cells += [f"{100 * f1_of(truth.columns, found):.1f}", told]
    return " | ".join(cells)


def f1_of(truth: TimedLabels, found: ScoredSegments) -> float:
    """F1 of all segments that are reported."""
    everything = replace(found, scores=np.ones(len(found)))
    return best_threshold(truth, everything).f1


def too_long(truth: Truth, found: ScoredSegments, seconds: Mapping[int, float]) -> list[tuple[float, str]]:
    """Of each video, by how many points of it a label is reported for longer than it holds, at most; and the label."""
    most = []
    for code in np.unique(truth.columns.videos):
        points = []
        for number, label in enumerate(truth.labels):
            reported, held = (
                covered_seconds(each, (each.videos == code) & (each.classes == number))
                for each in (found, truth.columns)
            )
            points.append((100 * (reported - held) / seconds[int(code)], label))
        most.append(max(points))
    return most


def true_segments(truth: Truth, code: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The spans (N, 2) of a video and their classes (N,)."""
    own = of_videos(truth.columns, [code])
    return np.stack([own.starts_seconds, own.ends_seconds], axis=1), own.classes


def covered_seconds(segments: ScoredSegments | TimedLabels, chosen: NDArray[np.bool_]) -> float:
    """How much time some segments cover together."""
    total, reached = 0.0, -np.inf
    for start, end in sorted(zip(segments.starts_seconds[chosen], segments.ends_seconds[chosen], strict=True)):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def report_thresholds(
    truth: Truth,
    scored: Mapping[int, WindowScores],
    heads: Mapping[str, Sequence[ScoredSegments]],
    seconds: Mapping[int, float],
) -> None:
    """Prints the table of thresholds."""
    over = f"most too long, videos over {TOO_LONG}"
    print(f"\n| way | F1, thresholds of other videos | {over} | F1, best in hindsight | {over} |")
    print("| --- " * 5 + "|")

    searched = {code: SearchedVideo(scores, *true_segments(truth, code)) for code, scores in scored.items()}
    (labels,) = next(iter(scored.values())).spec.heads.values()

    def fitted_on_windows(of: Sequence[int]) -> SegmentThresholds:
        fitted = fit_segment_thresholds([searched[code] for code in of], {"": labels})
        assert fitted is not None  # there are segments
        return fitted

    def by_windows(fitted: SegmentThresholds) -> ScoredSegments:
        auto = SegmentSettings(threshold="auto")
        return segments_of(scored, auto, thresholds=fitted.thresholds, low_share=fitted.low_share)

    usual = fitted_on_windows(list(searched))
    levels = [
        replace(usual, thresholds={"": (level,) * len(labels)}, low_share=share)
        for share, level in itertools.product(LOW_SHARES, FINE_LEVELS)
    ]
    best_of_windows = max(levels, key=lambda level: f1_of(truth.columns, by_windows(level)))
    cells = at_thresholds(truth, seconds, fitted=fitted_on_windows, best=best_of_windows, reported=by_windows)
    print(f"| windows | {cells} |")
    for name, of_seeds in heads.items():
        for seed, found in enumerate(of_seeds):

            def fitted_score(of: Sequence[int], found: ScoredSegments = found) -> float:
                return fit_threshold(of_videos(truth.columns, of), scored_of_videos(found, of)).threshold

            def from_score(level: float, found: ScoredSegments = found) -> ScoredSegments:
                return ScoredSegments(*(each[found.scores >= level] for each in vars(found).values()))

            best = best_threshold(truth.columns, found).threshold
            cells = at_thresholds(truth, seconds, fitted=fitted_score, best=best, reported=from_score)
            print(f"| {name}, seed {seed} | {cells} |")


def main() -> None:
    """Train, find, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="a folder that keeps trunks and features")
    parser.add_argument("--epochs", default="20", help="of the trunks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(NUM_FOLDS)))
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tada_actions_") as folder:
        _run(options, options.work or Path(folder))


def _run(options: argparse.Namespace, work: Path) -> None:
    rows = read_rows()
    truth = truth_of(rows)
    (work / "videos").mkdir(parents=True, exist_ok=True)
    paths = {code: work / "videos" / video for code, video in enumerate(truth.videos)}
    for code, video in enumerate(truth.videos):
        if not paths[code].is_file():
            copy_small(DATA / "videos" / video, paths[code])
    scored: dict[int, WindowScores] = {}
    seconds: dict[int, float] = {}
    heads: dict[str, list[list[ScoredSegments]]] = {kind: [[] for _ in range(options.seeds)] for kind in HEADS}
    for fold in options.folds:
        started = time.monotonic()
        held_out = [code for code, number in enumerate(truth.folds) if number == fold]
        model = trunk_of(fold, rows, truth, work, "1" if options.quick else options.epochs)
        scored |= {code: score_windows(paths[code], model=model, settings=window_settings()) for code in held_out}
        sequences = sequences_of(model, work / f"features-{fold}", paths, rows, truth)
        seconds |= {code: sequences[code].grid.duration_seconds for code in held_out}
        for kind, seed in itertools.product(HEADS, range(options.seeds)):
            file = work / f"found-{fold}-{kind}-{seed}.npz"
            if not file.is_file():
                np.savez(file, **vars(found_by_head(kind, seed, sequences, held_out, quick=options.quick)))
            with np.load(file) as kept:
                heads[kind][seed].append(ScoredSegments(**kept))
        print(f"fold {fold}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    codes = [code for code, number in enumerate(truth.folds) if number in options.folds]
    truth = Truth(of_videos(truth.columns, codes), truth.videos, truth.labels, truth.folds)
    print(conditions("torch") + "\n")
    by_heads = {f"{kind} head": [joined(parts) for parts in of_seeds] for kind, of_seeds in heads.items()}
    report(truth, found_by_windows(scored), by_heads)
    report_thresholds(truth, scored, by_heads, seconds)


if __name__ == "__main__":
    main()
