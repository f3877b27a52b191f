"""The damaged files among the shared cases, each against its row of truth.csv."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import tadacli
from tadacli.errors import VideoError
from tadacli.sampling.settings import window_settings
from tadacli.video import iter_frames, probe, read_frames
from tadacli.video.source import Frame, Unreadable
from tests.media import shared_folder


def case(name: str) -> Path:
    """A file of the cases, which must have a row that says what is to come of it."""
    folder = shared_folder() / "cases"
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        assert name in [row["file"] for row in csv.DictReader(file)]
    return folder / name


def damaged(path: Path) -> list[int]:
    """The numbers of the frames that cannot be had; each is refused alike when it is asked for alone."""
    num_frames = probe(path).num_frames
    found = list(iter_frames(path, range(num_frames), skip_unreadable=True))
    for frame in found:
        (alone,) = iter_frames(path, [frame.index], skip_unreadable=True)
        if isinstance(frame, Frame):
            assert isinstance(alone, Frame)
            assert np.array_equal(alone.pixels, frame.pixels), f"frame {frame.index} depends on what else is read"
        else:
            assert alone == frame
    return [frame.index for frame in found if isinstance(frame, Unreadable)]


def test_motion_jpeg_with_a_flipped_bit():
    path = case("damage/onebit_mjpeg.avi")
    assert damaged(path) == [12]
    assert damaged(path.with_name("orig_mjpeg.avi")) == []
    with pytest.raises(VideoError, match=r"frame 12 at .* s of .*; 14 of 15 frames decode"):
        read_frames(path, [12])


def test_vp8_with_a_flipped_bit():
    """VP8 has no checksum, and nothing in the data says that they are wrong."""
    path = case("damage/onebit_vp8.webm")
    original = path.with_name("orig_vp8.webm")
    assert damaged(original) == damaged(path) == []
    assert np.array_equal(read_frames(path, range(10)), read_frames(original, range(10)))
    assert np.array_equal(read_frames(path, range(20, 40)), read_frames(original, range(20, 40)))


@pytest.mark.parametrize("name", ["damage/k1_ffv1.mkv", "damage/k1_anim.gif"])
def test_frames_that_the_decoder_has_errors_with_are_not_classified(name):
    (result,) = tadacli.classify(case(name))
    assert result.status == "error"
    assert re.search(r"frame \d+ at .* is damaged, or made from a damaged one; \d+ of 10 frames decode", result.error)


def test_frames_of_a_gif_that_do_not_decompress():
    assert damaged(case("damage/k1_anim.gif")) == list(range(4, 10)), "each picture is drawn over the one before it"


def test_frames_that_fail_their_checksum():
    assert damaged(case("damage/k1_ffv1.mkv"))[:1] == [3]


def test_jpeg_frames_of_a_folder():
    path = case("damage/jpegdmg")
    assert len(damaged(path)) == 5
    with pytest.raises(VideoError, match=r"frame_0000000002\.jpg of .* is not a whole JPEG picture"):
        read_frames(path, range(16))


def test_a_transport_stream_that_lost_packets():
    path = case("video/ts_loss.ts")
    assert {106, 107, 108} <= set(damaged(path))
    (result,) = tadacli.detect(path, windows=window_settings(window="1s", stride="500ms"))
    lost_from, lost_to = (result.video.start_seconds + index / 25 for index in (106, 109))
    assert any(gap.start_seconds <= lost_from and lost_to <= gap.end_seconds for gap in result.gaps), result.gaps
