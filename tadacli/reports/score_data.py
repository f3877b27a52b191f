"""The scores that the page of a report holds, so that segments can be made on it again by other thresholds."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.settings import SegmentSettings
from tadacli.detection.threshold_inputs import ThresholdClass, ThresholdInputs, TimelineCells

# What the scores of all videos of a page may take before they are written as text, which makes them a third larger.
MAX_SCORE_BYTES = 16_000_000


@dataclass(frozen=True)
class ScoreData:
    """What a page holds of the scores of a video, JSON-ready: `settings` are those that its sliders show.

    `content` is what thresholds are applied to, as `segment_rule.js` reads it; empty where it would be too large.
    """

    settings: Mapping[str, Any]
    content: Mapping[str, Any]


def score_data(inputs: ThresholdInputs, settings: SegmentSettings) -> ScoreData:
    """What a page holds of the scores of a video.

    Args:
        inputs: The timelines, or the runs to choose among.
        settings: What becomes a segment, as of `inputs`.

    Returns:
        The data. Numbers of the content are little-endian, in base 64, float64 or, of ranges of cells, int32: of each
        timeline `edges` (N + 1,) and `gaps` (G, 2), of each class in each timeline `ranges` (R, 2) and `values` (1 or
        3, M), see `KeptScores`. Or `runs` (R, 8): place of the class, start, end, score, peak, what is compared with
        the threshold, and the scores of the verb and the noun of an action; NaN for what is not known.
    """
    shown = {
        "lowest": inputs.lowest,
        "threshold": None if settings.threshold == "auto" else settings.threshold,
        "low_threshold": settings.low_threshold,
        "lowest_low": inputs.lowest_low,
        "ends_lower": inputs.timelines is not None,
        "of_head": inputs.ranked,
    }
    if inputs.lowest is None:
        return ScoreData(shown, {})
    timelines = None if inputs.timelines is None else [_cells(each) for each in inputs.timelines]
    content = {
        "lowest": inputs.lowest,
        "lowest_low": inputs.lowest_low,
        "merge_gap_seconds": settings.merge_gap_seconds,
        "min_duration_seconds": settings.min_duration_seconds,
        "nms": settings.nms,
        "nms_iou": settings.nms_iou,
        "topk": settings.topk,
        "topk_per_class": settings.topk_per_class,
        "duration": inputs.end_seconds - inputs.start_seconds,
        "ranked": inputs.ranked,
        "classes": [_class(each) for each in inputs.classes],
        "timelines": timelines,
        "runs": _text(_runs(inputs), "<f8") if timelines is None else None,
    }
    return ScoreData(shown, content)


def _cells(found: TimelineCells) -> dict[str, str]:
    return {"edges": _text(found.edges, "<f8"), "gaps": _text(found.gaps, "<i4")}


def _class(found: ThresholdClass) -> dict[str, Any]:
    scores = [{"ranges": _text(each.ranges, "<i4"), "values": _text(each.values, "<f8")} for each in found.scores]
    values: dict[str, Any] = {"index": found.index, "label": found.label, "peak": found.peak, "scores": scores}
    for name, part in (("verb", found.verb), ("noun", found.noun)):
        if part is not None:
            values[name] = {"index": part[0], "label": part[1]}
    return values


def _runs(inputs: ThresholdInputs) -> NDArray[np.float64]:
    place = {each.index: number for number, each in enumerate(inputs.classes)}
    rows: Iterable[tuple[float, ...]] = (
        (
            place[each.index],
            each.start_seconds,
            each.end_seconds,
            each.score,
            math.nan if each.peak_score is None else each.peak_score,
            compared,
            *(math.nan if part is None else part.score for part in (each.verb, each.noun)),
        )
        for each, compared in inputs.runs
    )
    return np.array([*rows], dtype=np.float64).reshape(-1, 8)


def _text(values: NDArray[np.generic], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()
