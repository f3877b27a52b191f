"""A disk that fills up at any moment: an error that names the file, whole results, and a run that goes on later."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tadacli.files import companion_of
from tests import media
from tests.cli.conftest import Tada


def with_room_for(num_bytes: int, *arguments: object) -> tuple[int, str]:
    """The exit code of a command that can make no file larger than that, and what it says."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))

    command = [sys.executable, "-m", "tadacli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    media.render(path, 50)
    return path


@pytest.mark.parametrize(("suffix", "sizes"), [("jsonl", (0, 400)), ("csv", (900, -1))])
def test_detect(tada: Tada, tmp_path: Path, long: Path, untrained: Path, suffix: str, sizes: tuple[int, ...]) -> None:
    name = "n" * (254 - len(suffix)) + f".{suffix}"
    asked = ("detect", long, "--model", untrained, "--window", "0.4s", "--batch-size", 1)
    code, _, err = tada(*asked, "-o", tmp_path / f"whole.{suffix}")
    assert code == 0, err
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    for size in sizes:
        folder = tmp_path / str(size)
        folder.mkdir()
        code, err = with_room_for(size if size >= 0 else len(whole) - 1, *asked, "-o", folder / name)
        assert code == 1
        assert "cannot be written: File too large\nhint: what" in err
        assert "Traceback" not in err
        code, _, err = tada(*asked, "-o", folder / name, "--resume")
        assert code == 0, err
        beside = companion_of(folder / name)
        assert {path.name for path in folder.iterdir()} == {name, *([beside.name] if suffix == "csv" else [])}
        assert (folder / name).read_bytes() == whole


def test_what_detect_writes_beside(tmp_path: Path, long: Path, untrained: Path) -> None:
    for option, name in (("--save-scores", "scores.npz"), ("--report", "page.html")):
        asked = ("detect", long, "--model", untrained, "--window", "0.4s", option, tmp_path / name)
        code, err = with_room_for(500, *asked)
        assert code == 1
        assert f"error: {tmp_path / name} cannot be written: File too large" in err
        assert list(tmp_path.iterdir()) == []
