"""A stranger's questions: one search on the built site, in a browser, leads to the section with the answer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.browser.axe import findings_in_all_looks
from tests.browser.conftest import browser

__all__ = ["browser"]

# What is typed, and what the answer says.
QUESTIONS = [
    ("get only segments of label X above 0.6 as a DataFrame", '.filter(label="pan left", min_score=0.6)'),
    ("use my numpy frames", "fps=30"),
    ("write SRT and CSV at once", "--format csv,srt"),
    ("which weights for actions", "tada2d_r50.k400_8x8"),
    ("resume an interrupted run", "--resume"),
]
NUM_LOOKED_AT = 3
_SEARCH = """
const box = document.querySelector('input[data-md-component="search-query"]');
box.focus(); box.value = arguments[0]; box.dispatchEvent(new Event('keyup')); box.dispatchEvent(new Event('input'));
"""


_FOUND = "return [...document.querySelectorAll('a.md-search-result__link')].map(each => each.href)"
_SECTION = """
let place = document.getElementById(arguments[0]) || document.querySelector('h1'), text = place.innerText;
while ((place = place.nextElementSibling) && !/^H[1-6]$/.test(place.tagName)) text += place.innerText;
return text;
"""


@pytest.mark.parametrize(("question", "answer"), QUESTIONS)
def test_one_search_leads_to_the_answer(site_address: str, browser: Any, question: str, answer: str) -> None:
    """One of the first sections that are found says it."""
    browser.get(f"{site_address}/index.html")
    browser.execute_script(_SEARCH, question)
    found, before, until = [], None, time.monotonic() + 20
    while (not found or found != before) and time.monotonic() < until:  # they come as they are found
        before = found
        time.sleep(0.3)
        found = browser.execute_script(_FOUND)
    sections = []
    for link in found[:NUM_LOOKED_AT]:
        browser.get(link)
        sections.append(browser.execute_script(_SECTION, link.partition("#")[2]))
    assert any(answer in section for section in sections), found[:NUM_LOOKED_AT]


def test_the_start_page_has_no_serious_findings(site_address: str, browser: Any) -> None:
    browser.get(f"{site_address}/index.html")
    assert findings_in_all_looks(browser) == []
