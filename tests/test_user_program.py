"""A program of a user under `mypy --strict`: each public function and what it gives has types that hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tadacli

PACKAGE = Path(tadacli.__file__).parent
PROGRAM = """
from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas
from numpy.typing import NDArray
from torch import Tensor, nn

import tadacli
from tadacli.results import Classification, Detection, Prediction, Segment, VideoInfo
from tadacli.video import Frame, Unreadable


def facts(path: Path) -> tuple[Fraction, float, int, bool]:
    info: VideoInfo = tadacli.video.probe(path)
    return info.fps, info.duration_seconds, info.num_frames, info.truncated


def frames(path: str) -> Iterator[tuple[int, float, float, NDArray[np.uint8]]]:
    pixels: NDArray[np.uint8] = tadacli.video.read_frames(path, [0, 10, 5])
    yield 0, 0.0, 0.0, pixels[0]
    for frame in tadacli.video.iter_frames(path, range(10), skip_unreadable=True):
        if isinstance(frame, Unreadable):
            reason: str = frame.reason
            print(frame.index, frame.time_seconds, reason)
        else:
            whole: Frame = frame
            yield whole.index, whole.time_seconds, whole.duration_seconds, whole.pixels


def best_classes(videos: list[Path]) -> Mapping[str, Prediction]:
    model: tadacli.Model = tadacli.load_model("r2plus1d_tiny.camera_motion", device="cpu", dtype="float32")
    results: list[Classification] = tadacli.classify(videos, model=model, views="2x3", topk=1)
    return {each.path: each.heads[""][0] for each in results if each.status == "ok"}


def segments(video: str) -> list[tuple[float, float, str, float]]:
    results: list[Detection] = tadacli.detect([video])
    found: list[Segment] = [segment for result in results for segment in result.segments]
    return [(each.start_seconds, each.end_seconds, each.label, each.score) for each in found]


def chosen(video: str) -> tuple[str | None, float | None, list[str], dict[str, object]]:
    result: Classification = tadacli.classify(video)[0]
    names: list[str] = [each.label for each in result.top(3)]
    return result.label, result.score, names, result.to_dict()


def table(videos: list[str]) -> pandas.DataFrame:
    found: tadacli.Detections = tadacli.detect(videos, window="2s", stride=1, threshold=0.4, labels=["pan left"])
    for detection in found.filter(label="pan left", min_score=0.6, between=(10.0, None)):
        part: Detection = detection.merge(0.5).clip_to(0, 60)
        print(len(part), [segment.duration_seconds for segment in part], part)
    return found.to_pandas()


def settings() -> list[Detection]:
    windows: tadacli.WindowSettings = tadacli.window_settings(window="1s,4s", cuts="auto")
    return tadacli.detect("a.mp4", windows=windows, segments=tadacli.SegmentSettings(smooth_seconds=1.0))


def in_memory(pixels: NDArray[np.uint8], tensor: Tensor, seconds: NDArray[np.float64]) -> float:
    def tell(progress: tadacli.Progress) -> None:
        print(progress.path, progress.index, progress.num_videos, progress.fraction, progress.overall)

    model = tadacli.load_model()
    for result in tadacli.iter_classify([pixels, tensor, "a.mp4"], model=model, fps=25.0, progress=tell):
        print(result.label)
    for detection in tadacli.iter_detect(pixels, model=model, times=seconds):
        print(len(detection))
    classified: tadacli.Classifications = model.classify(tensor, fps=30, views="1x1")
    detected: tadacli.Detections = model.detect([Path("a.mp4")], window="1s", progress=tell)
    return (classified[0].score or 0.0) + len(detected)


def accuracy(annotations: Path) -> tuple[int, int]:
    report = tadacli.evaluate("csv", annotations=annotations, model="runs/mine", split="test")
    num_scored: int = report.num_scored
    return num_scored, len(report.unscored)


def train(data: Path) -> int:
    result = tadacli.finetune(data, output="runs/mine", settings={"epochs": 5}, workers=0)
    best_step: int = result.best_step
    return best_step


def networks() -> nn.Module:
    network: nn.Module = tadacli.models.build("tada2d_r50", num_classes={"verb": 97, "noun": 300})
    changed, report = tadacli.models.add_tadaconv(network)
    print(report)
    return changed


def clip(pixels: NDArray[np.uint8], info: VideoInfo) -> Tensor:
    indices: list[int] = tadacli.sampling.clip_indices(
        "interval", info.num_frames, fps=float(info.fps), clip_frames=8, frame_stride=8
    )
    crops: Tensor = tadacli.transforms.preprocess(
        pixels[indices], short_side=256, crop_size=224, num_crops=3, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)
    )
    return crops


try:
    facts(Path("a.mp4"))
except tadacli.TadaError as error:
    message: str = error.message
    print(message, error.hint)
"""

# Each line is wrong in the way that the error beside it names.
MISUSED = [
    ('tadacli.video.probe("a.mp4").frame_count', "attr-defined"),
    ("tadacli.load_model(device=0)", "arg-type"),
    ('tadacli.classify("a.mp4", top_k=3)', "call-arg"),
    ('tadacli.classify("a.mp4")[0].topk', "attr-defined"),
    ('tadacli.detect("a.mp4").segments', "attr-defined"),
    ('tadacli.detect("a.mp4", threshold="high")', "arg-type"),
    ('tadacli.detect("a.mp4")[0].filter(labels="a")', "call-arg"),
    ('tadacli.classify("a.mp4")[0].label.upper()', "union-attr"),
    ('tadacli.detect("a.mp4")[0].segments[0].start', "attr-defined"),
    ('tadacli.evaluate("csv", annotations="a.csv").accuracy', "attr-defined"),
    ('tadacli.finetune("clips")', "call-arg"),
    ('tadacli.models.build("tada2d_r50", num_classes="five")', "arg-type"),
    ("tadacli.models.add_tadaconv(3)", "arg-type"),
    ('tadacli.sampling.clip_indices("all", 30, clip_frames=8)', "arg-type"),
    ('tadacli.transforms.preprocess("a.mp4", short_side=1, crop_size=1, num_crops=1, mean=(), std=())', "arg-type"),
    ('next(tadacli.video.iter_frames("a.mp4", [0])).pixels', "union-attr"),
    ('tadacli.video.read_frames("a.mp4", "0")', "arg-type"),
    ('tadacli.clasify("a.mp4")', "attr-defined"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def checked(program: str, folder: Path, cache: Path) -> tuple[int, str]:
    """The exit code of mypy and what it says of a program; errors inside the package are not the user's."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--cache-dir", str(cache), "program.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_program_that_uses_every_public_function_is_sound(tmp_path: Path, cache: Path) -> None:
    assert checked(PROGRAM, tmp_path, cache) == (0, "")


def test_what_is_used_wrongly_is_found(tmp_path: Path, cache: Path) -> None:
    lines = ["import tadacli", "", *(line for line, _ in MISUSED)]
    code, said = checked("\n".join(lines) + "\n", tmp_path, cache)
    errors = [line.split(":") for line in said.splitlines() if ": error: " in line]
    found = {int(line): rest[-1].rpartition("[")[2].rstrip("]") for _, line, *rest in errors}
    assert (code, found) == (1, {number: kind for number, (_, kind) in enumerate(MISUSED, start=3)}), said


def test_the_package_says_that_it_has_types() -> None:
    assert (PACKAGE / "py.typed").is_file()
