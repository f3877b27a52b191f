"""What notebooks show of results: whole HTML, in which nothing from outside is more than text, and small."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tadacli import Classification, Classifications, Detection, Detections, Prediction, Segment

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\udcff"


def parsed(page: str) -> ElementTree.Element:
    """The HTML as a tree: it is closed and escaped, so it is XML, too."""
    page.encode()
    return ElementTree.fromstring(f"<all>{page}</all>")


@pytest.mark.parametrize(
    "result",
    [
        Classification(HOSTILE, "ok", HOSTILE, heads={HOSTILE: (Prediction(HOSTILE, 0, 0.5),)}),
        Classification(HOSTILE, "error", "m", error=HOSTILE),
        Detection(HOSTILE, "ok", HOSTILE, segments=(Segment(1, 2, HOSTILE, 0, 0.5),), timeline=(0.0, 4.0)),
        Detection(HOSTILE, "error", "m", error=HOSTILE),
    ],
    ids=["classified", "not classified", "detected", "not detected"],
)
def test_what_comes_from_outside_is_text(result: Classification | Detection) -> None:
    page = parsed(result._repr_html_())
    assert not [each for each in page.iter() if each.tag == "script"]
    assert "<script>alert(1)" in "".join(page.itertext())


def test_the_timeline_has_a_bar_for_each_segment_at_its_place() -> None:
    result = Detection("a.mp4", "ok", "m", segments=(Segment(1, 2, "wave", 0, 0.5),), timeline=(0.0, 4.0))
    (bar,) = (each for each in parsed(result._repr_html_()).iter() if each.tag == "rect")
    assert (float(bar.attrib["x"]), float(bar.attrib["width"])) == (250.0, 250.0)


def test_however_much_was_found_little_is_shown() -> None:
    segments = tuple(Segment(i, i + 1, f"label {i % 100}", i % 100, 0.5) for i in range(20_000))
    many = Detections([Detection("a.mp4", "ok", "m", segments=segments, timeline=(0.0, 20_001.0))] * 50)
    page = many._repr_html_()
    assert len(page) < 500_000
    text = "".join(parsed(page).itertext())
    assert "and 19990 more" in text
    assert "and 45 more videos" in text


@pytest.mark.parametrize(
    "results",
    [
        Detections(),
        Classifications(),
        Detections([Detection("a.mp4", "ok", "m")]),
        Classifications([Classification("a.mp4", "ok", "m")]),
    ],
)
def test_nothing_is_shown_as_such(results: Detections | Classifications) -> None:
    parsed(results._repr_html_())
