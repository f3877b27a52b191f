"""`tada classify` as a person uses it: formats, failures, and being killed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import media
from tests.cli.conftest import heed_interrupts, with_thresholds

COMMAND = [sys.executable, "-m", "tadacli", "classify"]


def test_a_pipe_gets_one_json_line_for_each_video(tada, videos: Path, untrained: Path) -> None:
    code, out, err = tada("classify", videos, "--model", untrained, "--views", "2x1")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [row["path"] for row in rows] == sorted(str(path) for path in videos.iterdir())
    assert [row["status"] for row in rows] == ["error"] + ["ok"] * 10
    assert rows[0]["topk"] == []
    assert "not a video" in rows[0]["error"]
    for row in rows[1:]:
        assert row["error"] is None
        assert row["model"] == "r2plus1d_tiny.camera_motion"
        assert row["task"] == "camera motion"
        assert "not an action" in row["notes"][0]
        assert [set(each) for each in row["topk"]] == [{"label", "index", "score"}] * 5
        assert [len(clip) for clip in row["clips"]] == [8, 8]
        assert row["settings"]["views"] == "2x1"
        assert len(row["weights_sha256"]) == 64
        assert row["spec"]["input"]["clip_frames"] == 8
    assert "10 of 11 videos classified; 1 failed" in err
    assert f"error: {rows[0]['path']} is " in err


def test_quiet_says_errors_and_nothing_else(tada, videos: Path, untrained: Path) -> None:
    good = videos / "clip 1.mp4"
    assert tada("classify", good, "--model", untrained, "--views", "1x1", "--quiet")[2] == ""
    assert tada("classify", videos / "broken.mp4", "--model", untrained, "-q")[2].count("\n") == 1


def test_formats_agree(tada, tmp_path: Path, videos: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(videos.parent)  # short names, which the table has room for
    options = ["--model", untrained, "--views", "1x1", "--topk", "3"]
    rows = [json.loads(line) for line in tada("classify", videos.name, *options)[1].splitlines()]
    for suffix in ("json", "csv", "jsonl", "txt"):
        assert tada("classify", videos.name, *options, "-o", tmp_path / f"out.{suffix}")[0] == 3
    assert tada("classify", videos.name, *options, "-o", tmp_path / "all.csv", "--columns", "all")[0] == 3
    assert json.loads((tmp_path / "out.json").read_text())["results"] == rows
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows
    flat = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    assert [(row["video"], row["rank"]) for row in flat] == [
        (row["path"], rank) for row in rows for rank in (["1", "2", "3"] if row["topk"] else [""])
    ]
    assert all(row["task"] == "camera motion" and json.loads(row["spec"]) == rows[0]["spec"] for row in flat)
    table = (tmp_path / "out.txt").read_text()
    assert all(os.path.basename(row["path"]) in table for row in rows)
    assert "not an action" in table


def test_scores_of_labels_that_hold_independently_do_not_sum_to_one(
    tada, videos: Path, multi_label: Path, untrained: Path
) -> None:
    options = [videos / "clip 0.mp4", "--views", "1x1", "--topk", "99"]
    row, single = (json.loads(tada("classify", *options, "--model", each)[1]) for each in (multi_label, untrained))
    assert row["spec"]["multi_label"] is True
    assert "multi_label" not in single["spec"]
    assert sum(each["score"] for each in row["topk"]) > 1.5
    assert sum(each["score"] for each in single["topk"]) == pytest.approx(1, abs=1e-5)
    table = tada("classify", *options, "--model", multi_label, "--format", "table")[1].decode()
    assert "labels hold independently" in " ".join(table.split())
    assert "labels        they hold independently" in tada("models", multi_label)[1].decode()


def test_a_minimum_score_that_nothing_reaches_still_gives_a_row(tada, videos: Path, untrained: Path) -> None:
    options = ["--model", untrained, "--views", "1x1", "--min-score", "0.99"]
    code, out, _ = tada("classify", videos / "clip 0.mp4", *options)
    row = json.loads(out)
    assert (code, row["status"], row["topk"]) == (0, "ok", [])
    code, out, _ = tada("classify", videos / "clip 0.mp4", *options, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(out.decode())))) == 1
    assert b"no label reaches" in tada("classify", videos / "clip 0.mp4", *options, "--format", "table")[1]


def test_with_auto_labels_are_held_to_the_thresholds_of_the_model(
    tada, tmp_path: Path, videos: Path, untrained: Path
) -> None:
    video = videos / "clip 0.mp4"
    scores = {each["index"]: each["score"] for each in classified(tada, video, untrained, "--topk", 9)["topk"]}
    reached = [scores[index] - 0.001 if index in (2, 5) else 1.0 for index in range(9)]
    row = classified(tada, video, with_thresholds(untrained, tmp_path / "two.safetensors", reached), *AUTO)
    assert {each["index"]: each["score"] for each in row["topk"]} == {index: scores[index] for index in (2, 5)}
    assert row["settings"]["min_score"] == "auto"
    assert row["spec"]["thresholds"] == {"": reached}
    choosy = with_thresholds(untrained, tmp_path / "none.safetensors", [1.0] * 9)
    row = classified(tada, video, choosy, *AUTO)
    assert (row["status"], row["topk"]) == ("ok", [])
    table = tada("classify", video, "--model", choosy, "--views", "1x1", *AUTO, "--format", "table")[1]
    assert b"no label reaches" in table


AUTO = ("--min-score", "auto")


def classified(tada, video: Path, model: Path, *options: object) -> dict:
    code, out, _ = tada("classify", video, "--model", model, "--views", "1x1", *options)
    assert code == 0
    return json.loads(out)


def test_names_of_any_kind_are_kept_apart(tada, tmp_path: Path, videos: Path, untrained: Path) -> None:
    names = [b"caf\xe9.mp4", b"-rf.mp4", b"quo\"te's.mp4", b"a b.mp4", b"line\nend.mp4", b"%d.mp4", b"x?y=1&z.mp4"]
    content = (videos / "clip 0.mp4").read_bytes()
    for folder in (b"one", b"two"):
        os.mkdir(os.path.join(os.fsencode(tmp_path), folder))
        for name in names:
            with open(os.path.join(os.fsencode(tmp_path), folder, name), "wb") as file:
                file.write(content)
    code, out, _ = tada("classify", tmp_path, "-r", "--model", untrained, "--views", "1x1")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {os.path.relpath(os.fsencode(row["path"]), os.fsencode(tmp_path)) for row in rows} == {
        os.path.join(folder, name) for folder in (b"one", b"two") for name in names
    }
    for extra in ("table", "csv"):
        assert tada("classify", tmp_path, "-r", "--model", untrained, "--views", "1x1", "--format", extra)[0] == 0


def test_a_name_with_a_leading_dash_follows_two_dashes(tada, tmp_path: Path, untrained, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    media.render(tmp_path / "-x.mp4", 40)
    code, out, _ = tada("classify", "--model", untrained, "--views", "1x1", "--", "-x.mp4")
    assert (code, json.loads(out)["path"]) == (0, "-x.mp4")


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (["--model", "tada3d"], 1, "unknown model 'tada3d'", "known models"),
        (["--model", "tada2d_r50.k400_8x8"], 1, "not on this machine", "--weights FILE"),
        (["--model", "tada2d_r50.k400_8x8", "--weights", "none.pyth"], 1, "no weights file none.pyth", "--weights"),
        (["--views", "10x2"], 2, "views '10x2' cannot be read", "--views 10x3"),
        (["--topk", "0"], 2, "top 0", "--topk 1"),
        (["--batch-size", "0"], 2, "batch of 0", "--batch-size 1"),
        (["--min-score", "high"], 2, "--min-score high is no score", "--min-score auto"),
        (["--min-score", "auto"], 2, "camera_motion carries no thresholds", "give a number"),
        (["--device", "cuda:77"], 2, "device 'cuda:77'", "--device cpu"),
        (["--dtype", "int4"], 2, "unknown dtype", "float32"),
        (["--resume"], 2, "--resume continues a file", "--output FILE"),
        (["--output", "results.xlsx"], 2, "format of results.xlsx", "--format csv"),
        (["--output", "none/results.csv"], 1, "none/results.csv cannot be written", "mkdir -p none"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_decoded(
    tada, videos: Path, untrained: Path, tmp_path: Path, monkeypatch, arguments, code: int, error: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = [] if "--model" in arguments else ["--model", untrained]
    actual, out, err = tada("classify", videos, *model, *arguments)
    assert (actual, out) == (code, b"")
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["classify"], ["classify", "a.mp4", "--no-such-option"], ["no-such-command"]])
def test_usage_errors_exit_with_2(tada, arguments) -> None:
    assert tada(*arguments)[0] == 2


def test_an_existing_output_is_never_overwritten(tada, tmp_path: Path, videos: Path, untrained: Path) -> None:
    for name in ("mine.csv", "mine.txt"):
        (tmp_path / name).write_text("mine")
        code, _, err = tada("classify", videos, "--model", untrained, "-o", tmp_path / name)
        assert (code, (tmp_path / name).read_text()) == (1, "mine")
        assert "is not overwritten" in err


def test_the_model_can_be_set_for_a_whole_shell(tada, videos: Path, monkeypatch) -> None:
    monkeypatch.setenv("TADA_MODEL", "tada2d_r50.ssv2_8f")
    assert "tada2d_r50.ssv2_8f are not on this machine" in tada("classify", videos)[2]


@pytest.mark.parametrize(("suffix", "more"), [("jsonl", []), ("csv", []), ("json", []), ("jsonl", ["--fill-batches"])])
def test_kill_and_resume_give_the_bytes_of_an_uninterrupted_run(
    tada, tmp_path: Path, videos: Path, untrained: Path, suffix: str, more: list[str]
) -> None:
    options = [str(videos), "--model", str(untrained), "--views", "4x1", "--batch-size", "3", *more, "-o"]
    assert tada("classify", *options, tmp_path / f"whole.{suffix}")[0] == 3
    out = tmp_path / f"killed.{suffix}"
    process = subprocess.Popen([*COMMAND, *options, str(out)], stderr=subprocess.DEVNULL)
    while process.poll() is None and (not out.exists() or out.read_bytes().count(b".mp4") < 3):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, _, err = tada("classify", *options, out, "--resume")
    assert code == 3
    assert "resuming: " in err
    assert out.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert tada("classify", *options, out, "--resume")[0] == 3  # complete: nothing to do, the same exit code
    other = [each for each in options if each not in more] if more else [*options[:-1], "--fill-batches", "-o"]
    assert "other settings" in tada("classify", *other, out, "--resume")[2]


def test_an_interrupt_keeps_what_is_done(tmp_path: Path, videos: Path, untrained: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [*COMMAND, str(videos), "--model", str(untrained), "--views", "10x3", "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed_interrupts) as process:
        while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 2):
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        err = process.communicate()[1].decode()
    assert process.returncode == 130
    assert "interrupted: " in err
    assert "Traceback" not in err
    assert all(json.loads(line) for line in out.read_bytes().splitlines())


def test_a_reader_that_goes_away_ends_the_command_quietly(videos: Path, untrained: Path, closed_pipe: int) -> None:
    command = [*COMMAND, str(videos), "--model", str(untrained), "--views", "1x1", "--quiet"]
    done = subprocess.run(command, stdout=closed_pipe, stderr=subprocess.PIPE, check=False)
    assert (done.stderr, done.returncode) == (b"", 141)


def test_notes_are_said_beside_rows_the_models_own_only_once(tada, tmp_path: Path, videos: Path, untrained) -> None:
    media.render(tmp_path / "long.mp4", 40, pts=list(range(0, 1600, 40)))
    inputs = [tmp_path / "long.mp4", videos / "clip 0.mp4"]
    _, _, err = tada("classify", *inputs, "--model", untrained, "--views", "1x1")
    assert err.count("not an action") == 1
    assert f"{tmp_path / 'long.mp4'}: the video lasts 52 s" in err
    _, out, err = tada("classify", *inputs, "--model", untrained, "--views", "1x1", "--format", "table")
    assert "note: " not in err
    assert b"tada detect" in out


def test_odd_folders_are_rows_and_what_is_passed_over_is_counted(tada, tmp_path: Path, untrained: Path) -> None:
    for name in ("empty", "some", "gap"):
        (tmp_path / name).mkdir()
    media.render(tmp_path / "some" / "clip.mp4", 40)
    for name in ("._clip.mp4", "notes.txt", "more.txt"):
        (tmp_path / "some" / name).write_bytes(b"no video")
    for number in (1, 2, 4):
        (tmp_path / "gap" / f"{number}.jpg").write_bytes(media.jpeg_bytes(number))
    folders = [tmp_path / name for name in ("empty", "gap", "some")]
    code, out, err = tada("classify", *folders, "--model", untrained, "--views", "1x1")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, [row["status"] for row in rows]) == (3, ["error", "error", "ok"])
    assert "empty is a folder that holds no numbered frames" in rows[0]["error"]
    assert "lacks frames 3" in rows[1]["error"]
    assert "note: passed over in folders: 2 .txt, 1 hidden\n" in err


def test_the_rate_of_frames_is_an_option_of_every_command(tada, tmp_path: Path, untrained: Path) -> None:
    for label in ("fall", "walk"):
        for number in range(3):
            (tmp_path / label / f"c{number}").mkdir(parents=True)
            for frame in range(1, 9):
                (tmp_path / label / f"c{number}" / f"{frame}.jpg").write_bytes(media.jpeg_bytes(frame))
    folder, assumed = tmp_path / "walk" / "c0", "30 are assumed"
    for arguments in (
        ["classify", folder, "--model", untrained, "--views", "1x1", "--format", "jsonl"],
        ["detect", folder, "--model", untrained, "--format", "jsonl"],
        ["eval", "--dataset", "folder", "--data-root", tmp_path, "--check", "--format", "json"],
        ["finetune", "--data", tmp_path, "--model", untrained, "--dry-run", "--output", tmp_path / "run"],
    ):
        code, out, err = tada(*arguments)
        assert assumed in out.decode() + err, arguments
        code, out, err = tada(*arguments, "--fps", "4")
        assert assumed not in out.decode() + err, arguments
        assert code == 0, err
        assert tada(*arguments, "--fps", "0")[0] == 2
