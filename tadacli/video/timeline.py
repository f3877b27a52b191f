"""When decoded frames are shown, where the file does not say it plainly, and which frames are missing between them.

Pure arithmetic on times, in units of a stream's time base. The file has the say as long as its times ascend.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tadacli.video.source import Indices, Timestamps

NO_TIME = -(1 << 63)  # as FFmpeg marks it
# FFmpeg itself takes a longer step for a break where a format may have such breaks.
JUMP_SECONDS = 10
LOSS_SECONDS = 1  # of packets on their way; where more is missing, a recording was interrupted
_MAX_OUT_OF_LINE = 16  # frames in a row; no decoder reorders further
_IN_LINE = 0.75  # of the time that frames in between take; more of them are a piece of its own


@dataclass(frozen=True)
class Timeline:
    """The times of the decoded frames, int64 (num_frames,), in the order in which they came.

    `is_own`: they are those that the frames carry; `is_plain`: and they are distinct and ascending. `note` says what
    was done to them where they begin anew or are out of line. Where they begin anew the video has several pieces.
    """

    times: Timestamps
    is_own: bool
    is_plain: bool = False
    note: str = ""
    num_pieces: int = 1


def timeline_of(pts: Timestamps, dts: Timestamps, *, step: int, jump: int) -> Timeline:
    """The times at which decoded frames are shown, as far as possible those that they carry.

    Decoding times that ascend are right where presentation times do not: these were written in decoding order, or
    were made up from it. Otherwise a time that is out of line is taken from the neighbours, and where times begin
    anew, another recording begins: it is shown after the one before.

    Args:
        pts: Presentation time of each frame in the order of decoding, int64 (num_frames,); `NO_TIME` where it has none.
        dts: Decoding time that came out with each frame, int64 (num_frames,); `NO_TIME` where there is none.
        step: Length of a frame where times do not tell.
        jump: A longer step between frames is no step.

    Returns:
        The timeline.
    """
    known = pts != NO_TIME
    if not known.any():
        return Timeline(np.arange(len(pts), dtype=np.int64) * step, is_own=True)
    times = pts if known.all() else _filled(pts, known, step=step)
    steps = np.diff(times)
    if np.all(steps >= 0):
        return Timeline(times, is_own=True, is_plain=bool(known.all() and np.all(steps > 0)))
    by_decoding = _by_decoding(dts)
    if by_decoding is not None:
        return Timeline(by_decoding, is_own=False)
    return _in_pieces(times, step=common_step(times, default=step), jump=jump)


def in_line(pts: Timestamps, is_near_loss: npt.NDArray[np.bool_]) -> Indices:
    """The order in which decoded frames are shown, as far as it is not the one in which they came.

    Where a frame was lost that others are ordered by, a decoder gives one out too late, with its own right time.

    Args:
        pts: Presentation time of each frame in the order of decoding, int64 (num_frames,); `NO_TIME` where it has none.
        is_near_loss: Whether packets are damaged close to each frame, bool (num_frames,).

    Returns:
        int64 (num_frames,): by time if all frames that come too late do so close to a loss and by a few frames; else
        0, 1, ...
    """
    as_they_came = np.arange(len(pts), dtype=np.int64)
    is_late = pts < np.maximum.accumulate(pts)
    if not is_late.any() or not is_near_loss[is_late].all() or np.any(pts == NO_TIME):
        return as_they_came
    order = np.argsort(pts, kind="stable")
    return order if np.abs(order - as_they_came).max() <= _MAX_OUT_OF_LINE else as_they_came


def common_step(times: Timestamps, *, default: int) -> int:
    """The step that most frames are apart; the default where no time is later than the one before."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return int(np.median(steps)) if len(steps) else default


def missing_times(times: Timestamps, may_lack: npt.NDArray[np.bool_] | None, *, step: int, jump: int) -> Timestamps:
    """The times of frames that are missing in a recording of a constant step, ascending.

    Args:
        times: Times of the frames that are there, ascending, int64 (num_frames,).
        may_lack: Whether something may be lost before each frame, bool (num_frames,); None for before any.
        step: Length of a frame where times do not tell.
        jump: No frames are missing in a longer step.

    Returns:
        int64 (num_missing,), evenly in each hole; none where the step is not constant.
    """
    step, steps = common_step(times, default=step), np.diff(times)
    is_regular = np.abs(steps - step) <= 1 + step // 20
    is_hole = (steps > 1.5 * step) & (steps <= jump)
    holes = np.flatnonzero(is_hole if may_lack is None else is_hole & may_lack[1:])
    if np.count_nonzero(is_regular) < 0.9 * (len(steps) - len(holes)) or not is_regular.any():
        return np.empty(0, dtype=np.int64)
    exact = float(steps[is_regular].mean())  # a container may round each time
    found = [np.empty(0, dtype=np.int64)]
    for hole in holes.tolist():
        count = round(int(steps[hole]) / exact)
        found.append(times[hole] + np.arange(1, count) * int(steps[hole]) // count)
    return np.concatenate(found)


def jump_note(times: Timestamps, time_base: Fraction, *, jump: int) -> str:
    """What to know of frames that are further apart than a `jump`; nothing where none are."""
    steps = np.diff(times)
    jumps = np.flatnonzero(steps > jump)
    if not len(jumps):
        return ""
    first, more = int(jumps[0]), f", and {len(jumps) - 1} more times" if len(jumps) > 1 else ""
    return (
        f"the times in the file jump by {float(int(steps[first]) * time_base):.2f} s at frame {first + 1}{more}: "
        "nothing is known of the time between"
    )


def _filled(pts: Timestamps, known: npt.NDArray[np.bool_], *, step: int) -> Timestamps:
    """The times with those that are missing: evenly between their neighbours, a step apart at the ends."""
    times, places = pts.copy(), np.flatnonzero(known)
    first, last = int(places[0]), int(places[-1])
    times[:first] = pts[first] - step * np.arange(first, 0, -1)
    times[last + 1 :] = pts[last] + step * np.arange(1, len(pts) - last)
    for before, after in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        if after > before + 1:
            is_later = pts[after] - pts[before] >= after - before
            apart = (int(pts[after]) - int(pts[before])) / (after - before) if is_later else step
            times[before + 1 : after] = pts[before] + (apart * np.arange(1, after - before)).astype(np.int64)
    return times


def _by_decoding(dts: Timestamps) -> Timestamps | None:
    """The decoding times, if they ascend; the last frames come out when no packet is left to have one."""
    known = dts != NO_TIME
    last = int(np.flatnonzero(known)[-1]) if known.any() else 0
    ascend = last > 0 and known[: last + 1].all() and bool(np.all(np.diff(dts[: last + 1]) > 0))
    if not ascend or len(dts) - last > _MAX_OUT_OF_LINE + 1:
        return None
    times = dts.copy()
    times[last + 1 :] = dts[last] + common_step(dts[: last + 1], default=1) * np.arange(1, len(dts) - last)
    return times


def _in_pieces(times: Timestamps, *, step: int, jump: int) -> Timeline:
    """The times in one line: what is out of line for a few frames between its neighbours, else piece after piece."""
    values, shift, starts, num_mended = times.tolist(), 0, [], 0
    at = 1
    while at < len(values):
        values[at] += shift
        before = values[at - 1]
        if before <= values[at] <= before + jump:
            at += 1
            continue
        back = _back_in_line(values, at, shift, step=step, jump=jump)
        if back is not None:
            ahead = values[back] + shift - before
            for place in range(at, back):
                values[place] = before + ahead * (place - at + 1) // (back - at + 1)
            num_mended += back - at
            at = back
            continue
        if values[at] < before:
            shift += before + step - values[at]
            values[at] = before + step
            starts.append(at)
        at += 1
    note = _note(starts, num_mended)
    return Timeline(np.array(values, dtype=np.int64), is_own=False, note=note, num_pieces=1 + len(starts))


def _back_in_line(values: list[int], at: int, shift: int, *, step: int, jump: int) -> int | None:
    """The next frame whose time follows that of the last one before `at`, with room for those in between."""
    before = values[at - 1]
    for place in range(at + 1, min(len(values), at + 1 + _MAX_OUT_OF_LINE)):
        if _IN_LINE * step * (place - at + 1) <= values[place] + shift - before <= jump:
            return place
    return None


def _note(starts: list[int], num_mended: int) -> str:
    parts = []
    if starts:
        named = ", ".join(map(str, starts[:5])) + (f" and {len(starts) - 5} more" if len(starts) > 5 else "")
        frames = "frame" if len(starts) == 1 else "frames"
        parts.append(
            f"the times in the file begin anew at {frames} {named}: "
            f"its {len(starts) + 1} pieces are shown one after the other"
        )
    if num_mended:
        parts.append(f"times of {num_mended} frames are out of line, and taken from the frames around them")
    return "; ".join(parts)
