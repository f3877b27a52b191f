"""The videos among the shared cases, each against its row of truth.csv: which frames there are, and when."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

import tadacli
from tadacli.results import Detection, NoteKind
from tadacli.sampling.settings import window_settings
from tadacli.video import Frame, Unreadable, iter_frames, probe
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


@pytest.mark.parametrize(("name", "num_frames"), [("q_pan_h264.avi", 150), ("packed.avi", 60), ("pts_eq_dts.mp4", 150)])
def test_frames_that_were_written_out_of_order(name, num_frames):
    frames = list(iter_frames(case(name), range(num_frames)))
    times = [frame.time_seconds - frames[0].time_seconds for frame in frames]
    assert times == pytest.approx([index / 25 for index in range(num_frames)], abs=1e-6)
    assert [number_of(frame) for frame in frames] == list(range(num_frames))
    (result,) = tadacli.classify(case(name))
    assert result.status in ("ok", "short")
    assert result.video is not None
    assert result.video.num_frames == num_frames


def test_joined_recordings():
    assert probe(case("q_concat_pan_still.ts")).duration_seconds == pytest.approx(12)
    frames = list(iter_frames(case("q_concat_pan_still.ts"), range(300)))
    assert [number_of(frame) for frame in frames] == [*range(150), *range(150)]
    result = detected("q_concat_pan_still.ts", stride="500ms")
    assert [(segment.label, round(segment.end_seconds)) for segment in result.segments] == [
        ("pan right", 7),
        ("static", 13),
    ]
    assert any(note.kind == NoteKind.TIMELINE for note in result.notes)


def test_times_that_jump():
    result = detected("q_jump_pan.ts", stride="500ms")
    assert [segment.label for segment in result.segments] == ["pan right"] * 2
    assert any(note.kind == NoteKind.TIMELINE and "jump by 3593.96 s" in note.text for note in result.notes)


def test_destroyed_cluster():
    result = detected("mkv_cluster_4.mkv", stride="250ms")
    assert result.status == "partial"
    (gap,) = result.gaps
    assert gap.start_seconds == pytest.approx(5.87, abs=0.05)
    assert gap.end_seconds - gap.start_seconds == pytest.approx(2, abs=0.05)
    assert (probe(case("mkv_cluster_4.mkv")).num_frames, result.video is not None) == (300, True)


def test_cut_transport_stream():
    (result,) = tadacli.classify(case("cut_mid.ts"))
    assert result.video is not None
    assert result.video.truncated
    assert any(note.kind == NoteKind.CUT_SHORT for note in result.notes)


def test_avi_without_an_index():
    (result,) = tadacli.classify(case("mjpeg_noidx.avi"))
    assert (result.status, result.video and result.video.num_frames) == ("ok", 60)


def detected(name: str, *, stride: str) -> Detection:
    """What `tada detect --window 1s` finds in a case."""
    (result,) = tadacli.detect(case(name), windows=window_settings(window="1s", stride=stride))
    return result


def number_of(frame: Frame | Unreadable) -> int:
    """The number in a frame of the cases: twelve blocks in the top rows, the first one bit 0."""
    assert isinstance(frame, Frame)
    width = frame.pixels.shape[1] // 12
    blocks = [frame.pixels[8:16, width * bit + width // 3 : width * (bit + 1) - width // 3] for bit in range(12)]
    return sum(1 << bit for bit, block in enumerate(blocks) if block.mean() > 128)
