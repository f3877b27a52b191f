"""Where the results of a command go: stdout in all its states, names that are odd, and what a terminal gets to see."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests import media
from tests.cli.conftest import Tada

ESCAPE = "\x1b]0;"  # sets the title of a window
ODD = f"{ESCAPE}\x9b\x07\x7f\u202ered.mp4"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tadacli", *map(str, arguments)]


def on_a_terminal(*arguments: object) -> bytes:
    """What a command writes to a terminal, on stdout and stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other side is closed
                break
    os.close(ours)
    assert process.returncode in (0, 3)
    return written


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A video whose name would set the title of a terminal, and one beside it that is none."""
    folder = tmp_path / "odd"
    folder.mkdir()
    media.render(folder / "video.mp4", 8)
    (folder / "video.mp4").rename(folder / ODD)
    (folder / f"not {ODD}").write_text("no video")
    return folder


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_a_name_does_nothing_to_a_terminal(odd: Path, untrained: Path, form: str) -> None:
    written = on_a_terminal("classify", odd, "--model", untrained, "--views", "1x1", "--format", form).decode()
    assert "1 failed" in written
    assert ESCAPE not in written
    assert not set(written) & set("\x07\x7f\x9b\u202e")


def test_a_name_is_said_without_its_controls_and_kept_with_them(tada: Tada, odd: Path, untrained: Path) -> None:
    code, out, err = tada("classify", odd, "--model", untrained, "--views", "1x1", "--format", "jsonl")
    assert code == 3
    assert {os.path.basename(json.loads(line)["path"]) for line in out.splitlines()} == {ODD, f"not {ODD}"}
    assert "\\u001b]0;\\u009b" in err
    assert ESCAPE not in err


def test_a_minus_is_stdout(
    tada: Tada, tmp_path: Path, videos: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("classify", videos / "clip 0.mp4", "--model", untrained, "--views", "1x1")
    assert tada(*asked, "--output", "-", "--format", "csv")[:2] == tada(*asked, "--format", "csv")[:2]
    windows = ("detect", videos / "clip 0.mp4", "--model", untrained, "--window", "0.5s")
    assert tada(*windows, "-o", "-")[:2] == tada(*windows)[:2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("classify", "--output", "none/a.jsonl"),
        ("classify", "--output", "none/a.txt", "--format", "table"),
        ("detect", "--output", "none/a.csv"),
        ("detect", "--output", "none/a.json", "--format", "activitynet"),
        ("detect", "--save-scores", "none/here"),
        ("detect", "--report", "none/a.html"),
    ],
)
def test_a_folder_that_is_missing_is_named(
    tada: Tada,
    videos: Path,
    untrained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *options = arguments
    code, out, err = tada(name, videos / "clip 0.mp4", "--model", untrained, *options)
    assert (code, out) == (1, b"")
    assert "cannot be written: there is no folder none\nhint: mkdir -p none\n" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_video_that_looks_like_an_option(
    tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "-clip.mp4").touch()
    code, out, err = tada("classify", "-clip.mp4", "other.mp4")
    assert (code, out) == (2, b"")
    assert err.endswith("hint: for the file -clip.mp4 write ./-clip.mp4\n")
    assert "-clip.mp4" not in tada("classify", "--no-such-option", "--", "-clip.mp4")[2]


def test_what_stdout_refuses_is_said(videos: Path, untrained: Path) -> None:
    asked = command("classify", videos / "clip 0.mp4", "--model", untrained, "--views", "1x1", "--format", "jsonl")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: stdout cannot be written: No space left on device"
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *asked], capture_output=True, text=True, check=False)
    assert closed.returncode == 1
    assert "error: stdout cannot be written" in closed.stderr


def test_without_a_stderr_only_results_are_on_stdout(videos: Path, untrained: Path) -> None:
    asked = command("classify", videos / "clip 0.mp4", "--model", untrained, "--views", "1x1", "--format", "jsonl")
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *asked], stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["status"] == "ok"


def test_a_reader_that_leaves_ends_any_command() -> None:
    asked = ["sh", "-c", '{ "$@"; echo $? >&2; } | :', "sh", *command("models")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.stderr in ("141\n", "0\n")  # 0 where it was quicker


# --- several formats of one run ---------------------------------------------------------------------------------


def test_one_run_writes_several_formats_and_goes_on(
    tada: Tada, tmp_path: Path, videos: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(videos)
    asked = ("detect", "clip 0.mp4", "clip 1.mp4", "none.mp4", "--model", untrained, "--threshold", "0.1")
    formats = ("--format", "csv, srt,eaf,json", "-o", tmp_path / "out")
    code, out, err = tada(*asked, *formats)
    assert (code, out) == (3, b""), err
    found = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    named = {"clip 0.srt", "clip 1.srt", "clip 0.eaf", "clip 1.eaf"}
    assert set(found) == {*named, *(f"results.{end}" for end in ("csv", "csv.meta.json", "json", "jsonl"))}
    assert tada(*asked, "--format", "csv")[1] == found["results.csv"]
    (tmp_path / "out" / "clip 1.eaf").unlink()
    code, _, err = tada(*asked, *formats, "--resume")
    assert (code, "3 of 3 videos are done" in err) == (3, True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == found
    code, _, err = tada(*asked, *formats)
    assert (code, "exists and is not overwritten" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "csv,srt"), "hint: name a folder for them: --output FOLDER"),
        (("--format", "csv,table", "-o", "out"), "hint: leave table out"),
        (("--format", "csv,str", "-o", "out"), "hint: did you mean srt?"),
        (("--format", ",", "-o", "out"), "--format names no format"),
        (("--format", "parquet"), "hint: give --output FILE.parquet"),
        (("--format", "srt", "-o", "a.srt", "--resume"), "--resume continues a file"),
        (("--columns", "all", "--format", "jsonl"), "hint: add --format csv"),
        (("--columns", "gap", "--format", "csv"), "there is no column 'gap' of detections"),
    ],
)
def test_what_cannot_be_written_together_is_said_before_any_work(
    tada: Tada, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = tada("detect", "none.mp4", "--model", "none", *arguments)
    assert (code, out) == (2, b"")
    assert said in err
