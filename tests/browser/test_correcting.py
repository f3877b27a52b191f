"""Corrections on the report in a real browser: by mouse and keys, undone, kept over a reload, saved and read again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tadacli.datasets.own_data import WantedSplits, own_data
from tadacli.errors import UsageError
from tadacli.evaluation.detections import evaluate_activitynet
from tadacli.formats.results import read_detections
from tadacli.formats.rows import DetectionRow
from tadacli.reports.detection_page import FrameGrid, frame_grid, page_around, video_part
from tests import media
from tests.browser.test_detection_page import Opener, Page, inline, opened
from tests.reports.test_detection_page import detection, found, report_html

__all__ = ["opened"]  # a fixture
FPS = 10
# Counts the elements that are added, removed or changed while a function runs and after.
WATCH = """
window.touched = new Set();
new MutationObserver((records) => {
  for (const each of records) for (const node of [each.target, ...each.addedNodes, ...each.removedNodes])
    touched.add(node.nodeType === 1 ? node : node.parentNode);
}).observe(document.getElementById("main"), { subtree: true, childList: true, attributes: true, characterData: true });
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "forty frames.mp4"
    media.render(path, 40, time_base=Fraction(1, FPS))
    return path


@pytest.fixture
def downloads(browser: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    return folder


def row_of(video: Path, **changes: Any) -> dict[str, Any]:
    """A row that can be read again, of a video of 4 seconds in which two labels were found."""
    segments = [found(0.5, 1.5, "nod", index=0, score=0.9), found(2.0, 3.0, "wave", index=1, score=0.6)]
    info = {"num_frames": 40, "fps": 10.0, "duration_seconds": 4.0, "start_seconds": 0.0}
    size = {"height": 96, "width": 160, "rotation": 0, "codec": "h264", "truncated": False}
    return detection(
        video=str(video),
        path=str(video),
        duration_seconds=4.0,
        segments=segments,
        frames={"used": 24},
        size_bytes=video.stat().st_size,
        weights_sha256="0" * 64,
        settings={},
        info={**info, **size},
        **changes,
    )


def page_of(opened: Opener, video: Path, **how: Any) -> Page:
    html = report_html(
        row_of(video),
        video=inline(video),
        labels=("nod", "wave", "bow"),
        frames=FrameGrid(0.0, 1 / FPS),
    )
    page = fresh(opened(html, **how))
    page.wait_for_seconds(0)
    return page


def fresh(page: Page) -> Page:
    """The page without what the browser kept of another one of this video."""
    page.browser.execute_script("localStorage.clear()")
    page.browser.refresh()
    return page


def drag(page: Page, selector: str, seconds: float) -> None:
    """Drag an element sideways by so much time on the timeline."""
    width = page.one("#axis").size["width"]
    by = round(width * seconds / 4)
    ActionChains(page.browser).drag_and_drop_by_offset(page.one(selector), by, 0).perform()


def go_to(page: Page, seconds: float) -> None:
    page.browser.execute_script("location.hash = `#t=${arguments[0]}`", seconds)
    page.wait_for_seconds(seconds)


def listed(page: Page) -> list[tuple[str, str, str]]:
    """Start, end and label of each row, with its marks."""
    return [
        tuple(row.find_element("css selector", each).text for each in (".start", ".end", ".label"))  # type: ignore[misc]
        for row in page.all("#rows tr")
    ]


def saved(downloads: Path) -> DetectionRow:
    deadline = time.monotonic() + 30
    while not (files := list(downloads.glob("*.json"))):
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.05)
    (row,) = read_detections(files[0])
    return row


def spans(row: DetectionRow) -> list[tuple[object, ...]]:
    keys = ("start_seconds", "end_seconds", "label", "index", "score", "origin", "checked")
    return [tuple(each[key] for key in keys) for each in row["segments"]]  # type: ignore[literal-required]


def wait_for(page: Page, title: str) -> None:
    """Returns when the page, which loads anew, shows the video with this title."""
    script = "return document.readyState === 'complete' && document.getElementById('title').textContent"
    deadline = time.monotonic() + 30
    while page.browser.execute_script(script) != title:
        assert time.monotonic() < deadline, f"{title} is not shown"


def write(page: Page, field: str, text: str) -> None:
    page.one(field).send_keys(Keys.CONTROL + "a", Keys.NULL, text, Keys.ENTER)


def press(page: Page, *keys: str) -> None:
    page.one("body").send_keys(*keys)


def test_what_a_person_corrects_is_kept_saved_and_trained_on(opened: Opener, video: Path, downloads: Path) -> None:
    page = page_of(opened, video)
    press(page, "e")
    page.all(".bar")[0].click()
    drag(page, ".handle.end", 0.52)
    assert listed(page)[0] == ("0:00.50", "0:02.00", "nod corrected")
    press(page, "c")
    page.all(".bar")[1].click()
    press(page, Keys.DELETE)
    assert [each[2] for each in listed(page)] == ["nod corrected checked"]
    go_to(page, 3.2)
    press(page, "i")
    go_to(page, 3.8)
    press(page, "o")
    assert page.browser.switch_to.active_element.get_attribute("id") == "new-label"
    page.press("<b>new</b>" + Keys.ENTER)
    wanted = [("0:00.50", "0:02.00", "nod corrected checked"), ("0:03.20", "0:03.80", "<b>new</b> added checked")]
    assert listed(page) == wanted
    assert page.one("#correcting-state").text == "1 corrected, 1 added, 1 removed, 2 of 2 checked."
    page.one("#budget summary").click()
    budget = ["nod 1 0:01.50 37.5 % 0:01.50", "<b>new</b> 1 0:00.60 15.0 % 0:00.60"]
    assert page.texts("#budget-rows tr:not([hidden])") == budget
    page.browser.refresh()
    page.wait_for_seconds(3.2005)  # where its address says that it stood
    assert listed(page) == wanted
    for _ in range(2):
        press(page, Keys.CONTROL + "z")
    assert [each[2] for each in listed(page)] == ["nod corrected checked"]
    press(page, Keys.CONTROL + "z")
    assert [each[2] for each in listed(page)] == ["nod corrected checked", "wave"]
    for _ in range(3):
        press(page, Keys.CONTROL + "y")
    assert listed(page) == wanted
    press(page, Keys.CONTROL + "s")
    row = saved(downloads)
    assert spans(row) == [
        (0.5, 2.0, "nod", 0, 0.9, "corrected", True),
        (3.2, 3.8, "<b>new</b>", 3, 1.0, "added", True),
    ]
    assert [each["label"] for each in row["removed"]] == ["wave"]
    file = next(downloads.glob("*.json"))
    source = own_data(file, None, None, None, WantedSplits())
    learnt = {(each.label, each.start_seconds, each.end_seconds) for each in source.spans.values()}
    assert learnt == {("nod", 0.5, 2.0), ("<b>new</b>", 3.2, 3.8)}
    (part,) = source.parts.values()
    assert part.remarks[0].text.startswith(
        "2 labels in 1 video: 1 corrected, 1 added, 1 removed by a person, 2 checked"
    )
    found = file.with_name("found.jsonl")
    found.write_text(json.dumps(row_of(video)) + "\n")
    report = evaluate_activitynet(file, found, tiou=[0.5])
    assert report.num_items == 1
    with pytest.raises(UsageError, match="nobody corrected it"):
        evaluate_activitynet(found, file, tiou=[0.5])


def test_ends_are_typed_or_taken_from_the_frame_shown(opened: Opener, video: Path) -> None:
    page = page_of(opened, video)
    press(page, "e")
    page.all(".bar")[1].click()
    for field, text, shown in (("start", "1.84", "0:01.80"), ("end", "0:03.26", "0:03.30")):
        write(page, f"#new-{field}", text)
        assert page.texts(f"tr.chosen .{field}") == [shown]
    go_to(page, 2.5)
    page.one("#start-here").click()
    press(page, ".", ".", ".")
    page.wait_for_seconds(2.8)
    page.one("#end-here").click()
    assert listed(page)[1][:2] == ("0:02.50", "0:02.80")
    write(page, "#new-end", "2.1")
    assert page.one("#correcting-state").text == "A segment ends after it starts."
    write(page, "#new-label", "bow")
    assert page.texts(".lane .lane-name") == ["nod", "wave", "bow"]
    drag(page, ".handle.start", 1.2)  # a segment keeps at least one frame
    assert listed(page)[1] == ("0:02.70", "0:02.80", "bow corrected")


def test_corrections_of_several_videos_are_saved_together(opened: Opener, video: Path, downloads: Path) -> None:
    before, after = page_around(3)
    names = ["a.mp4", "b.mp4", "c.mp4"]
    rows = [row_of(video) | {"path": name, "video": name} for name in names]
    rows[2] |= {"status": "error", "error": "it is a text file", "segments": [], "fps": None}
    how = {"labels": ("nod", "wave"), "frames": FrameGrid(0.0, 1 / FPS)}
    parts = [video_part(row, **how) for row in rows]  # type: ignore[arg-type]
    page = fresh(opened(before + "".join(parts).encode() + after))
    press(page, "e", "j")
    page.one("#new-label").send_keys(Keys.CONTROL + "a", Keys.NULL, "bow", Keys.ENTER)
    assert [each.text for each in page.all("#video-choice option")] == [
        "1. a.mp4 \u2013 2 segments",
        "2. b.mp4 \u2013 2 segments",
        "3. c.mp4 \u2013 could not be read",
    ]
    page.one("#video-after").click()
    wait_for(page, "b.mp4")
    assert [each[2] for each in listed(page)] == ["nod", "wave"]
    press(page, "e", "j")
    page.one("#new-label").send_keys(Keys.CONTROL + "a", Keys.NULL, "jump", Keys.ENTER)
    press(page, Keys.DELETE)
    press(page, "j")
    write(page, "#new-label", "run")
    page.choose("#video-choice", "3. c.mp4 \u2013 could not be read")
    wait_for(page, "c.mp4")
    assert page.one("#banner").text == "This video could not be analysed: it is a text file"
    press(page, "p")
    wait_for(page, "b.mp4")
    assert page.texts(".label") == ["run corrected"]
    press(page, Keys.CONTROL + "s")
    deadline = time.monotonic() + 30
    while not (files := list(downloads.glob("*.json"))):
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.05)
    first, second = read_detections(files[0])
    assert [(each["label"], each["index"], each["origin"]) for each in first["segments"]] == [
        ("bow", 2, "corrected"),
        ("wave", 1, "machine"),
    ]
    assert [(each["label"], each["index"]) for each in second["segments"]] == [("run", 3)]
    assert [each["label"] for each in second["removed"]] == ["nod"]


def test_without_the_mode_no_key_changes_anything(opened: Opener, video: Path) -> None:
    page = page_of(opened, video)
    page.all(".bar")[0].click()
    before = listed(page)
    press(page, Keys.DELETE, "c", "[", "]", "i", "o", Keys.CONTROL + "z")
    assert listed(page) == before
    assert not page.one("#correcting").is_displayed()
    assert not page.all(".handle")


@pytest.mark.parametrize("kept", ["no JSON", '{"done": 3}', '{"done": [{"number": 9, "before": null, "after": {}}]}'])
def test_what_the_browser_kept_damaged_is_left_alone(opened: Opener, video: Path, kept: str) -> None:
    page = page_of(opened, video)
    key = f"tada corrections 0123456789ab {video}"
    page.browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, kept)
    page.browser.refresh()
    page.wait_for_seconds(0)
    assert [each[2] for each in listed(page)] == ["nod", "wave"]
    assert not [each for each in page.browser.get_log("browser") if each["level"] == "SEVERE"]


def test_an_action_touches_as_few_elements_among_many_segments(opened: Opener, video: Path) -> None:
    counts: dict[int, Sequence[int]] = {}
    for number in (200, 2000):
        edges = np.linspace(0, 10_800, number + 1).round(1)
        segments = [found(a, b, "nod" if i % 2 else "wave", index=i % 2) for i, (a, b) in enumerate(pairwise(edges))]
        row = row_of(video) | {"segments": segments, "duration_seconds": 10_800.0}
        page = fresh(opened(report_html(row, frames=FrameGrid(0.0, 1 / FPS))))
        press(page, "e", "j", "j")
        page.browser.execute_script(WATCH)
        touched = []
        for key in ("c", Keys.DELETE, Keys.CONTROL + "z"):
            press(page, key)
            touched.append(page.browser.execute_script("const n = touched.size; touched.clear(); return n"))
        counts[number] = touched
    # Whether the rounded figures of a label change with one of its segments depends on how many it has.
    assert np.abs(np.subtract(counts[200], counts[2000])).max() <= 6
    assert max(counts[2000]) < 40


def test_a_video_plays_a_segment_again_or_stops_at_its_end(opened: Opener, video: Path) -> None:
    page = page_of(opened, video)
    page.choose("#at-end", "stop")
    page.choose("#speed", "4x")
    page.all(".bar")[0].click()
    # A browser that is busy for a while sees the end only when the player is far behind it.
    page.browser.execute_async_script(
        "const player = document.getElementById('player');"
        "player.play().then(() => { const end = Date.now() + 400; while (Date.now() < end); arguments[0](); });"
    )
    page.wait_for_seconds(1.5005)
    # A jump over the end passes no end.
    page.all(".bar")[0].click()
    page.browser.execute_script(
        "const player = document.getElementById('player'); player.currentTime = 3; player.play()"
    )
    page.wait_for_seconds(page.browser.execute_script("return document.getElementById('player').duration"))
    assert page.browser.execute_script("return document.getElementById('player').playbackRate") == 4


@pytest.mark.parametrize(
    ("times", "grid"),
    [
        (np.arange(5) / 25 + 1, FrameGrid(1.0, 0.04)),
        (np.round(np.arange(300) / 29.97, 3), "steady"),
        (np.array([0, 0.1, 0.1, 0.5, 2]), FrameGrid(0.0, times=(0.0, 0.1, 0.5, 2.0))),
        (np.zeros(1), None),
        (np.zeros(4), None),
        (np.sqrt(np.arange(300_000)), None),
    ],
)
def test_frames_snap_to_a_step_or_to_their_times(times: Any, grid: Any) -> None:
    made = frame_grid(times.astype(np.float64))
    if grid == "steady":
        assert made is not None
        assert (made.times, round(made.step, 4)) == ((), 0.0334)
    elif grid is None:
        assert made is None
    else:
        assert made is not None
        assert (made.start, round(made.step, 9), made.times) == (grid.start, grid.step, grid.times)


DRAWN = """
const [number, moment, done] = arguments, row = () => document.querySelector(`#rows tr[data-number="${number}"]`);
const look = () => {
  const canvas = row()?.querySelector("canvas");
  if (canvas?.moment !== moment) return setTimeout(look, 30);
  const pen = canvas.getContext("2d");
  done(Array.from(pen.getImageData(0, 0, canvas.width, canvas.height).data));
};
look();
"""


def drawn_number(page: Page, number: int, moment: float) -> int:
    """The number in the picture of a moment that a row has drawn, a twentieth larger than in `media.picture`."""
    pixels = np.array(page.browser.execute_async_script(DRAWN, number, moment), dtype=np.uint8)
    return media.number_in(pixels.reshape(96, 168, 4)[..., :3])


def test_segments_that_are_made_on_the_page_have_pictures(opened: Opener, video: Path) -> None:
    page = page_of(opened, video)
    press(page, "e")
    go_to(page, 3.2)
    press(page, "i")
    go_to(page, 3.8)
    press(page, "o")
    assert drawn_number(page, 2, 3.5) == 35  # the frame on screen in the middle
    page.all(".bar")[0].click()
    write(page, "#new-end", "3.5")
    assert drawn_number(page, 0, 2.0) == 20
    page = opened(report_html(row_of(video)))
    assert page.texts(".seek") == ["no picture"] * 3  # there is no video in it
    assert page.browser.get_log("browser") == []
