"""What holds of the spans that any head finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tadacli.detection.head_decoding import Head, find_spans
from tadacli.training.heads.sequences import LabelledSequence


def check_spans(head: Head, videos: Sequence[LabelledSequence]) -> None:
    """The best come first, each has a length and lies within its video."""
    for video in videos:
        spans = find_spans(head, video.grid)
        assert (np.diff(spans.scores) <= 0).all()
        assert (spans.seconds[:, 0] < spans.seconds[:, 1]).all()
        assert spans.seconds.min() >= 0
        assert spans.seconds.max() <= video.grid.duration_seconds
