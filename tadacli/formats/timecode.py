"""SMPTE timecode (ST 12): hours, minutes, seconds and frames, as editors show them; pure arithmetic.

Timecode counts whole frames. At 30000/1001 and 60000/1001 frames a second it falls behind the clock, so in drop-frame
form the numbers of the first frames of each minute are left out, except in every tenth minute. No frame is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tadacli.errors import UsageError

_MINUTES_IN_TEN = 10
_SECONDS_IN_A_DAY = 86400
_TIMECODE = re.compile(r"([01]\d|2[0-3])[:;]([0-5]\d)[:;]([0-5]\d)([:;])(\d\d)", re.ASCII)
# Files round their rates: 29.97 is 30000/1001, and averages are off by a frame over the length of a video.
_MOST_OFF = 0.0005
_RATES = (
    *(Fraction(base * 1000, 1001) for base in (24, 30, 60)),
    *(Fraction(base) for base in (24, 25, 30, 48, 50, 60)),
)


@dataclass(frozen=True)
class TimecodeRate:
    """A rate that timecode is defined for: exact frames a second, the frames that it counts to, and how many it drops.

    `num_dropped` numbers are left out at the start of a minute; 0 where none are.
    """

    fps: Fraction
    base: int
    num_dropped: int


def timecode_rate(fps: float, *, like: str = "") -> TimecodeRate:
    """The rate of timecode that a video's rate stands for.

    Args:
        fps: Frames a second, as a file says it.
        like: A timecode of the video, which shows whether numbers are dropped; empty if none is known.

    Returns:
        The nearest rate of SMPTE; that of 30000/1001 and 60000/1001 drops numbers, unless `like` does not.

    Raises:
        UsageError: No rate of SMPTE is near.
    """
    nearest = min(_RATES, key=lambda rate: abs(float(rate) - fps))
    if not abs(float(nearest) - fps) <= _MOST_OFF * fps:
        raise UsageError(
            f"{fps:.6g} frames a second is no rate of SMPTE timecode",
            hint="name one to count at: tada convert --fps 25, or 23.976, 24, 29.97, 30, 48, 50, 59.94, 60",
        )
    base = round(float(nearest))
    drops = nearest.denominator != 1 and base in (30, 60) and (not like or ";" in like[-3:])
    return TimecodeRate(nearest, base, base // 15 if drops else 0)


def timecode(frame: int, rate: TimecodeRate) -> str:
    """The timecode of a frame.

    Args:
        frame: Its number, from 0.
        rate: The rate.

    Returns:
        Such as 01:00:00:00, with a semicolon before the frames in drop-frame form; after 24 hours it begins again.
    """
    number = frame + _num_left_out(frame, rate)
    seconds, rest = divmod(number, rate.base)
    hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
    mark = ";" if rate.num_dropped else ":"
    return f"{hours:02d}:{minutes:02d}:{seconds % 60:02d}{mark}{rest:02d}"


def frame_of(text: str, rate: TimecodeRate) -> int:
    """The number of the frame that has a timecode, from that of 00:00:00:00.

    Args:
        text: The timecode.
        rate: The rate; where it drops numbers is not asked of the text.

    Returns:
        The number, less than a day's.

    Raises:
        UsageError: It is no timecode, or no frame has it at this rate.
    """
    found = _TIMECODE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no timecode",
            hint="hours, minutes, seconds and frames: 01:00:00:00, or 01:00:00;00 drop-frame",
        )
    hours, minutes, seconds, frames = (int(found[group]) for group in (1, 2, 3, 5))
    in_hours = hours * 60 + minutes
    left_out = rate.num_dropped * (in_hours - in_hours // _MINUTES_IN_TEN)
    frame = (in_hours * 60 + seconds) * rate.base + frames - left_out
    if frames >= rate.base or timecode(frame, rate)[-2:] != f"{frames:02d}":
        shown = f"{float(rate.fps):.6g} frames a second{' in drop-frame form' if rate.num_dropped else ''}"
        raise UsageError(
            f"no frame has the timecode {text} at {shown}",
            hint="name the timecode of the first frame: tada convert --start-timecode 00:00:00:00",
        )
    return frame


def _num_left_out(frame: int, rate: TimecodeRate) -> int:
    """How many numbers drop-frame timecode has left out before a frame."""
    if not rate.num_dropped:
        return 0
    in_minute = rate.base * 60 - rate.num_dropped
    in_ten = in_minute * _MINUTES_IN_TEN + rate.num_dropped
    tens, rest = divmod(frame, in_ten)
    # The first of ten minutes has all its numbers.
    minutes = max(0, rest - rate.num_dropped) // in_minute
    return rate.num_dropped * ((_MINUTES_IN_TEN - 1) * tens + minutes)
