"""`--profile`: a table on stderr, and the same results without it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tadacli.cli.console import Notes, classification_table, profile_table, say, say_note
from tadacli.profiling import ProfileReport, Stage
from tests import media


def stages_of(err: str) -> dict[str, float]:
    """Seconds by the names in the table."""
    return {name.strip(): float(value) for name, value in re.findall(r"^([a-z][\w ]+?)  +(\d+\.\d\d) s", err, re.M)}


def test_the_table() -> None:
    stages = {Stage.DECODE: 2.5, Stage.NETWORK: 8.0, Stage.WAITING: 1.0}
    report = ProfileReport(10.0, stages, 1.5, 0.5, num_decoded=100, num_used=80, num_views=30)
    assert profile_table(report, unit="view").splitlines() == [
        "where the time went            seconds  share",
        "decode and RGB                  2.50 s    25%",
        "network                         8.00 s    80%",
        "waiting for frames              1.00 s    10%",
        "everything else                 0.50 s     5%",
        "wall time                      10.00 s   100%",
        "several of these at once        1.50 s    15%",
        "100 frames decoded, 80 of them used; 30 views, 3.00 a second",
    ]


def rows_with(notes: dict[str, list[str]]) -> list[Any]:
    """Rows of videos with these notes, each with one label."""
    top = [{"label": "pan left", "score": 0.5}]
    return [{"path": path, "status": "ok", "topk": top, "notes": texts} for path, texts in notes.items()]


def test_a_note_is_said_once_with_how_many_videos_it_is_about() -> None:
    short, few = "clips are shorter", "its rate is assumed"
    videos = {
        f"{number}.mp4": ["of all", *([short] if number < 5 else [few] if number < 7 else [])] for number in range(9)
    }
    notes = Notes()
    for row in [*rows_with(videos), {"path": "none.mp4", "status": "error", "notes": []}]:
        notes.add(row)
    assert notes.lines() == [
        "note: of all",
        f"note on 5 of 9 videos: {short}",
        f"note on 5.mp4, 6.mp4: {few}",
    ]


def test_a_short_table_says_that_there_is_more() -> None:
    rows = rows_with({f"{number}.mp4": ["a note"] for number in range(4)})
    text = classification_table(rows, title="t", width=60, most=3)
    assert [f"{number}.mp4" in text for number in range(4)] == [True, True, True, False]
    assert text.endswith("the first 3 lines; all are in the file\n")
    assert "all are in the file" not in classification_table(rows, title="t", width=60, most=4)


def test_classify(tada, videos: Path, untrained: Path) -> None:
    command = ["classify", videos, "--model", untrained, "--views", "2x1", "--start", "0.1"]
    code, out, err = tada(*command, "--profile")
    assert (code, out) == tada(*command)[:2]
    found = stages_of(err)
    names = ["imports and model", "open and scan", "decode and RGB", "resize and crop", "network"]
    assert list(found)[:7] == [*names, "waiting for frames", "output"]
    assert {"everything else", "wall time"} <= set(found)
    rows = [json.loads(line) for line in out.splitlines()]
    used = sum(len({frame["index"] for clip in row["clips"] for frame in clip}) for row in rows if row["clips"])
    assert f" {used} of them used; 20 views, " in err
    assert "where the time went" not in tada(*command)[2]


def test_detect(tada, tmp_path: Path, untrained: Path) -> None:
    media.render(tmp_path / "v.mp4", 120)
    command = ["detect", tmp_path / "v.mp4", "--model", untrained, "--window", "1s", "--format", "jsonl"]
    code, out, err = tada(*command, "--profile")
    assert (code, out) == tada(*command)[:2]
    found = stages_of(err)
    assert {"open and scan", "network", "waiting for frames", "output", "wall time"} <= set(found)
    row = json.loads(out)
    assert f"{row['frames']['used']} of them used; {row['windows']} clips, " in err


def test_eval(tada, tmp_path: Path, videos: Path, untrained: Path) -> None:
    for label in ("static", "pan left"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "1.mp4").write_bytes((videos / "clip 1.mp4").read_bytes())
    command = ["eval", "--dataset", "folder", "--data-root", tmp_path / "data", "--model", untrained]
    command += ["--views", "2x3", "--format", "json"]
    code, out, err = tada(*command, "--profile")
    assert (code, out) == tada(*command)[:2]
    assert {"decode and RGB", "network", "output", "wall time"} <= set(stages_of(err))
    assert "; 12 views, " in err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["detect", "--from-scores", "s.npz"], "--from-scores runs no model"),
        (["eval", "--dataset", "k400", "--predictions", "p.json"], "--predictions runs no model"),
        (["eval", "--dataset", "k400", "--check"], "--check runs no model"),
    ],
)
def test_without_a_model_there_is_nothing_to_profile(tada, arguments: list[str], error: str) -> None:
    code, out, err = tada(*arguments, "--profile")
    assert (code, out) == (2, b"")
    assert error in err
    assert "--profile" in err.splitlines()[1]


def test_notes_are_broken_between_words_and_other_messages_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    for speak, is_broken in ((say_note, True), (say, False)):
        shown = Terminal()
        monkeypatch.setattr("sys.stderr", shown)
        speak("one word after the other " * 4)
        assert (max(map(len, shown.getvalue().splitlines())) <= 40) == is_broken
