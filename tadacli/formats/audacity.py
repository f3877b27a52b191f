"""The segments of one video as a label track of Audacity."""

from __future__ import annotations

from tadacli.formats.captions import caption, player_segments
from tadacli.formats.rows import DetectionRow


def audacity(row: DetectionRow) -> bytes:
    """Start, end and text divided by tabs, a line for each segment in order of time, with times in seconds."""
    segments = sorted(player_segments(row), key=lambda each: (each["start_seconds"], each["end_seconds"]))
    return "".join(
        f"{each['start_seconds']:.6f}\t{each['end_seconds']:.6f}\t{caption(each)}\n" for each in segments
    ).encode()
