"""Which packets of a video file must be decoded for the frames that are wanted, and which need not.

Between two restarts lies a group: its packets hold exactly the frames that are shown between the two, and
need nothing from outside. So a group without a wanted frame is left out; of the others, all that comes
after the last wanted packet, and before it the packets that no other frame refers to. What is left
decodes to the very frames of a full decode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tadacli.video.source import Indices, Timestamps

Flags = npt.NDArray[np.bool_]
_MAX_LAG = 31


@dataclass(frozen=True)
class PacketOrder:
    """The packets of a file in decode order, each of which holds exactly one frame.

    `frames`, int32 (num_packets,), is the index of each one's frame; `referenced`, bool (num_packets,), is
    false where the headers prove that no other frame is made from it. `restarts`, int64, are the
    positions, from 0 on, of the packets before which nothing needs to be decoded: what comes before one is
    also shown before it, so that it is frame and packet of the same number.
    """

    frames: npt.NDArray[np.int32]
    referenced: Flags
    restarts: npt.NDArray[np.int64]

    def group_of(self, index: int) -> tuple[int, int]:
        """The first packet of the group that holds a frame, and the first one after that group."""
        group = int(np.searchsorted(self.restarts, index, side="right"))
        end = self.restarts[group] if group < len(self.restarts) else len(self.frames)
        return int(self.restarts[group - 1]), int(end)

    def alone(self, first: int, end: int) -> tuple[int, Flags] | None:
        """(position of the first packet, which of those from there on) decode to the frames [first, end) alone.

        None unless decoding can start afresh at the first frame, and none of the others is made from a later one.
        """
        group = int(np.searchsorted(self.restarts, first))
        if group == len(self.restarts) or self.restarts[group] != first:
            return None
        frames = self.frames[first : end + _MAX_LAG]
        is_wanted = (frames >= first) & (frames < end)
        places = np.flatnonzero(is_wanted)
        if len(places) != end - first:
            return None
        is_wanted = is_wanted[: places[-1] + 1]
        is_needed = self.referenced[first : first + len(is_wanted)]
        return None if np.any(is_needed & ~is_wanted) else (first, is_wanted)

    def positions_of(self, indices: Indices) -> npt.NDArray[np.int64]:
        """The positions of the packets that hold these frames."""
        positions = np.empty(len(self.frames), dtype=np.int32)
        positions[self.frames] = np.arange(len(self.frames), dtype=np.int32)
        return positions[indices].astype(np.int64)


@dataclass(frozen=True)
class PacketRun:
    """Packets of a file that decode to some of its frames and to no other, as they follow each other.

    `times`, in units of the stream's time base, are those of all packets from the first to the last of them, in the
    order of decoding; `is_wanted`, bool, is false for those between that can be left out. `end` is when the last frame
    stops being shown.
    """

    times: Timestamps
    is_wanted: Flags
    end: int


def reordering(times: Timestamps) -> int:
    """The most frames that are sent before another and shown after it, by their times in decode order.

    Counts those up to 31 packets before it: no decoder holds back more than 16 frames.
    """
    later_shown, latest = np.zeros(len(times), dtype=np.int8), np.maximum.accumulate(times)
    for lag in range(1, min(_MAX_LAG + 1, len(times))):
        if not np.any(latest[:-lag] > times[lag:]):
            break  # nothing that is sent so long before another is shown after it
        later_shown[lag:] += times[:-lag] > times[lag:]
    return int(later_shown.max(initial=0))


def needed_packets(packets: PacketOrder, wanted: Indices) -> Flags:
    """bool (num_packets,): which packets are to be decoded so that all wanted frames come out right."""
    needed = np.zeros(len(packets.frames), dtype=np.bool_)
    if len(wanted) == 0:
        return needed
    positions = np.sort(packets.positions_of(wanted))
    groups = np.searchsorted(packets.restarts, positions, side="right") - 1
    is_last = np.append(groups[1:] != groups[:-1], True)
    steps = np.zeros(len(needed) + 1, dtype=np.int8)
    steps[packets.restarts[groups[is_last]]] += 1
    steps[positions[is_last] + 1] -= 1
    needed[:] = np.cumsum(steps[:-1], dtype=np.int8)  # from each restart to the last wanted packet after it
    needed &= packets.referenced
    needed[positions] = True
    return needed
