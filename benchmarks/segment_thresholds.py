"""Thresholds of segments on held-out videos: `--threshold auto` beside the best threshold in hindsight.

    python -m benchmarks.segment_thresholds [--epochs 20] [--videos FOLDER] [--run FOLDER] [-- FINETUNE OPTIONS]

Fine-tunes the built-in model on the training videos of `untrimmed_actions` and scores the windows of its three
validation videos. The thresholds for each of them are fitted on the other two. Prints the F1 of segments at a temporal
IoU of 0.3 with these, with those of trimmed clips, and with one threshold for all classes; and by how much more of a
video a label covers than truly shows it. `--videos` are the same videos elsewhere, such as smaller copies, `--run` is a
run that is there.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tadacli
from benchmarks.detection_on_actions import DATA
from tadacli.detection.nms import temporal_iou
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.results import Segment
from tadacli.sampling.settings import window_settings
from tadacli.specs import LOW_SHARE, Thresholds
from tadacli.training.segment_thresholds import SearchedVideo, fit_segment_thresholds
from tadacli.zoo.loading import Model

TIOU = 0.3
LEVELS = np.round(np.arange(0.02, 1.0, 0.02), 2).tolist()
CLIP = ("--sampling", "interval", "--frame-stride", "8", "--short-side", "64", "--crop-size", "64")
Spans = list[tuple[float, float]]


def finetuned(folder: Path, videos: Path, epochs: str, more: Sequence[str]) -> Path:
    """A run on the training videos."""
    data = ["--data", str(DATA / "segments.csv"), "--data-root", str(videos)]
    told = [*data, "--model", "r2plus1d_tiny.camera_motion", *CLIP, "--epochs", epochs, "--views", "1x1", *more]
    told += ["--set", "evaluate_every_epochs=5", "--seed", "0", "--output", str(folder / "run")]
    subprocess.run([sys.executable, "-m", "tadacli", "finetune", *told], check=True)
    return folder / "run"


def num_right(found: Sequence[Segment], truth: Spans) -> int:
    """How many segments, the best scored first, have a true one of their own."""
    ranked = sorted(found, key=lambda each: -each.score)
    overlaps = temporal_iou(np.array([(each.start_seconds, each.end_seconds) for each in ranked]), np.array(truth))
    count = 0
    for row in overlaps:
        if len(row) and row.max() >= TIOU:
            overlaps[:, int(row.argmax())] = 0
            count += 1
    return count


def covered(spans: Spans) -> float:
    """The seconds that lie in one span or more."""
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        total, reached = total + max(0.0, end - max(start, reached)), max(reached, end)
    return total


def segments_in(
    scores: WindowScores,
    settings: SegmentSettings,
    *,
    thresholds: Thresholds | None = None,
    low_share: float = LOW_SHARE,
) -> list[Segment]:
    """The segments of the windows of a video; arguments as of `find_segments`."""
    return find_segments(
        scores.spans,
        scores.scale,
        scores.scores,
        scores.spec.heads,
        settings=settings.for_model(scores.spec),
        video_seconds=scores.range_seconds,
        thresholds=thresholds,
        low_share=low_share,
    )


def measured(
    videos: Sequence[SearchedVideo],
    settings: SegmentSettings,
    thresholds: Sequence[Thresholds | None],
    low_shares: Sequence[float] = (LOW_SHARE,) * 3,
) -> tuple[float, float, str]:
    """F1 in percent over all classes and videos, and the largest excess of a label's time in any video, and which."""
    right = found = true = 0
    excess = (-100.0, "")
    for video, own_thresholds, low_share in zip(videos, thresholds, low_shares, strict=True):
        scores = video.scores
        segments = segments_in(scores, settings, thresholds=own_thresholds, low_share=low_share)
        seconds = scores.range_seconds[1] - scores.range_seconds[0]
        for index, label in enumerate(scores.spec.heads[""]):
            own, spans = (
                [each for each in segments if each.index == index],
                video.spans[video.classes == index].tolist(),
            )
            right, found, true = right + num_right(own, spans), found + len(own), true + len(spans)
            more = covered([(each.start_seconds, each.end_seconds) for each in own]) - covered(spans)
            excess = max(excess, (100 * more / seconds, label))
    return 200 * right / (found + true), *excess


def searched(model: Model, folder: Path) -> list[SearchedVideo]:
    """The validation videos, scored, with their labels."""
    with (DATA / "segments.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    found = []
    for video in sorted({row["video"] for row in rows}):
        own = [row for row in rows if row["video"] == video]
        spans = np.array([(float(row["start_seconds"]), float(row["end_seconds"])) for row in own])
        classes = np.array([model.spec.heads[""].index(row["label"]) for row in own])
        found.append(
            SearchedVideo(score_windows(folder / video, model=model, settings=window_settings()), spans, classes)
        )
    return found


def main() -> None:
    """Train, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", default="20")
    parser.add_argument("--videos", type=Path, default=DATA / "videos")
    parser.add_argument("--run", type=Path)
    parser.add_argument("more", nargs="*", help="further options of tada finetune, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tada_thresholds_") as folder:
        run = options.run or finetuned(Path(folder), options.videos, options.epochs, options.more)
        model = tadacli.load_model(run, device="cpu")
        videos = searched(model, options.videos)
    fitted = [fit_segment_thresholds([each for each in videos if each is not one], model.spec.heads) for one in videos]
    of_windows = [each.thresholds for each in fitted if each is not None]
    shares = [each.low_share for each in fitted if each is not None]
    auto, none = SegmentSettings(threshold="auto"), [None] * len(videos)
    sweep = {level: measured(videos, SegmentSettings(threshold=level), none) for level in LEVELS}
    best = max(sweep, key=lambda level: sweep[level][0])
    print("| thresholds | F1 at tIoU 0.3 | most time too much |")
    print("| --- | --- | --- |")
    for name, (f1, excess, label) in (
        ("auto: fitted on windows of the other two videos", measured(videos, auto, of_windows, shares)),
        (
            "those of classify: fitted on trimmed clips of all three",
            measured(videos, auto, [model.spec.thresholds] * 3),
        ),
        (f"{best:g} for all, the best of {len(LEVELS)} in hindsight", sweep[best]),
        ("0.4 for all, the default", sweep[0.4]),
    ):
        print(f"| {name} | {f1:.1f} % | {excess:.0f} points ({label}) |")


if __name__ == "__main__":
    main()
