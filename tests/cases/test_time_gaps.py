"""The videos with gaps in time among the shared cases, each against its row of truth.csv."""

from __future__ import annotations

from pathlib import Path

import tadacli
from tadacli.results import NoteKind
from tadacli.sampling.settings import window_settings
from tests.cases.test_times import case


def test_a_camera_that_records_on_motion():
    (result,) = tadacli.classify(case("r_bursts.mp4"), device="cpu")
    assert result.heads[""][0].label == "pan right"
    assert all(len(set(clip)) == len(clip) for clip in result.clips)
    (note,) = [note for note in result.notes if note.kind is NoteKind.TIME_GAPS]
    assert note.text.startswith("240.0 of 255.0 s have no frame (4 gaps in time)")


def found_in(path: Path) -> tadacli.Detection:
    (found,) = tadacli.detect(path, device="cpu", windows=window_settings(window="1s", stride="500ms"))
    return found


def test_times_that_jump_by_an_hour():
    found = found_in(case("q_jump_pan.ts"))
    segments = [segment for segment in found.segments if segment.label == "pan right"]
    assert [round(segment.end_seconds - segment.start_seconds) for segment in segments] == [6, 6]
    (gap,) = found.gaps
    assert all(each.end_seconds <= gap.start_seconds or each.start_seconds >= gap.end_seconds for each in segments)


def test_each_burst_is_found_and_nothing_between():
    found = found_in(case("r_bursts.mp4"))
    assert found.status == "partial"
    assert [segment.label for segment in found.segments] == ["pan right"] * 5
    assert [round(gap.end_seconds - gap.start_seconds) for gap in found.gaps] == [60] * 4
