"""`tada detect --features`, as a person runs it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tadacli.detection.clip_folders import LENGTHS_FILE, Clip
from tadacli.formats.epic_detection import problems
from tadacli.models import build_over_features
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.manifest import cards
from tests.cli.conftest import Tada

SIZES = {"in_channels": 8, "num_bins": 16, "max_duration_bins": 8}
VIDEOS = {"P01_11": (Clip(0, 5000), Clip(5000, 8300)), "P01_12": (Clip(0, 4000),)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with features `f`, class scores `s` and a model `bmn.safetensors`."""
    known = cards()["bmn.ek100_tada2d"].spec
    assert known is not None
    features = dataclasses.replace(cards()["bmn.ek100_tada2d"].features, num_channels=8, num_bins=16)
    torch.manual_seed(3)
    network = build_over_features("bmn", **SIZES)
    spec = dataclasses.replace(known, name="bmn.small", arguments=SIZES, features=features)
    write_checkpoint(tmp_path / "bmn.safetensors", network.state_dict(), spec)
    draw = np.random.default_rng(0)
    for name in ("f", "s"):
        (tmp_path / name).mkdir()
        (tmp_path / name / LENGTHS_FILE).write_text("P01_11.MP4,8.3\nP01_12.MP4,4.0\n")
    for video, clips in VIDEOS.items():
        for clip in clips:
            rows = (clip.num_rows, 8)
            torch.save(draw.standard_normal(rows, dtype=np.float32), tmp_path / "f" / clip.file_name(video))
            scores = {
                f"{head}_class": draw.standard_normal((clip.num_rows, 3 * count), dtype=np.float32)
                for head, count in (("verb", 97), ("noun", 300))
            }
            torch.save(scores, tmp_path / "s" / clip.file_name(video))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_submission_is_what_the_challenge_takes(tada: Tada) -> None:
    made = ("detect", "--features", "f", "--class-scores", "s", "--model", "bmn.safetensors")
    code, out, err = tada(*made, "--format", "epic")
    assert (code, err) == (0, "2 of 2 videos searched\n")
    submission = json.loads(out)
    assert problems(submission) == []
    assert sorted(submission["results"]) == ["P01_11", "P01_12"]
    assert all(0 <= each["segment"][0] < each["segment"][1] <= 8.3 for each in submission["results"]["P01_11"])
    rows = [json.loads(line) for line in tada(*made)[1].splitlines()]
    assert [(row["duration_seconds"], row["start_seconds"], row["info"]) for row in rows] == [
        (8.3, 0.0, None),
        (4.0, 0.0, None),
    ]
    assert rows[0]["settings"]["features"] == ["f"]
    assert (rows[0]["spec"]["heads"], rows[0]["spec"]["features"]["num_bins"]) == ({"verb": 97, "noun": 300}, 16)
    assert [each["score"] for each in rows[1]["segments"]] == [
        each["score"] for each in submission["results"]["P01_12"]
    ]


def test_results_are_resumed_read_and_converted(tada: Tada, folder: Path) -> None:
    made = ("detect", "--features", "f", "--class-scores", "s", "--model", "bmn.safetensors", "-o", "found.jsonl")
    assert tada(*made)[0] == 0
    whole = (folder / "found.jsonl").read_bytes()
    (folder / "found.jsonl").write_bytes(whole.splitlines(keepends=True)[0] + b'{"video": "P01')
    code, _, err = tada(*made, "--resume")
    assert (code, "resuming: 1 of 2 videos are done" in err) == (0, True)
    assert (folder / "found.jsonl").read_bytes() == whole
    code, out, _ = tada("convert", "found.jsonl", "--to", "epic")
    assert (code, problems(json.loads(out))) == (0, [])


def test_one_video_that_fails_is_code_3(tada: Tada, folder: Path) -> None:
    (folder / "f" / "P01_11_0000000_0005000.pkl").unlink()
    code, out, err = tada("detect", "--features", "f", "--model", "bmn.safetensors")
    assert code == 3
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["error", "ok"]
    assert "error: f lacks the time from 0 to 5000 ms of P01_11; there is one file for every 5 seconds" in err
    assert "without class scores these are proposals" in err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--features", "f", "--threshold", "0.3"), "--threshold does not go with --features"),
        (("--features", "f", "--render", "x.mp4"), "--render does not go with --features"),
        (("--features", "f", "--exclusive"), "--exclusive does not go with --features"),
        (("--features", "f", "P09_01"), "f has no features of P09_01"),
        (("--features", "f", "--batch-size", "0"), "--batch-size 0 is no number of windows"),
        (("--features", "f", "--format", "epic"), "needs segments with a verb and a noun"),
        (("--class-scores", "s", "x.mp4"), "give their folder with --features"),
    ],
)
def test_what_does_not_go_together_is_code_2(tada: Tada, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = tada("detect", "--model", "bmn.safetensors", *arguments)
    assert (code, out) == (2, b"")
    assert says in err


@pytest.mark.usefixtures("folder")
def test_video_and_features_are_not_mistaken_for_each_other(tada: Tada) -> None:
    for command in ("detect", "classify"):
        code, _, err = tada(command, "x.mp4", "--model", "bmn.safetensors")
        assert (code, "bmn.small takes features, not video" in err) == (1, True)
    code, _, err = tada("detect", "--features", "f")
    assert (code, "takes video, not features" in err, "bmn.ek100_tada2d" in err) == (1, True, True)
