"""The windows of each length in each shot of a video: what one timeline of scores is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.settings import SegmentSettings
from tadacli.detection.timelines import SAME_INSTANT_SECONDS, Timeline, score_timeline, smooth


@dataclass(frozen=True, eq=False)
class WindowsOfShot:
    """The windows of one length in a shot: which rows (W,) they are of all windows, and where they lie in the video."""

    rows: NDArray[np.bool_]
    spans: NDArray[np.float64]
    smooth_seconds: float

    def timeline(self, columns: NDArray[np.float64]) -> Timeline:
        """The smoothed timeline of scores of all windows, (W, C)."""
        return smooth(score_timeline(self.spans, columns[self.rows]), seconds=self.smooth_seconds)


def shot_windows(
    spans: NDArray[np.float64],
    scale: NDArray[np.integer],
    video_seconds: tuple[float, float],
    cuts: Sequence[float],
    settings: SegmentSettings,
) -> Iterator[tuple[int, WindowsOfShot]]:
    """The windows of each length in each shot of the video, cut off at its ends, with the length's number.

    Args:
        spans: Starts and ends (W, 2) of all windows, in seconds.
        scale: Numbers (W,) of their lengths.
        video_seconds: (start, end) of the video.
        cuts: Times that no window reaches across, rising.
        settings: What becomes a segment.

    Yields:
        First by length, then by shot; only those that have windows.

    Raises:
        ValueError: For a video without length.
    """
    start, end = video_seconds
    if not start < end:
        raise ValueError(f"a video from {start} to {end} seconds has no segments")
    inside = (spans[:, 0] < end - SAME_INSTANT_SECONDS) & (spans[:, 1] > start + SAME_INSTANT_SECONDS)
    shot = np.searchsorted(np.asarray(cuts, dtype=np.float64), spans.mean(axis=1))
    for number, place in sorted({*zip(scale[inside].tolist(), shot[inside].tolist(), strict=True)}):
        rows = inside & (scale == number) & (shot == place)
        yield number, WindowsOfShot(rows, np.clip(spans[rows], start, end), settings.smooth_seconds)
