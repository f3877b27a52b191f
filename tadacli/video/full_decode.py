"""What comes out of a file that is decoded once, from its start to its end, and what may have got lost in it."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tadacli.video.container import AVI, VideoPacket, decode_packet, display_matrix, num_indexed, read_packets
from tadacli.video.source import Timestamps
from tadacli.video.timeline import NO_TIME

_MAX_INSIDE = 20  # frames that a decoder may hold back, and some


@dataclass(frozen=True)
class FirstFrame:
    """What is known of the first frame: stored size in pixels, its time, and how it is to be turned for display.

    `matrix` is (a, b, c, d) of the display transformation x' = a x + c y, y' = b x + d y.
    """

    pts: int | None
    height: int
    width: int
    pixel_format: str
    rotation: int
    matrix: tuple[int, int, int, int]

    @classmethod
    def of(cls, frame: VideoFrame) -> FirstFrame:
        """What a decoded frame says of itself."""
        return cls(frame.pts, frame.height, frame.width, frame.format.name, frame.rotation, display_matrix(frame))


def decode_all(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[VideoPacket | None, list[VideoFrame] | None]]:
    """Each packet (None: reading failed) with the frames that come out after it (None: it is damaged), then what was
    left inside, with the last packet."""
    last = None
    for packet in read_packets(container, stream):
        last = packet or last
        yield packet, [] if packet is None else decode_packet(stream, packet)
    yield last, decode_packet(stream, None) or []


class FullDecode:
    """What comes out of a file that is decoded once; 24 bytes for each frame."""

    def __init__(self, *, is_frame: bool) -> None:
        self.lost, self.last_duration, self.packets_end = _Lost(is_frame=is_frame), 0, -1
        self.first: FirstFrame | None = None
        self._pts, self._dts, self._breaks, self._sent = array("q"), array("q"), array("q"), array("q")
        self._refused = array("q")
        self._is_corrupt: deque[bool] = deque(maxlen=_MAX_INSIDE)
        self._is_incomplete: deque[bool] = deque(maxlen=_MAX_INSIDE)

    def add(self, packet: VideoPacket | None, decoded: list[VideoFrame] | None) -> None:
        """Take note of the next packet (None: some could not be read) and of what came out after it."""
        if packet is None or packet.is_corrupt:
            self._breaks.append(len(self._pts))
        if packet is not None:
            if packet.pts is not None and not packet.is_discard:
                self._sent.append(packet.pts)
            self.lost.add(packet, failed=decoded is None)
            if decoded is None and not packet.is_discard:
                self._refused.append(NO_TIME if packet.pts is None else packet.pts)
        for frame in decoded or ():
            self.first = self.first or FirstFrame.of(frame)
            self._pts.append(NO_TIME if frame.pts is None else frame.pts)
            self._dts.append(NO_TIME if frame.dts is None else frame.dts)
            self._is_corrupt.append(frame.is_corrupt)
            self.last_duration = frame.duration
        self._is_incomplete.append(packet is not None and packet.is_corrupt)
        self.packets_end = packet.pos + packet.size if packet is not None and packet.pos is not None else -1

    def pts(self) -> Timestamps:
        return np.array(self._pts, dtype=np.int64)

    def dts(self) -> Timestamps:
        return np.array(self._dts, dtype=np.int64)

    def is_near_loss(self) -> npt.NDArray[np.bool_]:
        """Whether packets are damaged close to each frame, in the order in which they came, bool (num_frames,)."""
        steps = np.zeros(len(self._pts) + 1, dtype=np.int64)
        breaks = np.array(self._breaks, dtype=np.int64)
        np.add.at(steps, np.maximum(breaks - _MAX_INSIDE, 0), 1)
        np.add.at(steps, np.minimum(breaks + _MAX_INSIDE, len(self._pts)), -1)
        is_near: npt.NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
        return is_near

    def may_lack(
        self, times: Timestamps, is_near_loss: npt.NDArray[np.bool_], *, longest: int
    ) -> npt.NDArray[np.bool_]:
        """Whether frames may be lost before each one, shown at `times`, bool (num_frames,).

        Packets are damaged there, or some are to be shown between it and the one before. A step of more than the
        `longest` is no loss of packets: there, a recording was interrupted.
        """
        sent = np.unique(np.array(self._sent, dtype=np.int64))
        between = np.searchsorted(sent, times[1:]) - np.searchsorted(sent, times[:-1], side="right")
        found = is_near_loss.copy()
        found[1:] &= np.diff(times) <= longest
        found[1:] |= between > 0
        return found

    def lacks_indexed(self, stream: VideoStream) -> bool:
        """Whether there are fewer packets than an AVI file has in its index."""
        is_avi = stream.container.format.name == AVI
        return is_avi and num_indexed(stream) > len(set(self._sent))

    def num_refused(self, times: Timestamps) -> int:
        """How many packets did not decode, and are none of the frames with these `times`."""
        return int(np.count_nonzero(~np.isin(np.array(self._refused, dtype=np.int64), times)))

    def ends_damaged(self, reorder_depth: int) -> bool:
        """Whether what was to be shown last is incomplete, damaged or missing.

        A reader may learn one packet late that one is incomplete, and take it and the next one for a single packet.
        """
        is_incomplete = any(islice(reversed(self._is_incomplete), reorder_depth + 3))
        return is_incomplete or any(islice(reversed(self._is_corrupt), reorder_depth + 1)) or self._ends_lost()

    def _ends_lost(self) -> bool:
        """Whether packets were damaged shortly before the end, and nothing came of those to be shown last."""
        is_near = bool(self._breaks) and self._breaks[-1] > len(self._pts) - _MAX_INSIDE
        return is_near and max(self._sent, default=NO_TIME) > max(self._pts, default=NO_TIME)


class _Lost:
    """The times of packets that should have been frames, and may not have become any.

    `is_frame`: each packet is a frame. Otherwise only packets that failed count, and only between frames: before
    and after these, a stream may well begin or end in the middle.
    """

    def __init__(self, *, is_frame: bool) -> None:
        self._is_frame = is_frame
        self._lost, self._group, self._failed = array("q"), array("q"), False

    def add(self, packet: VideoPacket, *, failed: bool) -> None:
        """Take note of the next packet."""
        if self._is_frame and packet.is_keyframe:
            self._close_group()
        if packet.pts is None or packet.is_discard or packet.is_corrupt:
            return
        self._failed = self._failed or failed
        if self._is_frame:
            self._group.append(packet.pts)
        elif failed:
            self._lost.append(packet.pts)

    def pts(self, first: int, last: int) -> Timestamps:
        """The times, where frames came out from `first` to `last`."""
        self._close_group()
        found = np.array(self._lost, dtype=np.int64)
        return found if self._is_frame else found[(found > first) & (found < last)]

    def _close_group(self) -> None:
        if self._failed:
            self._lost += self._group
        self._group, self._failed = array("q"), False
