"""Pages for everyone: no serious finding of axe-core at any width, light or dark, and all of it by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tadacli.reports.detection_page import FrameGrid, TruthOnPage, page_around, video_part
from tadacli.reports.eval_page import encode_eval_page
from tests import media
from tests.browser.axe import findings, findings_in_all_looks
from tests.browser.test_agreement import TRUTH
from tests.browser.test_correcting import FPS, fresh, row_of, video
from tests.browser.test_detection_page import Opener, Page, inline, opened
from tests.browser.test_eval_page import clip_page
from tests.browser.test_thresholds import HEADS, SCORES, SPANS, scored
from tests.reports.test_detection_page import detection, report_html
from tests.reports.test_eval_page import compared, detections, recognition

__all__ = ["clip_page", "opened", "video"]  # fixtures
# All that can be operated and is shown; of the segments on the timeline Tab reaches one, from which arrows go on.
OPERABLE = """
return [...document.querySelectorAll("a[href], button, input, select, summary, video")].filter((each) =>
  each.checkVisibility({ visibilityProperty: true }) && !each.disabled && !each.closest("fieldset:disabled")
  && !each.matches(".bar[tabindex='-1']")
);
"""


def correcting(opened: Opener, video: Path, **how: Any) -> Page:
    """A page with everything on it: several videos, gaps, truth, low threshold, a segment chosen in the mode."""
    segments, scores = scored(SCORES, SPANS, 0.4, low_threshold=0.2)
    gap = {"start_seconds": 3.5, "end_seconds": 3.7, "reason": "frame 12 is damaged"}
    row = row_of(video) | {"segments": segments, "gaps": [gap], "cuts": [2.0], "notes": ["a note"]}
    page_how: dict[str, Any] = {"labels": HEADS[""], "frames": FrameGrid(0.0, 1 / FPS), "scores": scores}
    page_how |= {
        "video": inline(video),
        "truth": TruthOnPage("mine.csv", TRUTH),
        "thumbnails": {0: media.jpeg_bytes(1)},
    }
    before, after = page_around(2)
    parts = [video_part(each, **page_how) for each in (row, row | {"path": "b.mp4"})]  # type: ignore[arg-type]
    page = fresh(opened(before + "".join(parts).encode() + after, **how))
    page.wait_for_seconds(0)
    page.one("#correct").send_keys(Keys.ENTER)
    page.one("body").send_keys("j", "c")
    page.browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    return page


def test_the_report_has_no_serious_findings(opened: Opener, video: Path) -> None:
    page = correcting(opened, video)
    assert findings_in_all_looks(page.browser) == []
    page.browser.execute_script("document.getElementById('save').style.color = '#eee'")
    assert any("color-contrast: ['#save']" in each for each in findings(page.browser))  # it does look
    page = opened(report_html(detection()))
    assert findings_in_all_looks(page.browser, (420,)) == []


@pytest.mark.parametrize("report", [recognition, detections, compared])
def test_the_page_of_an_evaluation_has_no_serious_findings(opened: Opener, report: Any) -> None:
    page = opened(encode_eval_page(report(), {"a": media.jpeg_bytes(1)}))
    page.browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert findings_in_all_looks(page.browser) == []


def test_items_of_a_cell_and_their_clips_have_no_serious_findings(opened: Opener, clip_page: bytes) -> None:
    page = opened(clip_page)
    page.all(".confusions .line")[0].click()
    assert findings_in_all_looks(page.browser) == []
    page.all("button.cell-item")[0].click()
    assert findings_in_all_looks(page.browser) == []


@pytest.mark.parametrize("width", [1400, 420])
def test_tab_reaches_all_that_can_be_operated(opened: Opener, video: Path, width: int) -> None:
    page = correcting(opened, video, width=width)
    wanted = page.browser.execute_script(OPERABLE)
    names = [each.get_attribute("id") or each.get_attribute("class") for each in wanted]
    assert {"threshold", "half-height", "low-threshold", "new-label", "save", "video-choice", "player"} <= {*names}
    page.browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached = []
    for _ in range(2 * len(wanted)):
        page.press(Keys.TAB)
        reached.append(page.browser.switch_to.active_element)
        shown = page.browser.execute_script(
            "const box = document.activeElement.getBoundingClientRect(); return [box.left, box.right]"
        )
        assert shown[0] < width, "what is reached is in sight"
        assert shown[1] > 0
    assert [name for each, name in zip(wanted, names, strict=True) if each not in reached] == []
