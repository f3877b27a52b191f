"""Where windows and snippets lie on a timeline: plain arithmetic, in seconds."""

from __future__ import annotations

import math

import numpy as np

from tadacli.errors import UsageError
from tadacli.sampling.pace import SAME_TIME_SECONDS
from tadacli.video.source import Seconds


def window_spans(start_seconds: float, end_seconds: float, *, window_seconds: float, stride_seconds: float) -> Seconds:
    """Start and end of the windows that cover [start_seconds, end_seconds), in order.

    Window k starts k strides after the start. The last one is the first that reaches the end; it stops
    there, and is shorter than the others unless it just fits. A span within one window is one window.

    Args:
        start_seconds: Start of what is covered.
        end_seconds: Its end.
        window_seconds: Length of a window.
        stride_seconds: From the start of one window to the start of the next.

    Returns:
        float64 (num_windows, 2), in seconds.

    Raises:
        UsageError: The window or the stride is not a length above zero.
    """
    _check(window_seconds, stride_seconds, "windows")
    length = end_seconds - start_seconds
    count = 1 + max(0, math.ceil((length - window_seconds - SAME_TIME_SECONDS) / stride_seconds))
    starts = start_seconds + np.arange(count) * stride_seconds
    starts = starts[(starts < end_seconds - SAME_TIME_SECONDS) | (np.arange(count) == 0)]
    ends = starts + window_seconds
    return np.stack([starts, np.where(ends > end_seconds - SAME_TIME_SECONDS, end_seconds, ends)], axis=1)


def snippet_centres(
    start_seconds: float, end_seconds: float, *, stride_seconds: float, first_centre_seconds: float
) -> Seconds:
    """The centres of the snippets of [start_seconds, end_seconds): as many as lie within it, at least one.

    Args:
        start_seconds: Start of what is covered.
        end_seconds: Its end.
        stride_seconds: From one centre to the next.
        first_centre_seconds: The first one, from the start on.

    Returns:
        float64 (num_snippets,), in seconds.

    Raises:
        UsageError: The stride is not a length above zero.
    """
    _check(stride_seconds, stride_seconds, "snippets")
    left = end_seconds - start_seconds - first_centre_seconds
    count = max(1, math.ceil((left - SAME_TIME_SECONDS) / stride_seconds))
    return np.asarray(start_seconds + first_centre_seconds + np.arange(count) * stride_seconds, dtype=np.float64)


def snippet_spans(
    centres: Seconds, start_seconds: float | Seconds, end_seconds: float | Seconds, *, snippet_seconds: float
) -> Seconds:
    """Start and end of snippets around these centres; what sticks out of [start_seconds, end_seconds) is moved in.

    Args:
        centres: (num_snippets,), in seconds.
        start_seconds: Start of what is covered, for all snippets or (num_snippets,).
        end_seconds: Its end.
        snippet_seconds: Length of a snippet; where it is more than is covered, a snippet is all of that.

    Returns:
        float64 (num_snippets, 2), in seconds.

    Raises:
        UsageError: The snippet is not a length above zero.
    """
    _check(snippet_seconds, snippet_seconds, "snippets")
    starts = np.maximum(np.minimum(centres - snippet_seconds / 2, end_seconds - snippet_seconds), start_seconds)
    return np.stack([starts, np.minimum(starts + snippet_seconds, end_seconds)], axis=1)


def unseen_seconds(spans: Seconds, start_seconds: float, end_seconds: float) -> float:
    """How much of [start_seconds, end_seconds) lies in none of the spans.

    Args:
        spans: Starts and ends (N, 2), in seconds, in any order; none is no span.
        start_seconds: Start of what is looked at.
        end_seconds: Its end.

    Returns:
        Seconds.
    """
    inside = np.clip(spans[np.argsort(spans[:, 0], kind="stable")], start_seconds, end_seconds)
    reached = np.maximum.accumulate(np.concatenate([[start_seconds], inside[:, 1]]))
    begin = np.concatenate([inside[:, 0], [end_seconds]])
    return float(np.maximum(begin - reached, 0).sum())


def _check(length_seconds: float, stride_seconds: float, what: str) -> None:
    if not 0 < length_seconds < math.inf or not 0 < stride_seconds < math.inf:
        raise UsageError(f"{what} of {length_seconds:g} s every {stride_seconds:g} s cannot be laid out")
