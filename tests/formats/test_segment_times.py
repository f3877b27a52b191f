"""Timecode and numbers of frames in tables, beside seconds."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from tadacli.datasets.annotations import read_annotations
from tadacli.errors import UsageError
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.registry import TimesName
from tadacli.formats.results import parse_detections
from tadacli.formats.row_formats import detection_formats, encode_all
from tadacli.formats.segment_files import convert
from tadacli.formats.segment_times import time_cells, times_note
from tadacli.formats.tables import DETECTIONS, is_table
from tests.formats.detections import failed_row, row, segment

# A minute of video at 29.97, which is shown from 10 s on.
ROW = row("a.mp4", segment(10.5, 12.0), segment(69.99, 69.9933333, "end"), start_seconds=10.0)
DROPPING = {**ROW, "info": {**ROW["info"], "start_timecode": "00:00:59;28"}}
FULL = {**ROW, "info": {**ROW["info"], "start_timecode": "00:00:59:28"}}
TWELVE = {**ROW, "fps": 12.0}


def table(rows: list[dict], times: TimesName, **options) -> list[dict[str, str]]:
    (content,) = convert(rows, "csv", None, times=times, **options).values()
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_timecode_and_frames_stand_beside_seconds() -> None:
    lines = table([DROPPING, failed_row("b.mp4")], "timecode")
    assert list(lines[0])[:5] == ["video", "start_seconds", "end_seconds", "start_timecode", "end_timecode"]
    assert [(line["start_timecode"], line["end_timecode"]) for line in lines] == [
        ("00:01:00;15", "00:01:02;00"),
        ("00:01:59;27", "00:01:59;28"),
        ("", ""),
    ]
    assert [line["start_timecode"] for line in table([FULL], "timecode")] == ["00:01:00:13", "00:01:59:25"]
    frames = [(line["start_frame"], line["end_frame"]) for line in table([DROPPING], "frames")]
    assert frames == [("15", "60"), ("1797", "1798")]
    assert [line["start_seconds"] for line in table([DROPPING], "frames")] == ["10.5", "69.99"]
    assert "start_frame" not in table([DROPPING], "seconds")[0]


def test_a_rate_and_a_timecode_of_ones_own() -> None:
    (first, _) = table([TWELVE], "timecode", fps=25, start_timecode="10:00:00:00")
    assert (first["start_timecode"], first["end_timecode"]) == ("10:00:00:12", "10:00:02:00")
    (first, _) = table([TWELVE], "frames")
    assert (first["start_frame"], first["end_frame"]) == ("6", "24")
    for times, unfit in (("timecode", TWELVE), ("frames", {**ROW, "fps": None}), ("timecode", {**ROW, "fps": None})):
        with pytest.raises(UsageError):
            table([unfit], times)  # type: ignore[arg-type]


def test_a_search_that_is_done_keeps_what_it_has_and_says_what_is_missing() -> None:
    """`tada detect` makes the same lines after hours of work: there the cells are empty."""
    (first, _) = DETECTIONS.flatten(TWELVE)
    assert (first["start_frame"], first.get("start_timecode")) == ("6", None)
    (first, _) = DETECTIONS.flatten({**ROW, "fps": None})
    assert "start_frame" not in first
    video = LabelledVideo("a.mp4", (LabelledSegment(0.5, 2, "x", 0),), fps=12)
    assert times_note(video, "timecode") == (
        "a.mp4: 12 frames a second is no rate of SMPTE timecode; its times are in seconds alone"
    )
    assert times_note(video, "frames") == times_note(replace(video, fps=25), "timecode") == ""
    assert times_note(replace(video, fps=24.9, variable_rate=True), "frames") == (
        "a.mp4 has a variable frame rate: frames are counted on the clock at 24.9 a second, as if it were made constant"
    )
    assert time_cells(replace(video, fps=24.9, variable_rate=True))[0]["start_frame"] == "12"


@pytest.mark.parametrize("times", ["timecode", "frames"])
def test_a_table_with_them_is_still_a_table_of_ours(tmp_path: Path, times: TimesName) -> None:
    (content,) = convert([DROPPING], "csv", None, times=times).values()
    assert is_table(content)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "table.csv").write_bytes(content)
    spans = read_annotations(tmp_path / "table.csv").spans
    assert [(span.start_seconds, span.end_seconds) for span in spans] == [(0.5, 2.0), (59.99, 59.993333)]
    with pytest.raises(UsageError, match="is a CSV table"):
        parse_detections(content, "table.csv")


def test_all_columns_have_them_and_a_table_goes_on_in_its_columns() -> None:
    form = detection_formats(columns=["all"])["csv"]
    content = encode_all(form, [DROPPING])
    (line, _) = csv.DictReader(io.StringIO(content.decode()))
    assert (line["start_timecode"], line["start_frame"]) == ("00:01:00;15", "15")
    assert [item.path for item in form.decode(content)] == ["a.mp4"]
