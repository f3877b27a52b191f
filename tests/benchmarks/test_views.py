"""The benchmark of many views: both ways find the same, and nothing is timed where they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import views
from benchmarks.own_process import OwnProcess, Times
from tadacli.scoring.options import parse_views
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest
from tests import media

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def model() -> Model:
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    return Model(spec, views.fresh_network(spec), torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.mark.parametrize("asked", ["1x1", "3x3"])
def test_each_view_by_itself_gives_the_scores_of_classify(tmp_path: Path, model: Model, asked: str) -> None:
    media.render(tmp_path / "v.mp4", 120, options={"g": "12"})
    protocol = parse_views(asked)
    expected = views.published(tmp_path / "v.mp4", model.network, model.spec.input, protocol)
    found = views.ours(tmp_path / "v.mp4", model, protocol, batch_size=4)
    assert views.check(expected, found, "float32") < TOLERANCE
    assert expected.sum() == pytest.approx(1)
    assert expected.max() > 2 * expected.min()  # classes that are all alike would agree whatever they are


@pytest.mark.parametrize(
    ("scores", "dtype", "message"),
    [
        ([0.3, 0.7], "bfloat16", "class 1 instead of 0"),
        ([0.6 + 2e-4, 0.4 - 2e-4], "float32", "scores differ by 2.0e-04"),
        ([float("nan"), 0.4], "float32", "differ"),
    ],
)
def test_ways_that_disagree_are_not_timed(scores: list[float], dtype: str, message: str) -> None:
    reference = np.array([0.6, 0.4])
    assert views.check(reference, np.array([0.6 + 2e-4, 0.4 - 2e-4]), "bfloat16") == pytest.approx(2e-4)
    with pytest.raises(SystemExit, match=message):
        views.check(reference, np.array(scores), dtype)


def test_every_way_is_timed_in_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def way(name: str) -> tuple[views.Scores, Times]:
        calls.append(name)
        return np.array([0.6, 0.4]), (1.0, 2.0)

    ways = {dtype: lambda dtype=dtype: way(dtype) for dtype in views.GOALS}
    views.measure(lambda: way("published"), ways, rounds=3)
    names = ["published", *views.GOALS]
    assert calls[:3] == names
    rounds = [calls[3 * number : 3 * number + 3] for number in range(1, 4)]
    assert [set(each) for each in rounds] == [set(names)] * 3
    assert {each[0] for each in rounds} == set(names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[-2:]] == list(views.GOALS)


def called(start: int) -> Callable[[int], int]:
    """Adds a number to `start`, which must not become zero."""

    def call(number: int) -> int:
        return 1 // (start + number) * 0 + start + number

    return call


def test_the_other_side_answers_from_a_process_of_its_own() -> None:
    there = OwnProcess(called, 40)
    found, (wall, cpu) = there(2)
    assert found == 42
    assert wall >= 0
    assert cpu >= 0
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        there(-40)
    with pytest.raises(SystemExit, match="has ended"):
        there(2)


def test_the_video_is_what_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tadacli.video.reading import probe

    monkeypatch.setattr(views, "SECONDS", 1)
    views.encode_video(tmp_path / "v.mp4")
    info = probe(tmp_path / "v.mp4")
    assert (info.num_frames, info.fps, info.height, info.width, info.codec) == (30, 30, 256, 340, "h264")
