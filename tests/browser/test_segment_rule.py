"""The rule that makes segments again on the page: to the last digit what Python makes of the same scores."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np

from tadacli.detection.by_head import head_inputs, head_segments
from tadacli.detection.head_decoding import ScoredSpans
from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import threshold_inputs
from tadacli.reports.score_data import score_data
from tadacli.results.json_ready import rounded_seconds, segment_row
from tests.detection.test_by_head import small_head

NUM_CASES, NUM_HEAD_CASES, NUM_THRESHOLDS = 160, 60, 6
PLAIN = {"": ("rest", "walk", "run", "sit")}
ACTIONS = {"verb": ("take", "put"), "noun": ("cup", "pan", "lid")}
LOW_SHARES = (None, 0.3, 1.0)


def windows_of(random: np.random.Generator, num_lengths: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Spans and scales of windows over a video, some of them missing, and its end."""
    end = float(random.choice([12.8, 30.0, 41.7083]))
    spans, scale = [], []
    for number in range(num_lengths):
        length = float(random.choice([0.5, 1.0, 2.0, 64 / 29.97])) * (number + 1)
        step = length * float(random.choice([0.25, 0.5, 1 / 3, 1.0]))
        starts = np.arange(-length / 3 if random.random() < 0.3 else 0.0, end, step)
        starts = starts[random.random(len(starts)) < random.choice([0.85, 1.0])]
        spans.append(np.stack([starts, starts + length], axis=1))
        scale += [number] * len(starts)
    return np.concatenate(spans), np.array(scale, dtype=np.int64), end


def scores_of(random: np.random.Generator, num_windows: int, num_labels: int) -> np.ndarray:
    """Scores that go up and down; those of some cases are such that many are equal, or exactly at a threshold."""
    walk = np.cumsum(random.normal(0, 0.6, (num_windows, num_labels)), axis=0)
    scores = 1 / (1 + np.exp(-walk))
    return (np.round(scores * 32) / 32 if random.random() < 0.4 else scores).astype(np.float32)


def case(number: int) -> tuple[dict[str, Any], list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """The data on the page, thresholds, and the rows that Python makes by each."""
    random = np.random.default_rng(number)
    way = ("plain", "plain", "actions", "exclusive", "contrast")[number % 5]
    is_plain = way in ("plain", "actions")
    spans, scale, end = windows_of(random, int(random.integers(1, 3)) if is_plain else 1)
    heads = ACTIONS if way == "actions" else PLAIN
    scores = {name: scores_of(random, len(spans), len(labels)) for name, labels in heads.items()}
    between = {
        "smooth_seconds": float(random.choice([0.0, 1.5])),
        "merge_gap_seconds": float(random.choice([0.0, 0.7])),
        "nms": str(random.choice(["hard", "soft", "none"])),
        "nms_iou": float(random.choice([0.0, 0.5])),
    }
    settings = SegmentSettings(
        min_duration_seconds=float(random.choice([0.0, 0.9])),
        topk=[None, 7][random.integers(2)],
        topk_per_class=[None, 2][random.integers(2)],
        background=("rest",) if heads is PLAIN and random.random() < 0.3 else (),
        exclusive=way == "exclusive",
        contrast=way == "contrast",
        **(between if is_plain else {}),  # type: ignore[arg-type]
    )
    how: dict[str, Any] = {
        "video_seconds": (0.0 if random.random() < 0.7 else 1 / 128, end),
        "cuts": sorted(random.uniform(0, end, 2)) if random.random() < 0.3 else (),
    }
    inputs = threshold_inputs(spans, scale, scores, heads, settings=settings, max_bytes=10**9, **how)
    asked, expected = [], []
    for threshold in (random.integers(1, 101, NUM_THRESHOLDS) / 100).tolist():
        share = LOW_SHARES[random.integers(3)] if is_plain else None
        low = None if share is None else max(0.01, round(threshold * share, 3))
        asked.append({"threshold": threshold, "low": low})
        chosen = replace(settings, threshold=threshold, low_threshold=low)
        found = find_segments(spans, scale, scores, heads, settings=chosen, **how)
        expected.append([segment_row(each) for each in found])
    return dict(score_data(inputs, settings).content), asked, expected


def head_case(number: int) -> tuple[dict[str, Any], list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Alike for a head that finds segments: thresholds only choose among its spans."""
    random = np.random.default_rng(1000 + number)
    heads = ACTIONS if number % 2 else PLAIN
    count, num_classes = int(random.integers(0, 60)), math.prod(map(len, heads.values()))
    scores = random.random(count)
    scores = np.sort(np.round(scores * 16) / 16 if random.random() < 0.4 else scores)[::-1]
    starts = random.uniform(0, 30, count)
    pairs = random.random((count, 2)) if heads is ACTIONS else None
    seconds = np.stack([starts, starts + random.uniform(0.1, 5, count)], axis=1)
    spans = ScoredSpans(seconds, random.integers(0, num_classes, count), scores, pairs)
    spec = replace(small_head(8).spec, heads=heads)
    settings = SegmentSettings(
        min_duration_seconds=float(random.choice([0.0, 0.9])),
        topk=[None, 7][random.integers(2)],
        topk_per_class=[None, 2][random.integers(2)],
        background=("rest",) if heads is PLAIN and random.random() < 0.3 else (),
    )
    inputs = head_inputs(spans, spec, settings, video_seconds=(0.0, 35.0), max_bytes=10**9)
    asked = [{"threshold": each, "low": None} for each in (random.integers(1, 101, NUM_THRESHOLDS) / 100).tolist()]
    chosen = [replace(settings, threshold=each["threshold"]) for each in asked]
    expected = [[segment_row(each) for each in head_segments(spans, spec, one)] for one in chosen]
    return dict(score_data(inputs, settings).content), asked, expected


def rule() -> str:
    return resources.files("tadacli.reports").joinpath("segment_rule.js").read_text(encoding="utf-8")


def run(browser: Any, function: str, values: list[Any]) -> Any:
    """What a function of JavaScript makes of each value, with the rule at hand."""
    browser.get("about:blank")
    return browser.execute_script(f"{rule()}\nreturn JSON.parse(arguments[0]).map({function})", json.dumps(values))


def test_numbers_are_rounded_as_in_python(browser: Any) -> None:
    random = np.random.default_rng(3)
    halves = (np.arange(1, 4000, 2) / 128 + random.integers(0, 3000, 2000)).tolist()
    fractions = [value / 2**power for power in (8, 9, 20) for value in random.integers(1, 2**power, 500).tolist()]
    times = [*halves, *random.uniform(-5, 20_000, 500).tolist(), -1 / 128, 0.0]
    scores = [*fractions, *random.random(500).tolist(), 1e-7, 0.1, 0.99999995, 0.99999994, 1.0, 0.0]
    sums = [(10.0 ** random.integers(-20, 20, 30) * random.normal(size=30)).tolist() for _ in range(200)]
    sums += [[1e16, 1.0, 1e-16], [1e16, 1.0, -1e-16], [1.0, 2.0**-53, 2.0**-106], [0.1] * 10, []]
    assert run(browser, "wholeMicroseconds", times) == [rounded_seconds(each) for each in times]
    assert run(browser, "sevenDigits", scores) == [float(f"{each:.7g}") for each in scores]
    assert run(browser, "exactSum", sums) == [math.fsum(each) for each in sums]


def test_segments_are_those_of_python_to_the_last_digit(browser: Any) -> None:
    cases = [case(number) for number in range(NUM_CASES)] + [head_case(number) for number in range(NUM_HEAD_CASES)]
    made = run(
        browser,
        "([kept, asked]) => asked.map((each) => segmentsBy(unpacked(kept), each))",
        [(data, asked) for data, asked, _ in cases],
    )
    for number, (found, (_, asked, expected)) in enumerate(zip(made, cases, strict=True)):
        for thresholds, rows, wanted in zip(asked, found, expected, strict=True):
            assert rows == wanted, (number, thresholds)
    assert sum(len(rows) for _, _, expected in cases for rows in expected) > 3000
