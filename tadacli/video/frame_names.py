"""Pictures that are the frames of a video: how they are named, and how many there are a second if their name says it.

Their number is the last thing in the name: frame_0000000001.jpg as EPIC-KITCHENS names them, img_00001.jpg,
image_00001.jpg, 000001.png, 1.jpg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tadacli.errors import UsageError, VideoError

# What is asked for first, since a folder may hold other pictures besides.
_PUBLISHED = re.compile(r"(frame_)([0-9]{10})(\.jpg)")
_NUMBERED = re.compile(r"((?:(?:frame|img|image)[_-]?)?)([0-9]{1,10})(\.(?i:jpe?g|png))")

# Where nothing says how many frames there are a second.
ASSUMED_FPS = 30
_SLOWEST, _FASTEST = 0.001, 10_000
# For people.
NAMES = "frame_0000000001.jpg, img_00001.jpg, image_00001.jpg, 000001.jpg or 1.jpg, or .png, from 0 or 1"


@dataclass(frozen=True)
class Series:
    """The names of frames that differ in their number alone, which has at least `width` digits."""

    prefix: str
    width: int
    suffix: str

    def name(self, number: int) -> str:
        """The name of the frame with a number."""
        return f"{self.prefix}{number:0{self.width}d}{self.suffix}"


class FrameNames:
    """Finds the frames among names, which come one by one, and which series they are."""

    def __init__(self, *, published_only: bool = False) -> None:
        """With `published_only` no name is that of a frame but those of the form frame_0000000001.jpg."""
        self._published_only = published_only
        # By prefix and suffix the numbers of digits, and whether zeros fill them up.
        self._found: dict[tuple[str, str], set[tuple[int, bool]]] = {}

    def number(self, name: str) -> int | None:
        """The number of the frame that has this name; None for what is no frame."""
        found = (_PUBLISHED if self._published_only else _NUMBERED).fullmatch(name)
        if found is None:
            return None
        prefix, digits, suffix = found.groups()
        self._found.setdefault((prefix, suffix), set()).add((len(digits), len(digits) > 1 and digits[0] == "0"))
        return int(digits)

    def series(self, where: str) -> Series:
        """The one series of all names that came, from `where`. Raises `VideoError` for none and for several."""
        if not self._found:
            raise VideoError(f"{where} holds no frame_0000000001.jpg files", hint=f"name the frames {NAMES}")
        names = []
        for (prefix, suffix), kinds in sorted(self._found.items()):
            width = min(digits for digits, _ in kinds)
            longer = {digits for digits, is_filled in kinds if is_filled and digits > width}
            names += [Series(prefix, each, suffix) for each in sorted({width, *longer})]
        if len(names) > 1:
            listed = ", ".join(each.name(1) for each in names[:5])
            raise VideoError(
                f"{where} holds several series of frames, named as {listed}",
                hint="keep the frames of one video in a folder, and nothing else",
            )
        return names[0]


def is_published_name(name: str) -> bool:
    """Whether a file is named as a frame of EPIC-KITCHENS is."""
    return _PUBLISHED.fullmatch(name) is not None


def is_first_name(name: str) -> bool:
    """Whether a file is named as a frame with the number 0 or 1."""
    found = _NUMBERED.fullmatch(name)
    return found is not None and int(found[2]) <= 1


def checked_rate(fps: float) -> float:
    """Frames a second as a person says it. Raises `UsageError` for what can be no rate."""
    if not _SLOWEST <= fps <= _FASTEST:  # not a number neither
        raise UsageError(
            f"{fps:g} frames a second are no rate of a video", hint=f"give a number from {_SLOWEST:g} to {_FASTEST:g}"
        )
    return fps


def named_rate(path: str) -> Fraction | None:
    """Frames a second as the video id of EPIC-KITCHENS says it: 60 for P01_11, 50 for P01_101, None for others."""
    found = re.match(r"P[0-9]{2}_([0-9]{2,3})(?![0-9])", Path(path).resolve().name)
    return Fraction({2: 60, 3: 50}[len(found[1])]) if found else None
