"""Detection on real video: a model fine-tuned on the train videos of `untrimmed_actions`, scored on the others.

    python -m benchmarks.detection_on_actions [--epochs 40] [--window 4s] [--stride 1s] [--quick]

Runs the commands `tada finetune`, `tada detect` and `tada eval` one after the other and prints them; the last one
twice, at ActivityNet's thresholds on the temporal IoU, which begin at 0.5, and at 0.1 to 0.5. The videos are read where
they are (TADA_SHARED); model and predictions are in a temporary folder that is removed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("TADA_SHARED", Path(__file__).resolve().parents[2] / "shared"))
DATA = SHARED / "untrimmed_actions"
SPLITS = {"train": "training", "val": "validation"}


def activitynet_annotations(rows: list[dict[str, str]]) -> dict[str, Any]:
    """The rows of segments.csv in the form of ActivityNet."""
    database: dict[str, Any] = {}
    for row in rows:
        empty = {"subset": SPLITS[row["split"]], "duration": float(row["video_seconds"]), "annotations": []}
        segment = [float(row["start_seconds"]), float(row["end_seconds"])]
        entry = database.setdefault(Path(row["video"]).stem, empty)
        entry["annotations"].append({"label": row["label"], "segment": segment})
    return {"version": "untrimmed_actions", "database": database}


def measured(annotations: Path, predictions: Path) -> list[str]:
    """Lines of a table with the mAP at the thresholds 0.1 to 0.5, in percent."""
    files = ["--annotations", str(annotations), "--predictions", str(predictions)]
    report = tada("eval", "--dataset", "activitynet", *files, "--tiou", "0.1:0.1:0.5", "--format", "json", "--quiet")
    found = json.loads(report)["metrics"]["all"]
    return [
        "| | " + " | ".join(f"{tiou:.1f}" for tiou in found["tiou"]) + " | mean |",
        "| --- " * (len(found["tiou"]) + 2) + "|",
        "| mAP, percent | " + " | ".join(f"{100 * value:.1f}" for value in [*found["mAP"], found["avg_mAP"]]) + " |",
    ]


def tada(*arguments: str) -> str:
    """Runs a command and prints it; returns what it wrote to stdout."""
    print("$ tada " + shlex.join(arguments), flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "tadacli", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"it ended with exit code {done.returncode}")
    print(f"  took {time.monotonic() - start:.0f} s", flush=True)
    return done.stdout


def main() -> None:
    """Train, detect, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="r2plus1d_tiny.camera_motion", help="what training starts from")
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--learning-rate", default="1e-3")
    parser.add_argument("--size", default="64", help="short side and crop")
    parser.add_argument("--frame-stride", default="15", help="of 30 frames a second: 8 frames at 15 are 4 s")
    parser.add_argument("--window", default="4s")
    parser.add_argument("--stride", default="1s")
    parser.add_argument("--threshold", default="0.2")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean nothing")
    options = parser.parse_args()
    if options.quick:
        options.epochs, options.stride = 0.25, "4s"
    with (DATA / "segments.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory(prefix="tada_detection_") as folder:
        _run(options, rows, Path(folder))


def _run(options: argparse.Namespace, rows: list[dict[str, str]], folder: Path) -> None:
    annotations, predictions, model = folder / "annotations.json", folder / "detections.json", folder / "run"
    annotations.write_text(json.dumps(activitynet_annotations(rows)), encoding="utf-8")
    clip = ["--sampling", "interval", "--frame-stride", options.frame_stride]
    clip += ["--short-side", options.size, "--crop-size", options.size]
    data = ["--data", str(DATA / "segments.csv"), "--data-root", str(DATA / "videos")]
    rate = ["--epochs", str(options.epochs), "--learning-rate", options.learning_rate, "--seed", options.seed]
    rate += ["--set", "evaluate_every_epochs=5"]
    rate += ["--set", "warmup_epochs=0"] if options.quick else []
    tada("finetune", *data, "--model", options.model, *clip, *rate, "--quiet", "--output", str(model))
    videos = sorted({str(DATA / "videos" / row["video"]) for row in rows if row["split"] == "val"})
    windows = ["--window", options.window, "--stride", options.stride, "--threshold", options.threshold]
    found = ["--format", "activitynet", "--output", str(predictions)]
    tada("detect", *videos, "--model", str(model), *windows, *found, "--quiet")
    scored = ["--annotations", str(annotations), "--predictions", str(predictions)]
    print(tada("eval", "--dataset", "activitynet", *scored, "--format", "table"))
    print("\n".join(measured(annotations, predictions)))


if __name__ == "__main__":
    main()
