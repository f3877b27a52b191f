"""Agreement on the report: to the last digit what Python says, of what is seen at that moment."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver.common.keys import Keys

from tadacli.evaluation.agreement import LabelAgreement, LabelledTime, VideoLabels, agreement
from tadacli.reports.detection_page import FrameGrid, TruthOnPage
from tests.browser.test_correcting import FPS, fresh, press, row_of, video, write
from tests.browser.test_detection_page import Opener, Page, inline, opened
from tests.browser.test_thresholds import HEADS, SCORES, SPANS, scored, slide
from tests.reports.test_detection_page import report_html

__all__ = ["opened", "video"]  # fixtures
SECONDS = (0.0, 4.0)
TRUTH = [LabelledTime(0.0, 0.9, "nod"), LabelledTime(1.0, 1.4, "wave"), LabelledTime(2.0, 2.5, "<b>hop</b>")]


def numbers(found: LabelAgreement) -> list[float | int | None]:
    return [found.kappa, found.f1, found.num_first, found.num_second]


def test_it_is_that_of_python_to_the_last_digit(browser: Any) -> None:
    random = np.random.default_rng(7)

    def spans(end: float) -> list[LabelledTime]:
        starts = random.uniform(-1, end, random.integers(0, 12)).round(random.integers(1, 7))
        lengths = random.choice([0.05, 0.3, 1.0, 7.77], len(starts))
        labels = random.choice(["a", "b", "\U0001f44b c"], len(starts))
        return [LabelledTime(*each) for each in zip(starts.tolist(), (starts + lengths).tolist(), labels, strict=True)]

    videos = [
        VideoLabels(spans(end), spans(end), (start, end))
        for start, end in zip(random.choice([0.0, 0.0333667], 300), random.uniform(0.04, 40, 300) + 0.04, strict=True)
    ]
    files = [
        resources.files("tadacli.reports").joinpath(name).read_text() for name in ("segment_rule.js", "agreement.js")
    ]
    script = """
    const spansOf = (each) => each.map(([start, end, label]) => ({ start, end, label }));
    const numbers = ({ kappa, f1, numFirst, numSecond }) => [kappa, f1, numFirst, numSecond];
    return JSON.parse(arguments[0]).map(([first, second, [start, end]]) => {
      const { overall, byLabel } = agreementOf(spansOf(first), spansOf(second), start, end);
      return [numbers(overall), Object.fromEntries([...byLabel].map(([label, each]) => [label, numbers(each)]))];
    });
    """
    browser.get("about:blank")
    given = json.dumps([(each.first, each.second, each.video_seconds) for each in videos])
    made = browser.execute_script("".join(files) + script, given)
    for each, found in zip(videos, made, strict=True):
        wanted = agreement([each])
        assert found == [numbers(wanted.overall), {label: numbers(of) for label, of in wanted.by_label.items()}]


def tables(page: Page) -> dict[str, dict[str, list[str]]]:
    """The texts of each table that is shown, by its caption and row."""
    return {
        table.find_element("css selector", "caption").text: {
            cells[0].text: [cell.text for cell in cells[1:]]
            for row in table.find_elements("css selector", "tbody tr:not([hidden])")
            for cells in [row.find_elements("css selector", "th, td")]
        }
        for table in page.all("#agreement-tables table:not([hidden])")
    }


def expected(first: list[LabelledTime], second: list[LabelledTime]) -> dict[str, list[str]]:
    found = agreement([VideoLabels(first, second, SECONDS)])
    return {
        label or "All labels": [
            *("\u2013" if value is None else f"{value:.2f}" for value in (of.kappa, of.f1)),
            str(of.num_first),
            str(of.num_second),
        ]
        for label, of in [("", found.overall), *found.by_label.items()]
    }


def spans_by(threshold: float) -> list[LabelledTime]:
    rows, _ = scored(SCORES, SPANS, threshold)
    return [LabelledTime(each["start_seconds"], each["end_seconds"], each["label"]) for each in rows]


def test_machine_person_and_truth_are_compared_as_they_are_seen(opened: Opener, video: Path) -> None:
    segments, scores = scored(SCORES, SPANS, 0.4)
    row = row_of(video) | {"segments": segments}
    how: dict[str, Any] = {
        "video": inline(video),
        "labels": HEADS[""],
        "frames": FrameGrid(0.0, 1 / FPS),
        "scores": scores,
    }
    page = fresh(opened(report_html(row, truth=TruthOnPage("mine.csv", TRUTH), **how)))
    page.wait_for_seconds(0)
    assert tables(page) == {"Machine and truth": expected(spans_by(0.4), TRUTH)}
    assert page.texts(".lane-name span:last-child") == ["nod", "wave", "<b>hop</b>"]
    assert "strips below the segments are the truth of mine.csv" in page.one("#legend").text
    slide(page, -20)
    assert tables(page) == {"Machine and truth": expected(spans_by(0.2), TRUTH)}
    slide(page, 20)
    press(page, "e", "j", "k")
    write(page, "#new-end", "0.9")
    corrected = [LabelledTime(0.0, 0.9, "nod"), *spans_by(0.4)[1:]]
    assert tables(page) == {
        "Machine and truth": expected(spans_by(0.4), TRUTH),
        "Machine and corrected": expected(spans_by(0.4), corrected),
        "Corrected and truth": expected(corrected, TRUTH),
    }
    press(page, Keys.CONTROL + "z")
    assert list(tables(page)) == ["Machine and truth"]
    # The truth is reached by keys, too.
    page.browser.execute_script("document.querySelector('.bar[tabindex=\"0\"]').focus()")
    for key in (Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN):
        page.press(key)
    told = page.browser.execute_script("return document.activeElement.getAttribute('aria-label')")
    assert told.startswith("Truth: wave, 0:01.00")
    page.wait_for_seconds(1.0005)
    page = fresh(opened(report_html(row, truth=TruthOnPage("mine.csv", None), **how)))
    page.one("#agreement summary").click()
    assert page.one("#agreement-words").text.startswith("mine.csv has no labels for this video.")
    assert not page.all(".truth")
