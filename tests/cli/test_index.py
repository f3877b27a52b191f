"""The same results with and without frame tables that are kept, and no video looked through again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tadacli
from tadacli.datasets.samples import Sample
from tadacli.sampling.settings import window_settings
from tadacli.sampling.snippets import snippet_settings
from tadacli.specs import InputSpec
from tadacli.training.clips import TrainingClips, batches
from tadacli.training.settings import Augmentation
from tadacli.video import reading
from tests.cli.conftest import Tada
from tests.file_server import FileServer, serving
from tests.media import render

WINDOWS = window_settings(window="1s", stride="500ms")


@pytest.fixture(scope="module")
def model() -> tadacli.Model:
    return tadacli.load_model(device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "a video.mp4"
    render(path, 60, options={"g": "24"})
    return path


@pytest.fixture
def nothing_is_inspected(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("the video is looked through again")

    return lambda: monkeypatch.setattr(reading, "inspect_file", refuse)


def evaluated(video: Path, model: tadacli.Model, index: Path | None) -> object:
    table = video.with_name("mine.csv")
    table.write_text(f"path,label\n{video},pan left\n")
    report = tadacli.evaluate("csv", annotations=table, model=model, views="1x1", index=index)
    return report.percent, report.num_scored


USES: dict[str, Callable[[Path, tadacli.Model, Path | None], object]] = {
    "classify": lambda video, model, index: list(tadacli.classify(video, model=model, views="1x1", index=index)),
    "detect": lambda video, model, index: list(tadacli.detect(video, model=model, windows=WINDOWS, index=index)),
    "features": lambda video, model, index: tadacli.features(
        video, model=model, snippets=snippet_settings(stride="1s"), index=index
    )[0].features.values.tolist(),  # type: ignore[union-attr]
    "evaluate": evaluated,
}


@pytest.mark.parametrize("use", USES)
def test_results_are_the_same(
    video: Path, model: tadacli.Model, tmp_path: Path, nothing_is_inspected: Callable[[], None], use: str
) -> None:
    expected = USES[use](video, model, None)
    assert USES[use](video, model, tmp_path) == expected
    nothing_is_inspected()
    assert USES[use](video, model, tmp_path) == expected


def test_copies_that_are_kept_have_tables_too(
    video: Path,
    model: tadacli.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_inspected: Callable[[], None],
) -> None:
    def found(server: FileServer) -> list[object]:
        (scores,) = tadacli.classify(f"{server.url}/a.mp4", model=model, views="1x1", index=tables)
        (segments,) = tadacli.detect(f"{server.url}/a.mp4", model=model, windows=WINDOWS, index=tables)
        assert [scores.status, segments.status] == ["ok", "ok"], (scores.error, segments.error)
        return [list(scores.top(3)), list(segments)]

    tables = tmp_path / "tables"
    with serving(video.read_bytes()) as server:
        expected = found(server)
        assert not tables.exists(), "of a download nothing is left"
        monkeypatch.setenv("TADA_CACHE", str(tmp_path / "cache"))
        assert found(server) == expected
        nothing_is_inspected()
        assert found(server) == expected
        assert len(list(tables.iterdir())) == 1


def test_clips_are_the_same_in_all_processes(video: Path, tmp_path: Path) -> None:
    side = 32
    common: dict[str, Any] = {"mean": (0.45,) * 3, "std": (0.225,) * 3, "short_side": side, "crop_size": side}
    spec = InputSpec(sampling="interval", clip_frames=4, frame_stride=2, target_fps=30.0, **common)

    def made(index: Path | None, workers: int) -> list[torch.Tensor]:
        clips = TrainingClips(
            [Sample("a", video, {"": 0}, 0.5, 1.5)],
            heads={"": ("one",)},
            input=spec,
            augmentation=Augmentation(crop_size=side, short_sides=(side, side), flip="none"),
            index=index,
        )
        steps = batches(clips, lambda step: [[step]], first_step=0, num_steps=2, workers=workers)
        return [batch.clips for (batch,) in steps]

    expected = made(None, 0)
    for workers in (1, 0):
        assert all(torch.equal(one, other) for one, other in zip(made(tmp_path, workers), expected, strict=True))
    assert [file.suffix for file in tmp_path.iterdir()] == [".frames"]


def test_the_command_keeps_tables_in_a_folder(
    tada: Tada, video: Path, tmp_path: Path, nothing_is_inspected: Callable[[], None]
) -> None:
    asked = ("detect", video, "--stride", "1s", "--format", "jsonl")
    without = tada(*asked)
    assert tada(*asked, "--index", tmp_path / "index") == without
    assert len(list((tmp_path / "index").iterdir())) == 1
    nothing_is_inspected()
    assert tada(*asked, "--index", tmp_path / "index") == without
    assert json.loads(without[1])["status"] == "ok"

    code, _, said = tada(*asked, "--index", video)
    assert (code, "is no folder" in said) == (2, True)
    code, _, said = tada(*asked, "--index", tmp_path / "not" / "there")
    assert (code, "cannot be made" in said) == (2, True)
