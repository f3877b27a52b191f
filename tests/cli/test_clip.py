"""`tada clip` as a person uses it: rows and tables, what is written of results and of labels, and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tadacli.formats.detection_rows import detection_row
from tadacli.formats.row_formats import DETECTION_FORMATS, encode_all
from tadacli.results import Segment
from tadacli.video.reading import open_video, probe
from tests import media
from tests.cli.conftest import Tada
from tests.formats.detections import RUN, detection, failed_row, segment

Results = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """`results(**segments)` renders a video for each name, and writes what `tada detect` says of them."""

    def write(*, more: tuple[dict, ...] = (), **segments: list[Segment]) -> Path:
        rows = []
        for name, found in segments.items():
            path = tmp_path / f"{name}.mp4"
            media.render(path, 60, options={"g": "15", "bf": "0"})
            told = replace(detection(str(path), *found), video=probe(path))
            rows.append(detection_row(told, RUN, size_bytes=path.stat().st_size))
        file = tmp_path / "found.jsonl"
        file.write_bytes(encode_all(DETECTION_FORMATS["jsonl"], [*rows, *more]))
        return file

    return write


def test_rows_say_what_became_of_each_segment(tada: Tada, results: Results, tmp_path: Path) -> None:
    file = results(a=[segment(0.5, 1.0, "pan left"), segment(0.6, 1.0, "tilt", score=0.4)], more=(failed_row("b.mp4"),))
    code, out, err = tada("clip", file, "-o", tmp_path / "clips")
    first, second, failed = map(json.loads, out.splitlines())
    assert code == 3
    assert first == {
        "video": str(tmp_path / "a.mp4"),
        "label": "pan left",
        "start_seconds": 0.5,
        "end_seconds": 1.0,
        "score": 0.75,
        "status": "ok",
        "error": None,
        "file": str(tmp_path / "clips" / "a_00h00m00.500s_pan_left.mp4"),
        "how": "copied",
        "image": None,
        "shown_from": 0.5,
        "shown_until": 1.0,
        "num_frames": 15,
        "notes": [],
        "schema_version": 1,
    }
    assert (second["how"], second["num_frames"], second["score"]) == ("encoded", 12, 0.4)
    assert (failed["video"], failed["label"], failed["status"]) == ("b.mp4", None, "error")
    assert err == (
        "error: b.mp4: no, such; file\n"
        f"2 of 2 segments written (1 copied, 1 encoded) to {tmp_path / 'clips'}; 1 video had failed before\n"
    )


def test_videos_that_are_missing_or_changed_are_told_and_stop_nothing(
    tada: Tada, results: Results, tmp_path: Path
) -> None:
    spans = [segment(0.5, 1.0)]
    file = results(a=spans, gone=spans, other=spans)
    (tmp_path / "gone.mp4").unlink()
    with (tmp_path / "other.mp4").open("ab") as video:
        video.write(bytes(8))
    code, out, err = tada("clip", file, "-o", tmp_path / "clips")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [row["status"] for row in rows] == ["ok", "error", "error"]
    assert "there is no file" in rows[1]["error"]
    assert "has changed since it was searched: it had" in rows[2]["error"]
    assert f"error: {tmp_path / 'gone.mp4'}: pan left at 0.50 s: there is no file" in err
    assert "1 of 3 segments written (1 copied)" in err
    assert "2 failed" in err
    (tmp_path / "a.mp4").unlink()  # what was cut out of it is still there
    assert tada("clip", file, "-o", tmp_path / "clips", "--resume")[:2] == (3, out)


def test_a_terminal_gets_a_table(tada: Tada, results: Results, tmp_path: Path) -> None:
    file = results(a=[segment(0.5, 1.0, "\x1b]0;pan"), segment(9.0, 9.5)])
    code, out, _ = tada("clip", file, "-o", tmp_path / "clips", "--format", "table", "--images", "jpg")
    assert code == 3
    assert "0:00:00.500" in out.decode()
    assert "copied" in out.decode()
    assert "error: the segment lies" in out.decode()
    assert b"\x1b]0;" not in out


def test_only_what_is_asked_for(tada: Tada, results: Results, tmp_path: Path) -> None:
    file = results(a=[segment(0.5, 1.0, "a"), segment(0.5, 1.0, "b", score=0.2), segment(0.0, 0.5, "a", score=0.1)])
    sheet = tmp_path / "sheet.jpg"
    code, out, err = tada("clip", file, "--label", "a", "--label", "c", "--min-score", "0.2", "--sheet", sheet)
    (row,) = map(json.loads, out.splitlines())
    assert (code, row["label"], row["file"]) == (0, "a", None)
    assert err == "note: no segment has the label c\n1 of 1 segment written\n"
    assert sheet.read_bytes()[:3] == b"\xff\xd8\xff"
    assert set(tmp_path.iterdir()) == {file, sheet, tmp_path / "a.mp4"}


def test_labels_of_people_are_cut_out_too(tada: Tada, tmp_path: Path) -> None:
    """On the clock of a player, which shows the first frame at 0."""
    media.render(tmp_path / "late.mkv", 60, pts=[150 + number for number in range(60)], options={"g": "15", "bf": "0"})
    table = tmp_path / "labels.csv"
    table.write_text(
        "path,label,start_seconds,end_seconds\nlate.mkv,wave,0.5,1.0\nlate.mkv,nod,1.5,\nlate.mkv,no,5,6\n"
    )
    code, out, err = tada("clip", table, "-o", tmp_path / "clips")
    wave, nod, no = map(json.loads, out.splitlines())
    assert code == 3
    assert (wave["start_seconds"], wave["shown_from"], wave["num_frames"], wave["score"]) == (0.5, 5.5, 15, None)
    assert (nod["shown_from"], nod["shown_until"], nod["num_frames"]) == (6.5, 7.0, 15)
    assert (no["status"], "the video lasts 2.00 s" in no["error"]) == ("error", True)
    assert "2 of 3 segments written" in err
    with open_video(wave["file"]) as video:
        assert [media.number_in(frame.pixels) for frame in video.require_frames([0, 14])] == [15, 29]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing says where the files go"),
        (("-o", "clips", "--pad", "3f"), "--pad 3f is a number of frames"),
        (("-o", "clips", "--fps", "25"), "is what tada detect wrote"),
        (("-o", "clips", "--min-score", "7"), "not between 0 and 1"),
        (("--sheet", "a.txt"), "another ending"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(
    tada: Tada, results: Results, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = tada("clip", results(a=[segment(0.5, 1.0)]), *arguments)
    assert (code, out) == (2, b"")
    assert message in err


def test_what_is_no_result_is_named(tada: Tada, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    code, _, err = tada("clip", tmp_path / "notes.txt", "-o", tmp_path / "clips")
    assert (code, "does not hold results" in err) == (2, True)
    code, _, err = tada("clip", tmp_path / "none.jsonl", "-o", tmp_path / "clips")
    assert (code, "No such file" in err) == (2, True)


def test_a_run_that_was_killed_goes_on(tada: Tada, results: Results, tmp_path: Path) -> None:
    spans = [segment(0.1 * number, 0.1 * number + 1.0, f"wave {number}") for number in range(12)]
    file, clips = results(a=spans), tmp_path / "clips"
    command = [sys.executable, "-m", "tadacli", "clip", str(file), "-o", str(clips)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (clips.is_dir() and any(clips.glob("*.mp4"))):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for kept in clips.glob("*.mp4"):
        assert probe(kept).num_frames == 30
    code, _, err = tada("clip", file, "-o", clips)
    assert (code, "--resume keeps the files that are whole" in err) == (1, True)
    code, out, err = tada("clip", file, "-o", clips, "--resume")
    assert code == 0, err
    again = [json.loads(line) for line in out.splitlines()]
    assert sorted(os.listdir(clips)) == sorted(Path(row["file"]).name for row in again)
    (tmp_path / "whole").mkdir()
    _, out, _ = tada("clip", file, "-o", tmp_path / "whole")
    for one, other in zip(again, map(json.loads, out.splitlines()), strict=True):
        assert Path(one["file"]).read_bytes() == Path(other["file"]).read_bytes()
        assert {**one, "file": ""} == {**other, "file": ""}
