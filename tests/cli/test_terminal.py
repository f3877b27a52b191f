"""What stands on terminals of 60, 80 and 120 columns, with colours and without, and on dumb ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import media

pty = pytest.importorskip("pty", reason="Windows has no such terminals")

# Each line is a run of its own: its columns, what is set besides, and the command.
PROGRAM = """
import fcntl, os, shlex, struct, sys, termios
from tadacli.cli.app import run
for line in sys.stdin.read().splitlines():
    columns, variables, command = line.split("|")
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, int(columns), 0, 0))
    os.environ.update({"TERM": "xterm-256color", **dict(each.split("=") for each in variables.split())})
    sys.argv = ["tada", *shlex.split(command)]
    print("<<<", flush=True)
    code = run()
    print(f">>>{code}", flush=True)
    for each in variables.split():
        del os.environ[each.split("=")[0]]
"""
DETECT = "detect video.mp4 a-longer-name-of-the-same-video.mp4 --window 1s --device cpu --no-exclusive"
RUNS = {
    "detect 60": f"60||{DETECT}",
    "detect 80": f"80||{DETECT}",
    "detect 120": f"120||{DETECT}",
    "dumb": f"60|TERM=dumb|{DETECT}",
    "no colour": f"80|NO_COLOR=1|{DETECT} none.mp4",
    "and a file": "80||classify video.mp4 none.mp4 --views 1x1 --device cpu -o rows.jsonl",
    "quiet": "80||classify video.mp4 --views 1x1 --device cpu -o quiet.csv -q",
    "models 60": "60||models",
    "models 80": "80||models",
    "models 120": "120||models",
    "a model": "80||models tada2d_r50.k400_8x8",
    "classify": "60||classify video.mp4 none.mp4 a-longer-name-of-the-same-video.mp4 --views 1x1 --device cpu",
}
BAR = re.compile(r"[▉-▏█]|\d+%\||real time|view/s")
SCORED = [name for name, run in RUNS.items() if "--device" in run and name != "quiet"]
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*[34]\d")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All that came to the terminal, by the name of the run."""
    folder = tmp_path_factory.mktemp("terminal")
    media.render(folder / "video.mp4", 60)
    (folder / "a-longer-name-of-the-same-video.mp4").write_bytes((folder / "video.mp4").read_bytes())
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
    ) as child:
        os.close(theirs)
        assert child.stdin is not None
        child.stdin.write("\n".join(RUNS.values()).encode())
        child.stdin.close()
        content = b""
        while part := _read(ours):
            content += part
        os.close(ours)
    found = re.findall(r"<<<\n(.*?)>>>(\d+)\n", content.decode().replace("\r\n", "\n"), re.S)
    assert len(found) == len(RUNS), content.decode()
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 2
    return {name: text for name, (text, _) in zip(RUNS, found, strict=True)}


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux says so when nobody holds the other side
        return b""


@pytest.mark.parametrize("name", SCORED)
def test_no_line_has_a_bar_and_text(name: str, shown: dict[str, str]) -> None:
    lines = ESCAPE.sub("", shown[name]).split("\n")
    bars = [line for line in lines if BAR.search(line)]
    assert bool(bars) == (name != "dumb")
    for line in bars:
        for drawn in filter(str.strip, line.split("\r")):
            assert BAR.search(drawn), line
    assert any(line.startswith(("┌", "┏")) for line in lines)  # a table begins its own


@pytest.mark.parametrize("name", SCORED)
def test_no_table_is_broken(name: str, shown: dict[str, str]) -> None:
    columns = int(RUNS[name].split("|")[0])
    table = [line for line in ESCAPE.sub("", shown[name]).split("\n") if line[:1] in "┏┃┡│├└" and line]
    assert table[0][0] == "┏"
    assert table[-1][0] == "└"
    assert len({len(line) for line in table}) == 1
    assert len(table[0]) <= columns
    if "detect" in RUNS[name]:
        times = [cell for line in table for cell in re.findall(r"\d:\d\d:\d\d\.\d*", line)]
        assert times
        assert all(re.fullmatch(r"\d:\d\d:\d\d\.\d{3}", time) for time in times)


def test_colours_are_for_those_who_want_them(shown: dict[str, str]) -> None:
    assert COLOUR.search(shown["classify"])  # an error is red
    assert not COLOUR.search(shown["no colour"])
    assert "\x1b" not in shown["dumb"]


@pytest.mark.parametrize("name", SCORED)
def test_notes_are_broken_between_words(name: str, shown: dict[str, str]) -> None:
    columns = int(RUNS[name].split("|")[0])
    lines = ESCAPE.sub("", shown[name]).split("\n")
    lines = [line.split("\r")[-1] for line in lines]
    first = next(number for number, line in enumerate(lines) if line.startswith("note"))
    assert all(len(line) <= columns for line in lines[first:])


def test_the_models_fit(shown: dict[str, str]) -> None:
    for name in ("models 60", "models 80", "models 120", "a model"):
        lines = shown[name].splitlines()
        assert max(len(line) for line in lines if "://" not in line) <= int(RUNS[name].split("|")[0]), name
        assert len(set(lines)) > 10
    assert shown["models 60"].splitlines()[0].split() == ["model", "top-1", "state"]
    assert "parameters" in shown["models 120"].splitlines()[0]
    assert "not shown here: data set, frames, parameters" in shown["models 60"]


def test_what_goes_to_a_file_is_shown_too(shown: dict[str, str]) -> None:
    assert len(re.findall(r"│ 0\.\d{3} │", ESCAPE.sub("", shown["and a file"]))) == 5
    assert "error: there is no file none.mp4" in shown["and a file"]
    assert "1 of 2 videos classified; 1 failed, results in rows.jsonl\n" in shown["and a file"]
    assert shown["quiet"] == ""
