"""The report's bytes: what is inside, what is escaped, what stays small, and where the video is."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.detection.curves import MAX_CURVE_CELLS, ClassCurve
from tadacli.reports.detection_page import page_of, video_part
from tadacli.reports.video_links import MAX_INLINE_BYTES, VideoLink, video_link


def found(start: float, end: float, label: str, *, index: int = 0, score: float = 0.8) -> dict[str, Any]:
    return {"start_seconds": start, "end_seconds": end, "label": label, "index": index, "score": score}


def detection(**changes: Any) -> dict[str, Any]:
    """A row as `detection_row` makes it, of a video of two seconds in which nothing was found."""
    codec = changes.pop("codec", "h264")
    path = changes.get("path", "videos/sample.mp4")
    row = {
        "video": path,
        "path": path,
        "status": "ok",
        "error": None,
        "model": "tiny.motion",
        "task": "camera motion",
        "duration_seconds": 2.0,
        "start_seconds": 0.0,
        "fps": 30.0,
        "windows": 3,
        "windows_planned": 3,
        "segments": [],
        "gaps": [],
        "notes": [],
        "info": {"codec": codec, "width": 160, "height": 96},
        "tool_version": "1.0",
        "settings": {"threshold": 0.4},
        "spec": {},
        "run": "0123456789ab",
    }
    return row | changes


def report_html(row: Any, **how: Any) -> bytes:
    """The page of one video; arguments are those of `video_part`."""
    return page_of(video_part(row, **how), row)


class Elements(html.parser.HTMLParser):
    """The elements of a page as a parser sees them: (tag, attributes, text directly inside)."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self._is_inside = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self._is_inside = True

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - what follows belongs to another element
        self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def texts(self, tag: str) -> list[str]:
        return [text for name, _, text in self.found if name == tag]

    def data(self) -> dict[str, Any]:
        (text,) = [
            text
            for _, attributes, text in self.found
            if attributes.get("id") == "data" or attributes.get("class") == "video"
        ]
        parsed: dict[str, Any] = json.loads(text)
        return parsed


NASTY = ["</script><script>x</script>", "<!--<script>", "\u2028 & \" ' > {{style}}", "\udcff\ud800", "<b>\n\x00"]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_comes_through_and_opens_no_element(text: str) -> None:
    plain = Elements(report_html(detection(path="x", notes=["x"], segments=[found(0, 1, "x")])))
    row = detection(
        path=text, notes=[text], error=text, model=text, segments=[found(0, 1, text)], settings={text: text}
    )
    page = Elements(report_html(row))
    assert [tag for tag, _, _ in page.found] == [tag for tag, _, _ in plain.found]
    data = page.data()
    assert data["notes"] == [text]
    assert [each["label"] for each in data["classes"]] == [text]
    assert [f"Setting: {text}", text] in data["facts"]


def test_the_policy_allows_this_style_and_this_script_only() -> None:
    page = Elements(report_html(detection()))
    (policy,) = [a["content"] for tag, a, _ in page.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    (style,) = page.texts("style")
    script = page.texts("script")[-1]
    for name, text in (("style-src", style), ("script-src", script)):
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert "http" not in policy


def test_no_address_of_the_outside_is_in_the_page() -> None:
    page = report_html(detection(segments=[found(0, 1, "wave")])).decode()
    assert page.replace("http://www.w3.org/2000/svg", "").count("//www.") == 0
    assert "https:" not in page


def test_segments_keep_their_numbers_and_classes_their_order() -> None:
    segments = [found(0.1, 1, "nod", index=7), found(0.2, 2, "wave", index=2), found(0.5, 0.6, "nod", index=7)]
    row = detection(segments=segments)
    curve = ClassCurve("bow", 5, 0, np.array([0.0, 1.0]), np.array([0.2]), (0.4, 0.2))
    data = Elements(report_html(row, curves=[curve], thumbnails={2: b"two", 0: b"none"})).data()
    assert data["classes"] == [
        {"index": 2, "label": "wave", "thresholds": []},
        {"index": 5, "label": "bow", "thresholds": [0.4, 0.2]},
        {"index": 7, "label": "nod", "thresholds": []},
    ]
    assert [(each["start"], each["class"]) for each in data["segments"]] == [(0.1, 2), (0.2, 0), (0.5, 2)]
    assert {number: base64.b64decode(text) for number, text in data["thumbnails"].items()} == {
        "0": b"none",
        "2": b"two",
    }


def test_the_same_arguments_give_the_same_bytes() -> None:
    row = detection(segments=[found(0, 1, "wave")])
    curve = ClassCurve("wave", 0, 0, np.arange(3.0), np.array([0.2, np.nan]), (0.4, 0.2))
    first, second = (
        report_html(row, curves=[curve], thumbnails=order) for order in ({0: b"a", 1: b"b"}, {1: b"b", 0: b"a"})
    )
    assert first == second


# --- curves ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4 * MAX_CURVE_CELLS + 3), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_thinned_curve_never_hides_a_peak_or_a_hole(num_cells: int, seed: int, share_missing: float) -> None:
    rng = np.random.default_rng(seed)
    edges = np.concatenate([[0.0], np.cumsum(rng.uniform(0.1, 2.0, num_cells))])
    values = np.where(rng.random(num_cells) < share_missing, np.nan, rng.random(num_cells))
    data = Elements(report_html(detection(), curves=[ClassCurve("wave", 3, 0, edges, values, (0.4, 0.2))])).data()
    (drawn,) = data["curves"]
    cells = data["edges"][drawn["edges"]]
    assert len(drawn["values"]) <= MAX_CURVE_CELLS
    assert len(cells) == len(drawn["values"]) + 1
    assert (cells[0], cells[-1]) == (round(edges[0], 3), round(edges[-1], 3))
    # What a cell shows is the highest of all cells whose middle it covers.
    middles = (edges[1:] + edges[:-1]) / 2
    owner = np.searchsorted(cells, middles, side="right") - 1
    for place, shown in enumerate(drawn["values"]):
        under = [value for value in values[owner == place] if not math.isnan(value)]
        assert shown == (round(max(under), 3) if under else None)


def test_curves_over_the_same_cells_share_them() -> None:
    edges = np.linspace(0, 10, 101)
    curves = [ClassCurve(f"class {index}", index, 0, edges.copy(), np.full(100, 0.5), (0.4, 0.2)) for index in range(5)]
    data = Elements(report_html(detection(), curves=curves)).data()
    assert len(data["edges"]) == 1
    assert [curve["edges"] for curve in data["curves"]] == [0] * 5


# --- where the video is ---------------------------------------------------------------------------


def test_a_small_video_that_browsers_play_is_inside_the_page(tmp_path: Path) -> None:
    file = tmp_path / "a.MP4"
    file.write_bytes(b"pictures")
    link = video_link(file, tmp_path / "report.html", codec="h264")
    assert (link.content, link.media_type, link.url) == (b"pictures", "video/mp4", "")
    page = Elements(report_html(detection(), video=link))
    ((attributes, text),) = [(a, text) for _, a, text in page.found if a.get("class") == "media"]
    assert attributes["data-type"] == "video/mp4"
    assert base64.b64decode(text) == b"pictures"


@pytest.mark.parametrize(
    ("name", "codec", "size", "why"),
    [
        ("a.mp4", "hevc", 10, "few browsers play this codec"),
        ("a.mkv", "h264", 10, "few browsers play this container"),
        ("a.webm", "vp9", MAX_INLINE_BYTES + 1, "the page would be too large"),
    ],
)
def test_another_video_is_linked(tmp_path: Path, name: str, codec: str, size: int, why: str) -> None:
    file = tmp_path / name
    with file.open("wb") as stream:
        stream.truncate(size)
    assert video_link(file, tmp_path / "report.html", codec=codec) == VideoLink(name=name, url=name), why


def test_a_link_leads_from_the_page_to_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "in put" / "50% a#b?c:d.avi"
    file.parent.mkdir()
    file.write_bytes(b"x")
    page = tmp_path / "out" / "deep" / "report.html"
    page.parent.mkdir(parents=True)
    monkeypatch.chdir(file.parent)
    link = video_link(file.name, page)
    assert link.name == file.name
    assert not set(link.url) & set("#?: ")
    assert (page.parent / unquote(link.url)).samefile(file)
    assert not os.path.isabs(link.url)


def test_frames_and_missing_files_have_no_video(tmp_path: Path) -> None:
    (tmp_path / "frames.tar").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "frames.tar", tmp_path / "none.mp4"):
        assert video_link(path, tmp_path / "report.html") == VideoLink()
