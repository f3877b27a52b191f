"""The published detection of EPIC-KITCHENS-100 at full size, its features, class scores and checkpoint drawn at random.

    python -m benchmarks.boundary_matching exact [--shared DIR]
    python -m benchmarks.boundary_matching whole --output DIR [--shared DIR]

The lengths of the videos are those of the validation split. Each video is written as a folder of 5-second files, and
searched by `detect_in_features` in the form that people use. `exact` holds the four shortest ones, in float64, to the
plain transcription of the published pipeline in the tests, detection by detection. `whole` searches all of them, keeps
one file for each in DIR, goes on after them when it is started again, and in the end makes the submission, checks it by
the rules of the challenge, and says what it took. Real features and checkpoints are not at hand: it is no accuracy.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tadacli.detection.clip_folders import LENGTHS_FILE, Clip
from tadacli.detection.from_features import detect_in_features, features_job
from tadacli.detection.jobs import iter_detections
from tadacli.formats.detection_rows import detection_row
from tadacli.formats.epic_detection import epic_detection
from tadacli.models import build_over_features
from tadacli.zoo.loading import ProposalModel
from tadacli.zoo.manifest import cards
from tests.detection.published_pipeline import transcription

MODEL = "bmn.ek100_tada2d"
NUM_CLASSES = {"verb": 97, "noun": 300}
NUM_EXACT = 4  # of the fourth there are two windows
CLOSE = 1e-9  # relative, of scores and times in float64


def random_model(dtype: torch.dtype) -> ProposalModel:
    """The network with weights large enough that its probabilities differ, as those of a trained one do."""
    spec = cards()[MODEL].spec
    torch.manual_seed(0)
    network = build_over_features(spec.architecture, **spec.arguments).to(dtype).eval()
    for parameter in network.parameters():
        parameter.data.mul_(2.5 if parameter.dim() > 1 else 1)
    return ProposalModel(spec, network, torch.device("cpu"), dtype, Path(MODEL), "")


def durations(shared: Path) -> dict[str, float]:
    """Seconds of each video of the validation split, the shortest first."""
    with (shared / "ek100" / "EPIC_100_validation.csv").open(newline="") as file:
        names = {row["video_id"] for row in csv.DictReader(file)}
    with (shared / "ek100" / "EPIC_100_video_info.csv").open(newline="") as file:
        found = {row["video_id"]: float(row["duration"]) for row in csv.DictReader(file) if row["video_id"] in names}
    return dict(sorted(found.items(), key=lambda each: each[1]))


def clips(seconds: float) -> Iterator[Clip]:
    """The pieces of a video that have files."""
    end = int(seconds * 1000)
    for start in range(0, end, 5000):
        if end - start >= 200:
            yield Clip(start, min(start + 5000, end))


def write_folders(video: str, seconds: float, folder: Path, *, dtype: str = "f4") -> None:
    """Features and class scores of one video, the same each time; the features change slowly, as those of video do."""
    draw = np.random.default_rng(zlib.crc32(video.encode()))
    for name in ("features", "scores"):
        (folder / name).mkdir()
        (folder / name / LENGTHS_FILE).write_text(f"{video}.MP4,{seconds}\n")
    num_channels = cards()[MODEL].features.num_channels
    for clip in clips(seconds):
        shared = draw.standard_normal((1, num_channels), dtype=np.float32)
        features = draw.standard_normal((clip.num_rows, num_channels), dtype=np.float32) + shared
        scores = {
            f"{head}_class": torch.from_numpy(
                draw.standard_normal((clip.num_rows, 3 * count), dtype=np.float32).astype(dtype) * 2
            )
            for head, count in NUM_CLASSES.items()
        }
        torch.save(torch.from_numpy(features.astype(dtype)), folder / "features" / clip.file_name(video))
        torch.save(scores, folder / "scores" / clip.file_name(video))


def read_back(folder: Path, name: str) -> list:
    return [torch.load(file, weights_only=False) for file in sorted((folder / name).glob("*.pkl"))]


def exact(shared: Path) -> None:
    """Hold the shortest videos to the transcription."""
    model = random_model(torch.float64)
    for video, seconds in list(durations(shared).items())[:NUM_EXACT]:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write_folders(video, seconds, folder, dtype="f8")
            (result,) = detect_in_features(folder / "features", model=model, class_scores=folder / "scores")
            assert result.status == "ok", result.error
            features = torch.from_numpy(np.concatenate(read_back(folder, "features")))
            scores = read_back(folder, "scores")
            logits = {
                head: torch.from_numpy(np.concatenate([each[f"{head}_class"] for each in scores])).unflatten(
                    1, (3, count)
                )
                for head, count in NUM_CLASSES.items()
            }
        expected = transcription(model.network, features, logits, seconds)
        found = [
            [each.score, each.verb.index, each.noun.index, each.start_seconds, each.end_seconds]
            for each in result.segments
        ]
        assert len(found) == len(expected), (len(found), len(expected))
        np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=1e-300)
        largest = max(abs(one[0] / other[0] - 1) for one, other in zip(found, expected, strict=True))
        print(
            f"{video}, {seconds:.1f} s, {result.num_windows} windows: {len(found)} detections equal, scores within "
            f"{largest:.1e}",
            flush=True,
        )


def whole(shared: Path, output: Path) -> None:
    """Search all videos and make the submission."""
    model, videos = random_model(torch.float32), durations(shared)
    output.mkdir(parents=True, exist_ok=True)
    for video, seconds in videos.items():
        kept = output / f"{video}.json"
        if kept.is_file():
            continue
        with tempfile.TemporaryDirectory(dir=output) as made:
            folder = Path(made)
            write_folders(video, seconds, folder)
            began, began_cpu = time.perf_counter(), time.process_time()
            job = features_job([folder / "features"], model=model, class_scores=folder / "scores")
            (found,) = iter_detections(job)
            taken = {"wall": time.perf_counter() - began, "cpu": time.process_time() - began_cpu}
        row = detection_row(found.result, job.run, size_bytes=None)
        text = json.dumps({"row": row, **taken, "peak_kib": peak_kib(), "seconds": seconds})
        kept.with_suffix(".part").write_text(text)
        kept.with_suffix(".part").replace(kept)
        print(
            f"{video}: {row['status']}, {row['windows']} windows of {seconds:.0f} s in {taken['wall']:.1f} s",
            flush=True,
        )
    made_of = [json.loads((output / f"{video}.json").read_text()) for video in sorted(videos)]
    rows = [each["row"] for each in made_of]
    submission = epic_detection(rows)  # refuses what the challenge would
    (output / "submission.json").write_bytes(submission)
    windows = sum(row["windows"] for row in rows)
    hours = sum(each["seconds"] for each in made_of) / 3600
    print(
        f"{sum(row['status'] == 'ok' for row in rows)} of {len(rows)} videos, {hours:.1f} h, {windows} windows, "
        f"{sum(len(row['segments']) for row in rows)} detections, submission of {len(submission) / 1e6:.0f} MB; "
        f"{sum(each['wall'] for each in made_of) / 60:.1f} min, {sum(each['cpu'] for each in made_of) / windows:.2f} "
        f"CPU seconds a window, peak {max(each['peak_kib'] for each in made_of) / 1024:.0f} MiB"
    )


def peak_kib() -> int:
    """The most memory that this process has had."""
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("exact", "whole"))
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("TADA_SHARED", "../shared")))
    parser.add_argument("--output", type=Path, help="where `whole` keeps what it has")
    options = parser.parse_args()
    if options.what == "exact":
        exact(options.shared)
    elif options.output is None:
        parser.error("whole needs --output")
    else:
        whole(options.shared, options.output)


if __name__ == "__main__":
    main()
