"""The few settings of `detect` that are plain arguments, and the settings that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tadacli.detection import DEFAULT_THRESHOLD
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import UsageError
from tadacli.sampling import DEFAULT_WINDOW
from tadacli.sampling.settings import WindowSettings, window_settings
from tadacli.specs import ScoreLimit


def settings_of(
    *,
    window: str | float | None,
    stride: str | float | None,
    fps: float | None,
    threshold: ScoreLimit | None,
    labels: str | Sequence[str] | None,
    windows: WindowSettings | None,
    segments: SegmentSettings | None,
) -> tuple[WindowSettings, SegmentSettings]:
    """The settings that plain arguments mean, or those that were given whole.

    Args:
        window: The length of windows, in words or seconds; None for the usual one.
        stride: From one window to the next, alike; None for half a window.
        fps: Frames a second of arrays, folders and tars of frames; it goes with `windows` that do not say it.
        threshold: The score that a segment reaches; None for the usual one.
        labels: The only labels that are reported, or a single one; None for all.
        windows: All settings of windows, in the place of `window` and `stride`.
        segments: All settings of segments, in the place of `threshold` and `labels`.

    Returns:
        The settings of windows and of segments.

    Raises:
        UsageError: One is given twice, cannot be read, or is out of range.
    """
    plain = {"window": window, "stride": stride}
    if windows is not None and windows.fps is not None:
        plain["fps"] = fps
    _refuse_twice(windows, "windows", plain)
    _refuse_twice(segments, "segments", {"threshold": threshold, "labels": labels})
    if windows is None:
        length = DEFAULT_WINDOW if window is None else str(window)
        windows = window_settings(window=length, stride=None if stride is None else str(stride), fps=fps)
    elif fps is not None:
        windows = replace(windows, fps=fps)
    if segments is None:
        wanted = (labels,) if isinstance(labels, str) else tuple(labels or ())
        segments = SegmentSettings(threshold=DEFAULT_THRESHOLD if threshold is None else threshold, labels=wanted)
    return windows, segments


def _refuse_twice(whole: object, name: str, plain: Mapping[str, object]) -> None:
    given = [part for part, value in plain.items() if value is not None]
    if whole is not None and given:
        raise UsageError(f"{given[0]} is given twice: by itself, and within {name}", hint="leave one of the two out")
