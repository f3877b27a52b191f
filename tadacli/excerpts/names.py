"""File names for excerpts: video, time and label in each, fit for every file system, and each another one."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence

from tadacli.excerpts.wanted import WantedVideo
from tadacli.formats.video_names import output_names

# With the time, a number and a suffix a name has at most 130 bytes; encrypted folders take 143, all others more.
_MOST_VIDEO_BYTES, _MOST_LABEL_BYTES = 48, 56
_KEPT = frozenset("LMN")  # letters with their marks, and digits, of any script
_ALSO_KEPT = frozenset("-+")


def excerpt_stems(videos: Sequence[WantedVideo]) -> list[list[str]]:
    """A name without a suffix for each segment of each video, such as `kitchen_00h01m23.456s_pan_left`.

    Each is another one, also where case or accents do not count; numbers tell apart what would be called alike. A name
    is the same in every run over the same segments.

    Args:
        videos: All videos of the results, with all their segments.

    Returns:
        The names of the segments of each video, in their order.
    """
    names = output_names([video.path for video in videos], "")
    taken: set[str] = set()
    stems = []
    for video in videos:
        lead = _safe(names[video.path], _MOST_VIDEO_BYTES) or "video"
        bases = (
            f"{lead}_{_time(each.start_seconds)}_{_safe(each.label, _MOST_LABEL_BYTES) or 'segment'}"
            for each in video.segments
        )
        stems.append([_free(base, taken) for base in bases])
    return stems


def _free(base: str, taken: set[str]) -> str:
    for name in _numbered(base):
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded not in taken:
            taken.add(folded)
            return name
    raise AssertionError("there is always another number")


def _numbered(base: str) -> Iterator[str]:
    return itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))


def _safe(text: str, most_bytes: int) -> str:
    """A text as part of a file name, of at most so many bytes; empty where nothing of it is left."""
    normal = unicodedata.normalize("NFC", text)
    kept = "".join(each if unicodedata.category(each)[0] in _KEPT or each in _ALSO_KEPT else " " for each in normal)
    name = "_".join(kept.split())
    while len(name.encode()) > most_bytes:
        name = name[:-1]
    return name.strip("_.-")


def _time(seconds: float | None) -> str:
    """Such as `00h01m23.456s`, which sorts by time."""
    whole = round(1000 * (seconds if seconds is not None and math.isfinite(seconds) else 0.0))
    minutes, milliseconds = divmod(abs(whole), 60_000)
    sign = "-" if whole < 0 else ""
    return f"{sign}{minutes // 60:02}h{minutes % 60:02}m{milliseconds / 1000:06.3f}s"
