"""What is said of a segment of which one file came and another did not."""

from __future__ import annotations

from pathlib import Path

from tadacli.excerpts.jobs import Planned, PlannedSegment
from tadacli.excerpts.making import Work
from tadacli.excerpts.wanted import WantedSegment


def work() -> Work:
    segment = WantedSegment(1.0, 2.0, "nod", 0.5)
    planned = PlannedSegment(segment, Planned(Path("a.mp4"), "1"), Planned(Path("a.jpg"), "2"))
    return Work("a.mp4", planned, has_sheet=False)


def test_a_picture_that_is_there_is_named_although_the_clip_failed() -> None:
    made = work()
    made.told_picture("")
    made.told_file("its frames cannot be read")
    found = made.excerpt()
    assert (found.status, found.file, found.image) == ("error", None, Path("a.jpg"))


def test_a_picture_that_did_not_come_is_not_named() -> None:
    made = work()
    made.told_picture("it cannot be read")
    assert made.excerpt().image is None
    made = work()
    made.fail("the video is gone")
    assert made.excerpt().image is None
