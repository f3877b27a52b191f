"""CPU time of EPIC-KITCHENS-100 detection mAP, beside a plain loop over classes and detections.

    python -m benchmarks.metrics [--case FOLDER] [--annotations CSV] [--rounds N]

Both sides get the same arrays and compute mAP of verbs, nouns and actions at five thresholds. The loop follows the
rules one class and one detection after the other, with numpy for the overlaps of one detection, as one writes it
first. Its average precisions must equal ours.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import time
from pathlib import Path
from statistics import median

import numpy as np

from tadacli.evaluation.detection_metrics import EPIC_TIOU, ScoredSegments, TimedLabels, average_precision

SHARED = Path(__file__).resolve().parents[2] / "shared"
TASKS = ("verb", "noun", "action")
NUM_NOUNS = 300
REPEATS = 10  # of ours in a round, as one run of it is short for a clock
TOLERANCE = 1e-9

Inputs = dict[str, tuple[TimedLabels, ScoredSegments]]


def seconds(stamp: str) -> float:
    """Seconds of HH:MM:SS.ss."""
    hours, minutes, rest = stamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def read(submission: Path, annotations: Path) -> Inputs:
    """Ground truth and detections of each task, from the official csv and the challenge JSON (.gz)."""
    with annotations.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with gzip.open(submission, "rt") as file:
        results = json.load(file)["results"]
    items = [(video, item) for video, found in results.items() for item in found]
    codes = {video: code for code, video in enumerate(sorted({row["video_id"] for row in rows} | set(results)))}
    true_spans = np.array([[seconds(row["start_timestamp"]), seconds(row["stop_timestamp"])] for row in rows]).T
    true_pairs = np.array([[int(row["verb_class"]), int(row["noun_class"])] for row in rows]).T
    spans = np.array([item["segment"] for _, item in items]).T
    pairs = np.array([[item["verb"], item["noun"]] for _, item in items]).T
    actions = np.array([[int(part) for part in item["action"].split(",")] for _, item in items]).T
    scores = np.array([item["score"] for _, item in items])
    true_videos = np.array([codes[row["video_id"]] for row in rows])
    videos = np.array([codes[video] for video, _ in items])
    true_classes = (*true_pairs, true_pairs[0] * NUM_NOUNS + true_pairs[1])
    classes = (*pairs, actions[0] * NUM_NOUNS + actions[1])
    return {
        task: (
            TimedLabels(videos=true_videos, classes=true, starts_seconds=true_spans[0], ends_seconds=true_spans[1]),
            ScoredSegments(videos, found, *spans, scores),
        )
        for task, true, found in zip(TASKS, true_classes, classes, strict=True)
    }


def plain(truth: TimedLabels, detections: ScoredSegments) -> list[list[float]]:
    """Average precision of each class at each threshold, one detection after the other."""
    return [plain_class(truth, detections, label) for label in np.unique(truth.classes)]


def plain_class(truth: TimedLabels, detections: ScoredSegments, label: int) -> list[float]:
    """Average precision of one class at each threshold."""
    true = np.flatnonzero(truth.classes == label)
    found = np.flatnonzero(detections.classes == label)
    found = found[np.argsort(-detections.scores[found], kind="stable")]
    free = np.ones((len(EPIC_TIOU), len(true)), dtype=bool)
    right = np.zeros((len(EPIC_TIOU), len(found)), dtype=bool)
    for place, row in enumerate(found):
        near = np.flatnonzero(truth.videos[true] == detections.videos[row])
        starts, ends = truth.starts_seconds[true[near]], truth.ends_seconds[true[near]]
        start, end = detections.starts_seconds[row], detections.ends_seconds[row]
        shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, start), 0)
        iou = shared / ((ends - starts) + (end - start) - shared)
        order = np.argsort(iou)[::-1]
        for column, threshold in enumerate(EPIC_TIOU):
            for candidate in order:
                if iou[candidate] < threshold:
                    break
                if free[column, near[candidate]]:
                    free[column, near[candidate]] = False
                    right[column, place] = True
                    break
    return [plain_precision(hits, len(true)) for hits in right]


def plain_precision(hits: np.ndarray, num_truth: int) -> float:
    """Mean over the true segments of the best precision at the detection that found them, or later."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[hits].sum() / num_truth)


def main() -> None:
    """Prints the ratio of the CPU times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, default=SHARED / "golden_eval" / "det_full_open")
    parser.add_argument("--annotations", type=Path, default=SHARED / "ek100" / "EPIC_100_validation.csv")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    inputs = read(options.case / "submission.json.gz", options.annotations)
    ratios: list[float] = []
    for _ in range(options.rounds):
        begin = time.process_time()
        for _ in range(REPEATS):
            ours = {task: average_precision(*inputs[task], tiou=EPIC_TIOU).average_precision for task in TASKS}
        between = time.process_time()
        loop = {task: plain(*inputs[task]) for task in TASKS}
        end = time.process_time()
        for task in TASKS:
            np.testing.assert_allclose(ours[task], loop[task], rtol=0, atol=TOLERANCE)
        ratios.append((end - between) / (between - begin) * REPEATS)
        print(f"loop / ours: {ratios[-1]:.1f}", flush=True)
    num_detections, num_truth = (len(inputs["verb"][side]) for side in (1, 0))
    print(f"{num_detections} detections, {num_truth} true segments, {options.rounds} rounds")
    print(f"loop / ours: {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
