"""The timecode that a file begins with, and whether its frames come evenly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tadacli.results.json_ready import video_facts
from tadacli.video import probe
from tadacli.video.inputs import FrameArray
from tadacli.video.reading import open_video
from tests.media import render

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "timecode"),
    [
        ("tmcd.mov", "libx264", Fraction(25), "01:00:00:00"),
        ("late.mp4", "libx264", Fraction(25), "23:59:59:20"),
        ("drop.mp4", "libx264", NTSC, "01:00:00;02"),
        ("full.mov", "libx264", NTSC, "01:00:00:02"),
        ("tape.mxf", "mpeg2video", NTSC, "10:00:00;28"),
        ("matroska.mkv", "libx264", Fraction(25), "01:00:00:00"),
        ("none.mp4", "libx264", Fraction(25), ""),
        ("none.avi", "mpeg4", Fraction(25), ""),
    ],
)
def test_the_first_frame_has_the_timecode_that_the_file_says(
    tmp_path: Path, name: str, codec: str, rate: Fraction, timecode: str
) -> None:
    render(tmp_path / name, 12, codec=codec, rate=rate, time_base=1 / rate, timecode=timecode)
    info = probe(tmp_path / name)
    assert (info.start_timecode, info.variable_rate) == (timecode, False)
    assert video_facts(info).get("start_timecode") == (timecode or None)
    assert "variable_rate" not in video_facts(info)


def test_what_is_no_timecode_is_not_taken_for_one(tmp_path: Path) -> None:
    for number, text in enumerate(("25:00:00:00", "one", "01:00:00.500", "01:60:00:00", "01:00:00:00\n\n")):
        path = tmp_path / f"{number}.mkv"
        render(path, 5, timecode=text)
        assert probe(path).start_timecode == ("01:00:00:00" if number == 4 else "")


def test_frames_that_do_not_come_evenly_are_said(tmp_path: Path) -> None:
    even, uneven, jitter = (tmp_path / f"{name}.mp4" for name in ("even", "uneven", "jitter"))
    thousandth = Fraction(1, 1000)
    render(even, 30)
    render(uneven, 30, pts=[*range(0, 1000, 100), *range(1000, 1500, 25)], time_base=thousandth)
    render(jitter, 30, pts=[40 * number + (number * 7) % 15 for number in range(30)], time_base=thousandth)
    assert [probe(path).variable_rate for path in (even, uneven, jitter)] == [False, True, False]
    assert video_facts(probe(uneven))["variable_rate"] is True


def test_times_of_frames_in_memory_count_as_well() -> None:
    pixels = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    for times, is_variable in (([0.0, 0.1, 0.2, 0.3], False), ([0.0, 0.1, 0.9, 1.0], True)):
        frames = FrameArray.of("frames", pixels, np.array(times), times[-1] + 0.1, Fraction(10))
        with open_video(frames) as source:
            assert source.info.variable_rate == is_variable
