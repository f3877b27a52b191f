"""The page of an evaluation in a real browser: what a person sees, sorts, filters and points at."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tadacli.datasets.samples import Sample
from tadacli.evaluation.metrics import Outcomes
from tadacli.evaluation.report import EvalReport, NamedPrecision, Precisions, ScoredItems, TaskParts, UnscoredItem
from tadacli.reports.eval_page import encode_eval_page, eval_page
from tadacli.reports.video_links import PlayedVideo, VideoLink, played_videos
from tadacli.results import Note, NoteKind
from tests import media
from tests.browser.test_detection_page import NASTY, PHONE, Opener, Page, opened
from tests.reports.test_eval_page import compared, detections, head, item, recognition

__all__ = ["opened"]

DOWN, RIGHT = "\ue015", "\ue014"
TOLD = "return document.querySelector('.told').textContent"
# The colours of the cells' middles in the matrix, row by row.
SWATCHES = """
const canvas = document.querySelector(".matrix canvas"), pen = canvas.getContext("2d"), num = arguments[0];
const size = canvas.width - arguments[1], cell = size / num, colours = [];
for (let row = 0; row < num; row++) for (let column = 0; column < num; column++) {
  const at = (number, full) => Math.floor(full - size + (number + 0.25) * cell);
  colours.push(Array.from(pen.getImageData(at(column, canvas.width), at(row, canvas.height), 1, 1).data.slice(0, 3)));
}
return colours;
"""


def test_the_result_is_said_in_words(opened: Opener) -> None:
    page = opened(encode_eval_page(recognition(), {"a": media.jpeg_bytes(1)}))
    assert page.one("#scored").text == "6 of 8 videos scored"
    assert page.texts("#reasons li") == ["1\nis damaged", "1\nthere is no file"]
    assert page.texts(".card")[0] == "top-1\n50.00 %\n95 %: 12.50 to 87.50"
    assert page.texts(".worst .id") == ["b", "a"]
    assert "0:01.50 \u2013 1:03.25" in page.texts(".worst .item")[0]
    assert page.browser.execute_script("return document.querySelector('.worst img').naturalWidth") == 160
    assert page.texts("#unscored .lost") == ["c\nis damaged\nvideos/c.mp4", "d\nthere is no file\nno file"]
    assert page.browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_arrow_keys_and_lists_lead_to_the_cells_of_the_matrix(opened: Opener) -> None:
    page = opened(encode_eval_page(recognition()))
    page.one(".matrix").click()
    page.press("\ue00c")
    for key in (DOWN, DOWN, RIGHT):
        page.press(key)
    assert page.browser.execute_script(TOLD) == "True nod, predicted nod: 1 of 3 (33.3 %)"
    page.all(".confusions .line")[0].click()
    assert page.browser.execute_script(TOLD) == "True nod, predicted wave: 2 of 3 (66.7 %)"
    page.all(".classes .line")[2].click()
    assert page.browser.execute_script(TOLD) == "True bow, predicted bow: 0"


def test_the_matrix_is_drawn_where_its_counts_are(opened: Opener) -> None:
    num = 40
    pairs = [(n, n) for n in range(num)] + [(3, 17)] * 5 + [(30, 2)] * 5
    page = opened(encode_eval_page(recognition(heads={"": head([f"class {n}" for n in range(num)], pairs)})))
    margin = page.browser.execute_script(
        "const sheet = document.querySelector('.matrix div');"
        "const pen = document.querySelector('canvas').getContext('2d');"
        "pen.font = '12px ' + getComputedStyle(sheet).fontFamily;"
        f"return Math.max(...[...Array({num}).keys()].map((n) => pen.measureText('class ' + n).width)) + 10"
    )
    colours = page.browser.execute_script(SWATCHES, num, margin)
    empty = colours[1]
    drawn = {divmod(place, num) for place, colour in enumerate(colours) if colour != empty}
    assert drawn == set(pairs)
    right, wrong = colours[0], colours[3 * num + 17]
    assert right[2] > right[0], "blue is right"
    assert wrong[0] > wrong[2], "orange is wrong"


def test_classes_are_sorted_and_filtered(opened: Opener) -> None:
    names = ["ten 10", "ten 2", "alpha", "omega", "beta", "none", "wave", "nod"]
    pairs = [(0, 0), (0, 0), (1, 0), (1, 1), (2, 0), (3, 3), (4, 4), (4, 4), (4, 2), (6, 6), (7, 0)]
    page = opened(encode_eval_page(recognition(heads={"": head(names, pairs)})))

    def listed(order: str) -> list[str]:
        page.choose(".classes .order", order)
        return page.texts(".classes .label")

    assert page.texts(".classes .label") == ["alpha", "nod", "ten 2", "beta", "ten 10", "omega", "wave", "none"]
    assert listed("by accuracy, highest first")[-2:] == ["nod", "none"]
    assert listed("by number of items")[:2] == ["beta", "ten 10"]
    assert listed("by name") == ["alpha", "beta", "nod", "none", "omega", "ten 2", "ten 10", "wave"]
    page.one(".classes .filter").send_keys("TEN 1")
    assert page.texts(".classes .label") == ["ten 10"]
    assert page.one(".classes .foot").text == "1 shown of 1 that match, of 8 classes"


def test_all_that_is_not_scored_can_be_reached(opened: Opener) -> None:
    lost = [
        UnscoredItem(f"v{n:03d}", f"videos/{n}.mp4", ("is damaged", "is too short")[n % 30 == 7]) for n in range(300)
    ]
    page = opened(encode_eval_page(recognition(unscored=tuple(lost), num_items=306)))
    assert len(page.all("#unscored .lost")) == 50
    for expected in (250, 300):
        page.one("#unscored .foot button").click()
        assert len(page.all("#unscored .lost")) == expected
    page.all("#reasons button")[1].click()
    assert page.texts("#unscored .id") == [f"v{n:03d}" for n in range(7, 300, 30)]


def test_detection_and_nothing_scored_have_pages(opened: Opener) -> None:
    page = opened(encode_eval_page(detections()))
    assert page.texts("#tasks tbody tr")[0] == "verb 0.2917 0.5000 0.2500 0.1250 4 classes, 9 detections, 7 scored"
    assert not page.one("#heads").is_displayed()
    lines = [text.replace("\n", " ") for text in page.texts(".by-class .line")]
    assert lines[0] == "class 0 0.0000 1 segment"
    page.choose(".by-class .order", "highest first")
    assert page.texts(".by-class .label") == ["class 3", "class 2", "class 1", "class 0"]
    page.choose(".by-class .tiou", "tIoU 0.30")
    assert page.texts(".by-class .share") == ["0.0000"] * 4
    page.choose(".by-video .tiou", "tIoU 0.30")
    assert page.texts(".by-video .label") == ["P01_00", "P01_01", "P01_02"]
    assert page.texts(".by-video .share") == ["0.0000", "0.1250", "0.2500"]
    errors = [text.replace("\n", " ") for text in page.texts(".errors .line")]
    assert errors[:2] == ["right 50.0 % 2 / 4", "double detection 25.0 % 1 / 4"]
    page.choose(".errors .multiple", "10 times as many")
    errors = [text.replace("\n", " ") for text in page.texts(".errors .line")]
    assert errors[-2:] == ["background 14.3 % 1 / 7", "missed 50.0 % 2 / 4"]
    page = opened(encode_eval_page(recognition(num_scored=0, metrics={}, heads={}, num_items=9)))
    assert "Nothing was scored" in page.one("#banner").text
    assert page.texts("#reasons li")[-1] == "7\nnot scored, and it is not known which or why"
    assert page.browser.get_log("browser") == []


def test_text_of_others_stays_text(opened: Opener) -> None:
    lost = (UnscoredItem(NASTY, NASTY, NASTY),)
    result = head([NASTY, "nod"], [(0, 1)], worst=(item(NASTY, path=NASTY),))
    page = opened(
        encode_eval_page(recognition(heads={NASTY: result}, unscored=lost, notes=(Note(NoteKind.MEASURE, NASTY),)))
    )
    assert page.texts(".classes .label")[0] == NASTY
    assert page.texts("#unscored .id") == [NASTY]
    assert page.browser.title != "taken"
    assert page.browser.get_log("browser") == []


@pytest.mark.parametrize("num_classes", [2, 400])
def test_a_phone_needs_no_sideways_scrolling(opened: Opener, num_classes: int) -> None:
    long = "an_unbreakable_label_" * 9
    labels = [f"{long} {n}" for n in range(num_classes)]
    result = head(labels, [(n, (n * 7) % num_classes) for n in range(num_classes)], worst=(item(long, path=long * 3),))
    lost = (UnscoredItem(long, long, long),)
    page = opened(encode_eval_page(recognition(heads={long: result}, unscored=lost)), width=PHONE)
    page.one("summary").click()
    for _ in range(3):
        page.browser.execute_script("document.querySelector('.zoom-in').click()")
        assert page.browser.execute_script("return document.documentElement.scrollWidth") == PHONE


def test_a_phone_shows_detections_without_sideways_scrolling(opened: Opener) -> None:
    long = "an_unbreakable_label_" * 9
    report = detections()
    assert isinstance(report.metrics, Precisions)
    parts = TaskParts(
        tuple(NamedPrecision(f"{long} {n}", 1, (0.5, 0.25, 0.125), n) for n in range(300)),
        tuple(NamedPrecision(f"{long}{n}.mp4", 1, (0.5, 0.25, 0.125)) for n in range(3)),
    )
    wide = replace(report, metrics=replace(report.metrics, parts={"verb": parts}))
    page = opened(encode_eval_page(wide), width=PHONE)
    assert page.browser.execute_script("return document.documentElement.scrollWidth") == PHONE
    assert page.one(".by-class .foot").text.startswith("200 shown of 300 classes")
    page.one(".by-class .foot button").click()
    assert len(page.all(".by-class .line")) == 300
    found = compared()
    assert isinstance(found.metrics, Precisions)
    named = tuple(replace(each, name=f"{long} {each.name}") for each in found.metrics.parts["all"].classes)
    lanes = {"all": replace(found.metrics.parts["all"], classes=named)}
    page = opened(encode_eval_page(replace(found, metrics=replace(found.metrics, parts=lanes))), width=PHONE)
    page.browser.execute_script("document.querySelector('.lanes .zoom-in').click()")
    assert page.browser.execute_script("return document.documentElement.scrollWidth") == PHONE
    assert page.one(".lanes .about").text.endswith("tada eval --data-root FOLDER says where they are.")


def clips_report(video: Path) -> EvalReport:
    """Three classes; of five items in the second cell of the first row one has no file, and one is gone."""
    true, predicted = np.array([0, 0, 0, 0, 1, 1]), np.array([1, 1, 1, 0, 1, 1])
    samples = [
        Sample("a", video, {"": 0}, 1.0, 2.0),
        Sample("b", video, {"": 0}),
        Sample("c", None, {"": 0}),
        Sample("d", video, {"": 0}),
        Sample("e", video.with_name("gone.mp4"), {"": 1}),
        Sample("f", video, {"": 1}, None, 0.5),
    ]
    outcomes = Outcomes(true, predicted, np.where(true == predicted, 0, 1), np.full(6, 0.75))
    items = ScoredItems(samples, outcomes, np.array([0.1, 0.2, 0.15, 0.75, 0.75, 0.75]))
    result = head(["wave", "nod", "bow"], list(zip(true.tolist(), predicted.tolist(), strict=True)))
    worst = tuple(items[row] for row in (0, 2))
    return recognition(heads={"": replace(result, items=items, worst=worst)})


@pytest.fixture(scope="module")
def clip_page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    video = tmp_path_factory.mktemp("video") / "forty frames.mp4"
    media.render(video, 40, time_base=Fraction(1, 10))
    return eval_page(clips_report(video), video.with_name("page.html"))


PLAYER = """
const done = arguments[0], player = document.getElementById("clip-player");
const look = () => {
  const isAtRest = player.paused && !player.seeking && player.readyState >= 2 && player.currentTime > 0;
  if (!isAtRest) return setTimeout(look, 20);
  done([player.currentTime, player.src.slice(0, 5), document.getElementById("clip-notice").textContent]);
};
look();
"""


def test_a_picture_opens_its_clip_which_stops_at_its_end(opened: Opener, clip_page: bytes) -> None:
    page = opened(clip_page)
    assert page.one(".worst img").get_attribute("src").startswith("data:image/jpeg")
    assert "no clip: no video file was found" in page.texts(".worst .item")[1]
    page.one(".worst .open").click()
    seconds, source, said = page.browser.execute_async_script(PLAYER)
    assert (round(seconds, 2), source, said) == (2.0, "blob:", "")
    assert page.one("#clip-title").text == "a"
    assert page.one("#clip-words").text == "true wave, predicted nod"
    assert page.one("#clip-span").text == "0:01.00 \u2013 0:02.00"
    # In one call: a busy browser may have played it all before the next.
    again = "document.getElementById('clip-again').click(); return document.getElementById('clip-player').currentTime"
    assert page.browser.execute_script(again) < 1.1
    page.press(Keys.ESCAPE)
    assert not page.one("#clip").is_displayed()
    assert page.browser.switch_to.active_element == page.one(".worst .open")
    page.press(Keys.ENTER)
    half = page.one("#clip").size["width"] // 2
    for offset, is_open in ((4 - half, True), (-4 - half, False)):  # at its rim, and beside it
        ActionChains(page.browser).move_to_element_with_offset(page.one("#clip"), offset, 0).click().perform()
        assert page.one("#clip").is_displayed() is is_open
    assert page.browser.switch_to.active_element == page.one(".worst .open")
    assert page.browser.get_log("browser") == []


def test_a_cell_lists_its_items_by_keyboard(opened: Opener, clip_page: bytes) -> None:
    page = opened(clip_page)
    page.one(".matrix").click()
    page.press(Keys.ESCAPE)
    assert not page.one(".cell").is_displayed()
    for key in (RIGHT, RIGHT, Keys.ENTER):
        page.press(key)
    assert page.browser.switch_to.active_element == page.one(".cell")
    assert page.one(".cell").get_attribute("aria-label") == "3 items: wave, taken for nod"
    assert page.texts(".cell-item .id") == ["a", "c", "b"]  # by the score of the true class
    assert "no clip: no video file was found" in page.texts(".cell-item")[1]
    assert "true 0.100, predicted 0.750" in page.texts(".cell-item")[0]
    page.press(Keys.TAB)
    page.press(Keys.ENTER)
    assert page.browser.execute_async_script(PLAYER)[:2] == [pytest.approx(2.0, abs=0.01), "blob:"]
    page.press(Keys.ESCAPE)
    page.press(Keys.ESCAPE)
    assert page.browser.switch_to.active_element == page.one(".matrix")
    page.press(DOWN)
    assert page.texts(".cell-item .id") == ["e", "f"]
    assert "no clip: the file is not there" in page.texts(".cell-item")[0]
    page.press(RIGHT)
    assert not page.one(".cell").is_displayed()  # an empty cell


def test_a_page_says_which_clips_it_lacks(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"no video")
    report = clips_report(tmp_path / "none.mp4")
    link = PlayedVideo(VideoLink(name="none.mp4", url="none.mp4"))
    page = opened(encode_eval_page(report, videos={str(tmp_path / "none.mp4"): link}))
    page.one(".worst .open").click()
    WebDriverWait(page.browser, 20).until(lambda _: page.one("#clip-notice").is_displayed())
    assert "This browser cannot play the video" in page.one("#clip-notice").text
    page = opened(eval_page(report, tmp_path / "page.html"))
    assert "no clip: the video cannot be read" in page.texts(".worst .item")[0]
    page = opened(encode_eval_page(recognition()))
    page.all(".confusions .line")[0].click()
    assert page.one(".cell").text == "2 items: nod, taken for wave\nThis page does not say which ones."


def test_segments_of_a_video_are_reached_with_arrows_and_open_as_clips(opened: Opener, tmp_path: Path) -> None:
    media.render(tmp_path / "a.mp4", 40, time_base=Fraction(1, 4))
    page = opened(eval_page(compared(path=str(tmp_path / "a.mp4")), tmp_path / "page.html"))
    assert page.texts(".lane-name") == ["", "wave", "nod"]
    bars = page.all(".sheet .bar")
    assert [bar.get_attribute("aria-label") for bar in bars] == [
        "True: wave, 0:00.00 \u2013 0:02.00, found",
        "Detected: wave, 0:00.00 \u2013 0:02.00, score 0.900, right",
        "Detected: wave, 0:00.00 \u2013 0:01.90, score 0.800, double detection",
        "Detected: wave, 0:05.00 \u2013 0:06.00, score 0.700, wrong label",
        "True: nod, 0:05.00 \u2013 0:06.00, missed",
    ]
    # Those that overlap lie below each other, and each lies where its times are.
    boxes = [bar.rect for bar in bars]
    assert (boxes[1]["y"] < boxes[2]["y"], boxes[1]["y"] == boxes[3]["y"]) == (True, True)
    assert boxes[3]["x"] == pytest.approx(boxes[4]["x"], abs=0.1)
    page.browser.execute_script("arguments[0].focus()", bars[0])
    for _ in range(3):
        page.press(RIGHT)
    assert page.one(".lanes .told").text == "Detected: wave, 0:05.00 \u2013 0:06.00, score 0.700, wrong label"
    page.one(".play-segment").click()
    assert page.browser.execute_async_script(PLAYER)[:2] == [pytest.approx(6.0, abs=0.01), "blob:"]
    page.press(Keys.ESCAPE)
    page.all(".by-video button.line")[0].click()  # the lowest first
    assert page.one(".lanes select").get_attribute("value") == "b"
    page.all(".sheet .bar")[1].click()
    assert page.one(".lanes .told").text.endswith("missed; no clip: no video file was found")
    assert not page.one(".play-segment").is_displayed()
    assert page.browser.get_log("browser") == []


def test_precision_by_class_is_drawn_in_the_order_of_the_list(opened: Opener) -> None:
    page = opened(encode_eval_page(compared()))
    heights = "return [...document.querySelectorAll('.precisions .bin')].map((bar) => bar.getAttribute('height') / 130)"
    assert page.browser.execute_script(heights) == [0.25, 0.5]
    page.choose(".by-class .order", "highest first")
    page.choose(".by-class .tiou", "tIoU 0.10")
    assert page.browser.execute_script(heights) == [1, 0.5]
    told = page.one(".precisions").get_attribute("aria-label")
    assert told == "Average precision of 2 classes: mean 0.7500, from 0.5000 (nod) to 1.0000 (wave)"


CLIP_FRAME = """
const player = document.getElementById("clip-player"), canvas = document.createElement("canvas");
canvas.width = player.videoWidth; canvas.height = player.videoHeight;
const pen = canvas.getContext("2d");
pen.drawImage(player, 0, 0);
return Array.from(pen.getImageData(0, 0, canvas.width, canvas.height).data);
"""


def _number_shown(page: Page) -> int:
    """The number of the frame that the player shows."""
    pixels = np.array(page.browser.execute_script(CLIP_FRAME), dtype=np.uint8).reshape(96, 160, 4)
    return media.number_in(pixels[..., :3])


@pytest.mark.parametrize("max_inline", [10**6, 0], ids=["inside", "beside"])
def test_times_of_a_clip_count_from_the_first_frame(opened: Opener, tmp_path: Path, max_inline: int) -> None:
    path = tmp_path / "late #1.mp4"
    media.render(path, 30, pts=list(range(150, 180)), options={"bf": "0"})  # it begins at 5 s
    report = recognition()
    worst = (item("a", path=str(path), start_seconds=0.2, end_seconds=0.6),)
    report = replace(report, heads={"": replace(report.heads[""], worst=worst)})
    videos = played_videos([str(path)], tmp_path / "report.html", max_inline=max_inline)
    page = opened(encode_eval_page(report, videos=videos))
    page.one(".worst .open").click()
    _, source, said = page.browser.execute_async_script(PLAYER)
    assert (source, said) == ("blob:" if max_inline else "file:", "")
    if max_inline:  # a browser does not let a page read a picture of another file
        # A busy browser is at rest before it shows where.
        WebDriverWait(page.browser, 20).until(lambda _: _number_shown(page) == 17)  # the last one of the span
    assert page.browser.get_log("browser") == []
