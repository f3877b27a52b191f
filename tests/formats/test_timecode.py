"""Timecode as SMPTE counts it, and the edit lists that are written in it."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from tadacli.errors import OutputError, UsageError
from tadacli.formats.edl import edl
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.timecode import timecode, timecode_rate


@pytest.mark.parametrize(
    ("fps", "frame", "shown"),
    [
        (29.97, 1799, "00:00:59;29"),
        (29.97, 1800, "00:01:00;02"),
        (29.97, 17981, "00:09:59;29"),
        (29.97, 17982, "00:10:00;00"),
        (29.97, 107892, "01:00:00;00"),
        (59.94, 3600, "00:01:00;04"),
        (59.94006, 215784, "01:00:00;00"),
        (23.976, 24, "00:00:01:00"),
        (23.976, 1440, "00:01:00:00"),
        (25, 90000 * 24 + 1, "00:00:00:01"),
        (30, 1800, "00:01:00:00"),
    ],
)
def test_frames_have_the_timecode_that_editors_show(fps: float, frame: int, shown: str) -> None:
    assert timecode(frame, timecode_rate(fps)) == shown


@pytest.mark.parametrize("fps", [29.97, 59.94])
def test_drop_frame_counts_every_frame_once_and_keeps_to_the_clock(fps: float) -> None:
    """Against numbers given out one after the other, as the standard words it, for 21 minutes."""
    rate = timecode_rate(fps)
    number = 0
    for frame in range(round(21 * 60 * fps)):
        minutes, rest = divmod(number, rate.base * 60)
        if rest == 0 and minutes % 10:
            number += rate.num_dropped
            rest += rate.num_dropped
        seconds, frames = divmod(rest, rate.base)
        assert timecode(frame, rate) == f"00:{minutes:02d}:{seconds:02d};{frames:02d}"
        assert abs(number / rate.base - frame / float(rate.fps)) < 0.1
        number += 1


@pytest.mark.parametrize(
    ("fps", "exact", "drops"),
    [
        (29.97, Fraction(30000, 1001), 2),
        (23.98, Fraction(24000, 1001), 0),
        (60.0, Fraction(60), 0),
        (24.0001, Fraction(24), 0),
    ],
)
def test_rates_are_those_of_smpte(fps: float, exact: Fraction, drops: int) -> None:
    rate = timecode_rate(fps)
    assert (rate.fps, rate.num_dropped) == (exact, drops)


@pytest.mark.parametrize("fps", [12.0, 29.9, 90.0, 15.0, float("nan")])
def test_other_rates_are_refused(fps: float) -> None:
    with pytest.raises(UsageError, match="is no rate of SMPTE timecode") as failed:
        timecode_rate(fps)
    assert "--fps 25" in failed.value.hint


EVENT = re.compile(r"\d{3}  AX       V     C        (\S+) (\S+) (\S+) (\S+)")


def test_an_edit_list_cuts_one_segment_after_the_other() -> None:
    segments = (LabelledSegment(2.0, 3.0, "fall\tdown", 1), LabelledSegment(0.5, 1.0, "walk", 0, 0.75))
    text = edl(LabelledVideo("in/my clip.mp4", segments, fps=25)).decode()
    assert text.splitlines() == [
        "TITLE: my clip",
        "FCM: NON-DROP FRAME",
        "",
        "001  AX       V     C        00:00:00:12 00:00:01:00 00:00:00:00 00:00:00:13",
        "* FROM CLIP NAME: my clip.mp4",
        "* LOC: 00:00:00:00 RED     walk",
        "* COMMENT: walk (0.75)",
        "",
        "002  AX       V     C        00:00:02:00 00:00:03:00 00:00:00:13 00:00:01:13",
        "* FROM CLIP NAME: my clip.mp4",
        "* LOC: 00:00:00:13 RED     fall down",
        "* COMMENT: fall down",
        "",
    ]


def test_cuts_are_as_long_on_both_sides_and_never_empty() -> None:
    segments = tuple(LabelledSegment(at * 61.0, at * 61.0 + at / 1000, "x", 0) for at in range(20))
    text = edl(LabelledVideo("a.mp4", segments, fps=30000 / 1001)).decode()
    assert "FCM: DROP FRAME" in text
    events = EVENT.findall(text)
    assert len(events) == 20
    for source_in, source_out, record_in, record_out in events:
        assert source_in < source_out
        assert record_in < record_out


def test_what_an_edit_list_cannot_number_is_refused() -> None:
    video = LabelledVideo("a.mp4", tuple(LabelledSegment(at, at + 1, "x", 0) for at in range(1000)), fps=25)
    with pytest.raises(OutputError, match=r"a\.mp4 has 1000 segments"):
        edl(video)
    edl(replace(video, segments=video.segments[:999]))
    with pytest.raises(UsageError, match="is no rate of SMPTE"):
        edl(replace(video, segments=video.segments[:1], fps=12))
