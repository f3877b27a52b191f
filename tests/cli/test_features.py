"""`tada features` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tadacli.detection.feature_file import read_features
from tests import media
from tests.cli.conftest import Tada


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of four seconds."""
    path = tmp_path_factory.mktemp("kitchen") / "a kitchen.mp4"
    media.render(path, 120, options={"g": "24"})
    return path


@pytest.fixture
def features(tada: Tada, untrained: Path):
    """`features(*arguments)` with the untrained model."""

    def call(*arguments: object) -> tuple[int, bytes, str]:
        return tada("features", "--model", untrained, *arguments)

    return call


def test_each_video_has_a_file_and_a_row(features, kitchen: Path, videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    code, out, err = features(kitchen, videos / "broken.mp4", "--stride", "8f", "--with-scores", "-o", folder)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert "error:" in err
    assert "1 of 2 videos have features; 1 failed" in err
    assert {path.name for path in folder.iterdir()} == {"a kitchen.npz"}
    kept = read_features(folder / "a kitchen.npz")
    assert kept.contract is not None
    assert kept.path == rows[0]["path"] == str(kitchen)
    assert rows[0]["file"] == str(folder / "a kitchen.npz")
    assert kept.values.shape == (rows[0]["snippets"], rows[0]["columns"]) == (15, 192)
    assert kept.contract.weights_sha256 == rows[0]["weights_sha256"]
    assert kept.scores[""].shape == (15, 9)


def test_a_terminal_gets_a_table(features, kitchen: Path, tmp_path: Path) -> None:
    _, out, _ = features(kitchen, "--stride", "1s", "-o", tmp_path / "f", "--format", "table")
    assert "4 of 4" in out.decode()
    assert "192" in out.decode()


def test_what_is_there_is_refused_or_kept(features, kitchen: Path, tmp_path: Path) -> None:
    arguments = kitchen, "--stride", "1s", "-o", tmp_path / "f"
    _, first, _ = features(*arguments)
    code, _, err = features(*arguments)
    assert code == 1
    assert "is not overwritten" in err
    assert "--resume keeps the files that are whole" in err
    code, again, _ = features(*arguments, "--resume")
    assert (code, again) == (0, first)
    code, _, err = features(*arguments, "--resume", "--crops", "3")
    assert code == 1
    assert "other settings" in err


def test_time_that_no_snippet_looks_at_is_told(features, kitchen: Path, tmp_path: Path) -> None:
    """Four seconds, and a snippet of half a second in the middle of each and a half: three, one of them at the end."""
    told = "--snippet", "500ms", "--stride", "1500ms"
    _, out, err = features(kitchen, *told, "-o", tmp_path / "f")
    (text,) = json.loads(out)["notes"]
    assert text == "snippets of 0.5 s every 1.5 s do not look at 2.5 of 4.0 s (62 %)"
    assert f"note: {text}" in err
    assert [note.text for note in read_features(tmp_path / "f" / "a kitchen.npz").notes] == [text]
    _, out, err = features(kitchen, "--snippet", "500ms", "--stride", "500ms", "-o", tmp_path / "all")
    assert json.loads(out)["notes"] == []
    assert "note:" not in err


def test_a_file_of_another_video_is_not_overwritten_by_resuming(features, kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / kitchen.name
    other.write_bytes(kitchen.read_bytes())
    options = "--stride", "1s", "-o", tmp_path / "f"
    assert features(kitchen, *options)[0] == 0
    kept = (tmp_path / "f" / "a kitchen.npz").read_bytes()
    code, _, err = features(other, *options, "--resume")
    assert code == 1
    assert "has the features of another video" in err
    assert (tmp_path / "f" / "a kitchen.npz").read_bytes() == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crops", "2"], "2 crops"),
        (["--stride", "x"], "no length"),
        (["--layout", "opentad", "--with-scores"], "no place for scores"),
        (["--layout", "epic-5s", "--stride", "1s"], "8 frames of 60"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    features, kitchen: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, out, err = features(kitchen, *arguments, "-o", tmp_path / "f")
    assert (code, out) == (2, b"")
    assert message in err
    assert not (tmp_path / "f").exists()


def test_half_precision_takes_half_the_room(features, kitchen: Path, tmp_path: Path) -> None:
    for stored in ("float32", "float16"):
        features(kitchen, "--stride", "1s", "--stored", stored, "-o", tmp_path / stored)
    whole, half = (read_features(tmp_path / stored / "a kitchen.npz").values for stored in ("float32", "float16"))
    assert np.array_equal(half, whole.astype(np.float16).astype(np.float32))
    sizes = [(tmp_path / stored / "a kitchen.npz").stat().st_size for stored in ("float32", "float16")]
    assert sizes[0] - sizes[1] == whole.nbytes // 2


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    kitchen: Path, videos: Path, untrained: Path, tmp_path: Path
) -> None:
    """Real processes and real kills; more moments are covered in this process, at lines of the journal."""
    inputs = [str(kitchen), str(videos / "clip 3.mp4")]

    def command(folder: Path) -> list[str]:
        options = ["--model", str(untrained), "--stride", "2f", "--resume"]
        return [sys.executable, "-m", "tadacli", "features", *inputs, *options, "-o", str(folder)]

    clean, killed = tmp_path / "clean", tmp_path / "killed"
    subprocess.run(command(clean), check=True, capture_output=True)
    unfinished = killed / "a kitchen.npz.unfinished"
    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if unfinished.exists() and unfinished.read_bytes().count(b"\n") >= 12:
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.002)
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command(killed), check=True, capture_output=True)
    assert done.stdout.count(b"\n") == 2
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == {
        path.name: path.read_bytes() for path in clean.iterdir()
    }
