"""`tada detect --cuts`: shots named or found, kept with scores."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tadacli.camera_motion.virtual_camera import write_video
from tests.cli.conftest import Tada
from tests.detection.test_cuts import CUTS, FPS, SHOTS, pictures

finds_cuts = pytest.mark.skipif(importlib.util.find_spec("scenedetect") is None, reason="the extra cuts is not there")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shots") / "six shots.mp4"
    write_video(path, pictures(SHOTS), fps=FPS, height=96, width=128)
    return path


def test_the_command_says_the_cuts_and_takes_them_of_one_video_alone(tada: Tada, film: Path, tmp_path: Path) -> None:
    file = tmp_path / "cuts.txt"
    file.write_text("\n".join(map(str, CUTS)))
    told = ("--device", "cpu", "--window", "1s", "--format", "json")
    code, out, err = tada("detect", film, *told, "--cuts", file, "--save-scores", tmp_path / "kept.npz")
    assert code == 0, err
    row = json.loads(out)
    assert row["cuts"] == row["settings"]["cuts"] == list(CUTS)
    assert len(row["segments"]) >= 6
    code, again, err = tada("detect", "--from-scores", tmp_path / "kept.npz", "--format", "json")
    assert (code, again) == (0, out), err
    code, _, err = tada("detect", "--from-scores", tmp_path / "kept.npz", "--cuts", file)
    assert code == 2
    assert "leave --cuts" in err


def test_cuts_that_are_not_in_the_video_are_told(tada: Tada, film: Path, tmp_path: Path) -> None:
    file = tmp_path / "cuts.txt"
    file.write_text("1.5\n9.5\n0:12\n")
    kept = tmp_path / "kept.npz"
    told = ("--device", "cpu", "--window", "1s", "--cuts", file, "--save-scores", kept)
    code, out, err = tada("detect", film, *told)
    assert code == 0, err
    note = "2 of 3 cuts lie outside of the video, 9.5 s first: it lasts from 0.00 s to 9.00 s"
    assert note in json.loads(out)["notes"]
    assert f"note: {note}" in err
    assert json.loads(out)["cuts"] == [1.5]
    assert tada("detect", "--from-scores", kept)[1] == out


@finds_cuts
def test_six_shots_that_stand_still_are_six_segments(tada: Tada, film: Path) -> None:
    code, out, err = tada("detect", film, "--device", "cpu", "--cuts", "auto", "--format", "json")
    assert code == 0, err
    row = json.loads(out)
    assert row["cuts"] == pytest.approx(CUTS, abs=1e-6)
    assert row["settings"]["cuts"] == "auto"
    assert [each["label"] for each in row["segments"]] == ["static"] * 6


@pytest.mark.skipif(importlib.util.find_spec("scenedetect") is not None, reason="the extra cuts is there")
def test_what_finds_cuts_is_named_where_it_is_missing(tada: Tada, film: Path) -> None:
    code, _, err = tada("detect", film, "--cuts", "auto")
    assert code == 2
    assert "tadacli[cuts]" in err
