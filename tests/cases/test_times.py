"""The videos among the shared cases, each against its row of truth.csv: which frames there are, and when."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import tadacli
from tadacli.video import iter_frames
from tests.media import render, shared_folder


def case(name: str) -> Path:
    """A file of the cases, which must have a row that says what is to come of it."""
    folder = shared_folder() / "cases"
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        assert f"video/{name}" in [row["file"] for row in csv.DictReader(file)]
    return folder / "video" / name


def test_spatial_video_of_a_phone():
    (result,) = tadacli.classify(case("water_180_mvhevc_5frames.mov"))
    assert result.status in ("short", "ok")
    assert result.video is not None
    assert result.video.num_frames == len(list(iter_frames(result.path, range(5)))) == 5


def test_frames_that_carry_exif_stop_no_batch(tmp_path):
    render(tmp_path / "after.mp4", 20)
    first, second = tadacli.classify([case("exif.mjpeg"), tmp_path / "after.mp4"])
    assert first.status in ("ok", "short")
    assert second.status in ("ok", "short")
    assert first.video is not None
    assert first.video.num_frames == 60


def test_sound_with_a_cover():
    (result,) = tadacli.classify(case("cover.mp4"))
    assert result.status == "error"
    assert "has no video stream, only audio and a cover picture" in result.error


def test_animated_webp(tmp_path):
    (result,) = tadacli.classify(case("a.webp"))
    assert result.status == "error"
    assert "no decoder for the animation" in result.error
    shutil.copy(case("a.webp"), tmp_path / "a.mp4")  # whatever its name is
    assert "no decoder for the animation" in tadacli.classify(tmp_path / "a.mp4")[0].error
