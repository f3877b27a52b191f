"""`tada detect --cuts`: shots named or found, kept with scores."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tadacli.camera_motion.virtual_camera import write_video
from tadacli.detection.feature_file import read_features
from tadacli.errors import UsageError
from tadacli.sampling.settings import window_settings
from tadacli.zoo.loading import load_model
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


def test_snippets_keep_to_their_shots_and_stay_on_their_grid(
    tada: Tada, untrained: Path, film: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cuts.txt"
    file.write_text("\n".join(map(str, (*CUTS, 12.0))))
    told = ("features", film, "--model", untrained, "--device", "cpu", "--snippet", "1s", "--stride", "200ms")
    code, out, err = tada(*told, "--cuts", file, "-o", tmp_path / "f")
    assert code == 0, err
    row = json.loads(out)
    assert row["cuts"] == list(CUTS)
    assert row["notes"] == ["1 of 6 cuts lie outside of the video, 12 s first: it lasts from 0.00 s to 9.00 s"]
    (kept, plain) = tmp_path / "f" / "six shots.npz", tmp_path / "plain" / "six shots.npz"
    assert tada(*told, "-o", plain.parent)[0] == 0
    found, whole = read_features(kept), read_features(plain)
    assert (found.cuts, whole.cuts) == (pytest.approx(CUTS), None)
    assert found.centres.tolist() == pytest.approx(whole.centres.tolist())
    edges = np.array([0.0, *CUTS, 9.0])
    shot = np.searchsorted(edges, found.centres, side="right") - 1
    assert (found.spans[:, 0] >= edges[shot] - 1e-6).all()
    assert (found.spans[:, 1] <= edges[shot + 1] + 1e-6).all()
    assert (found.spans[:, 1] - found.spans[:, 0]).max() == pytest.approx(1.0)
    # Frames of one shot are all alike: with cuts features change there and nowhere else.
    changes, at_cut = np.linalg.norm(np.diff(found.values, axis=0), axis=1), np.diff(shot) > 0
    assert changes[~at_cut].max() < changes[at_cut].min()
    assert np.linalg.norm(np.diff(whole.values, axis=0), axis=1)[~at_cut].max() > 10 * changes[~at_cut].max()
    code, again, _ = tada(*told, "--cuts", file, "-o", tmp_path / "f", "--resume")
    assert (code, again) == (0, out)
    code, _, err = tada(*told, "-o", tmp_path / "f", "--resume")
    assert code == 1
    assert "made with other settings" in err


@finds_cuts
def test_six_shots_that_stand_still_are_six_segments(tada: Tada, film: Path) -> None:
    code, out, err = tada("detect", film, "--device", "cpu", "--cuts", "auto", "--format", "json")
    assert code == 0, err
    row = json.loads(out)
    assert row["cuts"] == pytest.approx(CUTS, abs=1e-6)
    assert row["settings"]["cuts"] == "auto"
    assert [each["label"] for each in row["segments"]] == ["static"] * 6


@pytest.mark.parametrize("package", ["scenedetect", "cv2"])
def test_what_finds_cuts_is_named_where_it_is_missing(
    tada: Tada, film: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    code, _, err = tada("detect", film, "--cuts", "auto")
    assert code == 2
    assert "tadacli[cuts]" in err


def test_so_it_is_in_python(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(UsageError, match="not installed"):
        load_model("r2plus1d_tiny.camera_motion", device="cpu").detect(film, windows=window_settings(cuts="auto"))
