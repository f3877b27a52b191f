"""Other thresholds on the report in a real browser: segments are made again, and what a person did stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver.common.keys import Keys

from tadacli.datasets.own_data import WantedSplits, own_data
from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import threshold_inputs
from tadacli.reports.detection_page import FrameGrid
from tadacli.reports.score_data import ScoreData, score_data
from tadacli.results.json_ready import segment_row
from tests.browser.test_correcting import (
    FPS,
    WATCH,
    downloads,
    fresh,
    go_to,
    press,
    row_of,
    saved,
    video,
    write,
)
from tests.browser.test_detection_page import Opener, Page, inline, opened
from tests.reports.test_detection_page import report_html

__all__ = ["downloads", "opened", "video"]  # fixtures
HEADS = {"": ("nod", "wave", "bow")}
# Windows of half a second; scores of the labels in each.
SCORES = np.array(
    [[0.9, 0, 0], [0.9, 0, 0], [0, 0.6, 0], [0, 0, 0], [0.3, 0, 0], [0, 0, 0.3], [0, 0.5, 0], [0, 0, 0.25]]
)
SPANS = np.arange(8)[:, None] / 2 + np.array([0.0, 0.5])


def scored(
    scores: Any, spans: Any, threshold: float, *, max_bytes: int = 10**9, **how: Any
) -> tuple[list[Any], ScoreData]:
    """The rows of the segments that Python finds, and the scores as a page holds them."""
    settings = SegmentSettings(threshold=threshold, **how)
    arguments = (spans, np.zeros(len(spans), dtype=np.int64), {"": scores.astype(np.float32)}, HEADS)
    seconds = (0.0, float(spans[-1, 1]))
    found = find_segments(*arguments, settings=settings, video_seconds=seconds)
    inputs = threshold_inputs(*arguments, settings=settings, video_seconds=seconds, max_bytes=max_bytes)
    return [segment_row(each) for each in found], score_data(inputs, settings)


def page_with(opened: Opener, video: Path, threshold: float = 0.4, **how: Any) -> Page:
    segments, scores = scored(SCORES, SPANS, threshold, **how)
    row = row_of(video) | {"segments": segments}
    page = fresh(
        opened(report_html(row, video=inline(video), labels=HEADS[""], frames=FrameGrid(0.0, 1 / FPS), scores=scores))
    )
    page.wait_for_seconds(0)
    return page


def shown(page: Page) -> list[tuple[float, float, str]]:
    """What the page says of its segments, with times in seconds."""
    rows = [
        [row.find_element("css selector", f".{each}").text for each in ("start", "end", "label")]
        for row in page.all("#rows tr")
    ]
    return [(float(start[2:]), float(end[2:]), label) for start, end, label in rows]


def expected(threshold: float, **how: Any) -> list[tuple[float, float, str]]:
    rows, _ = scored(SCORES, SPANS, threshold, **how)
    return [(round(each["start_seconds"], 2), round(each["end_seconds"], 2), each["label"]) for each in rows]


def slide(page: Page, steps: int, slider: str = "#threshold") -> None:
    """Move a slider by keys, as many steps as given."""
    page.one(slider).send_keys(*[Keys.ARROW_RIGHT if steps > 0 else Keys.ARROW_LEFT] * abs(steps))


def test_segments_are_those_of_from_scores_and_those_of_a_person_stay(
    opened: Opener, video: Path, downloads: Path
) -> None:
    page = page_with(opened, video)
    assert shown(page) == expected(0.4)
    slide(page, -20)
    assert len(expected(0.2)) > len(expected(0.4))
    assert shown(page) == expected(0.2)
    made = "tada detect --from-scores FILE --threshold 0.2 and the other settings of the run make them: 6 segments."
    assert made in page.one("#thresholds-state").text
    assert page.one("#summary").text.startswith("6 segments of 3 classes")
    page.one("#half-height").click()  # from here on with a low threshold
    slide(page, 5, "#low-threshold")
    assert shown(page) == expected(0.2, low_threshold=0.15)
    page.one("#as-found").click()
    assert shown(page) == expected(0.4)
    assert page.browser.execute_script("return localStorage.length") == 0

    press(page, "e")
    first, second, third = expected(0.4)
    page.all(".bar")[0].click()
    write(page, "#new-end", "1.5")
    page.all(".bar")[1].click()
    press(page, Keys.DELETE)
    page.all(".bar:not([hidden])")[1].click()
    press(page, "c")
    go_to(page, 2.4)
    press(page, "i")
    go_to(page, 2.8)
    press(page, "o")
    page.press("bow" + Keys.ENTER)
    # Removed, corrected, checked and added ones stay what they are; what overlaps them under the same label stays out.
    yours = [(0.0, 1.5, "nod corrected"), (2.4, 2.8, "bow added checked"), (*third[:2], "wave checked")]
    assert (first[2], second[2]) == ("nod", "wave")
    assert shown(page) == yours
    slide(page, -20)
    new = [each for each in expected(0.2) if each not in (first, second, third)]
    again = [each for each in new if each[2] != "bow" or each[0] > 2.8 or each[1] < 2.4]
    assert len(again) == len(new) - 1
    assert shown(page) == sorted([*yours, *again])
    assert page.one("#thresholds-state").text.endswith(
        "3 of yours stay. 1 is left out: you decided about that label there."
    )
    slide(page, 60)
    assert shown(page) == yours
    page.browser.refresh()
    page.wait_for_seconds(2.4005)
    assert shown(page) == yours
    assert page.one("#threshold-shown").text == "0.80"
    press(page, Keys.CONTROL + "z")
    assert shown(page) == yours
    assert page.one("#threshold-shown").text == "0.40"
    press(page, Keys.CONTROL + "y")
    slide(page, -60)
    assert shown(page) == sorted([*yours, *again])
    page.all(".bar")[-1].click()
    press(page, "c")
    press(page, Keys.CONTROL + "s")
    row = saved(downloads)
    assert row["made_again"] == {"threshold": 0.2, "low_threshold": None}
    assert [each["label"] for each in row["removed"]] == ["wave"]
    wanted = {
        (each["start_seconds"], each["end_seconds"], each["label"]): each for each in scored(SCORES, SPANS, 0.2)[0]
    }
    machines = [each for each in row["segments"] if each["origin"] == "machine"]
    assert len(machines) == 1 + len(again)
    for each in machines:
        assert wanted[each["start_seconds"], each["end_seconds"], each["label"]].items() <= each.items()
    assert sum(each["checked"] for each in row["segments"]) == 3
    source = own_data(next(downloads.glob("*.json")), None, None, None, WantedSplits())
    assert source.parts[""].remarks[0].text.endswith("the others as found, in 1 video by thresholds chosen on the page")
    assert not [each for each in page.browser.get_log("browser") if each["level"] == "SEVERE"]


def test_undo_brings_back_what_was_there_and_pages_with_fewer_scores_keep_corrections(
    opened: Opener, video: Path
) -> None:
    page = page_with(opened, video)
    slide(page, -20)
    press(page, "e")
    go_to(page, 2.4)
    press(page, "i")
    go_to(page, 2.8)
    press(page, "o")
    page.press("bow" + Keys.ENTER)
    both = sorted([*expected(0.2), (2.4, 2.8, "bow added checked")])
    assert shown(page) == both
    slide(page, -1)
    assert len(shown(page)) == len(both) - 1
    press(page, Keys.CONTROL + "z")
    assert shown(page) == both
    page.browser.refresh()
    page.wait_for_seconds(2.4005)
    assert shown(page) == both
    # Pages whose scores do not allow this threshold, or that have none.
    for max_bytes in (220, 8):
        segments, scores = scored(SCORES, SPANS, 0.4, max_bytes=max_bytes)
        assert (scores.settings["lowest"] or 1) > 0.2
        page = opened(report_html(row_of(video) | {"segments": segments}, video=inline(video), scores=scores))
        assert shown(page) == sorted([*expected(0.4), (2.4, 2.8, "bow added checked")])
        assert page.browser.get_log("browser") == []


def test_labels_one_at_a_time_have_one_slider_and_scores_that_are_too_many_none(opened: Opener, video: Path) -> None:
    page = page_with(opened, video, exclusive=True)
    assert not page.one("#half-height").is_displayed()
    slide(page, 15)
    assert shown(page) == expected(0.55, exclusive=True)
    page = page_with(opened, video, max_bytes=8)
    assert not page.one("#threshold").is_displayed()
    assert "too many to be in this page" in page.one("#thresholds-state").text
    segments, scores = scored(SCORES, SPANS, 0.4, exclusive=True)
    of_head = replace(scores, settings={**scores.settings, "of_head": True})
    page = fresh(opened(report_html(row_of(video) | {"segments": segments}, scores=of_head)))
    slide(page, 15)
    assert "Made again, as tada detect --model FOLDER --threshold 0.55" in page.one("#thresholds-state").text
    page = fresh(opened(report_html(row_of(video))))
    assert not page.one("#thresholds").is_displayed()


def test_other_thresholds_touch_what_changes_among_many_segments(opened: Opener, video: Path) -> None:
    """Three of the segments go, of 200 as of 2,000 in three hours."""
    counts = []
    for number in (200, 2000):
        spans = np.arange(10_800)[:, None] + np.array([0.0, 1.0])
        scores = np.zeros((10_800, 3))
        places = np.linspace(2, 10_790, number).astype(int)
        scores[places, np.arange(number) % 2] = 0.9
        scores[places[[5, 50, 100]], [1, 0, 0]] = 0.405
        segments, kept = scored(scores, spans, 0.4)
        assert len(segments) == number
        row = row_of(video) | {"segments": segments, "duration_seconds": 10_800.0}
        page = fresh(opened(report_html(row, frames=FrameGrid(0.0, 1 / FPS), scores=kept)))
        page.browser.execute_script(WATCH)
        touched = []
        for keys in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
            page.one("#threshold").send_keys(keys)
            touched.append(page.browser.execute_script("const n = touched.size; touched.clear(); return n"))
            touched.append(int(page.one("#count").text.split()[0].replace(",", "")))
        counts.append(touched)
        assert touched[1::2] == [number - 3, number]
    assert np.abs(np.subtract(counts[0], counts[1])[::2]).max() <= 4
    assert max(counts[1][::2]) < 60


def test_bars_are_reached_by_tab_and_arrows(opened: Opener, video: Path) -> None:
    page = page_with(opened, video, 0.2)
    page.browser.execute_script("document.getElementById('half-height').focus()")
    page.press(Keys.TAB)  # the button beside it is disabled
    focused = "return document.activeElement.getAttribute('aria-label')"
    told = [page.browser.execute_script(focused)]
    for key in (
        Keys.ARROW_RIGHT,
        Keys.ARROW_RIGHT,
        Keys.ARROW_DOWN,
        Keys.ARROW_RIGHT,
        Keys.ARROW_DOWN,
        Keys.HOME,
        Keys.ARROW_UP,
    ):
        page.press(key)
        told.append(page.browser.execute_script(focused))
    assert [text.split(",")[0] for text in told] == ["nod", "nod", "nod", "wave", "wave", "bow", "bow", "wave"]
    assert page.browser.execute_script("return document.querySelectorAll('.bar[tabindex=\"0\"]').length") == 1
    assert page.texts("tr.chosen td.label") == ["wave"]
    press(page, "e")
    page.browser.execute_script("document.querySelector('.bar[tabindex=\"0\"]').focus()")
    page.press(Keys.DELETE)
    assert page.browser.execute_script("return document.activeElement.className").startswith("bar")
