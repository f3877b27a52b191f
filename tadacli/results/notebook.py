"""Results as small HTML for notebooks. Labels, paths and reasons come from anywhere: all text is escaped."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tadacli.results.notes import counted
from tadacli.strict_tables import in_one_line

if TYPE_CHECKING:
    from tadacli.results.classifications import Classification
    from tadacli.results.detections import Detection, Segment

# What is shown stays small, whatever was found.
_MOST_RESULTS, _MOST_ROWS, _MOST_LANES, _MOST_BARS = 5, 10, 8, 400
_WIDTH, _LANE = 1000, 20
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#e08214", "#777777")


def classification_html(result: Classification) -> str:
    """The best labels of a video, with bars."""
    if result.status == "error":
        return _block(result.path, f"error: {result.error}")
    rows = [
        f"<tr><td>{_text(head)}</td><td>{_text(each.label)}</td><td>{each.score:.3f}</td>"
        f"<td>{_bar(each.score)}</td></tr>"
        for head, predictions in result.heads.items()
        for each in predictions[:_MOST_ROWS]
    ]
    return _block(result.path, result.model, _table(("", "label", "score", ""), rows))


def detection_html(result: Detection) -> str:
    """The timeline of a video, with a lane for each label, and its first segments."""
    if result.status == "error":
        return _block(result.path, f"error: {result.error}")
    rows = [
        f"<tr><td>{_clock(each.start_seconds)}</td><td>{_clock(each.end_seconds)}</td>"
        f"<td>{_text(each.label)}</td><td>{each.score:.3f}</td></tr>"
        for each in result.segments[:_MOST_ROWS]
    ]
    left = len(result.segments) - len(rows)
    more = f"<div>and {left} more</div>" if left else ""
    said = f"{counted(len(result.segments), 'segments')}{', with gaps' if result.status == 'partial' else ''}"
    return _block(result.path, said, _timeline(result), _table(("start", "end", "label", "score"), rows) + more)


def all_html(results: Sequence[Classification] | Sequence[Detection]) -> str:
    """The first of several results."""
    shown = "".join(each._repr_html_() for each in results[:_MOST_RESULTS])
    left = len(results) - _MOST_RESULTS
    return f"{shown}<div>and {counted(left, 'more videos')}</div>" if left > 0 else shown or "<div>no videos</div>"


def _timeline(result: Detection) -> str:
    start, end = _span(result)
    if not end > start:
        return ""
    seconds: dict[str, float] = {}
    for each in result.segments:
        seconds[each.label] = seconds.get(each.label, 0.0) + each.duration_seconds
    lanes = sorted(seconds, key=lambda label: -seconds[label])[:_MOST_LANES]
    if not lanes:
        return ""
    bars = [
        _rect(each, start, end, lane=lanes.index(each.label))
        for each in itertools.islice((each for each in result.segments if each.label in lanes), _MOST_BARS)
    ]
    names = [
        f'<text x="4" y="{_LANE * lane + 14}" font-size="12" fill="currentColor">{_text(label, most=40)}</text>'
        for lane, label in enumerate(lanes)
    ]
    height = _LANE * len(lanes)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="100%" style="max-width:{_WIDTH}px;border:1px solid #8888" '
        f'role="img" aria-label="timeline">{"".join([*bars, *names])}</svg>'
        f"<div>{_clock(start)} to {_clock(end)}</div>"
    )


def _span(result: Detection) -> tuple[float, float]:
    if result.video is not None:
        return result.video.start_seconds, result.video.start_seconds + result.video.duration_seconds
    if result.timeline is not None:
        return result.timeline
    times = [time for each in result.segments for time in (each.start_seconds, each.end_seconds)]
    return min(times, default=0.0), max(times, default=0.0)


def _rect(segment: Segment, start: float, end: float, *, lane: int) -> str:
    left, right = (
        _WIDTH * min(1.0, max(0.0, (time - start) / (end - start)))
        for time in (segment.start_seconds, segment.end_seconds)
    )
    said = f"{segment.label} {_clock(segment.start_seconds)} to {_clock(segment.end_seconds)}, {segment.score:.3f}"
    return (
        f'<rect x="{left:.1f}" y="{_LANE * lane + 2}" width="{max(1.0, right - left):.1f}" height="{_LANE - 4}" '
        f'fill="{_COLOURS[lane]}" fill-opacity="0.7"><title>{_text(said)}</title></rect>'
    )


def _bar(score: float) -> str:
    width = 120 * min(1.0, max(0.0, score))
    return f'<div style="width:{width:.0f}px;height:10px;background:{_COLOURS[0]}"></div>'


def _block(path: str, said: str, *parts: str) -> str:
    return f"<div><div><b>{_text(path)}</b>: {_text(said, most=300)}</div>{''.join(parts)}</div>"


def _table(columns: Iterable[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def _text(text: str, *, most: int = 80) -> str:
    return html.escape(in_one_line(text, most=most))


def _clock(seconds: float) -> str:
    tenths = round(abs(seconds) * 10)
    return f"{'-' if seconds < 0 else ''}{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"
