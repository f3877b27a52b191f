"""The report in a real browser: what a person clicks, types and sees."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadacli.camera_motion.virtual_camera import CameraMove, KnownMove, render_sequence
from tadacli.detection.curves import ClassCurve
from tadacli.evaluation.agreement import LabelledTime
from tadacli.reports.detection_page import TruthOnPage
from tadacli.reports.video_links import VideoLink, video_link
from tests import media
from tests.reports.test_detection_page import detection, found, report_html

PHONE = 360

# Waits until the player shows a whole frame at rest, then reads it; empty where it cannot be read.
SHOWN = """
const done = arguments[0], player = document.getElementById("player");
const look = () => {
  if (player.seeking || player.readyState < 2) return setTimeout(look, 20);
  const canvas = document.createElement("canvas");
  canvas.width = player.videoWidth; canvas.height = player.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(player, 0, 0);
  done(Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data));
};
look();
"""
SETTLED = """
const done = arguments[0], player = document.getElementById("player");
const look = () => {
  if (player.seeking || player.readyState < 1) return setTimeout(look, 20);
  setTimeout(() => done(player.currentTime), 60);
};
look();
"""


class Page:
    """A page that is open, with what tests ask of it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.browser.find_elements("css selector", selector)
        return found

    def one(self, selector: str) -> Any:
        (element,) = self.all(selector)
        return element

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    def choose(self, selector: str, text: str) -> None:
        """Choose the option of a select that has this text."""
        (option,) = [each for each in self.one(selector).find_elements("css selector", "option") if each.text == text]
        option.click()

    def press(self, key: str) -> None:
        self.browser.switch_to.active_element.send_keys(key)

    def player_seconds(self) -> float:
        """Where the player stands, once it has got there."""
        return float(self.browser.execute_async_script(SETTLED))

    def wait_for_seconds(self, seconds: float) -> None:
        """Returns when the player has got there, which may take it several steps."""
        deadline = time.monotonic() + 30
        while abs(self.player_seconds() - seconds) > 2e-3:
            assert time.monotonic() < deadline, f"the player stands at {self.player_seconds()}, not at {seconds}"

    def picture_number(self) -> int:
        """The number in the picture that is shown, see `media.picture`."""
        pixels = np.array(self.browser.execute_async_script(SHOWN), dtype=np.uint8)
        return media.number_in(pixels.reshape(96, 160, 4)[..., :3])

    def playhead_share(self) -> float:
        """Where the playhead stands on the timeline, 0..1."""
        script = "return parseFloat(document.getElementById('playhead').style.left) / 100"
        return float(self.browser.execute_script(script))


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Opener:
    """`opened(html, anchor="", width=1280)` -> the page, opened from a file in a window of that width."""

    def opener(html: bytes, *, anchor: str = "", width: int = 1280) -> Page:
        file = tmp_path / "report.html"
        file.write_bytes(html)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(file.as_uri() + anchor)
        return Page(browser)

    return opener


@pytest.fixture(scope="module")
def moves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[KnownMove]]:
    """A short video of four known moves."""
    path = tmp_path_factory.mktemp("video") / "four moves.mp4"
    labels = ("pan left", "zoom in", "pan right", "zoom in")
    return path, render_sequence(
        path, moves=[(CameraMove(label), 1.0) for label in labels], fps=10, height=96, width=160
    )


def known_row(truth: Sequence[KnownMove]) -> dict[str, Any]:
    scores = (0.5, 0.9, 0.7, 0.6)
    segments = [
        found(known.start_seconds, known.end_seconds, known.label, score=score)
        for known, score in zip(truth, scores, strict=True)
    ]
    return detection(segments=segments, duration_seconds=truth[-1].end_seconds)


def inline(path: Path) -> VideoLink:
    link = video_link(path, path.with_name("report.html"))
    assert link.content
    return link


def test_a_click_on_a_row_or_a_bar_seeks_the_player(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    page = opened(report_html(known_row(truth), video=inline(path)))
    page.all("#rows tr")[2].click()
    assert page.player_seconds() == pytest.approx(truth[2].start_seconds, abs=2e-3)
    assert page.playhead_share() == pytest.approx(truth[2].start_seconds / truth[-1].end_seconds, abs=1e-3)
    assert page.texts("tr.now td.start") == ["0:02.00"]
    page.one('.bar[title^="zoom in, 0:01.00"]').click()
    assert page.player_seconds() == pytest.approx(truth[1].start_seconds, abs=2e-3)
    assert page.texts("tr.now td.start") == ["0:01.00"]
    page.all(".seek")[3].send_keys("\n")
    assert page.player_seconds() == pytest.approx(truth[3].start_seconds, abs=2e-3)


def test_a_click_between_the_bars_seeks_there(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    page = opened(report_html(known_row(truth), video=inline(path)))
    axis = page.one("#axis")
    page.browser.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "arguments[0].dispatchEvent(new PointerEvent('pointerdown',"
        " {bubbles: true, button: 0, clientX: box.left + box.width * 0.375}))",
        axis,
    )
    assert page.player_seconds() == pytest.approx(0.375 * truth[-1].end_seconds, abs=0.01)


def test_keys_go_from_segment_to_segment_and_play(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    page = opened(report_html(known_row(truth), video=inline(path)))
    for key, number in (("j", 1), ("j", 2), ("\ue015", 3), ("j", 3), ("k", 2), ("\ue013", 1)):
        page.press(key)
        assert page.player_seconds() == pytest.approx(truth[number].start_seconds, abs=2e-3), key
    is_playing = "return !document.getElementById('player').paused"
    page.press(" ")
    assert page.browser.execute_script(is_playing)
    page.press(" ")
    assert not page.browser.execute_script(is_playing)
    # In the filter they are letters.
    page.one("#filter-text").send_keys("jk ")
    assert page.one("#filter-text").get_attribute("value") == "jk "
    assert not page.browser.execute_script(is_playing)


def test_the_filters_act_on_table_and_timeline(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    page = opened(report_html(known_row(truth), video=inline(path)))

    def shown() -> tuple[list[str], int, list[str]]:
        bars = [bar for bar in page.all(".bar") if bar.is_displayed()]
        lanes = [lane.text for lane in page.all(".lane-name") if lane.is_displayed() and lane.text]
        return page.texts("#rows td.label"), len(bars), lanes

    assert shown() == (["pan left", "zoom in", "pan right", "zoom in"], 4, ["pan left", "pan right", "zoom in"])
    page.one("#filter-text").send_keys("ZOOM")
    assert shown() == (["zoom in", "zoom in"], 2, ["zoom in"])
    assert page.one("#count").text == "2 of 4 segments"
    page.browser.execute_script(
        "const slider = document.getElementById('filter-score'); slider.value = 0.8;"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert shown() == (["zoom in"], 1, ["zoom in"])
    page.one("#filter-text").send_keys(" out")
    assert shown() == ([], 0, [])
    assert "No segment matches" in page.one("#empty").text
    page.one("#empty button").click()
    assert shown()[1] == 4


def test_columns_sort(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    page = opened(report_html(known_row(truth), video=inline(path)))
    score, label = page.one('th[data-key="score"] button'), page.one('th[data-key="label"] button')
    score.click()
    assert page.texts("#rows td.score") == ["0.90", "0.70", "0.60", "0.50"]
    assert page.one("th[aria-sort]").get_attribute("aria-sort") == "descending"
    score.click()
    assert page.texts("#rows td.score") == ["0.50", "0.60", "0.70", "0.90"]
    label.click()
    assert page.texts("#rows td.label") == ["pan left", "pan right", "zoom in", "zoom in"]
    page.press("j")
    assert page.one("tr.chosen td.label").text == "pan right"


def test_an_address_with_a_time_opens_there(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    page = opened(report_html(known_row(truth), video=inline(path)), anchor="#t=2.5")
    assert page.texts("tr.now td.start") == ["0:02.00"]
    page.picture_number()
    assert page.player_seconds() == pytest.approx(2.5, abs=2e-3)
    page.all("#rows tr")[1].click()
    assert page.browser.execute_script("return location.hash") == "#t=1"


def test_the_page_asks_for_nothing_and_complains_of_nothing(
    opened: Opener, moves: tuple[Path, list[KnownMove]]
) -> None:
    path, truth = moves
    curve = ClassCurve("zoom in", 0, 0, np.arange(5.0), np.array([0.1, 0.9, np.nan, 0.6]), (0.4, 0.2))
    html = report_html(known_row(truth), curves=[curve], thumbnails={0: media.jpeg_bytes(1)}, video=inline(path))
    page = opened(html)
    page.all("#rows tr")[1].click()
    page.player_seconds()
    assert page.browser.execute_script("return document.querySelector('.seek img').naturalWidth") == 160
    assert page.browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") for url in asked)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


STARTS = {
    "at 0": (0, {}),
    "at 5 s, by an edit list": (150, {}),
    "at 5 s, without one": (150, {"use_editlist": "0"}),
}

# Makes the player count from the video's first frame at 5 s, as some browsers do.
COUNTS_FROM_ZERO = """
const prototype = HTMLMediaElement.prototype;
const { get, set } = Object.getOwnPropertyDescriptor(prototype, "currentTime");
Object.defineProperty(prototype, "currentTime", {
  get() { return Math.max(0, get.call(this) - 5); },
  set(value) { set.call(this, value + 5); },
});
const request = HTMLVideoElement.prototype.requestVideoFrameCallback;
HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
  return request.call(this, (now, frame) => callback(now, { mediaTime: frame.mediaTime - 5 }));
};
"""


@pytest.mark.parametrize("case", STARTS)
@pytest.mark.parametrize("is_inline", [True, False], ids=["inside", "beside"])
def test_the_frame_at_the_segments_start_is_shown(opened: Opener, tmp_path: Path, case: str, is_inline: bool) -> None:
    first, options = STARTS[case]
    path = tmp_path / "100% #1?.mp4"
    pts = [first + number + number % 2 for number in range(0, 60, 2)]
    media.render(path, 30, pts=pts, time_base=Fraction(1, 30), container_options=options, options={"bf": "0"})
    start = pts[0] / 30
    segments = [found(pts[number] / 30, pts[number] / 30 + 0.2, "wave") for number in (4, 11, 18)]
    row = detection(segments=segments, start_seconds=start, duration_seconds=2.0)
    link = inline(path) if is_inline else VideoLink(name=path.name, url="100%25%20%231%3F.mp4")
    page = opened(report_html(row, video=link))
    for place, number in enumerate((4, 11, 18)):
        page.all("#rows tr")[place].click()
        page.player_seconds()
        assert page.playhead_share() == pytest.approx((pts[number] / 30 - start) / 2, abs=1e-3)
        assert page.texts("tr.now td.start") == [f"0:0{pts[number] / 30:.2f}"]
        if is_inline:  # a browser does not let a page read a picture of another file
            assert page.picture_number() == number


def test_a_player_that_counts_from_the_first_frame_is_understood(browser: Any, opened: Opener, tmp_path: Path) -> None:
    media.render(tmp_path / "in.mp4", 30, pts=list(range(150, 180)), options={"bf": "0"})
    segments = [found(5 + number / 30, 5 + number / 30 + 0.2, "wave") for number in (4, 11)]
    row = detection(segments=segments, start_seconds=5.0, duration_seconds=1.0)
    stub = {"source": COUNTS_FROM_ZERO}
    stubbed = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", stub)
    try:
        page = opened(report_html(row, video=inline(tmp_path / "in.mp4")), anchor=f"#t={5 + 11 / 30:.4f}")
        page.wait_for_seconds(11 / 30)
        assert page.texts("tr.now td.start") == ["0:05.37"]
        page.all("#rows tr")[0].click()
        page.player_seconds()
        assert page.picture_number() == 4
        assert page.player_seconds() == pytest.approx(4 / 30, abs=2e-3)
        assert page.playhead_share() == pytest.approx(4 / 30, abs=1e-3)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", stubbed)


# Makes the player take the video for a tenth of a second long, stopping each seek there, until it is told otherwise.
SEEMS_SHORT = """
const { get, set } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "currentTime");
let end = 0.1;
Object.defineProperty(HTMLMediaElement.prototype, "currentTime", {
  get, set(value) { set.call(this, Math.min(value, end)); },
});
window.tellTheLength = () => {
  end = Infinity;
  document.getElementById("player").dispatchEvent(new Event("durationchange"));
};
"""


@pytest.mark.parametrize("moved", [False, True], ids=["", "and the person went elsewhere meanwhile"])
def test_a_seek_that_was_stopped_goes_on_when_the_length_is_known(
    browser: Any, opened: Opener, moves: tuple[Path, list[KnownMove]], moved: bool
) -> None:
    path, truth = moves
    stubbed = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SEEMS_SHORT})
    try:
        page = opened(report_html(known_row(truth), video=inline(path)))
        page.player_seconds()
        page.all("#rows tr")[2].click()
        assert page.player_seconds() == pytest.approx(0.1, abs=2e-3)
        if moved:
            browser.execute_script("document.getElementById('player').currentTime = 0.05")
        browser.execute_script("tellTheLength()")
        assert page.player_seconds() == pytest.approx(0.05 if moved else truth[2].start_seconds, abs=2e-3)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", stubbed)


def test_a_video_that_the_browser_cannot_play_is_said_so(opened: Opener, tmp_path: Path) -> None:
    media.render(tmp_path / "old.mp4", 10, codec="mpeg4")
    row = detection(segments=[found(0.0, 0.2, "wave")], codec="mpeg4")
    page = opened(report_html(row, video=VideoLink(name="old.mp4", url="old.mp4")))
    page.browser.execute_async_script(
        "const done = arguments[0], notice = document.getElementById('player-notice');"
        "const look = () => (notice.hidden ? setTimeout(look, 20) : done()); look();"
    )
    assert "cannot play the video" in page.one("#player-notice").text
    assert "mpeg4" in page.one("#player-notice").text
    page.all("#rows tr")[0].click()
    assert page.texts("tr.chosen td.label") == ["wave"]


def test_without_a_video_the_timeline_still_works(opened: Opener) -> None:
    page = opened(report_html(detection(segments=[found(0.5, 1.0, "wave"), found(1.5, 1.8, "nod")])))
    assert not page.one("#player").is_displayed()
    page.all("#rows tr")[1].click()
    assert page.texts("tr.now td.label") == ["nod"]
    assert page.playhead_share() == pytest.approx(0.75)


def test_the_thresholds_of_each_class_are_drawn_and_told(opened: Opener) -> None:
    def page_with(*limits: tuple[float, float]) -> Any:
        curves = [
            ClassCurve(label, index, 0, np.arange(3.0), np.array([0.1, 0.3]), levels)
            for index, (label, levels) in enumerate(zip(("wave", "nod"), limits, strict=True))
        ]
        return opened(report_html(detection(), curves=curves))

    page = page_with((0.5, 0.25), (0.8, 0.4))
    drawn = [
        [round(1 - float(line.get_attribute("y1")), 3) for line in lane.find_elements("css selector", ".threshold")]
        for lane in page.all(".lane")
    ]
    assert drawn == [[0.5, 0.25], [0.8, 0.4]]
    assert "the thresholds of each class" in page.one("#legend").text
    assert "No class reached its threshold" in page.one("#empty").text
    page = page_with((0.5, 0.25), (0.5, 0.25))
    assert "the thresholds, 0.50 and 0.25" in page.one("#legend").text
    assert "No class reached 0.50" in page.one("#empty").text


def test_nothing_found_gaps_and_errors_are_said_in_words(opened: Opener) -> None:
    assert "Nothing found" in opened(report_html(detection())).one("#empty").text
    gap = {"start_seconds": 0.5, "end_seconds": 1.25, "reason": "frame 12 <b>is</b> damaged"}
    page = opened(report_html(detection(gaps=[gap], status="partial")))
    assert page.texts("#gap-list li") == ["0:00.50 \u2013 0:01.25: frame 12 <b>is</b> damaged"]
    assert "0.75 s" in page.one("#banner").text
    assert page.one(".gap-mark").size["width"] == pytest.approx(page.one("#axis").size["width"] * 0.375, abs=1)
    failed = detection(status="error", error="there is no file x.mp4", duration_seconds=None, start_seconds=None)
    page = opened(report_html(failed))
    assert "there is no file x.mp4" in page.one("#banner").text
    assert not page.one("#found").is_displayed()


@pytest.mark.parametrize("width", [1280, PHONE])
def test_cuts_are_lines_across_all_lanes_and_told_in_the_legend(opened: Opener, width: int) -> None:
    row = detection(segments=[found(0.5, 1.0, "wave"), found(1.0, 2.0, "nod", index=1)], cuts=[0.5, 1.5])
    page = opened(report_html(row), width=width)
    axis, lanes = page.one("#axis").rect, page.one("#lanes").rect
    marks = [mark.rect for mark in page.all(".cut-mark")]
    assert [(mark["x"] - axis["x"]) / axis["width"] for mark in marks] == pytest.approx([0.25, 0.75], abs=0.01)
    for mark in marks:
        assert mark["y"] <= lanes["y"]
        assert mark["y"] + mark["height"] >= lanes["y"] + lanes["height"] - 1
    assert "upright lines are 2 cuts" in page.one("#legend").text
    page.all(".bar")[1].click()  # the lines are not in the way
    assert page.playhead_share() == pytest.approx(0.5)
    page = opened(report_html(detection(segments=[found(0.5, 1.0, "wave")])), width=width)
    assert page.all(".cut-mark") == []
    assert "cut" not in page.one("#legend").text


NASTY = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">&amp;'{{data}}"


def test_text_of_others_stays_text(opened: Opener) -> None:
    row = detection(path=NASTY, segments=[found(0.5, 1.0, NASTY)], notes=[NASTY], settings={NASTY: NASTY})
    page = opened(report_html(row))
    assert page.texts("#rows td.label") == [NASTY]
    assert page.texts("#note-list li") == [NASTY]
    assert page.browser.title != "taken"
    assert page.browser.get_log("browser") == []


def test_a_phone_needs_no_sideways_scrolling(opened: Opener, moves: tuple[Path, list[KnownMove]]) -> None:
    path, truth = moves
    row = known_row(truth)
    row["segments"].append(found(0.2, 0.4, "an_unbreakable_label_" * 9 + " and words " * 9))
    row["path"] = "a_very_long_name_without_any_place_to_break_it_" * 4 + ".mp4"
    row["gaps"] = [{"start_seconds": 1.0, "end_seconds": 2.0, "reason": "x" * 200}]
    true = TruthOnPage("truth_" * 20 + ".csv", [LabelledTime(0.2, 0.5, row["segments"][-1]["label"])])
    page = opened(report_html(row, video=inline(path), truth=true), width=PHONE)
    assert page.one("#agreement-tables table").is_displayed()
    page.one("#agreement summary").click()
    for summary in page.all("summary"):
        summary.click()
    width = page.browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert width == [PHONE, PHONE]
    page.browser.execute_script("document.getElementById('zoom-in').click()")
    assert page.browser.execute_script("return document.documentElement.scrollWidth") == PHONE
    assert all(cell.rect["x"] + cell.rect["width"] <= PHONE for cell in page.all("#rows td.score"))
